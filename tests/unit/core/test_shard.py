"""A shard: one outcome per job, summaries, the window of markers, and what a restore makes of the journal."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from service.core.batch import without_superseded
from service.core.ending import FailureEnding
from service.core.entry import CURSOR_KEY, Marker, Stamp, decode, encode_cursor, encode_job, encode_marker
from service.core.events import (
    CancelAsked,
    Fetched,
    Intended,
    Looked,
    Published,
    QueueSubmit,
    Submitted,
    Watch,
)
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.price import Price
from service.core.record import Cursor
from service.core.restore import Restore
from service.core.shard import RESTORED_SECONDS, SWEEP_MOVES, Change, Move, Shard, Window
from service.core.spend import DAY_MS
from service.core.tally import Tally
from service.core.task import FileView, TaskStatus, TaskView, Trouble
from service.errors import FailureCode, IllegalTransition
from service.messages import Failure, RequestSummary, Stage
from tests.unit.core.samples import NOW_MS, URL, job, moment, request_record, spec, take, transcript

URLS: list[str] = ["https://h.example/0.wav", "https://h.example/1.wav", "https://h.example/2.wav"]
RESTORED_MS = round(1000 * RESTORED_SECONDS)
FAILED = FailureEnding(Stage.POLL, FailureCode.TASK_LOST, "lost")


class Journal:
    """What a writer would have made durable, in the order of its stages."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None]] = []

    def write(self, shard: Shard, moves: Sequence[Move]) -> None:
        """A whole batch, then what follows from it."""
        kept = without_superseded(moves)
        self.records += [(move.key, move.finishing) for move in kept if move.key and move.finishing]
        self.records += [(move.key, move.entry) for move in kept if move.key]
        for move in moves:
            if move.job_key is not None:
                shard.settle(move.job_key, moment())

    def announce(self, moves: Sequence[Move]) -> None:
        """The first stage alone: FINISHING is durable, then comes the crash."""
        self.records += [(move.key, move.finishing) for move in moves if move.key and move.finishing]

    def restored(self, *strangers: tuple[str, bytes | None]) -> Restore:
        """The journal read back, with entries of a lower epoch at its end."""
        restore = Restore("journal", 0)
        for offset, (key, value) in enumerate(self.records):
            restore.add(offset, key, value, Stamp(2, 1).encode())
        for key, value in strangers:
            restore.add(99, key, value, Stamp(1, 1).encode())
        return restore


def opened(shard: Shard, count: int = 3, request_id: str = "r") -> list[Move]:
    """Accept a request of some files; its moves."""
    urls = list(URLS[:count])
    return list(take(shard, request_record(0, request_id, file_urls=urls)).change.moves)  # type: ignore[arg-type]


def run(shard: Shard, index: int, task_id: str = "t1", files: int = 3) -> Change:
    """Submit one job."""
    shard.apply(JobKey("r", 0, index), Intended(NOW_MS), moment())
    return shard.apply(JobKey("r", 0, index), Submitted(task_id, files), moment())


def succeed(shard: Shard, index: int) -> Move:
    """Bring one running job to its result."""
    key = JobKey("r", 0, index)
    view = TaskView("t1", TaskStatus.SUCCEEDED, billed_seconds=30)
    file = FileView(URLS[index], transcription_url="https://r.example/1")
    shard.apply(key, Looked(view, file), moment())
    [move] = shard.apply(key, Fetched(transcript()), moment()).moves
    return move


def fail(shard: Shard, index: int) -> Move:
    """Bring one running job to its failure."""
    file = FileView(URLS[index], trouble=Trouble("FILE_404_NOT_FOUND", "404"))
    looked = Looked(TaskView("t1", TaskStatus.SUCCEEDED, billed_seconds=30), file)
    [move] = shard.apply(JobKey("r", 0, index), looked, moment()).moves
    return move


def summary(moves: Move | Iterable[Move]) -> list[RequestSummary | None]:
    """The summaries that the outcomes carry."""
    found = [moves] if isinstance(moves, Move) else moves
    return [move.outcome.body.request_summary for move in found if move.outcome]


def restored(restore: Restore, window: Window | None = None) -> tuple[Shard, Change]:
    """A new owner's shard."""
    shard = Shard(0, window or Window(), cursor=restore.cursor or Cursor(0))
    return shard, shard.load(restore, moment())


def test_a_new_request_is_queued_once_its_entries_are_durable() -> None:
    shard = Shard(0)
    moves = opened(shard, 2)
    assert [move.key for move in moves] == ["r/0/0", "r/0/1"]
    assert [move.steps for move in moves] == [
        (QueueSubmit(JobKey("r", 0, 0), 0),),
        (QueueSubmit(JobKey("r", 0, 1), 0),),
    ]
    assert [decode(move.key or "", move.entry or b"") for move in moves] == list(shard.jobs.values())


