"""Admission: every record moves the cursor and ends in one word, however often it is read."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract.outcome import Failure, RequestSummary
from service.contract.request import MAX_REPLAY, Request
from service.contract.stage import Stage
from service.core.job.accepted_request import FileEnd, FinishedRequest
from service.core.job.events import CancelAsked, QueueSubmit
from service.core.job.identity import JobKey, JobRef, Origin, RequestKey, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.request_record import Cursor, Record, cursor_after
from service.core.journal.entries import decode, encode_request
from service.core.journal.replay import Restore
from service.core.journal.stamp import Stamp
from service.core.outcome.build import Outcome
from service.core.shard.admission import AdmissionKind, AdmissionRules
from service.core.shard.batches import Change
from service.core.shard.finished_requests import advice, already_finished
from service.core.shard.shard import Shard
from service.core.shard.state import Window
from service.errors import FailureCode
from tests.unit.core.samples import DEADLINE_MS, NOW_MS, URL, context, record, request_record
from tests.unit.core.shard_world import items_of, restore_of, take

DAY_MS = 24 * 3600 * 1000
FILES: list[JsonValue] = [f"https://h.example/{n}.wav" for n in range(3)]


def outcomes(change: Change) -> list[Outcome]:
    """Everything that is told."""
    return [outcome for group in change.groups for outcome in group.outcomes]


def failure(change: Change) -> Failure:
    """The one failure of the change, which belongs to no job."""
    [group] = change.groups
    [outcome] = group.outcomes
    assert not group.records
    assert isinstance(outcome.body, Failure)
    return outcome.body


def ref(offset: int, index: int = 0) -> JobRef:
    """A job of the request at that offset."""
    return JobRef(Origin(0, offset), index)


def end(shard: Shard, offset: int, *indexes: int, now_ms: int = NOW_MS) -> None:
    """Cancel these files of the request, and let their outcomes become durable."""
    for index in indexes or (0,):
        shard.on_job(ref(offset, index), CancelAsked(), context(now_ms))
        shard.forget_job(ref(offset, index), context(now_ms))


def test_a_readable_request_opens_a_job_for_each_file() -> None:
    shard = Shard(0, epoch=3)
    taken = take(shard, request_record(4, file_urls=FILES, metadata={"n": 1}))
    assert taken.kind is AdmissionKind.ACCEPTED
    assert list(shard.jobs) == [ref(4, index) for index in range(3)]
    assert [job.key for job in shard.jobs.values()] == [JobKey("r", 0, index) for index in range(3)]
    request = shard.requests[Origin(0, 4)]
    assert (request.file_count, request.job_count, request.model) == (3, 3, "fun-asr")
    assert (request.metadata, request.duplicates_detected, request.accepted_ms) == ({"n": 1}, True, NOW_MS)


def test_a_request_is_one_record_whose_submissions_are_queued_once_it_is_durable() -> None:
    """A submission that was never tried is not written: the request tells it."""
    shard = Shard(0, epoch=3)
    taken = take(shard, request_record(4, file_urls=FILES))
    [group] = taken.change.groups
    [written] = group.records
    assert decode(written.key, written.value or b"") == shard.requests[Origin(0, 4)]
    keys = [SubmissionKey(3, number) for number in (1, 2, 3)]
    assert taken.submissions == tuple(keys)
    assert group.steps == tuple(QueueSubmit(key, NOW_MS) for key in keys)
    assert not taken.change.steps
    assert group.cursor == cursor_after(request_record(4, file_urls=FILES), 0)


def test_only_the_files_that_are_named_are_transcribed() -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES, file_indexes=[2, 0], replay=5))
    assert [job.key for job in shard.jobs.values()] == [JobKey("r", 5, 2), JobKey("r", 5, 0)]
    request = shard.requests[Origin(0, 4)]
    assert (request.file_count, request.job_count) == (3, 2)


@pytest.mark.parametrize(
    ("asked", "model", "sizes"),
    [
        (None, "fun-asr", [1, 1, 1]),
        (1, "fun-asr", [1, 1, 1]),
        (2, "fun-asr", [2, 1]),
        (100, "fun-asr", [3]),
        (100, "qwen3-asr-flash-filetrans", [1, 1, 1]),
        (100, "qwen3-asr-flash", [1, 1, 1]),
    ],
)
def test_a_submission_holds_the_tables_number_of_files_unless_another_is_set(
    asked: int | None, model: str, sizes: list[int]
) -> None:
    shard = Shard(0, files_per_task=asked)
    take(shard, request_record(4, file_urls=FILES, model=model))
    assert [len(each.jobs) for each in shard.submissions.values()] == sizes


@pytest.mark.parametrize(
    ("value", "code", "stage", "request_id"),
    [
        (None, FailureCode.INVALID_REQUEST, Stage.DECODE, None),
        (b"\xff", FailureCode.INVALID_ENCODING, Stage.DECODE, None),
        (b"{", FailureCode.INVALID_JSON, Stage.DECODE, None),
        (b'{"request_id": "x"}', FailureCode.INVALID_REQUEST, Stage.ACCEPT, "x"),
    ],
)
def test_an_unreadable_record_is_one_failure(
    value: bytes | None, code: FailureCode, stage: Stage, request_id: str | None
) -> None:
    shard = Shard(0)
    taken = take(shard, record(4, value))
    body = failure(taken.change)
    assert (taken.kind, body.code, body.stage, body.request_id) == (
        AdmissionKind.REFUSED,
        code,
        stage,
        request_id,
    )
    assert shard.cursor == taken.change.groups[0].cursor == cursor_after(record(4, value), 0)
    assert not taken.submissions
    assert not shard.requests


@pytest.mark.parametrize("ended", [(), (0,), (0, 2)])
def test_a_repeat_of_a_request_that_is_still_open_is_silent(ended: tuple[int, ...]) -> None:
    """Also where some of its files have ended: their outcomes are out, and the others will come."""
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    for index in ended:
        end(shard, 4, index)
    again = take(shard, request_record(5, file_urls=FILES, metadata={"other": True}))
    assert (again.kind, again.submissions, outcomes(again.change)) == (AdmissionKind.DUPLICATE, (), [])
    assert [group.records for group in again.change.groups] == [()]
    assert again.repeats == ("r", 0)
    assert shard.cursor.next_offset == 6


def test_a_repeat_whose_last_outcome_is_not_durable_yet_is_silent() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    shard.on_job(ref(4), CancelAsked(), context())
    assert take(shard, request_record(5)).kind is AdmissionKind.DUPLICATE


def test_a_repeat_of_an_ended_request_gets_its_outcome_summary() -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    end(shard, 4, 0, 1, 2, now_ms=1_760_000_001_234)
    again = take(shard, request_record(5, file_urls=FILES, metadata={"n": 2}), now_ms=NOW_MS + 90_000)
    assert (again.kind, again.submissions, again.repeats) == (AdmissionKind.FINISHED, (), ("r", 0))
    body = failure(again.change)
    assert (body.code, body.stage, body.retryable) == (FailureCode.ALREADY_FINISHED, Stage.ACCEPT, False)
    assert (body.request_id, body.replay, body.model, body.file_index) == ("r", 0, "fun-asr", None)
    assert (body.metadata, body.request_summary) == ({"n": 2}, None)
    assert body.message == (
        "the request ended at 2025-10-09T08:53:21.234Z: 0 succeeded, 3 failed. "
        'To do it again, and be billed again, publish it with "replay": 1, or a new request_id'
    )
    [outcome] = outcomes(again.change)
    assert outcome.id == "transcription.requests/0/5"
    assert body.origin is not None
    assert body.origin.offset == 5


def test_what_was_finished_counts_results_and_failures() -> None:
    ends = tuple(FileEnd(index, succeeded, 1) for index, succeeded in enumerate((True, False, True)))
    finished = FinishedRequest(Origin(0, 4), "r", 0, "d", ends, NOW_MS + 2)
    request = Request(request_id="r", file_urls=(URL,), model="fun-asr")
    told = already_finished(request, finished, ()).message
    assert "ended at 2025-10-09T08:53:20.002Z: 2 succeeded, 1 failed. " in told


@pytest.mark.parametrize("at_ms", [-(2**63), 2**63, 10**400])
def test_a_time_in_a_journal_that_is_none_keeps_no_answer_back(at_ms: int) -> None:
    finished = FinishedRequest(Origin(0, 4), "r", 0, "d", (FileEnd(0, succeeded=True),), at_ms)
    request = Request(request_id="r", file_urls=(URL,), model="fun-asr")
    assert "at an unknown time: 1 succeeded" in already_finished(request, finished, ()).message


def test_the_advice_names_the_next_replay_number_that_is_unused() -> None:
    shard = Shard(0)
    for offset, replay in enumerate((0, 1, 2, 4)):
        take(shard, request_record(offset, replay=replay))
        end(shard, offset)
    for offset, (replay, unused) in enumerate(((0, 3), (1, 3), (2, 3), (4, 5)), start=10):
        told = failure(take(shard, request_record(offset, replay=replay)).change).message
        assert f'publish it with "replay": {unused}, or' in told
    taken = take(shard, request_record(20, replay=3))
    assert taken.kind is AdmissionKind.ACCEPTED


def test_after_too_many_replay_numbers_the_failure_asks_for_another_id() -> None:
    known = {RequestKey("r", number) for number in range(MAX_REPLAY - 5, MAX_REPLAY + 1)}
    request = Request(request_id="r", file_urls=(URL,), model="fun-asr", replay=MAX_REPLAY - 5)
    assert advice(request, known) == "publish it with a new request_id"
    last = Request(request_id="r", file_urls=(URL,), model="fun-asr", replay=MAX_REPLAY)
    assert advice(last, ()) == "publish it with a new request_id"
    many = {RequestKey("r", number) for number in range(5_000)}
    first = Request(request_id="r", file_urls=(URL,), model="fun-asr")
    assert advice(first, many) == "publish it with a new request_id"


def test_repeats_of_one_id_are_answered_once_a_minute() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    end(shard, 4)
    words = [
        take(shard, request_record(5 + number), now_ms=NOW_MS + number * 10_000).kind for number in range(13)
    ]
    answered = [number for number, kind in enumerate(words) if kind is AdmissionKind.FINISHED]
    assert answered == [0, 6, 12]
    assert {words[number] for number in range(13) if number not in answered} == {AdmissionKind.DUPLICATE}


def test_an_answer_to_one_request_keeps_none_of_another_back() -> None:
    shard = Shard(0)
    for replay in (0, 1):
        take(shard, request_record(4 + replay, replay=replay))
        end(shard, 4 + replay)
    assert take(shard, request_record(6)).kind is AdmissionKind.FINISHED
    assert take(shard, request_record(7, replay=1)).kind is AdmissionKind.FINISHED
    assert take(shard, request_record(8, action="cancel")).kind is AdmissionKind.FINISHED
    assert take(shard, request_record(9, action="cancel")).kind is AdmissionKind.DUPLICATE


def test_a_clock_that_is_set_back_silences_no_answer() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    end(shard, 4)
    assert take(shard, request_record(5), now_ms=NOW_MS + DAY_MS).kind is AdmissionKind.FINISHED
    assert take(shard, request_record(6), now_ms=NOW_MS).kind is AdmissionKind.FINISHED


def test_what_is_remembered_of_answers_leaves_with_the_window() -> None:
    shard = Shard(0, window=Window(seconds=60.0, jobs=5))
    for number in range(0, 100, 2):
        take(shard, request_record(number, replay=number))
        end(shard, number)
        take(shard, request_record(number + 1, replay=number))
        shard.durable_cursor = shard.cursor
        shard.expired_tombstones(NOW_MS)
    assert (len(shard.finished), len(shard.by_id), len(shard.answered_ms)) == (5, 5, 5)


def restored(*changes: Change) -> Shard:
    """The next owner's shard, after these changes became durable."""
    groups = [group for change in changes for group in change.groups]
    entries = [item for items in items_of(groups, "exactly_once", 1) for item in items]
    restore = restore_of([entry for entry in entries if not isinstance(entry, Outcome)])
    shard = Shard(0, 2, restore.cursor or Cursor(0))
    shard.load(restore, context())
    return shard


