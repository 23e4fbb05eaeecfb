"""What a former owner wrote by a clock that was ahead: a restore puts it back to now."""

from dataclasses import replace

from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest
from service.core.job.events import QueueSubmit
from service.core.job.identity import Origin
from service.core.job.submission import Counters, Submission, SubmissionState
from service.core.journal.entries import encode_finished, encode_request, encode_spend, encode_submission
from service.core.journal.stamp import spend_key
from service.core.limits.spend_limit import DAY_MS, DaySpend
from service.core.shard.batches import JournalRecord
from service.core.shard.loading import LATEST_DUE_MS
from service.core.shard.shard import Shard
from tests.unit.core.samples import NOW_MS, REF, SUBMISSION, context, request, submission
from tests.unit.core.shard_world import Entry, restore_of

AHEAD_MS = 3 * DAY_MS


def finished(offset: int, finished_ms: int) -> FinishedRequest:
    return FinishedRequest(Origin(0, offset), f"r{offset}", 0, "d", (FileEnd(0, True, 7),), finished_ms)


def restored(*things: AcceptedRequest | FinishedRequest | Submission | DaySpend) -> Shard:
    """A shard that begins now with these records."""
    records = [_record(thing) for thing in things]
    shard = Shard(0, epoch=6)
    shard.load(restore_of([Entry(each.key, each.value, 5) for each in records]), context())
    # No record is between a request's first one and the cursor.
    shard.durable_cursor = replace(shard.cursor, next_offset=1_000)
    return shard


def _record(thing: AcceptedRequest | FinishedRequest | Submission | DaySpend) -> JournalRecord:
    match thing:
        case AcceptedRequest():
            return JournalRecord(str(thing.origin), encode_request(thing))
        case FinishedRequest():
            return JournalRecord(str(thing.origin), encode_finished(thing))
        case Submission():
            return JournalRecord(str(thing.key), encode_submission(thing))
        case DaySpend():
            return JournalRecord(spend_key(1), encode_spend(thing))


def test_a_finish_that_is_ahead_does_not_hold_the_window_open() -> None:
    shard = restored(finished(1, NOW_MS + AHEAD_MS), finished(2, NOW_MS - 5))
    assert {origin.offset: each.finished_ms for origin, each in shard.finished.items()} == {
        1: NOW_MS,
        2: NOW_MS - 5,
    }
    gone = shard.expired_tombstones(NOW_MS + DAY_MS + 1)
    assert [record.key for group in gone.groups for record in group.records] == ["r/0.2", "r/0.1"]


def test_a_spending_day_that_is_ahead_does_not_hide_what_today_has_cost() -> None:
    shard = restored(DaySpend((NOW_MS + AHEAD_MS) // DAY_MS, 14))
    assert shard.spend.on(NOW_MS) == 14
    assert shard.spend.on(NOW_MS + DAY_MS) == 0


def test_a_due_time_that_is_ahead_does_not_keep_its_submission_waiting() -> None:
    tried = submission(counters=Counters(submits=1))
    for due_ms, expected_ms in (
        (NOW_MS + AHEAD_MS, NOW_MS + LATEST_DUE_MS),
        (NOW_MS + 60_000, NOW_MS + 60_000),
    ):
        shard = Shard(0, epoch=6)
        records = [_record(request()), _record(replace(tried, due_ms=due_ms))]
        change = shard.load(restore_of([Entry(each.key, each.value, 5) for each in records]), context())
        assert change.steps == (QueueSubmit(SUBMISSION, expected_ms),)


def test_a_submit_that_is_ahead_does_not_move_the_edge_of_its_result() -> None:
    shard = restored(request(), submission(SubmissionState.RUNNING, submitted_ms=NOW_MS + AHEAD_MS))
    assert (shard.submissions[SUBMISSION].submitted_ms, shard.jobs[REF].submitted_ms) == (NOW_MS, NOW_MS)


def test_a_submission_that_is_ahead_is_not_kept_for_longer_than_a_day() -> None:
    over = submission(SubmissionState.RUNNING, created_ms=NOW_MS + AHEAD_MS)
    shard = restored(over)
    gone = shard.expired_tombstones(NOW_MS + DAY_MS + 600_000)
    assert [record.key for group in gone.groups for record in group.records] == [str(SUBMISSION)]


def test_times_that_are_not_ahead_stay_as_they_are() -> None:
    running = submission(SubmissionState.RUNNING, submitted_ms=NOW_MS - 5)
    shard = restored(request(), running, finished(9, NOW_MS - 9))
    assert shard.submissions[SUBMISSION].submitted_ms == NOW_MS - 5
    assert [each.finished_ms for each in shard.finished.values()] == [NOW_MS - 9]