def test_a_task_is_watched_once_its_id_is_durable() -> None:
    shard = Shard(0)
    opened(shard)
    change = run(shard, 0)
    assert not change.steps
    [move] = change.moves
    assert move.steps == (Watch(JobKey("r", 0, 0), "t1", NOW_MS + 2_000),)


def test_what_need_not_be_durable_is_done_at_once() -> None:
    shard = Shard(0)
    opened(shard)
    run(shard, 0)
    looked = Looked(TaskView("t1", TaskStatus.RUNNING), None)
    change = shard.apply(JobKey("r", 0, 0), looked, moment())
    assert not change.moves
    assert len(change.steps) == 1


def test_an_event_for_a_job_that_is_gone_changes_nothing() -> None:
    shard = Shard(0)
    assert shard.apply(JobKey("r", 0, 0), CancelAsked(), moment()) == Change()
    shard.settle(JobKey("r", 0, 0), moment())
    assert not shard.jobs


def test_a_finish_announces_sends_and_marks_in_one_move() -> None:
    shard = Shard(0)
    opened(shard, 1)
    run(shard, 0, files=1)
    move = succeed(shard, 0)
    assert (move.key, move.job_key) == ("r/0/0", JobKey("r", 0, 0))
    announced = decode("r/0/0", move.finishing or b"")
    assert isinstance(announced, Job)
    assert announced.state is State.FINISHING
    assert move.outcome is not None
    assert move.outcome.is_result
    assert decode("r/0/0", move.entry or b"") == Marker(
        JobKey("r", 0, 0), shard.tallies["r", 0].digest, 1, True, 30, NOW_MS, ("t1",), 0
    )


def test_only_the_last_outcome_of_a_request_carries_its_summary() -> None:
    shard = Shard(0)
    opened(shard)
    for index in range(3):
        run(shard, index)
    assert summary(succeed(shard, 1)) == [None]
    assert summary(fail(shard, 0)) == [None]
    # A file's own part of the bill is its speech: three seconds each.
    assert summary(succeed(shard, 2)) == [RequestSummary(succeeded=2, failed=1, billed_seconds=6)]


def test_a_request_that_is_not_complete_has_no_summary() -> None:
    assert Tally("d", 2).summary_with(Marker(JobKey("r", 0, 0), "d", 2, True, 1, 0)) is None


def test_a_settled_job_leaves_its_marker_and_is_gone() -> None:
    shard = Shard(0)
    journal = Journal()
    journal.write(shard, opened(shard, 2))
    for index in range(2):
        run(shard, index)
    journal.write(shard, [succeed(shard, 0)])
    assert list(shard.jobs) == [JobKey("r", 0, 1)]
    assert not shard.remembered
    journal.write(shard, [succeed(shard, 1)])
    assert not shard.jobs
    assert shard.remembered == {("r", 0): NOW_MS}
    assert shard.remembered_jobs == 2


def test_settling_a_job_that_has_not_ended_is_a_bug() -> None:
    shard = Shard(0)
    opened(shard, 1)
    with pytest.raises(IllegalTransition):
        shard.settle(JobKey("r", 0, 0), moment())


def finished(shard: Shard, count: int, journal: Journal | None = None) -> Journal:
    """Accept and cancel some requests of one file."""
    journal = journal or Journal()
    for number in range(count):
        take(shard, request_record(0, f"q{number}"))
        change = shard.apply(JobKey(f"q{number}", 0, 0), CancelAsked(), moment(NOW_MS + number))
        journal.records += [(move.key or "", move.entry) for move in change.moves]
        shard.settle(JobKey(f"q{number}", 0, 0), moment(NOW_MS + number))
    return journal


def test_markers_leave_the_window_when_they_are_too_old() -> None:
    shard = Shard(0, Window(seconds=10.0))
    finished(shard, 3)
    assert shard.sweep(NOW_MS + 10_000) == ()
    assert shard.sweep(NOW_MS + 10_002) == (Move("q0/0/0"), Move("q1/0/0"))
    assert list(shard.tallies) == [("q2", 0)]
    assert shard.remembered_jobs == 1


def test_the_oldest_markers_leave_the_window_when_there_are_too_many() -> None:
    shard = Shard(0, Window(jobs=2))
    finished(shard, 5)
    assert shard.sweep(NOW_MS) == (Move("q0/0/0"), Move("q1/0/0"), Move("q2/0/0"))
    assert shard.sweep(NOW_MS) == ()


