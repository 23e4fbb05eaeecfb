"""Restoring: the last entry counts, strangers do not, and what cannot be read is an error."""

import json

import pytest

from service.core.entry import (
    CURSOR_KEY,
    OWNER_KEY,
    Marker,
    Owner,
    Stamp,
    encode_cursor,
    encode_job,
    encode_marker,
    encode_owner,
)
from service.core.identity import JobKey
from service.core.job import State
from service.core.record import Cursor
from service.core.restore import Restore
from service.errors import RestoreError
from tests.unit.core.samples import job, spec

MARKER = Marker(JobKey("r", 0, 0), "d", 1, succeeded=True, billed_seconds=9, finished_ms=5)


class Log:
    """Records with rising offsets, folded as they come."""

    def __init__(self) -> None:
        self.restore = Restore("transcription.journal", 3)
        self.offset = 10

    def add(self, key: str, value: bytes | None, epoch: int = 1) -> None:
        """Take the next record."""
        self.restore.add(self.offset, key, value, Stamp(epoch, 1).encode())
        self.offset += 1

    def claim(self, epoch: int) -> None:
        """Take a claim."""
        self.add(OWNER_KEY, encode_owner(Owner(epoch, "m")), epoch)


def test_the_last_entry_of_a_key_counts() -> None:
    log = Log()
    log.add("r/0/0", encode_job(job()))
    log.add("r/0/0", encode_job(job(State.RUNNING)))
    assert log.restore.jobs() == [job(State.RUNNING)]
    log.add("r/0/0", encode_marker(MARKER))
    assert log.restore.jobs() == []
    assert log.restore.markers() == [MARKER]


def test_a_tombstone_forgets_the_key_and_may_come_twice() -> None:
    log = Log()
    log.add("r/0/0", encode_job(job()))
    log.add("r/0/0", None)
    log.add("r/0/0", None)
    assert not log.restore.entries


def test_the_cursor_is_the_last_one_written() -> None:
    log = Log()
    log.add(CURSOR_KEY, encode_cursor(Cursor(3, 1, 2)))
    log.add(CURSOR_KEY, encode_cursor(Cursor(5, 3, 4)))
    assert log.restore.cursor == Cursor(5, 3, 4)


def test_without_a_cursor_there_is_none() -> None:
    log = Log()
    log.add("r/0/0", encode_job(job()))
    assert log.restore.cursor is None
    log.add(CURSOR_KEY, None)
    assert log.restore.cursor is None


def test_an_entry_behind_a_higher_claim_is_ignored_and_its_key_told() -> None:
    log = Log()
    log.claim(4)
    log.add("r/0/0", encode_job(job()), 4)
    log.add(CURSOR_KEY, encode_cursor(Cursor(3)), 4)
    log.claim(5)
    log.add("r/0/0", None, 4)
    log.add(CURSOR_KEY, encode_cursor(Cursor(9)), 4)
    assert log.restore.jobs() == [job()]
    assert log.restore.cursor == Cursor(3)
    assert log.restore.overwritten == {"r/0/0", CURSOR_KEY}
    assert log.restore.epoch == 5


def test_a_key_that_its_owner_wrote_again_needs_no_mending() -> None:
    log = Log()
    log.claim(5)
    log.add("r/0/0", encode_job(job()), 4)
    log.add("r/0/0", encode_job(job(State.RUNNING)), 5)
    assert log.restore.overwritten == set()
    assert log.restore.jobs() == [job(State.RUNNING)]


def test_an_entry_of_the_claims_own_epoch_counts() -> None:
    log = Log()
    log.claim(5)
    log.add("r/0/0", encode_job(job()), 5)
    assert log.restore.jobs() == [job()]


def test_markers_come_in_the_order_of_their_finish() -> None:
    log = Log()
    for index, finished_ms in enumerate((30, 10, 20)):
        marker = Marker(JobKey("r", 0, index), "d", 3, True, None, finished_ms)
        log.add(str(marker.key), encode_marker(marker))
    assert [marker.finished_ms for marker in log.restore.markers()] == [10, 20, 30]


def test_the_jobs_of_a_request_share_one_spec() -> None:
    log = Log()
    for index in range(3):
        log.add(f"r/0/{index}", encode_job(job(file_index=index, spec=spec(job_count=3))))
    first, *others = log.restore.jobs()
    assert all(other.spec is first.spec for other in others)


def test_a_job_that_was_accepted_apart_keeps_its_own_spec() -> None:
    log = Log()
    for index, accepted_ms in enumerate((2, 1)):
        apart = spec(accepted_ms=accepted_ms, job_count=2)
        log.add(f"r/0/{index}", encode_job(job(file_index=index, spec=apart)))
    assert [each.spec.accepted_ms for each in log.restore.jobs()] == [2, 1]


def test_what_has_been_loaded_is_released() -> None:
    log = Log()
    log.add("r/0/0", encode_job(job()))
    log.add("s/0/0", encode_marker(MARKER))
    log.restore.release()
    assert not log.restore.entries


@pytest.mark.parametrize(
    ("key", "value", "stamp"),
    [
        ("r/0/0", b"{}", b"1.1.1"),
        ("r/0/0", b"not json", b"1.1.1"),
        ("r/0/0", b"[]", b"1.1.1"),
        ("r/0/0", b"[" * 100_000, b"1.1.1"),
        ("r", encode_job(job()), b"1.1.1"),
        ("r/0/0", encode_job(job()), None),
        ("r/0/0", encode_job(job()), b"2.1.1"),
        ("r/0/0", json.dumps({**json.loads(encode_job(job())), "ending": []}).encode(), b"1.1.1"),
    ],
)
def test_what_cannot_be_read_names_where_it_lies(key: str, value: bytes, stamp: bytes | None) -> None:
    with pytest.raises(RestoreError, match="journal, partition 3, offset 42 cannot be read"):
        Restore("transcription.journal", 3).add(42, key, value, stamp)