def test_a_record_that_is_read_again_after_a_crash_is_no_repeat() -> None:
    """Its request may be durable, and even over, where its cursor is not."""
    shard = Shard(0)
    changes = [take(shard, request_record(4)).change, shard.on_job(ref(4), CancelAsked(), context())]
    shard.forget_job(ref(4), context())
    for owner in (shard, restored(*changes)):
        again = take(owner, request_record(4))
        assert (again.kind, outcomes(again.change)) == (AdmissionKind.DUPLICATE, [])
        assert take(owner, request_record(5)).kind is AdmissionKind.FINISHED


def test_a_record_of_before_the_request_that_has_its_id_now_is_one_that_is_read_again() -> None:
    """What was to become of it is in the journal: its own request has left the window since."""
    shard = Shard(0)
    take(shard, request_record(9))
    for offset in (4, 9):
        again = take(shard, request_record(offset, file_urls=FILES))
        assert (again.kind, outcomes(again.change)) == (AdmissionKind.DUPLICATE, [])


def test_a_cancel_ends_no_request_that_came_after_it() -> None:
    shard = Shard(0)
    take(shard, request_record(9))
    again = take(shard, request_record(4, action="cancel"))
    assert (again.kind, outcomes(again.change)) == (AdmissionKind.CANCEL, [])
    assert [job.state for job in shard.jobs.values()] == [JobState.WAITING]