def test_one_batch_holds_a_bounded_number_of_tombstones() -> None:
    shard = Shard(0, Window(seconds=0.0))
    finished(shard, SWEEP_MOVES + 1)
    later_ms = NOW_MS + 10**9
    assert len(shard.sweep(later_ms)) == SWEEP_MOVES
    assert len(shard.sweep(later_ms)) == 1
    assert shard.sweep(later_ms) == ()


def test_a_restored_shard_goes_on_where_the_journal_ends() -> None:
    first, journal = Shard(0), Journal()
    journal.write(first, opened(first))
    for index in range(2):
        journal.write(first, run(first, index).moves)
    journal.write(first, [fail(first, 0)])
    shard, change = restored(journal.restored())
    assert not change.moves
    assert sorted(shard.jobs) == [JobKey("r", 0, 1), JobKey("r", 0, 2)]
    assert change.steps == (Watch(JobKey("r", 0, 1), "t1", NOW_MS + 500), QueueSubmit(JobKey("r", 0, 2), 0))
    assert summary(succeed(shard, 1)) == [None]
    run(shard, 2)
    assert summary(succeed(shard, 2)) == [RequestSummary(succeeded=2, failed=1, billed_seconds=6)]


def test_a_restore_leaves_the_cursor_to_the_take_over() -> None:
    journal = Journal()
    journal.records.append((CURSOR_KEY, encode_cursor(Cursor(500))))
    shard = Shard(0, cursor=Cursor(3))
    shard.load(journal.restored(), moment())
    assert shard.cursor == Cursor(3)


def test_an_outcome_that_was_announced_is_sent_again_with_its_summary() -> None:
    first, journal = Shard(0), Journal()
    journal.write(first, opened(first, 2))
    for index in range(2):
        journal.write(first, run(first, index, files=2).moves)
    # Decided in this order: file 1, then file 0 with the summary.
    sent = [fail(first, 1), fail(first, 0)]
    journal.announce(sent)
    _, change = restored(journal.restored())
    again = sorted(change.moves, key=lambda move: str(move.key), reverse=True)
    assert summary(again) == summary(sent) == [None, RequestSummary(succeeded=0, failed=2, billed_seconds=0)]
    assert [move.key for move in again] == [move.key for move in sent]
    assert all(isinstance(move.outcome.body, Failure) for move in again if move.outcome)


def test_a_result_that_was_announced_counts_before_it_is_fetched_again() -> None:
    first, journal = Shard(0), Journal()
    journal.write(first, opened(first, 2))
    for index in range(2):
        journal.write(first, run(first, index, files=2).moves)
    journal.announce([succeed(first, 0)])
    shard, change = restored(journal.restored())
    assert not change.moves
    # What may be out already carries no summary, so the other one has to.
    assert summary(fail(shard, 1)) == [RequestSummary(succeeded=1, failed=1, billed_seconds=3)]
    assert summary(succeed(shard, 0)) == [None]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_summary_of_an_ending_that_was_never_announced_is_taken_back(lost: int) -> None:
    """A broker may take the later of two records and lose the earlier; then no outcome of them was sent."""
    first, journal = Shard(0), Journal()
    journal.write(first, opened(first, 2))
    for index in range(2):
        journal.write(first, run(first, index, files=2).moves)
    sent = [fail(first, lost), fail(first, 1 - lost)]
    journal.announce(sent[1:])
    shard, change = restored(journal.restored())
    assert summary(change.moves) == [None]
    assert summary(fail(shard, lost)) == [RequestSummary(succeeded=0, failed=2, billed_seconds=0)]


def test_what_a_request_billed_survives_a_restore_of_its_announced_failure() -> None:
    first, journal = Shard(0), Journal()
    journal.write(first, opened(first, 1))
    journal.write(first, run(first, 0, files=1).moves)
    sent = fail(first, 0)
    journal.announce([sent])
    _, change = restored(journal.restored())
    assert (
        summary(change.moves) == summary(sent) == [RequestSummary(succeeded=0, failed=1, billed_seconds=30)]
    )


def test_markers_are_remembered_in_the_order_of_their_finish() -> None:
    journal = Journal()
    for finished_ms, request_id in ((30, "b"), (10, "c"), (20, "a")):
        marker = Marker(JobKey(request_id, 0, 0), "d", 1, True, None, finished_ms)
        journal.records.append((str(marker.key), encode_marker(marker)))
    shard, _ = restored(journal.restored())
    assert [request_id for request_id, _ in shard.remembered] == ["c", "a", "b"]
    assert shard.remembered_jobs == 3


