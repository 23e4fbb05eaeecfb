"""Admission: every record moves the cursor and ends in one word, however often it is read."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.core.admission import AdmissionRules, Admitted
from service.core.entry import Marker, Stamp, encode_marker
from service.core.events import CancelAsked
from service.core.finished import advice, already_finished
from service.core.identity import JobKey
from service.core.job import State
from service.core.record import Cursor, Record, cursor_after
from service.core.restore import Restore
from service.core.shard import Move, Shard, Window
from service.core.tally import Tally
from service.errors import FailureCode
from service.messages import (
    MAX_REPLAY,
    Failure,
    Request,
    RequestLimits,
    RequestSummary,
    Stage,
    read_request,
)
from tests.unit.core.samples import DEADLINE_MS, NOW_MS, URL, moment, record, request_record, take

DAY_MS = 24 * 3600 * 1000
FILES: list[JsonValue] = [f"https://h.example/{n}.wav" for n in range(3)]


def failure(moves: tuple[Move, ...]) -> Failure:
    """The one failure among the moves, which belongs to no job."""
    [move] = moves
    assert move.outcome is not None
    assert move.key is None
    assert isinstance(move.outcome.body, Failure)
    return move.outcome.body


def test_a_readable_request_opens_a_job_for_each_file() -> None:
    shard = Shard(0)
    taken = take(shard, request_record(4, file_urls=FILES, metadata={"n": 1}))
    assert taken.word is Admitted.ACCEPTED
    assert [job.key for job in taken.jobs] == [JobKey("r", 0, index) for index in range(3)]
    assert taken.jobs == tuple(shard.jobs.values())
    spec = taken.jobs[0].spec
    assert (spec.file_count, spec.job_count, spec.model) == (3, 3, "fun-asr")
    assert (spec.metadata, spec.duplicates_detected, spec.accepted_ms) == ({"n": 1}, True, NOW_MS)


def test_only_the_files_that_are_named_are_transcribed() -> None:
    taken = take(Shard(0), request_record(4, file_urls=FILES, file_indexes=[2, 0], replay=5))
    assert [job.key for job in taken.jobs] == [JobKey("r", 5, 2), JobKey("r", 5, 0)]
    assert (taken.jobs[0].spec.file_count, taken.jobs[0].spec.job_count) == (3, 2)


@pytest.mark.parametrize(
    ("asked", "model", "groups"),
    [
        (None, "fun-asr", [0, 1, 2]),
        (1, "fun-asr", [0, 1, 2]),
        (2, "fun-asr", [0, 0, 1]),
        (100, "fun-asr", [0, 0, 0]),
        (100, "qwen3-asr-flash-filetrans", [0, 1, 2]),
        (100, "qwen3-asr-flash", [0, 1, 2]),
    ],
)
def test_a_task_holds_the_tables_number_of_files_unless_another_is_set(
    asked: int | None, model: str, groups: list[int]
) -> None:
    rules = AdmissionRules(files_per_task=asked)
    taken = take(Shard(0), request_record(4, file_urls=FILES, model=model), rules)
    assert [job.group for job in taken.jobs] == groups


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
    body = failure(taken.change.moves)
    assert (taken.word, body.code, body.stage, body.request_id) == (Admitted.REFUSED, code, stage, request_id)
    assert shard.cursor == cursor_after(record(4, value))
    assert not taken.jobs
    assert not shard.tallies


def end(shard: Shard, *indexes: int, replay: int = 0, now_ms: int = NOW_MS) -> None:
    """Cancel these files of the request, and let their outcomes become durable."""
    for index in indexes:
        shard.apply(JobKey("r", replay, index), CancelAsked(), moment(now_ms))
        shard.settle(JobKey("r", replay, index), moment(now_ms))


@pytest.mark.parametrize("ended", [(), (0,), (0, 2)])
def test_a_repeat_of_a_request_that_is_still_open_is_silent(ended: tuple[int, ...]) -> None:
    """Also where some of its files have ended: their outcomes are out, and the others will come."""
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    end(shard, *ended)
    again = take(shard, request_record(5, file_urls=FILES, metadata={"other": True}))
    assert (again.word, again.jobs, again.change.moves) == (Admitted.DUPLICATE, (), ())
    assert again.repeats == ("r", 0)
    assert shard.cursor.next_offset == 6


def test_a_repeat_whose_last_outcome_is_not_durable_yet_is_silent() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    shard.apply(JobKey("r", 0, 0), CancelAsked(), moment())
    assert take(shard, request_record(5)).word is Admitted.DUPLICATE


def test_a_repeat_of_a_request_that_has_ended_is_told_what_came_of_it() -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    end(shard, 0, 1, 2, now_ms=1_760_000_001_234)
    again = take(shard, request_record(5, file_urls=FILES, metadata={"n": 2}), now_ms=NOW_MS + 90_000)
    assert (again.word, again.jobs, again.repeats) == (Admitted.FINISHED, (), ("r", 0))
    body = failure(again.change.moves)
    assert (body.code, body.stage, body.retryable) == (FailureCode.ALREADY_FINISHED, Stage.ACCEPT, False)
    assert (body.request_id, body.replay, body.model, body.file_index) == ("r", 0, "fun-asr", None)
    assert (body.metadata, body.request_summary) == ({"n": 2}, None)
    assert body.message == (
        "the request ended at 2025-10-09T08:53:21.234Z: 0 succeeded, 3 failed. "
        'To do it again, and be billed again, publish it with "replay": 1, or a new request_id'
    )
    [move] = again.change.moves
    assert move.outcome is not None
    assert move.outcome.id == "transcription.requests/0/5"
    assert body.origin is not None
    assert body.origin.offset == 5


def test_what_was_finished_counts_results_and_failures() -> None:
    shard = Shard(0)
    restore = Restore("journal", 0)
    read = read_request(request_record(4, file_urls=FILES).value, (), RequestLimits())
    for index, succeeded in enumerate((True, False, True)):
        marker = Marker(JobKey("r", 0, index), read.digest, 3, succeeded, 1, NOW_MS + index)
        restore.add(index, str(marker.key), encode_marker(marker), Stamp(1, 1).encode())
    shard.load(restore, moment())
    told = failure(take(shard, request_record(5, file_urls=FILES)).change.moves).message
    assert "ended at 2025-10-09T08:53:20.002Z: 2 succeeded, 1 failed. " in told


@pytest.mark.parametrize("at_ms", [-(2**63), 2**63, 10**400])
def test_a_time_in_a_journal_that_is_none_keeps_no_answer_back(at_ms: int) -> None:
    tally = Tally("d", 1, ended={0: Marker(JobKey("r", 0, 0), "d", 1, True, 1, at_ms)})
    request = Request(request_id="r", file_urls=(URL,), model="fun-asr")
    assert "at a time that is not known: 1 succeeded" in already_finished(request, tally, ()).message


def test_the_advice_names_the_next_replay_number_that_is_unused() -> None:
    shard = Shard(0)
    for offset, replay in enumerate((0, 1, 2, 4)):
        take(shard, request_record(offset, replay=replay))
        end(shard, 0, replay=replay)
    for offset, (replay, unused) in enumerate(((0, 3), (1, 3), (2, 3), (4, 5)), start=10):
        told = failure(take(shard, request_record(offset, replay=replay)).change.moves).message
        assert f'publish it with "replay": {unused}, or' in told
    taken = take(shard, request_record(20, replay=3))
    assert taken.word is Admitted.ACCEPTED


def test_who_has_used_too_many_replay_numbers_is_told_to_take_another_id() -> None:
    known = {("r", number) for number in range(MAX_REPLAY - 5, MAX_REPLAY + 1)}
    request = Request(request_id="r", file_urls=(URL,), model="fun-asr", replay=MAX_REPLAY - 5)
    assert advice(request, known) == "publish it with a new request_id"
    last = Request(request_id="r", file_urls=(URL,), model="fun-asr", replay=MAX_REPLAY)
    assert advice(last, ()) == "publish it with a new request_id"
    many = {("r", number) for number in range(5_000)}
    first = Request(request_id="r", file_urls=(URL,), model="fun-asr")
    assert advice(first, many) == "publish it with a new request_id"


def test_repeats_of_one_id_are_answered_once_a_minute() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    end(shard, 0)
    words = [
        take(shard, request_record(5 + number), now_ms=NOW_MS + number * 10_000).word for number in range(13)
    ]
    answered = [number for number, word in enumerate(words) if word is Admitted.FINISHED]
    assert answered == [0, 6, 12]
    assert {words[number] for number in range(13) if number not in answered} == {Admitted.DUPLICATE}


def test_an_answer_to_one_request_keeps_none_of_another_back() -> None:
    shard = Shard(0)
    for replay in (0, 1):
        take(shard, request_record(4 + replay, replay=replay))
        end(shard, 0, replay=replay)
    assert take(shard, request_record(6)).word is Admitted.FINISHED
    assert take(shard, request_record(7, replay=1)).word is Admitted.FINISHED
    assert take(shard, request_record(8, action="cancel")).word is Admitted.FINISHED
    assert take(shard, request_record(9, action="cancel")).word is Admitted.DUPLICATE


def test_a_clock_that_is_set_back_silences_no_answer() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    end(shard, 0)
    assert take(shard, request_record(5), now_ms=NOW_MS + DAY_MS).word is Admitted.FINISHED
    assert take(shard, request_record(6), now_ms=NOW_MS).word is Admitted.FINISHED


def test_what_is_remembered_of_answers_leaves_with_the_window() -> None:
    shard = Shard(0, Window(seconds=60.0, jobs=5))
    for number in range(50):
        take(shard, request_record(number, replay=number))
        end(shard, 0, replay=number)
        take(shard, request_record(100 + number, replay=number))
        shard.sweep(NOW_MS)
    assert len(shard.tallies) == 5


def test_a_record_that_is_read_again_after_a_crash_is_no_repeat() -> None:
    """Its jobs may be durable, and even over, where its cursor is not."""
    shard = Shard(0)
    moves = list(take(shard, request_record(4)).change.moves)
    moves += shard.apply(JobKey("r", 0, 0), CancelAsked(), moment()).moves
    shard.settle(JobKey("r", 0, 0), moment())
    for owner in (shard, restored(tuple(moves))):
        assert take(owner, request_record(4)).word is Admitted.DUPLICATE
        assert take(owner, request_record(5)).word is Admitted.FINISHED


@pytest.mark.parametrize("indexes", [[0], [1], [2], [1, 2], None])
def test_other_files_of_the_same_request_are_a_conflict(indexes: list[JsonValue] | None) -> None:
    """As a duplicate they would never get an outcome."""
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES, file_indexes=[0, 2]))
    taken = take(shard, request_record(5, file_urls=FILES, file_indexes=indexes))
    assert failure(taken.change.moves).code is FailureCode.REQUEST_ID_CONFLICT


@pytest.mark.parametrize(
    ("first", "second"), [([0, 2], [2, 0]), (None, [0, 1, 2]), ([2, 1, 0], None), ([1], [1])]
)
def test_the_same_files_in_another_order_are_the_same_work(
    first: list[JsonValue] | None, second: list[JsonValue] | None
) -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES, file_indexes=first))
    assert take(shard, request_record(5, file_urls=FILES, file_indexes=second)).word is Admitted.DUPLICATE


def test_another_request_with_the_same_id_is_refused_and_the_first_goes_on() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    before = dict(shard.jobs)
    taken = take(shard, request_record(5, file_urls=FILES, metadata={"n": 2}))
    assert taken.word is Admitted.REFUSED
    body = failure(taken.change.moves)
    assert body.code is FailureCode.REQUEST_ID_CONFLICT
    assert (body.metadata, body.replay, body.model) == ({"n": 2}, 0, "fun-asr")
    assert body.message.endswith('publish it with "replay": 1, or a new request_id')
    assert shard.jobs == before


def test_a_replay_is_another_request() -> None:
    shard = Shard(0)
    take(shard, request_record(4))
    assert take(shard, request_record(5, replay=1)).word is Admitted.ACCEPTED
    assert sorted(shard.jobs) == [JobKey("r", 0, 0), JobKey("r", 1, 0)]


def test_the_next_owner_knows_a_finished_request_its_digest_and_its_replay() -> None:
    shard = Shard(0)
    restore = Restore("journal", 0)
    moves = list(take(shard, request_record(4, file_urls=FILES)).change.moves)
    for index in range(3):
        moves += shard.apply(JobKey("r", 0, index), CancelAsked(), moment()).moves
    for offset, move in enumerate(moves):
        restore.add(offset, move.key or "", move.entry, Stamp(1, 1).encode())
    owner = Shard(0)
    owner.load(restore, moment())
    assert take(owner, request_record(5, file_urls=FILES)).word is Admitted.FINISHED
    conflict = take(owner, request_record(6, file_urls=FILES[:2]))
    assert failure(conflict.change.moves).code is FailureCode.REQUEST_ID_CONFLICT
    again = take(owner, request_record(7, file_urls=FILES, replay=1, file_indexes=[1]))
    assert [job.key for job in again.jobs] == [JobKey("r", 1, 1)]
    again = take(owner, request_record(8, file_urls=FILES, replay=1, file_indexes=[1]))
    assert again.word is Admitted.DUPLICATE


def test_a_cancel_ends_every_open_job_of_its_request() -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    take(shard, request_record(5, "other"))
    taken = take(shard, request_record(6, action="cancel"))
    assert taken.word is Admitted.CANCEL
    assert [move.key for move in taken.change.moves] == ["r/0/0", "r/0/1", "r/0/2"]
    assert shard.jobs[JobKey("other", 0, 0)].state is State.ACCEPTED
    summaries = [move.outcome.body.request_summary for move in taken.change.moves if move.outcome]
    assert summaries == [None, None, RequestSummary(succeeded=0, failed=3, billed_seconds=0)]


def test_a_cancel_of_a_request_that_is_over_is_answered() -> None:
    shard = Shard(0)
    take(shard, request_record(4, file_urls=FILES))
    end(shard, 0, 1)
    assert take(shard, request_record(5, action="cancel")).word is Admitted.CANCEL
    shard.settle(JobKey("r", 0, 2), moment())
    taken = take(shard, request_record(6, action="cancel", metadata={"n": 3}))
    body = failure(taken.change.moves)
    assert (taken.word, body.code) == (Admitted.FINISHED, FailureCode.ALREADY_FINISHED)
    assert (body.request_id, body.replay, body.model, body.metadata) == ("r", 0, None, {"n": 3})
    assert body.message == (
        "nothing is left to cancel: the request ended at 2025-10-09T08:53:20.000Z: 0 succeeded, 3 failed"
    )


def test_a_cancel_of_an_unknown_request_is_a_failure() -> None:
    taken = take(Shard(0), request_record(4, action="cancel", replay=7, model="fun-asr", metadata={"n": 1}))
    body = failure(taken.change.moves)
    assert (taken.word, body.code) == (Admitted.REFUSED, FailureCode.CANCEL_UNKNOWN_REQUEST)
    assert (body.request_id, body.replay, body.model, body.metadata) == ("r", 7, "fun-asr", {"n": 1})


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
    [job] = take(Shard(0), request_record(4, **fields)).jobs
    assert job.spec.deadline_ms == deadline_ms


def test_a_request_that_comes_too_late_fails_unbilled() -> None:
    shard = Shard(0)
    taken = take(shard, request_record(4, file_urls=FILES, ttl_seconds=1), now_ms=NOW_MS + 501)
    # Nobody is to submit them.
    assert (taken.word, taken.jobs) == (Admitted.ACCEPTED, ())
    bodies = [move.outcome.body for move in taken.change.moves if move.outcome]
    assert [body.code for body in bodies if isinstance(body, Failure)] == [FailureCode.DEADLINE_EXCEEDED] * 3


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
    [job] = take(Shard(0), replace(request_record(4), headers=headers), rules).jobs
    assert job.spec.headers == (("traceparent", "00-ÿ"), ("correlation-id", ""))


def test_a_request_whose_key_is_not_its_id_says_that_repeats_are_not_noticed() -> None:
    [job] = take(Shard(0), replace(request_record(4), key=b"other")).jobs
    assert not job.spec.duplicates_detected


def restored(moves: tuple[Move, ...]) -> Shard:
    """A new owner's shard after these entries, and nothing else, became durable."""
    restore = Restore("journal", 0)
    for offset, move in enumerate(moves):
        restore.add(offset, move.key or "", move.entry, Stamp(1, 1).encode())
    shard = Shard(0)
    shard.load(restore, moment())
    return shard


