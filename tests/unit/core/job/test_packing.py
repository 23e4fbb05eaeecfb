"""Which files share a POST: never two with one URL, never more than a task holds."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract.model_table import MODELS
from service.core.job.identity import Origin
from service.core.job.packing import by_request, content_of, files_of, files_per_task, plan_submissions
from tests.unit.core.samples import ORIGIN, request, request_of

URLS = st.lists(st.sampled_from(["a b", "a%20b", "a", "b", "%61"]), max_size=12)


@given(URLS, st.integers(1, 5))
def test_no_submission_holds_a_url_twice_or_too_many_files(urls: list[str], most: int) -> None:
    files = [(request_of(1).ref(index), url) for index, url in enumerate(urls)]
    plans = plan_submissions(files, most)
    assert sorted(ref for refs in plans for ref in refs) == [ref for ref, _ in files]
    for refs in plans:
        held = [unquote(urls[ref.file_index]) for ref in refs]
        assert len(set(held)) == len(held) <= most


def test_equal_urls_of_one_request_never_share_a_post() -> None:
    files = [(request_of(1).ref(index), url) for index, url in enumerate(["a", "b", "a"])]
    assert [[ref.file_index for ref in refs] for refs in plan_submissions(files, 100)] == [[0, 1], [2]]


def test_the_files_of_a_request_are_those_that_are_asked_for() -> None:
    asked = request_of(3)
    assert [ref for ref, _ in files_of(asked)] == [(ORIGIN, 0), (ORIGIN, 1), (ORIGIN, 2)]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_model_that_takes_one_file_gets_one_whatever_is_set(model: str) -> None:
    info = MODELS[model]
    assert files_per_task(info, 7) == (7 if info.takes_several_files else 1)


CONTENTS: list[tuple[str, dict[str, JsonValue]]] = [
    ("fun-asr", {}),
    ("fun-asr-mtl", {}),
    ("fun-asr", {"channel_id": [0]}),
    ("fun-asr", {"channel_id": [1]}),
    ("fun-asr", {"channel_id": [False]}),
    ("fun-asr", {"channel_id": [0.0]}),
    ("fun-asr", {"vocabulary_id": "v1"}),
    ("fun-asr", {"hotwords": [{"text": "a", "weight": 4}]}),
    ("fun-asr", {"hotwords": [{"text": "a", "weight": 5}]}),
    ("fun-asr", {"extra_parameters": {"x": 1}}),
]


def test_contents_are_equal_only_if_model_and_all_options_are() -> None:
    told = [content_of(request(model=model, options=options)) for model, options in CONTENTS]
    assert len(set(told)) == len(told)


def test_contents_are_equal_whatever_else_differs() -> None:
    one = request(options={"channel_id": [0], "hotwords": [{"text": "a", "weight": 4}]})
    other = request_of(
        3,
        options={"hotwords": [{"weight": 4, "text": "a"}], "channel_id": [0]},
        origin=Origin(ORIGIN.generation, 99),
        request_id="other",
        metadata={"n": 2},
        headers=(),
        deadline_ms=5,
    )
    assert content_of(one) == content_of(other)


def test_jobs_are_divided_by_request_in_their_order() -> None:
    one, other = request_of(2), request_of(1, origin=Origin(ORIGIN.generation, 99))
    assert by_request((one.ref(1), other.ref(0), one.ref(0))) == ((one.ref(1), one.ref(0)), (other.ref(0),))
    assert by_request(()) == ()