def test_the_requests_of_a_topic_that_was_started_over_come_after_those_of_the_old_one() -> None:
    shard = Shard(0)
    take(shard, request_record(9))
    over = Shard(0, 2, Cursor(0, generation=1))
    over.load(restore_of_open(shard), context())
    assert take(over, request_record(4, action="cancel")).kind is AdmissionKind.CANCEL
    assert [job.state for job in over.jobs.values()] == [JobState.FINISHING]
    take(over, request_record(5, "other"))
    assert Origin(1, 5) in over.requests


def restore_of_open(shard: Shard) -> Restore:
    """The journal that holds the shard's open requests."""
    restore = Restore("journal", 0)
    for offset, request in enumerate(shard.requests.values()):
        restore.add(offset, str(request.origin), encode_request(request), Stamp(1, 1).encode())
    return restore


def test_an_id_is_free_once_its_request_has_left_the_window() -> None:
    shard = Shard(0, window=Window(seconds=60.0))
    take(shard, request_record(4))
    end(shard, 4)
    shard.durable_cursor = shard.cursor
    shard.expired_tombstones(NOW_MS + 61_000)
    assert take(shard, request_record(5)).kind is AdmissionKind.ACCEPTED
    assert take(shard, request_record(6)).kind is AdmissionKind.DUPLICATE
    assert list(shard.jobs) == [ref(5)]


