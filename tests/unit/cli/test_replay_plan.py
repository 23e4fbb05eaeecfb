"""Which failures become requests again: never twice, never while the work is open, never in a loop."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.encoding import encode
from service.cli.replay_plan import NEVER, Evidence, FailedFile, Plan, Rules, Skip, make_plan
from service.contract.request_decoder import RequestLimits, read_request
from service.errors import FailureCode

SIGNED = "https://h.example/{}.wav?Signature=old"


def failed(index: int | None = 0, replay: int = 0, count: int = 1, **fields: object) -> FailedFile:
    """A failure as the service writes it: with its request reduced to this file."""
    plain = FailedFile(
        request_id="r",
        replay=replay,
        file_index=index,
        file_count=count,
        code="provider_error",
        retryable=True,
        model="fun-asr",
        time_ms=1000 + replay,
        request={
            "request_id": "r",
            "file_urls": [SIGNED.format(index)],
            "model": "fun-asr",
            "options": {"language_hints": ["en"]},
            "metadata": {"case": 7},
        },
        headers=(("traceparent", b"00-1"),),
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def evidence_of(failures: Sequence[FailedFile]) -> Evidence:
    found = Evidence()
    for each in failures:
        found.note(each.request_id, each.replay, () if each.file_index is None else (each.file_index,))
    return found


def planned(
    failures: Sequence[FailedFile], evidence: Evidence | None = None, rules: Rules | None = None
) -> Plan:
    return make_plan(failures, evidence or evidence_of(failures), rules or Rules())


def test_the_failed_files_of_a_request_go_together_under_the_next_number() -> None:
    [made] = planned([failed(3, count=5), failed(1, count=5)]).replays
    assert (made.request_id, made.number, made.indexes, made.headers) == (
        *("r", 1, (1, 3)),
        (("traceparent", b"00-1"),),
    )
    request = read_request(encode(made.body), (), RequestLimits()).request
    assert request.replay == 1
    assert request.file_indexes == (1, 3)
    assert [request.file_urls[index] for index in (1, 3)] == [SIGNED.format(1), SIGNED.format(3)]
    assert {request.file_urls[index] for index in (0, 2, 4)} == {"https://h.example/1.wav"}
    assert (request.metadata, request.options) == ({"case": 7}, {"language_hints": ["en"]})


def test_a_request_whose_files_all_failed_names_no_indexes() -> None:
    [made] = planned([failed(0, count=2), failed(1, count=2)]).replays
    assert "file_indexes" not in made.body


def test_a_number_that_is_used_by_anything_is_not_used_again() -> None:
    failures = [failed()]
    evidence = evidence_of(failures)
    evidence.note("r", 2, ())  # another request has it, as a conflict has told
    [made] = planned(failures, evidence).replays
    assert made.number == 3


@pytest.mark.parametrize("indexes", [(0,), None])
def test_a_file_that_was_done_again_is_left_out(indexes: tuple[int, ...] | None) -> None:
    failures = [failed(0, count=2)]
    evidence = evidence_of(failures)
    evidence.note("r", 1, indexes)
    plan = planned(failures, evidence)
    assert (plan.replays, plan.skipped) == ((), {Skip.AGAIN: 1})


def test_a_file_that_a_replay_left_out_is_still_to_be_done() -> None:
    failures = [failed(0, count=2), failed(1, count=2), failed(1, replay=1, count=2)]
    [made] = planned(failures).replays
    assert (made.number, made.indexes) == (2, (0, 1))


def test_the_last_failure_of_a_file_gives_its_url() -> None:
    newer = failed(0, replay=1)
    newer = replace(newer, request={**(newer.request or {}), "file_urls": ["https://new.example/0.wav"]})
    [made] = planned([newer, failed(0)]).replays
    assert made.body["file_urls"] == ["https://new.example/0.wav"]


def test_open_work_is_left_alone() -> None:
    failures = [failed(0, count=2), failed(0, request_id="s")]
    evidence = evidence_of(failures)
    evidence.open.add("r")
    plan = planned(failures, evidence)
    assert [each.request_id for each in plan.replays] == ["s"]
    assert plan.skipped == {Skip.OPEN: 1}


def test_a_failure_that_comes_back_again_and_again_is_given_up() -> None:
    failures = [failed(0, replay=number) for number in range(4)]
    assert planned(failures).skipped == {Skip.LOOP: 1}
    assert planned(failures, rules=Rules(max_replays=4)).replays[0].number == 4


@pytest.mark.parametrize("request_body", [None, {}, {"file_urls": []}, {"file_urls": [5]}])
def test_a_failure_that_does_not_hold_its_request_is_left_out(request_body: dict[str, object] | None) -> None:
    assert planned([failed(request=request_body)]).skipped == {Skip.NO_REQUEST: 1}


def test_a_request_that_the_service_would_refuse_is_left_out_with_the_reason() -> None:
    limits = RequestLimits(allowed_hosts=frozenset({"other.example"}))
    plan = planned([failed()], rules=Rules(limits=limits))
    assert plan.skipped == {Skip.INVALID: 1}
    [words] = plan.refusals
    assert words == "r: this service's settings do not allow the host of `file_urls[0]`"


def test_urls_are_edited_and_a_deadline_may_be_given() -> None:
    rules = Rules(edit=lambda url: url.replace("old", "new"), ttl_seconds=60)
    [made] = planned([failed()], rules=rules).replays
    assert made.body["file_urls"] == [SIGNED.format(0).replace("old", "new")]
    assert made.body["ttl_seconds"] == 60


@pytest.mark.parametrize("code", FailureCode)
def test_only_what_may_be_done_again_is_selected(code: FailureCode) -> None:
    retryable, other = failed(code=code.value), failed(code=code.value, retryable=False)
    named = Rules(codes=frozenset({code.value}))
    assert Rules().takes(retryable) is (code not in NEVER)
    assert not Rules().takes(other)
    assert named.takes(other) is (code not in NEVER)
    assert not named.takes(failed(code="other"))
    assert not named.takes(failed(None, code=code.value)), "a record that never was work"


FAILURES = st.lists(
    st.builds(
        failed,
        st.integers(0, 4),
        st.integers(0, 3),
        st.just(5),
        request_id=st.sampled_from(["r", "s"]),
        time_ms=st.integers(0, 9),
    ),
    max_size=12,
)


@given(FAILURES, st.randoms())
def test_the_same_failures_make_the_same_work_in_whatever_order_they_are_read(
    failures: list[FailedFile], shuffle: object
) -> None:
    """A second run then publishes what the service knows: it answers, and bills nothing."""
    distinct = list({(each.request_id, each.replay, each.file_index): each for each in failures}.values())
    first = planned(distinct)
    again = planned(sorted(distinct, key=lambda each: hash((id(shuffle), id(each)))))
    assert {each.request_id: each.body for each in first.replays} == {
        each.request_id: each.body for each in again.replays
    }


@given(FAILURES)
def test_after_its_replays_nothing_is_left_to_replay(failures: list[FailedFile]) -> None:
    evidence = evidence_of(failures)
    rules = Rules(max_replays=9)
    for each in make_plan(failures, evidence, rules).replays:
        evidence.note(each.request_id, each.number, each.indexes)
    assert make_plan(failures, evidence, rules).replays == ()
