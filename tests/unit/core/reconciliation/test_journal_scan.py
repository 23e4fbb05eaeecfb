"""What a journal partition says of tasks: whose they are, who waits for one, and what nobody can read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.job.file_matching import files_digest
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.request_record import Cursor
from service.core.job.submission import Intent, Submission, SubmissionState
from service.core.job.transition_context import Rules
from service.core.journal.entries import encode_cursor, encode_submission
from service.core.journal.stamp import Stamp, cursor_key
from service.core.reconciliation import journal_scan as scan_module
from service.core.reconciliation.journal_scan import PartitionScan
from service.core.reconciliation.task_listing import EVER
from service.core.reconciliation.unanswered import Files, Gap, window_of

NOW_MS = 1_760_000_000_000
HOUR_MS, DAY_MS = 3_600_000, 24 * 3_600_000
RULES = Rules()
KEY = SubmissionKey(1, 2)
INTENT = Intent(NOW_MS - 50, 0, 1, files_digest(["a"]))
SLACK_MS = 1_000 * (10 + 2 + 30 + 60 + 900)
WANTED = frozenset({"t0", "t1", "t2"})


def submission(state: SubmissionState = SubmissionState.RUNNING, **fields: object) -> Submission:
    """A submission whose POST went out; a running one has made the task t1."""
    task_id = "t1" if state is SubmissionState.RUNNING else None
    jobs = (JobRef(Origin(0, 7), 0),)
    plain = Submission(KEY, "fun-asr", jobs, NOW_MS - 100, state=state, intent=INTENT, task_id=task_id)
    return replace(plain, **fields)  # type: ignore[arg-type]


RUNNING = submission()
UNCERTAIN = submission(SubmissionState.UNCERTAIN)
INTENDED = submission(SubmissionState.INTENDED)
WAITING = submission(SubmissionState.WAITING)
Record = tuple[int, Submission | bytes | None]


def scan(*records: Record, since_ms: float = EVER[0]) -> PartitionScan:
    """A scan that has taken these records, epoch and submission, to the partition's end."""
    found = PartitionScan(3, RULES, since_ms)
    for offset, (epoch, record) in enumerate(records):
        key, value = str(KEY), record
        if isinstance(record, Submission):
            key, value = str(record.key), encode_submission(record)
        assert not isinstance(value, Submission)
        found.add(offset, key, value, Stamp(epoch, 1).encode(), NOW_MS)
    found.complete(NOW_MS)
    return found


def states(found: PartitionScan) -> list[SubmissionState]:
    return [each.state for each in found.unanswered()]


def test_a_running_submissions_task_is_known() -> None:
    assert scan((1, RUNNING)).known(WANTED) == {"t1"}
    assert states(scan((1, RUNNING))) == []


def test_a_task_that_was_not_asked_for_is_not_known() -> None:
    assert scan((1, RUNNING)).known({"t2"}) == set()
    assert scan().known(WANTED) == set()


def test_a_task_stays_known_when_its_submission_is_tried_again_or_forgotten() -> None:
    other = replace(RUNNING, key=SubmissionKey(1, 3), task_id="t2")
    assert scan((1, RUNNING), (1, other), (1, None)).known(WANTED) == {"t1", "t2"}


@pytest.mark.parametrize("unanswered", [UNCERTAIN, INTENDED])
def test_a_submission_without_an_answer_is_unanswered_until_it_has_one(unanswered: Submission) -> None:
    [found] = scan((1, unanswered)).unanswered()
    assert (found.key, found.state, found.intent) == (KEY, unanswered.state, INTENT)
    for answer in (RUNNING, WAITING, None):
        assert states(scan((1, unanswered), (1, answer))) == []


def test_a_call_of_a_synchronous_model_made_no_task() -> None:
    assert states(scan((1, replace(INTENDED, model="qwen3-asr-flash")))) == []


def test_a_stale_owners_write_behind_a_claim_is_ignored() -> None:
    """Its task may be the one that is looked for."""
    found = scan((1, INTENDED), (2, UNCERTAIN), (1, RUNNING), (1, b"{"))
    assert (found.known(WANTED), states(found), found.gaps()) == (set(), [SubmissionState.UNCERTAIN], [])