@pytest.mark.parametrize("indexes", [[0], [1], [2], [1, 2], None])
def test_other_files_of_the_same_request_are_a_conflict(indexes: list[JsonValue] | None) -> None:
    """As a duplicate they would never get an outcome."""
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES, file_indexes=[0, 2]))
    taken = take(shard, request_record(5, file_urls=FILES, file_indexes=indexes))
    assert failure(taken.change).code is FailureCode.REQUEST_ID_CONFLICT


@pytest.mark.parametrize(
    ("first", "second"), [([0, 2], [2, 0]), (None, [0, 1, 2]), ([2, 1, 0], None), ([1], [1])]
)
def test_the_same_files_in_another_order_are_the_same_work(
    first: list[JsonValue] | None, second: list[JsonValue] | None
) -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES, file_indexes=first))
    assert (
        take(shard, request_record(5, file_urls=FILES, file_indexes=second)).kind is AdmissionKind.DUPLICATE
    )


def test_another_request_with_the_same_id_is_refused_and_the_first_goes_on() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    before = dict(shard.jobs)
    taken = take(shard, request_record(5, file_urls=FILES, metadata={"n": 2}))
    assert taken.kind is AdmissionKind.REFUSED
    body = failure(taken.change)
    assert body.code is FailureCode.REQUEST_ID_CONFLICT
    assert (body.metadata, body.replay, body.model) == ({"n": 2}, 0, "fun-asr")
    assert body.message.endswith('publish it with "replay": 1, or a new request_id')
    assert shard.jobs == before


def test_a_replay_is_another_request() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    assert take(shard, request_record(5, replay=1)).kind is AdmissionKind.ACCEPTED
    assert [job.key for job in shard.jobs.values()] == [JobKey("r", 0, 0), JobKey("r", 1, 0)]


