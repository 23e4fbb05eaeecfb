"""Restoring: the last record counts, strangers do not, and what cannot be read is an error."""

from collections.abc import Iterator

import pytest

from service.core.job.accepted_request import FileEnd, FinishedRequest
from service.core.job.identity import JobRef, Origin
from service.core.job.request_record import Cursor
from service.core.job.submission import SubmissionState
from service.core.journal.entries import (
    Entry,
    JobEntry,
    OwnerEntry,
    encode_cursor,
    encode_done,
    encode_finished,
    encode_job,
    encode_owner,
    encode_request,
    encode_spend,
    encode_submission,
)
from service.core.journal.replay import Restore
from service.core.journal.stamp import Stamp, cursor_key, owner_key, spend_key
from service.core.limits.slot_share import Predecessor
from service.core.limits.spend_limit import DaySpend
from service.errors import RestoreError
from tests.unit.core.samples import ORIGIN, REF, SUBMISSION, job, request, submission

FINISHED = FinishedRequest(ORIGIN, "r", 0, "d", (FileEnd(0, succeeded=True, billed_seconds=9),), 5)
REQUEST_KEY = str(ORIGIN)


class Log:
    """Records with rising offsets, folded as they come."""

    def __init__(self) -> None:
        self.restore = Restore("transcription.journal", 3)
        self.offset = 10

    def add(self, key: str, value: bytes | None, epoch: int = 1) -> None:
        """Take the next record."""
        self.restore.add(self.offset, key, value, Stamp(epoch, 1).encode())
        self.offset += 1

    def claim(self, epoch: int, *, released: bool = False) -> None:
        """Take a claim."""
        self.add(owner_key(epoch), encode_owner(OwnerEntry(epoch, "m", released)), epoch)


def test_the_last_record_of_a_key_counts() -> None:
    log = Log()
    log.add(REQUEST_KEY, encode_request(request()))
    log.add(REQUEST_KEY, encode_request(request(metadata=None)))
    assert log.restore.requests() == {ORIGIN: request(metadata=None)}
    log.add(REQUEST_KEY, encode_finished(FINISHED))
    assert log.restore.requests() == {}
    assert log.restore.finished() == [FINISHED]


def test_a_tombstone_forgets_the_key_and_may_come_twice() -> None:
    log = Log()
    log.add(REQUEST_KEY, encode_request(request()))
    log.add(REQUEST_KEY, None)
    log.add(REQUEST_KEY, None)
    assert not log.restore.entries


def test_every_kind_of_record_is_distinguished() -> None:
    log = Log()
    log.claim(1)
    log.add(REQUEST_KEY, encode_request(request()))
    log.add(str(SUBMISSION), encode_submission(submission(SubmissionState.RUNNING)))
    log.add(str(REF), encode_job(job(cancelled=True)))
    log.add(str(JobRef(ORIGIN, 3)), encode_done(FileEnd(3, succeeded=True)))
    log.add(cursor_key(1), encode_cursor(Cursor(5, 3, 4)))
    log.add(spend_key(1), encode_spend(DaySpend(1, 2, 3.0)))
    restore = log.restore
    assert restore.requests() == {ORIGIN: request()}
    assert restore.submissions() == {SUBMISSION: submission(SubmissionState.RUNNING)}
    assert restore.jobs() == {
        REF: JobEntry(REF, cancelled=True),
        JobRef(ORIGIN, 3): JobEntry(JobRef(ORIGIN, 3), end=FileEnd(3, succeeded=True)),
    }
    assert (restore.cursor, restore.spend) == (Cursor(5, 3, 4), DaySpend(1, 2, 3.0))
    assert restore.claims() == [OwnerEntry(1, "m")]


def test_without_a_cursor_there_is_none() -> None:
    log = Log()
    assert (log.restore.cursor, log.restore.spend) == (None, DaySpend())
    log.add(cursor_key(1), encode_cursor(Cursor(3, 1, 2)))
    log.add(cursor_key(1), None)
    assert log.restore.cursor is None


def test_the_cursor_and_the_spending_of_the_last_owner_count_and_others_may_go() -> None:
    log = Log()
    for epoch in (9, 10):
        log.claim(epoch)
        log.add(cursor_key(epoch), encode_cursor(Cursor(epoch)), epoch)
        log.add(spend_key(epoch), encode_spend(DaySpend(epoch)), epoch)
    log.add(cursor_key(9), encode_cursor(Cursor(99)), 9)
    log.add(cursor_key(8), encode_cursor(Cursor(98)), 8)
    assert (log.restore.cursor, log.restore.spend) == (Cursor(10), DaySpend(10))
    assert log.restore.superseded() == ["~cursor/8", "~cursor/9", "~owner/9", "~spend/9"]