@pytest.mark.parametrize("durable", [[], [0], [1], [0, 2], [1, 2]])
def test_a_request_of_which_a_crash_left_a_part_is_completed(durable: list[int]) -> None:
    """At least once, the entries come one by one before the cursor, and a crash may come in between."""
    whole = take(Shard(0), request_record(4, file_urls=FILES))
    shard = restored(tuple(whole.change.moves[index] for index in durable))
    again = take(shard, request_record(4, file_urls=FILES), now_ms=NOW_MS + 1)
    missing = [index for index in range(3) if index not in durable]
    assert again.word is Admitted.ACCEPTED
    assert [job.file_index for job in again.jobs] == missing
    assert [move.key for move in again.change.moves] == [f"r/0/{index}" for index in missing]
    assert sorted(shard.jobs) == [JobKey("r", 0, index) for index in range(3)]
    assert take(shard, request_record(4, file_urls=FILES)).word is Admitted.DUPLICATE


def test_a_request_whose_only_durable_job_is_over_is_completed_and_summed_up() -> None:
    shard = restored(take(Shard(0), request_record(4, file_urls=FILES)).change.moves[:1])
    shard.apply(JobKey("r", 0, 0), CancelAsked(), moment())
    shard.settle(JobKey("r", 0, 0), moment())
    assert shard.remembered_jobs == 3
    taken = take(shard, request_record(4, file_urls=FILES))
    assert [job.file_index for job in taken.jobs] == [1, 2]
    # An open request must not be swept.
    assert (shard.remembered, shard.remembered_jobs) == ({}, 0)
    changes = [shard.apply(job.key, CancelAsked(), moment()) for job in taken.jobs]
    outcomes = [move.outcome for change in changes for move in change.moves if move.outcome]
    assert [outcome.body.request_summary for outcome in outcomes] == [
        None,
        RequestSummary(succeeded=0, failed=3, billed_seconds=0),
    ]


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
def test_every_record_ends_in_one_word_and_the_cursor_never_goes_back(
    values: list[bytes | None], settles: bool
) -> None:
    shard = Shard(0)
    first: dict[str, int] = {}
    for offset, value in enumerate(values):
        before, opened = shard.cursor, set(shard.tallies)
        taken = take(shard, record(offset, value))
        assert shard.cursor.next_offset == offset + 1 > before.next_offset or before == Cursor(0)
        assert is_one_word(taken.word, value, {name for name, _ in opened}, first, bool(taken.jobs))
        assert bool(taken.jobs) == (taken.word is Admitted.ACCEPTED)
        refused = [move for move in taken.change.moves if move.key is None]
        assert len(refused) == (taken.word in (Admitted.REFUSED, Admitted.FINISHED))
        if settles:
            for move in taken.change.moves:
                if move.job_key is not None:
                    shard.settle(move.job_key, moment())


def is_one_word(
    word: Admitted, value: bytes | None, known: set[str], first: dict[str, int], has_jobs: bool
) -> bool:
    """Whether the word is the one that the record, and those before it, call for."""
    try:
        body = json.loads(value or b"")
        request_id = body["request_id"]
        is_cancel = body.get("action") == "cancel"
        files = len(body["file_urls"]) if not is_cancel else 0
    except (ValueError, KeyError, TypeError, AttributeError):
        return word is Admitted.REFUSED
    repeated = (Admitted.DUPLICATE, Admitted.FINISHED)
    if is_cancel:
        return word in ((Admitted.CANCEL, *repeated) if request_id in known else (Admitted.REFUSED,))
    if request_id not in known:
        first[request_id] = files
        return word is Admitted.ACCEPTED and has_jobs
    return word in (repeated if first[request_id] == files else (Admitted.REFUSED,))


def test_a_record_may_be_admitted_by_a_shard_that_has_read_further() -> None:
    """The accept stage leaves such records out; the core only promises that the cursor is behind this one."""
    shard = Shard(0, cursor=Cursor(9))
    again: Record = request_record(4)
    take(shard, again)
    assert shard.cursor == cursor_after(again)