def test_a_claim_counts_whatever_its_key_and_its_format() -> None:
    found = scan((1, INTENDED))
    assert found.add(1, "~owner/5", b"?", b"5.0.99.new", None)
    assert found.add(2, str(KEY), None, Stamp(4, 1).encode(), None)
    assert states(found) == [SubmissionState.INTENDED]


def test_the_other_records_are_not_even_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "decode", None)
    found = scan()
    assert found.add(0, cursor_key(1), encode_cursor(Cursor(7)), Stamp(1, 1).encode(), NOW_MS)
    assert found.add(1, "r/0.7", b"{", Stamp(1, 1).encode(), NOW_MS)
    assert found.add(2, "a stranger's", None, None, NOW_MS)
    assert (found.known(WANTED), states(found), found.gaps(), found.position) == (set(), [], [], 3)


@pytest.mark.parametrize(
    ("before_ms", "is_brokers_time", "is_decoded"),
    [(SLACK_MS, True, True), (SLACK_MS + 1, True, False), (DAY_MS, False, True)],
    ids=["just late enough", "too early", "a clock of ours"],
)
def test_what_the_broker_took_before_any_time_that_matters_is_not_decoded(
    before_ms: int, is_brokers_time: bool, is_decoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    monkeypatch.setattr(scan_module, "decode", lambda key, _value: decoded.append(key))
    found, at_ms = scan(since_ms=NOW_MS), NOW_MS - before_ms
    value = encode_submission(RUNNING)
    stamps = (Stamp(2, 1).encode(), None)
    readable = [
        found.add(number, f"s/1.{number}", value, stamp, at_ms, is_brokers_time=is_brokers_time)
        for number, stamp in enumerate(stamps)
    ]
    assert bool(decoded) is is_decoded
    assert readable == [True, not is_decoded]
    # Its epoch counts all the same.
    assert found.add(2, str(KEY), b"{", Stamp(1, 1).encode(), NOW_MS)


# What cannot be read.

UNREADABLE = [
    pytest.param(b"{", Stamp(1, 1).encode(), id="no JSON"),
    pytest.param(encode_submission(RUNNING), None, id="without a stamp"),
    pytest.param(encode_submission(RUNNING), b"new", id="with a stamp that is none"),
    pytest.param(b'{"state":"z"}', Stamp(1, 1).encode(), id="no submission"),
]


@pytest.mark.parametrize(("value", "stamp"), UNREADABLE)
def test_a_record_that_cannot_be_read_is_a_gap_about_anything_of_its_time(
    value: bytes, stamp: bytes | None
) -> None:
    found = scan()
    assert not found.add(7, str(KEY), value, stamp, NOW_MS)
    assert found.gaps() == [Gap(3, (NOW_MS - DAY_MS - SLACK_MS, NOW_MS + SLACK_MS))]
    assert found.position == 8


@pytest.mark.parametrize("before", [INTENDED, UNCERTAIN])
def test_a_gap_behind_a_submission_that_was_read_is_about_that_one(before: Submission) -> None:
    found = scan((1, before), (1, b"{"))
    assert found.gaps() == [Gap(3, window_of(INTENT, None, RULES), Files(1, INTENT.files_digest))]


@pytest.mark.parametrize("after", [RUNNING, INTENDED, WAITING, None])
def test_a_gap_is_over_once_a_record_that_can_be_read_takes_its_place(after: Submission | None) -> None:
    assert scan((1, b"{"), (1, after)).gaps() == []


def test_a_record_without_a_key_is_a_gap_that_the_next_records_time_bounds() -> None:
    found = scan()
    found.skip(4)
    assert (found.gaps(), found.position) == ([Gap(3)], 5)
    found.add(5, cursor_key(1), None, Stamp(1, 1).encode(), None)
    assert found.gaps() == [Gap(3)]
    found.add(6, cursor_key(1), None, Stamp(1, 1).encode(), NOW_MS)
    assert found.gaps() == [Gap(3, (NOW_MS - DAY_MS - SLACK_MS, NOW_MS + SLACK_MS))]
    found.add(7, cursor_key(1), None, Stamp(1, 1).encode(), NOW_MS + HOUR_MS)
    found.forget_before(NOW_MS + DAY_MS)
    assert found.gaps() == []


def test_many_gaps_are_one_as_wide_as_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "MAX_GAPS", 2)
    found = scan()
    for number in range(3):
        found.add(number, f"s/1.{number}", b"{", Stamp(1, 1).encode(), NOW_MS + number)
    assert found.gaps() == [Gap(3, (NOW_MS - DAY_MS - SLACK_MS, NOW_MS + 2 + SLACK_MS))]
    for number in range(3, 6):
        found.skip(number)
    found.add(6, cursor_key(1), None, Stamp(1, 1).encode(), NOW_MS)
    assert Gap(3) in found.gaps()