class Unwalked(dict[str, Entry]):
    """Entries that must not be walked through: with a hundred thousand, that stops the event loop."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the entries are walked through")

    keys = values = items = __iter__  # type: ignore[assignment]


def test_no_question_of_a_takeover_walks_through_the_entries_of_jobs() -> None:
    log = Log()
    log.restore.entries = Unwalked()
    for epoch in (1, 2):
        log.claim(epoch)
        log.add(cursor_key(epoch), encode_cursor(Cursor(epoch)), epoch)
    log.add(REQUEST_KEY, encode_request(request()), 2)
    log.add(REQUEST_KEY, None, 1)
    restore = log.restore
    assert (restore.cursor, restore.spend) == (Cursor(2), DaySpend())
    assert restore.predecessor is Predecessor.UNKNOWN
    assert restore.superseded() == ["~cursor/1", "~owner/1"]
    assert restore.generation == ORIGIN.generation


def test_a_record_behind_a_higher_claim_is_ignored_and_its_key_reported() -> None:
    log = Log()
    log.claim(4)
    log.add(REQUEST_KEY, encode_request(request()), 4)
    log.add(cursor_key(4), encode_cursor(Cursor(3)), 4)
    log.claim(5)
    log.add(REQUEST_KEY, None, 4)
    log.add(cursor_key(4), encode_cursor(Cursor(9)), 4)
    assert log.restore.requests() == {ORIGIN: request()}
    assert log.restore.cursor == Cursor(3)
    assert log.restore.overwritten == {REQUEST_KEY, cursor_key(4)}
    assert log.restore.epoch == 5


def test_a_claim_that_a_stale_owner_repeats_takes_nothing_from_a_higher_one() -> None:
    """Each has its own key, so it cannot compact the higher one away; and there is nothing to mend."""
    log = Log()
    log.claim(4)
    log.claim(5, released=True)
    log.claim(4)
    assert log.restore.epoch == 5
    assert log.restore.claims() == [OwnerEntry(4, "m"), OwnerEntry(5, "m", released=True)]
    assert log.restore.overwritten == set()


def test_the_claim_of_a_later_format_counts_against_what_lies_behind_it() -> None:
    """A version that does not know the format must not go on as if nobody had claimed."""
    log = Log()
    log.add(REQUEST_KEY, encode_request(request()), 4)
    later = b"6.1.3.and more"
    with pytest.raises(RestoreError, match="its format is 3, and this version of Scribe reads 2"):
        log.restore.add(90, owner_key(6), b"\x00\x01", later)
    assert log.restore.epoch == 6
    log.add(REQUEST_KEY, None, 4)
    assert log.restore.overwritten == {REQUEST_KEY}


def test_a_stale_owners_record_need_not_be_readable() -> None:
    log = Log()
    log.claim(5)
    log.restore.add(90, REQUEST_KEY, b"\x00", b"4.1.3")
    log.restore.add(91, "no key", b"\x00", b"4.1.2")
    assert log.restore.overwritten == {REQUEST_KEY, "no key"}


def test_a_key_that_its_owner_wrote_again_is_not_rewritten() -> None:
    log = Log()
    log.claim(5)
    log.add(REQUEST_KEY, None, 4)
    log.add(REQUEST_KEY, encode_request(request()), 5)
    assert log.restore.overwritten == set()
    assert log.restore.requests() == {ORIGIN: request()}


def test_finished_requests_come_in_the_order_of_their_finish() -> None:
    log = Log()
    for offset, finished_ms in enumerate((30, 10, 20)):
        one = FinishedRequest(Origin(0, offset), "r", offset, "d", FINISHED.ends, finished_ms)
        log.add(str(one.origin), encode_finished(one))
    assert [each.finished_ms for each in log.restore.finished()] == [10, 20, 30]


def test_what_has_been_loaded_is_released() -> None:
    log = Log()
    log.add(REQUEST_KEY, encode_request(request()))
    log.claim(2)
    log.restore.clear()
    assert not log.restore.entries


@pytest.mark.parametrize(
    ("key", "value", "stamp"),
    [
        (REQUEST_KEY, b"{}", b"1.1.2"),
        (REQUEST_KEY, b"not json", b"1.1.2"),
        (REQUEST_KEY, b"[" * 100_000, b"1.1.2"),
        ("r", encode_request(request()), b"1.1.2"),
        (REQUEST_KEY, encode_request(request()), None),
        (REQUEST_KEY, encode_request(request()), b"rubbish"),
        (REQUEST_KEY, encode_request(request()), b"1.1"),
        (REQUEST_KEY, encode_request(request()), b"1.1.1"),
        (REQUEST_KEY, None, b"1.1.3"),
    ],
)
def test_what_cannot_be_read_names_where_it_lies(key: str, value: bytes | None, stamp: bytes | None) -> None:
    with pytest.raises(RestoreError, match="journal, partition 3, offset 42 cannot be read"):
        Restore("transcription.journal", 3).add(42, key, value, stamp)


def test_an_unclaimed_shard_has_no_predecessor() -> None:
    assert Log().restore.predecessor is Predecessor.NONE


def test_an_owner_that_did_not_say_that_it_stopped_may_still_call() -> None:
    log = Log()
    log.claim(1)
    said = [log.restore.predecessor]
    log.claim(1, released=True)
    log.add(REQUEST_KEY, encode_request(request()), epoch=1)
    said.append(log.restore.predecessor)
    log.claim(1)
    said.append(log.restore.predecessor)
    assert said == [Predecessor.UNKNOWN, Predecessor.RELEASED, Predecessor.UNKNOWN]


def test_an_owners_released_mark_says_nothing_of_a_later_owner() -> None:
    log = Log()
    log.claim(1)
    log.claim(2)
    log.claim(1, released=True)
    assert log.restore.predecessor is Predecessor.UNKNOWN
    log.claim(2, released=True)
    log.add(REQUEST_KEY, encode_request(request()), epoch=3)
    assert log.restore.predecessor is Predecessor.UNKNOWN
