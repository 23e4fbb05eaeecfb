"""The journal's records: whatever is written is read back as it was, and what is not ours is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.stage import Stage
from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest
from service.core.job.ending import AccountedUsage, FailureEnding, ResultEnding
from service.core.job.identity import JobRef, Origin, SubmissionKey, read_key
from service.core.job.job import JobState
from service.core.job.request_record import Cursor
from service.core.job.submission import Submission, SubmissionState
from service.core.journal.entries import (
    JobEntry,
    OwnerEntry,
    decode,
    encode_cursor,
    encode_done,
    encode_finished,
    encode_job,
    encode_owner,
    encode_request,
    encode_spend,
    encode_submission,
)
from service.core.journal.stamp import Stamp, cursor_key, epoch_of, owner_key, spend_key
from service.core.limits.spend_limit import DaySpend
from service.errors import FailureCode
from tests.unit.core.samples import REF, job, request, submission, transcript
from tests.unit.core.strategies import (
    COSTS,
    CURSORS,
    ENDS,
    FAILURES,
    FINISHED,
    JSON,
    ORIGINS,
    REFS,
    SUBMISSION_KEYS,
    TEXT,
    WHOLE,
    requests,
    submissions,
)

FAILED = FailureEnding(Stage.POLL, FailureCode.TASK_LOST, "lost")


@given(requests())
def test_an_open_request_is_read_back_as_it_was(before: AcceptedRequest) -> None:
    assert decode(str(before.origin), encode_request(before)) == before


@given(FINISHED)
def test_a_finished_request_is_read_back_as_it_was(before: FinishedRequest) -> None:
    assert decode(str(before.origin), encode_finished(before)) == before


@given(submissions())
def test_a_submission_is_read_back_as_it_was(before: Submission) -> None:
    # No job waits for 0, the time that stands for none.
    known = replace(before, due_ms=0) if before.due_ms == before.created_ms else before
    assert decode(str(before.key), encode_submission(before)) == known


@given(REFS, ENDS)
def test_a_job_that_is_done_is_read_back_as_it_was(ref: JobRef, end: FileEnd) -> None:
    end = end._replace(file_index=ref.file_index)
    assert decode(str(ref), encode_done(end)) == JobEntry(ref, end=end)


@given(FAILURES, st.builds(AccountedUsage, st.none() | WHOLE, st.booleans(), COSTS))
def test_an_ending_that_is_decided_is_read_back_as_it_was(
    ending: FailureEnding, accounted: AccountedUsage
) -> None:
    """Of a result only that it is one: the journal keeps no transcript."""
    failed = encode_job(job(JobState.FINISHING, ending=ending, accounted=accounted))
    assert decode(str(REF), failed or b"") == JobEntry(REF, ending=ending, accounted=accounted)
    heard = encode_job(job(JobState.FINISHING, ending=ResultEnding(transcript()), accounted=accounted))
    assert decode(str(REF), heard or b"") == JobEntry(REF, is_result=True, accounted=accounted)


def test_a_job_has_no_record_of_its_own_before_it_needs_one() -> None:
    assert encode_job(job(JobState.SUBMITTED)) is None
    assert decode(str(REF), encode_job(job(cancelled=True)) or b"") == JobEntry(REF, cancelled=True)
    assert decode(str(REF), encode_job(job(must_be_result=True)) or b"") == JobEntry(REF, is_result=True)


@given(CURSORS)
def test_a_cursor_is_read_back_as_it_was(cursor: Cursor) -> None:
    assert decode(cursor_key(5), encode_cursor(cursor)) == cursor


@given(WHOLE, WHOLE, COSTS)
def test_what_a_day_has_cost_is_read_back_as_it_was(day: int, seconds: int, cost: float) -> None:
    assert decode(spend_key(5), encode_spend(DaySpend(day, seconds, cost))) == DaySpend(day, seconds, cost)


@given(WHOLE, TEXT, st.booleans())
def test_a_claim_is_read_back_as_it_was(epoch: int, member: str, released: bool) -> None:
    owner = OwnerEntry(epoch, member, released)
    assert decode(owner_key(epoch), encode_owner(owner)) == owner


@given(ORIGINS | REFS | SUBMISSION_KEYS)
def test_a_key_is_read_back_as_it_was(key: Origin | JobRef | SubmissionKey) -> None:
    assert read_key(str(key)) == key


@given(WHOLE, WHOLE)
def test_a_stamp_is_read_back_as_it_was(epoch: int, batch: int) -> None:
    assert Stamp.decode(Stamp(epoch, batch).encode()) == Stamp(epoch, batch)


@pytest.mark.parametrize("stamp", [b"7.4.2", b"7.4.3", b"7.4.3.more", b"7.4.1000.1.2", b"7"])
def test_the_epoch_is_found_in_a_stamp_of_every_format(stamp: bytes) -> None:
    """Else a version that knows only its own would take the claim of a later one for nothing."""
    assert epoch_of(stamp) == 7
    if stamp != b"7":
        assert Stamp.decode(stamp).epoch == 7


@pytest.mark.parametrize("stamp", [b"", b"x.1.2", b"1", b"1.2", b"-1.1.2", b"1.+1.2", b"1. 1.2", b"9" * 5000])
def test_what_is_no_stamp_is_refused(stamp: bytes) -> None:
    with pytest.raises(ValueError, match=r"no number|not enough values"):
        Stamp.decode(stamp)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "r",
        "r/1",
        "r/0.1/2",
        "r/00.1",
        "r/-1.1",
        "j/0.1",
        "j/0.1/",
        "j/0.1/-1",
        "s/1.2.3",
        "x/1.2",
        "~unknown",
        "r/ 0.1",
        f"s/1.{2**53}",
        f"j/0.1/{10**400}",
        "r/0.1/0/0",
    ],
)
def test_what_is_no_key_of_ours_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(key, b"{}")


REQUEST = json.loads(encode_request(request()))
RUNNING = json.loads(encode_submission(submission(SubmissionState.RUNNING)))
INTENDED = json.loads(encode_submission(submission(SubmissionState.INTENDED)))
DONE = {"ended": 1, "id": "r", "digest": "d", "ends": [[0, True, 1, 0]]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("r/0.7", REQUEST | {"files": []}),
        ("r/0.7", REQUEST | {"files": [[0, "a"], [0, "b"]]}),
        ("r/0.7", REQUEST | {"files": [[-1, "a"]]}),
        ("r/0.7", REQUEST | {"files": "ab"}),
        ("r/0.7", REQUEST | {"at": 10**400}),
        ("r/0.7", REQUEST | {"at": "1"}),
        ("r/0.7", REQUEST | {"of": ["t", -1, 0]}),
        ("r/0.7", REQUEST | {"of": ["t", 0]}),
        ("r/0.7", REQUEST | {"formats": ["tape"]}),
        ("r/0.7", REQUEST | {"more": 1}),
        ("r/0.7", REQUEST | {"metadata": []}),
        ("r/0.7", {name: value for name, value in REQUEST.items() if name != "model"}),
        ("r/0.7", DONE | {"ends": []}),
        ("r/0.7", DONE | {"ends": [[0, True, -1, 0]]}),
        ("r/0.7", DONE | {"ends": [[0, True, 1, float("inf")]]}),
        ("r/0.7", DONE | {"ends": [[0, 1, 1, 0]]}),
        ("s/5.1", RUNNING | {"state": "x"}),
        ("s/5.1", RUNNING | {"state": "w"}),
        ("s/5.1", {name: value for name, value in RUNNING.items() if name != "task"}),
        ("s/5.1", {name: value for name, value in INTENDED.items() if name != "intent"}),
        ("s/5.1", RUNNING | {"jobs": [[0, 7]]}),
        ("s/5.1", RUNNING | {"jobs": [[0, 7, 2**60]]}),
        ("s/5.1", RUNNING | {"tries": [1, 2, 3, 4, 5]}),
        ("s/5.1", RUNNING | {"at": None}),
        ("j/0.7/0", {}),
        ("j/0.7/0", {"cancel": True, "result": True}),
        ("j/0.7/0", {"done": [True, 1, 0], "cancel": True}),
        ("j/0.7/0", {"ending": ["poll", "task_lost", "x", None, True]}),
        ("j/0.7/0", {"ending": ["poll", "no code", "x", None, True], "accounted": [1, True, 0]}),
        ("~owner/5", {"epoch": 6, "member": "m"}),
        ("~owner/x", {"epoch": 6, "member": "m"}),
        ("~cursor/5", {"next": -1}),
        ("~spend/5", {"day": 1, "seconds": 1, "cost": -1}),
    ],
)
def test_a_record_that_this_version_cannot_have_written_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(key, json.dumps(value).encode())


@given(
    st.sampled_from(["r/0.7", "s/5.1", "j/0.7/0", "~cursor/5", "~cursor/x", "~spend/5", "~owner/5", "x"]),
    st.binary(max_size=20)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.just(b"[" * 100_000)
    | st.just(b'{"a":' * 100_000),
)
def test_hostile_values_are_refused_by_the_one_error_that_is_expected(key: str, value: bytes) -> None:
    try:
        decode(key, value)
    except ValueError:
        return
    raise AssertionError(value)


@given(
    st.sampled_from([("r/0.7", REQUEST), ("r/0.7", DONE), ("s/5.1", RUNNING), ("s/5.1", INTENDED)]),
    st.data(),
)
def test_a_record_with_one_hostile_field_is_refused_or_read(
    record: tuple[str, dict[str, object]], data: st.DataObject
) -> None:
    key, fields = record
    name = data.draw(st.sampled_from(sorted(fields)))
    value = json.dumps(fields | {name: data.draw(JSON)}).encode()
    try:
        decode(key, value)
    except ValueError:
        return


def test_an_error_of_a_record_repeats_nothing_that_it_holds() -> None:
    value = json.dumps(REQUEST | {"at": "secret"}).encode()
    with pytest.raises(ValueError, match="at") as raised:
        decode("r/0.7", value)
    assert "secret" not in str(raised.value)


def test_the_record_of_an_open_request_is_the_only_one_with_urls_and_metadata() -> None:
    """A finished one, a submission and a job of it say nothing of what users sent (N9)."""
    told = [
        encode_finished(FinishedRequest(Origin(0, 7), "r", 0, "d", (FileEnd(0, True, 3),), 5)),
        encode_submission(submission(SubmissionState.RUNNING)),
        encode_done(FileEnd(0, True, 3)),
        encode_job(job(JobState.FINISHING, ending=FAILED, accounted=AccountedUsage(3, True))) or b"",
    ]
    assert all(b"h.example" not in value and b"Signature" not in value for value in told)
    assert b"Signature=secret" in encode_request(request())