def test_a_request_half_swept_before_a_crash_is_forgotten_too() -> None:
    journal = Journal()
    marker = Marker(JobKey("r", 0, 1), "d", 3, True, None, 10)
    journal.records.append((str(marker.key), encode_marker(marker)))
    shard, _ = restored(journal.restored(), Window(seconds=1.0))
    assert shard.sweep(NOW_MS + 1_000 + RESTORED_MS) == (Move("r/0/1"),)
    assert not shard.tallies
    assert shard.remembered_jobs == 0


def test_what_a_restore_finds_outlives_the_reading_of_the_records_after_the_cursor() -> None:
    """They may be those that made it, while the cursor did not become durable; a day may have gone by."""
    journal = Journal()
    for request_id, finished_ms in (("old", 10), ("new", NOW_MS)):
        marker = Marker(JobKey(request_id, 0, 0), "d", 1, True, None, finished_ms)
        journal.records.append((str(marker.key), encode_marker(marker)))
    shard, _ = restored(journal.restored())
    assert shard.sweep(NOW_MS + RESTORED_MS) == ()
    assert shard.sweep(NOW_MS + RESTORED_MS + 1) == (Move("old/0/0"),)
    assert shard.sweep(NOW_MS + RESTORED_MS + 1) == ()


@pytest.mark.parametrize("state", [State.ACCEPTED, State.WAITING, State.SUBMITTING, State.RUNNING])
def test_an_open_job_that_a_stranger_wrote_over_is_written_again(state: State) -> None:
    shard = Shard(0)
    shard.open_request([job(state)])
    assert shard.mend(["r/0/0"]) == (Move("r/0/0", encode_job(job(state))),)


def test_a_job_that_is_being_fetched_is_written_as_one_that_runs() -> None:
    shard = Shard(0)
    shard.open_request([job(State.COLLECTING)])
    [move] = shard.mend(["r/0/0"])
    assert decode("r/0/0", move.entry or b"") == job(State.RUNNING)


def test_mending_does_not_bring_back_a_job_whose_outcome_is_on_its_way() -> None:
    shard = Shard(0)
    opened(shard, 1)
    run(shard, 0, files=1)
    finish = succeed(shard, 0)
    assert shard.mend(["r/0/0"]) == (Move("r/0/0", finish.entry),)
    shard.settle(JobKey("r", 0, 0), moment())
    assert shard.mend(["r/0/0"]) == (Move("r/0/0", finish.entry),)


def test_a_key_that_nobody_knows_is_buried() -> None:
    shard = Shard(0)
    opened(shard, 1)
    assert shard.mend(["x/0/0", "r/0/7"]) == (Move("x/0/0"), Move("r/0/7"))


def test_the_shards_own_keys_are_not_mended_by_the_shard() -> None:
    assert Shard(0).mend(["~cursor", "~owner"]) == ()


def test_a_restore_writes_over_what_strangers_wrote() -> None:
    first, journal = Shard(0), Journal()
    journal.write(first, opened(first, 1))
    journal.records.append((CURSOR_KEY, encode_cursor(Cursor(3))))
    strange = [("r/0/0", None), ("x/0/0", encode_job(job())), (CURSOR_KEY, encode_cursor(Cursor(9)))]
    shard, change = restored(journal.restored(*strange))
    assert set(change.moves) == {
        Move("r/0/0", encode_job(shard.jobs[JobKey("r", 0, 0)])),
        Move("x/0/0"),
        Move(CURSOR_KEY, encode_cursor(Cursor(3))),
    }
    assert change.moves[-1].key == CURSOR_KEY


def test_jobs_that_wait_for_a_submit_or_its_answer_are_counted() -> None:
    shard = Shard(0)
    shard.open_request(replace(job(state), file_index=index) for index, state in enumerate(State))
    assert shard.jobs_without_task() == shard.jobs_without_task("fun-asr") == 3
    assert shard.jobs_without_task("fun-asr-mtl") == 0


def test_overdue_jobs_are_those_whose_deadline_has_come() -> None:
    shard = Shard(0)
    shard.open_request([job(), job(file_index=1, spec=spec(deadline_ms=NOW_MS))])
    assert shard.overdue(NOW_MS) == [JobKey("r", 0, 1)]
    assert shard.overdue(NOW_MS - 1) == []


