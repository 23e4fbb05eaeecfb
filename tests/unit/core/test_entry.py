"""The journal's entries: whatever is written is read back as it was, and what is not ours is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.ending import ResultEnding, Tallied
from service.core.entry import (
    CURSOR_KEY,
    OWNER_KEY,
    Marker,
    Owner,
    Stamp,
    decode,
    encode_cursor,
    encode_job,
    encode_marker,
    encode_owner,
    read_key,
)
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.record import Cursor
from tests.unit.core.samples import job, transcript
from tests.unit.core.strategies import CURSORS, JOBS, JSON, KEYS, MARKERS, TEXT, WHOLE


@given(JOBS)
def test_an_open_job_is_read_back_as_it_was(before: Job) -> None:
    assert decode(str(before.key), encode_job(before)) == before


@given(MARKERS)
def test_a_marker_is_read_back_as_it_was(marker: Marker) -> None:
    assert decode(str(marker.key), encode_marker(marker)) == marker


@given(CURSORS)
def test_a_cursor_is_read_back_as_it_was(cursor: Cursor) -> None:
    assert decode(CURSOR_KEY, encode_cursor(cursor)) == cursor


@given(WHOLE, TEXT)
def test_a_claim_is_read_back_as_it_was(epoch: int, member: str) -> None:
    assert decode(OWNER_KEY, encode_owner(Owner(epoch, member))) == Owner(epoch, member)


@given(KEYS)
def test_a_key_is_read_back_as_it_was(key: JobKey) -> None:
    assert read_key(str(key)) == key


@given(WHOLE, WHOLE)
def test_a_stamp_is_read_back_as_it_was(epoch: int, batch: int) -> None:
    assert Stamp.decode(Stamp(epoch, batch).encode()) == Stamp(epoch, batch)


def test_a_stamp_of_a_newer_format_is_refused() -> None:
    with pytest.raises(ValueError, match="journal format 2 is not the 1"):
        Stamp.decode(b"2.7.1")


@pytest.mark.parametrize("value", [b"", b"1", b"1.2", b"1.2.3.4", b"1.a.3", b"\xff"])
def test_a_stamp_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one is Python's business
        Stamp.decode(value)


def test_a_collecting_job_is_written_as_a_running_one() -> None:
    read = decode("r/0/0", encode_job(job(State.COLLECTING, fetch_attempts=2)))
    assert read == job(State.RUNNING, fetch_attempts=2)


def test_a_result_leaves_no_transcript_in_the_journal() -> None:
    entry = encode_job(job(State.FINISHING, task_id="t1", ending=ResultEnding(transcript("a secret"))))
    assert b"secret" not in entry.replace(b"Signature=secret", b"")
    assert decode("r/0/0", entry) == job(State.FINISHING, task_id="t1")


def test_an_entry_of_before_there_were_renderings_is_of_a_job_that_wants_none() -> None:
    entry = json.loads(encode_job(job(State.RUNNING)))
    assert entry["spec"].pop("formats") == []
    assert decode("r/0/0", json.dumps(entry).encode()) == job(State.RUNNING)


def test_a_job_of_before_deadlines_were_told_apart_is_one_whose_deadline_moves() -> None:
    entry = json.loads(encode_job(job(State.RUNNING)))
    assert entry["spec"].pop("fixed") is False
    assert decode("r/0/0", json.dumps(entry).encode()) == job(State.RUNNING)


def test_a_marker_of_before_repeats_were_answered_has_no_origin() -> None:
    marker = Marker(JobKey("r", 0, 0), "d", 1, True, 9, 5, origin_offset=7)
    entry = json.loads(encode_marker(marker))
    assert entry.pop("origin") == 7
    assert decode("r/0/0", json.dumps(entry).encode()) == replace(marker, origin_offset=None)


def test_entries_of_before_there_were_costs_have_none() -> None:
    marker = Marker(JobKey("r", 0, 0), "d", 1, True, 9, 5, ("t",), cost=0.5)
    entry = json.loads(encode_marker(marker))
    assert entry.pop("cost") == 0.5
    assert decode("r/0/0", json.dumps(entry).encode()) == replace(marker, cost=0.0)
    before = job(State.FINISHING, tallied=Tallied(9, True, 0.5))
    entry = json.loads(encode_job(before))
    assert entry["tallied"].pop() == 0.5
    assert decode("r/0/0", json.dumps(entry).encode()) == replace(before, tallied=Tallied(9, True))


@pytest.mark.parametrize("cost", ["x", None, [], {}])
def test_a_marker_with_a_foreign_cost_is_refused(cost: object) -> None:
    entry = json.loads(encode_marker(Marker(JobKey("r", 0, 0), "d", 1, True, 9, 5)))
    with pytest.raises((ValueError, TypeError)):
        decode("r/0/0", json.dumps({**entry, "cost": cost}).encode())


def test_a_marker_holds_neither_url_nor_metadata() -> None:
    entry = encode_marker(Marker(JobKey("r", 0, 0), "d", 1, True, 9, 5))
    assert set(json.loads(entry)) == {"state", "digest", "jobs", "ok", "billed", "at", "tasks", "origin"}


@given(st.sampled_from(["r/0/0", CURSOR_KEY, OWNER_KEY, "r", "r/x/0", "~new"]), st.binary(max_size=40) | JSON)
def test_what_is_not_ours_is_refused_in_one_of_three_ways(key: str, value: object) -> None:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(key, raw)


@given(st.sampled_from(["state", "ending", "tallied", "spec"]), JSON.filter(lambda value: value is not None))
def test_a_job_with_a_foreign_part_is_refused_in_one_of_three_ways(field: str, value: object) -> None:
    entry = json.loads(encode_job(job()))
    entry[field] = value
    try:
        decode("r/0/0", json.dumps(entry).encode())
    except (ValueError, KeyError, TypeError):
        return