def test_a_partition_that_was_not_read_to_its_end_may_know_of_any_later_task() -> None:
    assert PartitionScan(3, RULES, 0).gaps() == [Gap(3)]
    found = scan((1, RUNNING))
    assert found.gaps() == []
    found.is_behind = True
    assert found.gaps() == [Gap(3, (NOW_MS, EVER[1]))]


# What is kept.


def test_tasks_older_than_every_searched_span_are_not_kept() -> None:
    end_ms = window_of(INTENT, None, RULES)[1]
    for since_ms, is_kept in ((end_ms, True), (end_ms + 1, False)):
        assert bool(scan((1, RUNNING), since_ms=since_ms).known(WANTED)) is is_kept
        assert bool(scan((1, INTENDED), since_ms=since_ms).unanswered()) is is_kept


def test_candidates_that_are_no_longer_searched_are_forgotten() -> None:
    found = scan((1, RUNNING), (1, replace(INTENDED, key=SubmissionKey(1, 3))))
    end_ms = window_of(INTENT, None, RULES)[1]
    found.forget_before(end_ms)
    assert (found.known(WANTED), states(found)) == ({"t1"}, [SubmissionState.INTENDED])
    found.forget_before(end_ms + HOUR_MS)
    assert (found.known(WANTED), states(found)) == (set(), [])
    assert found.since_ms == end_ms + HOUR_MS


def test_what_does_not_tell_its_time_is_kept() -> None:
    found = scan((1, replace(RUNNING, intent=INTENT._replace(vendor_offset_ms=None))))
    found.add(9, "s/1.9", encode_submission(submission(intent=None, task_id="t2")), Stamp(1, 1).encode(), 1)
    found.forget_before(NOW_MS + 365 * DAY_MS)
    assert found.known(WANTED) == {"t1", "t2"}
    assert len(found._tasks) == 1, "in one place, however many there are"


STATES = [RUNNING, UNCERTAIN, INTENDED, WAITING, None, b"{"]
RECORDS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from(STATES), st.integers(0, 3)), max_size=12
)


@given(RECORDS, st.integers(0, 12))
def test_a_journal_read_in_two_passes_says_what_it_says_in_one(
    records: list[tuple[int, int, Submission | bytes | None, int]], middle: int
) -> None:
    def taken(found: PartitionScan, begin: int, end: int) -> PartitionScan:
        for offset, (number, epoch, record, task) in list(enumerate(records))[begin:end]:
            key, value = SubmissionKey(1, number), record
            if isinstance(record, Submission):
                named = record if record.task_id is None else replace(record, task_id=f"t{task}")
                value = encode_submission(replace(named, key=key))
            assert not isinstance(value, Submission)
            found.add(offset, str(key), value, Stamp(epoch, 1).encode(), NOW_MS)
        found.complete(NOW_MS)
        return found

    whole = taken(PartitionScan(3, RULES, 0.0), 0, len(records))
    parts = taken(taken(PartitionScan(3, RULES, 0.0), 0, middle), middle, len(records))
    assert whole == parts
    assert whole.known(WANTED) == parts.known(WANTED)