def test_the_next_owner_knows_a_finished_request_its_digest_and_its_replay() -> None:
    shard = Shard(0)
    changes = [take(shard, request_record(4, file_urls=FILES)).change]
    changes += [shard.on_job(ref(4, index), CancelAsked(), context()) for index in range(3)]
    owner = restored(*changes)
    assert take(owner, request_record(5, file_urls=FILES)).kind is AdmissionKind.FINISHED
    conflict = take(owner, request_record(6, file_urls=FILES[:2]))
    assert failure(conflict.change).code is FailureCode.REQUEST_ID_CONFLICT
    take(owner, request_record(7, file_urls=FILES, replay=1, file_indexes=[1]))
    assert [job.key for job in owner.jobs.values()] == [JobKey("r", 1, 1)]
    again = take(owner, request_record(8, file_urls=FILES, replay=1, file_indexes=[1]))
    assert again.kind is AdmissionKind.DUPLICATE


def test_a_cancel_ends_every_open_job_of_its_request_before_the_cursor_passes_it() -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    take(shard, request_record(5, "other"))
    taken = take(shard, request_record(6, action="cancel"))
    assert taken.kind is AdmissionKind.CANCEL
    assert [group.ended for group in taken.change.groups] == [(ref(4, index),) for index in range(3)]
    assert shard.jobs[ref(5)].state is JobState.WAITING
    assert [outcome.body.request_summary for outcome in outcomes(taken.change)] == [
        None,
        None,
        RequestSummary(succeeded=0, failed=3, billed_seconds=0),
    ]
    assert [group.cursor for group in taken.change.groups] == [None, None, shard.cursor]


def test_a_cancel_of_a_request_that_is_over_is_answered() -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    end(shard, 4, 0, 1)
    assert take(shard, request_record(5, action="cancel")).kind is AdmissionKind.CANCEL
    shard.forget_job(ref(4, 2), context())
    taken = take(shard, request_record(6, action="cancel", metadata={"n": 3}))
    body = failure(taken.change)
    assert (taken.kind, body.code) == (AdmissionKind.FINISHED, FailureCode.ALREADY_FINISHED)
    assert (body.request_id, body.replay, body.model, body.metadata) == ("r", 0, None, {"n": 3})
    assert body.message == (
        "nothing is left to cancel: the request ended at 2025-10-09T08:53:20.000Z: 0 succeeded, 3 failed"
    )


def test_a_cancel_of_an_unknown_request_is_a_failure() -> None:
    taken = take(Shard(0), request_record(4, action="cancel", replay=7, model="fun-asr", metadata={"n": 1}))
    body = failure(taken.change)
    assert (taken.kind, body.code) == (AdmissionKind.REFUSED, FailureCode.CANCEL_UNKNOWN_REQUEST)
    assert (body.request_id, body.replay, body.model, body.metadata) == ("r", 7, "fun-asr", {"n": 1})


def the_job(taken: Record, rules: AdmissionRules | None = None) -> Job:
    """The job of a request for one file."""
    shard = Shard(0)
    take(shard, taken, rules)
    [job] = shard.jobs.values()
    return job


@pytest.mark.parametrize(
    ("fields", "deadline_ms"),
    [
        ({}, NOW_MS + 7 * DAY_MS),
        ({"ttl_seconds": 60}, NOW_MS - 500 + 60_000),
        ({"deadline": datetime.fromtimestamp(DEADLINE_MS / 1000, UTC).isoformat()}, DEADLINE_MS),
    ],
)
def test_a_deadline_is_the_users_or_counts_from_the_record_or_the_accept(
    fields: dict[str, JsonValue], deadline_ms: int
) -> None:
    job = the_job(request_record(4, **fields))
    assert job.request.deadline_ms == deadline_ms


def test_a_request_that_comes_too_late_fails_unbilled() -> None:
    shard = Shard(0)
    taken = take(shard, request_record(4, file_urls=FILES, ttl_seconds=1), now_ms=NOW_MS + 501)
    # Nobody is to submit them.
    assert (taken.kind, taken.submissions, len(shard.submissions)) == (AdmissionKind.ACCEPTED, (), 0)
    assert not [step for group in taken.change.groups for step in group.steps]
    bodies = [outcome.body for outcome in outcomes(taken.change)]
    assert [body.code for body in bodies if isinstance(body, Failure)] == [FailureCode.DEADLINE_EXCEEDED] * 3
    # The cursor passes it behind all of that.
    assert [group.cursor for group in taken.change.groups] == [None, None, None, shard.cursor]