def test_a_restored_failure_is_told_once() -> None:
    journal = Journal()
    journal.records.append(("r/0/0", encode_job(job(State.FINISHING, ending=FAILED))))
    shard, change = restored(journal.restored())
    [move] = change.moves
    assert move.outcome is not None
    body = move.outcome.body
    assert isinstance(body, Failure)
    assert (body.code, body.message, body.file_url) == (FailureCode.TASK_LOST, "lost", URL.partition("?")[0])
    assert (
        shard.apply(JobKey("r", 0, 0), Looked(TaskView("t1", TaskStatus.SUCCEEDED), None), moment())
        == Change()
    )
    assert shard.jobs[JobKey("r", 0, 0)] == replace(shard.jobs[JobKey("r", 0, 0)], state=State.FINISHING)


def test_a_settled_job_met_its_publication() -> None:
    shard = Shard(0)
    opened(shard, 1)
    shard.apply(JobKey("r", 0, 0), CancelAsked(), moment())
    assert shard.apply(JobKey("r", 0, 0), Published(), moment()) == Change()
    assert shard.jobs[JobKey("r", 0, 0)].state is State.DONE


# What the day has cost.


def test_each_ending_counts_once_for_the_day() -> None:
    shard, journal = Shard(0), Journal()
    journal.write(shard, opened(shard))
    for index in range(3):
        journal.write(shard, run(shard, index, files=1).moves)
    for index in range(2):
        journal.write(shard, [succeed(shard, index)])
    journal.write(shard, [fail(shard, 2)])
    assert shard.spend.on(NOW_MS) == 90
    again, _ = restored(journal.restored())
    assert again.spend.on(NOW_MS) == 90


def test_an_ending_that_was_announced_before_a_crash_counts_once() -> None:
    shard, journal = Shard(0), Journal()
    journal.write(shard, opened(shard, 1))
    journal.write(shard, run(shard, 0, files=1).moves)
    journal.announce([fail(shard, 0)])
    again, change = restored(journal.restored())
    assert again.spend.on(NOW_MS) == 30
    journal.write(again, change.moves)
    last, _ = restored(journal.restored())
    assert last.spend.on(NOW_MS) == 30


def test_what_each_ending_costs_is_known_to_the_next_owner_whatever_its_prices_are() -> None:
    shard, journal = Shard(0, prices={"fun-asr": Price(per_second=0.5)}), Journal()
    journal.write(shard, opened(shard))
    for index in range(3):
        journal.write(shard, run(shard, index, files=1).moves)
    journal.write(shard, [succeed(shard, 0), fail(shard, 1)])
    assert shard.spend.cost_on(NOW_MS) == 30.0
    again, _ = restored(journal.restored())
    assert again.spend.cost_on(NOW_MS) == 30.0


def test_the_cost_of_an_ending_that_was_announced_before_a_crash_counts_once() -> None:
    shard, journal = Shard(0, prices={"fun-asr": Price(per_second=0.5)}), Journal()
    journal.write(shard, opened(shard, 1))
    journal.write(shard, run(shard, 0, files=1).moves)
    journal.announce([fail(shard, 0)])
    again, change = restored(journal.restored())
    assert again.spend.cost_on(NOW_MS) == 15.0
    journal.write(again, change.moves)
    last, _ = restored(journal.restored())
    assert last.spend.cost_on(NOW_MS) == 15.0


def test_a_model_without_a_price_costs_nothing() -> None:
    shard, journal = Shard(0, prices={"fun-asr-mtl": Price(per_second=0.5)}), Journal()
    journal.write(shard, opened(shard, 1))
    journal.write(shard, run(shard, 0, files=1).moves)
    journal.write(shard, [succeed(shard, 0)])
    assert (shard.spend.on(NOW_MS), shard.spend.cost_on(NOW_MS)) == (30, 0.0)


def test_what_markers_of_yesterday_cost_is_not_counted() -> None:
    shard = Shard(0)
    restore = Restore("journal", 0)
    for number, age_ms in enumerate((DAY_MS, 0)):
        marker = Marker(JobKey(f"r{number}", 0, 0), "d", 1, True, 30, NOW_MS - age_ms)
        restore.add(number, str(marker.key), encode_marker(marker), Stamp(1, 1).encode())
    shard.load(restore, moment())
    assert shard.spend.on(NOW_MS) == 30


def test_every_task_of_a_request_is_known_by_its_jobs_and_its_markers() -> None:
    shard = Shard(0)
    opened(shard, 3)
    run(shard, 0, files=1)
    succeed(shard, 0)
    shard.settle(JobKey("r", 0, 0), moment())
    assert shard.tasks_of(("r", 0)) == {"t1"}
    shard.jobs[JobKey("r", 0, 1)] = replace(shard.jobs[JobKey("r", 0, 1)], former_tasks=("t7",), task_id="t8")
    assert shard.tasks_of(("r", 0)) == {"t1", "t7", "t8"}
    assert shard.tasks_of(("unknown", 0)) == set()
