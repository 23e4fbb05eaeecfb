"""What a submit of Fun-ASR may say, and how an ended task is shown."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.simulator.config import AllFailedShape
from sandbox.simulator.file_tasks import ResultsView, read_submit
from sandbox.simulator.recording import Channel, Heard, Recording, Unusable
from sandbox.simulator.tasks import Submission, Task, TaskFile
from sandbox.simulator.wire import ApiError, JsonObject

URL = "https://media.example.org/a.wav"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _read(
    file_urls: object, parameters: object = None, *, files_per_task: int = 100, oss: bool = False
) -> Submission:
    return read_submit(
        "fun-asr", {"file_urls": file_urls}, parameters, files_per_task=files_per_task, resolves_oss=oss
    )


def _error(*arguments: object, **options: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        _read(*arguments, **options)  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.code) == (400, "InvalidParameter")
    return caught.value


@pytest.mark.parametrize("file_urls", [None, [], "https://media.example.org/a.wav", {}, 7])
def test_file_urls_must_be_a_list_with_something_in_it(file_urls: object) -> None:
    assert _error(file_urls).message == "input must contain file_urls"


@pytest.mark.parametrize(
    "file_url",
    ["", "a.wav", "file:///a.wav", "data:audio/wav;base64,AA==", "https://", 7, None, "http://[::1"],
)
def test_what_is_no_http_url_is_refused_with_the_vendors_words(file_url: object) -> None:
    assert _error([URL, file_url]).message == "url error, please check url！"


def test_oss_urls_need_the_header_that_resolves_them() -> None:
    assert _error(["oss://bucket/a.wav"]).message == "url error, please check url！"
    assert _read(["oss://bucket/a.wav"], oss=True).file_urls == ("oss://bucket/a.wav",)


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_one_file_too_many_is_refused(limit: int) -> None:
    assert len(_read([URL] * limit, files_per_task=limit).file_urls) == limit
    assert str(limit) in _error([URL] * (limit + 1), files_per_task=limit).message


def test_every_documented_parameter_is_taken_and_kept_as_sent() -> None:
    parameters = {
        "channel_id": [0, 1],
        "language_hints": ["en"],
        "vocabulary_id": "vocab-demo-0a1b",
        "diarization_enabled": True,
        "speaker_count": 2,
        "special_word_filter": '{"system_reserved_filter": true}',
        "an_unknown_one": {"x": 1},
    }
    assert _read([URL], parameters).parameters == parameters
    assert _read([URL], {}).parameters == {}
    assert _read([URL]).parameters is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channel_id", 0),
        ("channel_id", []),
        ("channel_id", [True]),
        ("channel_id", ["0"]),
        ("language_hints", "en"),
        ("vocabulary_id", 7),
        ("special_word_filter", {"system_reserved_filter": True}),
        ("special_word_filter", "not json"),
        ("special_word_filter", "[]"),
        ("diarization_enabled", "true"),
        ("speaker_count", 2.0),
    ],
)
def test_a_parameter_of_the_wrong_type_is_named(name: str, value: object) -> None:
    assert name in _error([URL], {name: value}).message


@given(JSON_VALUES, JSON_VALUES)
def test_any_json_is_taken_or_refused_never_a_crash(file_urls: object, parameters: object) -> None:
    with contextlib.suppress(ApiError):
        assert isinstance(_read(file_urls, parameters), Submission)


def _task(*heard: bool) -> Task:
    recording = Recording("pcm", 16_000, 2000, 1, (Channel(0, ()),))
    files = [
        TaskFile(
            n,
            f"{URL}?{n}",
            Heard(1001, lambda: recording) if ok else Unusable("DECODE_ERROR", "DECODE_ERROR"),
        )
        for n, ok in enumerate(heard, 1)
    ]
    submission = Submission("fun-asr", tuple(file.file_url for file in files), {})
    return Task("a", "1", submission, 0.0, files, scheduled_at=0.0, ended_at=1.0)


def _results(output: JsonObject) -> list[dict[str, str]]:
    results = output["results"]
    assert isinstance(results, list)
    return results


def _view(shape: AllFailedShape = "succeeded", seed: int = 0) -> ResultsView:
    return ResultsView(all_failed_shape=shape, seed=seed, url_of=lambda task, file: task.result_path(file))


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers())
def test_results_name_every_file_once_and_never_in_the_order_of_the_submit(
    heard: list[bool], seed: int
) -> None:
    task = _task(*heard)
    output, beside = _view(seed=seed).ending(task)
    results = _results(output)
    urls = [result["file_url"] for result in results]
    assert sorted(urls) == sorted(task.submission.file_urls)
    assert len(urls) == 1 or urls != list(task.submission.file_urls)
    assert _view(seed=seed).ending(task) == (output, beside)
    good = [result for result in results if result["subtask_status"] == "SUCCEEDED"]
    assert {result["file_url"] for result in good} == {
        file.file_url for file, ok in zip(task.files, heard, strict=True) if ok
    }
    assert output["task_metrics"] == {
        "TOTAL": len(heard),
        "SUCCEEDED": sum(heard),
        "FAILED": len(heard) - sum(heard),
    }
    assert beside == {"usage": {"duration": -(-1001 * sum(heard) // 1000)}}


def test_a_task_whose_files_all_failed_has_three_possible_shapes() -> None:
    task = _task(False, False)
    assert _view("succeeded").status(task, 2.0) == "SUCCEEDED"
    output, _ = _view("succeeded").ending(task)
    assert "code" not in output
    assert len(_results(output)) == 2

    assert _view("failed").status(task, 2.0) == "FAILED"
    output, beside = _view("failed").ending(task)
    assert (output["code"], output["message"], beside) == ("DECODE_ERROR", "DECODE_ERROR", {})
    assert "results" not in output

    assert _view("failed_with_results").status(task, 2.0) == "FAILED"
    output, _ = _view("failed_with_results").ending(task)
    assert output["code"] == "DECODE_ERROR"
    assert len(_results(output)) == 2


@pytest.mark.parametrize("shape", ["succeeded", "failed", "failed_with_results"])
def test_one_good_file_makes_a_task_succeed_in_every_shape(shape: AllFailedShape) -> None:
    assert _view(shape).status(_task(False, True), 2.0) == "SUCCEEDED"
