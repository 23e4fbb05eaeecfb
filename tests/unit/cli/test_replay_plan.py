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
        found.note_end(each.request_id, each.replay, each.file_index, each.time_ms)
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


@pytest.mark.parametrize(
    ("number", "ended_ms", "is_left_out"), [(0, 1001, True), (0, 999, False), (1, 1, True)]
)
def test_work_that_ended_under_the_same_number_later_was_done_again(
    number: int, ended_ms: int, is_left_out: bool
) -> None:
    """After the deduplication window the same id and number are new work."""
    failures = [failed()]
    evidence = evidence_of(failures)
    evidence.note_end("r", number, 0, ended_ms)
    plan = planned(failures, evidence)
    assert plan.skipped == ({Skip.AGAIN: 1} if is_left_out else {})


def test_the_end_of_another_file_does_not_count() -> None:
    failures = [failed(0, count=2)]
    evidence = evidence_of(failures)
    evidence.note_end("r", 0, 1, 5000)
    evidence.note_end("s", 0, 0, 5000)
    assert len(planned(failures, evidence).replays) == 1


def test_a_failure_that_is_older_than_the_results_is_left_out_unless_the_journal_has_its_request() -> None:
    failures = [failed(record=(2, 7)), failed(request_id="s"), failed(request_id="t", time_ms=2000)]
    evidence = evidence_of(failures)
    evidence.results_since_ms = dict.fromkeys("rst", 1500)
    plan = planned(failures, evidence)
    assert [each.request_id for each in plan.replays] == ["t"]
    assert plan.skipped == {Skip.UNKNOWN: 2}
    evidence.remembered = {("r", 0, (2, 8)), ("r", 1, (2, 7)), ("s", 0, (2, 7))}
    assert planned(failures, evidence).skipped == {Skip.UNKNOWN: 2}, "what the journal has is another request"
    evidence.remembered.add(("r", 0, (2, 7)))
    assert planned(failures, evidence).skipped == {Skip.UNKNOWN: 1}


REQUEST: dict[str, object] = {**(failed().request or {})}


@pytest.mark.parametrize(
    "other",
    [
        {"request": {**REQUEST, "model": "paraformer-v2"}},
        {"request": {**REQUEST, "options": {"language_hints": ["de"]}}},
        {"request": {**REQUEST, "options": {"language_hints": ["en"], "diarization_enabled": True}}},
        {"request": {**REQUEST, "output": {"formats": ["srt"]}}},
        {"request": {**REQUEST, "metadata": {"case": 8}}},
        {"request": {**REQUEST, "metadata": {"case": 7.0}}},
        {"count": 3},
        {"record": (0, 6)},
    ],
    ids=["model", "options", "more options", "formats", "metadata", "number form", "file count", "record"],
)
@pytest.mark.parametrize("replay", [0, 1])
def test_failures_of_different_requests_under_one_id_make_no_request(
    other: dict[str, object], replay: int
) -> None:
    fields: dict[str, object] = {"count": 2, "record": (0, replay + 4), "time_ms": 9000, **other}
    failures = [failed(0, count=2, record=(0, 4)), failed(1, replay, **fields)]  # type: ignore[arg-type]
    if replay == 1 and "record" in other:
        assert len(planned(failures).replays) == 1, "a replay has a record of its own"
        return
    plan = planned([*failures, failed(request_id="s")])
    assert [each.request_id for each in plan.replays] == ["s"]
    assert plan.skipped == {Skip.MIXED: 2}
    assert plan.refusals == (
        "r: its failures are of different requests: take those of one, with --since, --until or --model",
    )


def test_failures_of_one_request_have_one_record_and_the_same_fields_in_any_order() -> None:
    reordered = {name: REQUEST[name] for name in reversed([*REQUEST])} | {"file_urls": [SIGNED.format(1)]}
    failures = [failed(0, count=2, record=(0, 4)), failed(1, count=2, record=(0, 4), request=reordered)]
    [made] = planned(failures).replays
    assert made.indexes == (0, 1)


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