def test_named_headers_are_copied_while_there_is_room() -> None:
    headers = (
        ("traceparent", b"00-\xff"),
        ("x-other", b"1"),
        ("tracestate", b"long" * 9),
        ("correlation-id", None),
    )
    rules = AdmissionRules(
        copied_headers=frozenset({"traceparent", "tracestate", "correlation-id"}), copied_headers_bytes=40
    )
    job = the_job(replace(request_record(4), headers=headers), rules)
    assert job.request.headers == (("traceparent", "00-ÿ"), ("correlation-id", ""))


def test_a_request_whose_key_is_not_its_id_says_that_repeats_are_not_noticed() -> None:
    job = the_job(replace(request_record(4), key=b"other"))
    assert not job.request.duplicates_detected


RECORDS = st.lists(
    st.one_of(
        st.builds(
            lambda n: json.dumps({"request_id": f"r{n}", "file_urls": [URL], "model": "fun-asr"}),
            st.integers(0, 2),
        ),
        st.builds(
            lambda n: json.dumps({"request_id": f"r{n}", "file_urls": FILES, "model": "fun-asr"}),
            st.integers(0, 2),
        ),
        st.builds(lambda n: json.dumps({"request_id": f"r{n}", "action": "cancel"}), st.integers(0, 2)),
        st.sampled_from(["{", "[]", '{"request_id": 1}', '{"request_id": "r0", "bad": 1}']),
    ).map(str.encode)
    | st.none()
    | st.binary(max_size=8),
    max_size=12,
)


@given(RECORDS, st.booleans())
def test_every_record_ends_in_one_answer_and_the_cursor_never_goes_back(
    values: list[bytes | None], settles: bool
) -> None:
    shard = Shard(0)
    first: dict[str, int] = {}
    for offset, value in enumerate(values):
        before, opened = shard.cursor, {key if isinstance(key, str) else key[0] for key in shard.by_id}
        taken = take(shard, record(offset, value))
        assert shard.cursor.next_offset == offset + 1 > before.next_offset or before == Cursor(0)
        assert is_one_word(
            taken.kind,
            value,
            opened,
            first,
            bool(taken.submissions),
        )
        assert bool(taken.submissions) == (taken.kind is AdmissionKind.ACCEPTED)
        refused = [group for group in taken.change.groups if group.outcomes and not group.ended]
        assert len(refused) == (taken.kind in (AdmissionKind.REFUSED, AdmissionKind.FINISHED))
        assert [group.cursor for group in taken.change.groups][-1] == shard.cursor
        for ended in (ended for group in taken.change.groups for ended in group.ended if settles):
            shard.forget_job(ended, context())


def is_one_word(
    kind: AdmissionKind, value: bytes | None, known: set[str], first: dict[str, int], has_jobs: bool
) -> bool:
    """Whether the word is the one that the record, and those before it, call for."""
    try:
        body = json.loads(value or b"")
        request_id = body["request_id"]
        is_cancel = body.get("action") == "cancel"
        files = len(body["file_urls"]) if not is_cancel else 0
    except (ValueError, KeyError, TypeError, AttributeError):
        return kind is AdmissionKind.REFUSED
    repeated = (AdmissionKind.DUPLICATE, AdmissionKind.FINISHED)
    if is_cancel:
        return kind in (
            (AdmissionKind.CANCEL, *repeated) if request_id in known else (AdmissionKind.REFUSED,)
        )
    if request_id not in known:
        first[request_id] = files
        return kind is AdmissionKind.ACCEPTED and has_jobs
    return kind in (repeated if first[request_id] == files else (AdmissionKind.REFUSED,))


def test_a_record_may_be_admitted_by_a_shard_that_has_read_further() -> None:
    """The accept stage leaves such records out; the core only promises that the cursor is behind this one."""
    shard = Shard(0, cursor=Cursor(9))
    again: Record = request_record(4)
    take(shard, again)
    assert shard.cursor == cursor_after(again, 0)
