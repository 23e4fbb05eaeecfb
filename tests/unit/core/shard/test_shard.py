"""A shard: one outcome per job, summaries, what is remembered, and what is written together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pydantic import JsonValue

from service.contract.outcome import Failure, RequestSummary
from service.core.job.accepted_request import FileEnd, FinishedRequest
from service.core.job.events import (
    Adopted,
    CancelAsked,
    CancelTask,
    DeadlinePassed,
    Fetch,
    Fetched,
    HandlingFailed,
    Intended,
    JobEvent,
    JobRestored,
    NotFound,
    Poll,
    Polled,
    Posted,
    QueueSubmit,
    SubmissionEvent,
    SubmitLost,
    SubmitRefused,
)
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.request_record import Cursor
from service.core.job.submission import Counters, Submission, SubmissionState
from service.core.journal.entries import (
    decode,
    encode_done,
    encode_finished,
    encode_request,
    encode_submission,
)
from service.core.journal.stamp import STAMP_HEADER, Stamp
from service.core.limits.price import Price
from service.core.limits.spend_limit import DAY_MS
from service.core.outcome.build import Outcome, OutcomeRules, job_outcome
from service.core.provider.answers import FileView, ProviderError, TaskStatus, TaskView
from service.core.shard import finishing
from service.core.shard.batches import Batch, Change, Group, JournalRecord
from service.core.shard.shard import TOMBSTONES_AT_ONCE, Shard
from service.core.shard.state import Window
from service.errors import FailureCode, IllegalTransition
from tests.unit.core.samples import NO_ANSWER, NOW_MS, URL, context, request_record, transcript
from tests.unit.core.shard_world import Entry, items_of, restore_of, take

URLS: list[JsonValue] = ["https://h.example/0.wav", "https://h.example/1.wav", "https://h.example/2.wav"]
ORIGIN = Origin(0, 0)
FIRST = SubmissionKey(1, 1)
GONE = ProviderError("FILE_404_NOT_FOUND", "404")
DAY_AFTER_MS = NOW_MS + DAY_MS + 3_600_000


def ref(index: int = 0, offset: int = 0) -> JobRef:
    """A job of the request at that offset."""
    return JobRef(Origin(0, offset), index)


class Life:
    """A shard and everything that it has made durable."""

    def __init__(self, shard: Shard | None = None, files: int = 3) -> None:
        self.shard = shard or Shard(0, epoch=1, files_per_task=3)
        self.groups: list[Group] = []
        self.change = Change()
        if files:
            self.take(take(self.shard, request_record(0, "r", file_urls=URLS[:files])).change)

    def take(self, change: Change) -> Change:
        """Let a change become durable, and settle what ended."""
        self.groups += change.groups
        self.change = change
        for group in change.groups:
            self.shard.durable_cursor = group.cursor or self.shard.durable_cursor
            for ended in group.ended:
                self.shard.forget_job(ended, context())
        return change

    def on(self, event: SubmissionEvent, key: SubmissionKey = FIRST) -> Change:
        """Let a submission meet an event."""
        return self.take(self.shard.on_submission(key, event, context()))

    def tell(self, event: JobEvent, index: int = 0) -> Change:
        """Let a job meet an event."""
        return self.take(self.shard.on_job(ref(index), event, context()))

    def run(self, task_id: str = "t1", key: SubmissionKey = FIRST) -> Change:
        """Post a submission."""
        self.on(Intended(NOW_MS), key)
        return self.on(Posted(task_id), key)

    def poll(self, *bad: int, seconds: int = 30, key: SubmissionKey = FIRST) -> Change:
        """Find its task finished; some of its files failed."""
        return self.on(Polled(view(*bad, seconds=seconds), NOW_MS), key)

    def restored(self, *strange: Entry) -> tuple[Shard, Change]:
        """The next owner's shard."""
        return restored(self.groups, *strange)


def view(*bad: int, seconds: int | None = 30) -> TaskView:
    """A finished task of all files."""
    files = tuple(
        FileView(str(url), provider_error=GONE) if index in bad else FileView(str(url), "https://r.example/1")
        for index, url in enumerate(URLS)
    )
    return TaskView("t1", TaskStatus.SUCCEEDED, files, billed_seconds=seconds)


def restored(groups: list[Group], *strange: Entry) -> tuple[Shard, Change]:
    """The next owner's shard after these groups, in a journal without transactions."""
    entries = [item for items in items_of(groups, "exactly_once", 1) for item in items]
    claim = Entry("~owner/2", b'{"epoch":2,"member":"m"}', 2)
    restore = restore_of([*(each for each in entries if isinstance(each, Entry)), claim, *strange])
    shard = Shard(0, 2, restore.cursor or Cursor(0), files_per_task=3)
    return shard, shard.load(restore, context())


def outcomes(change: Change) -> list[Outcome]:
    """What is told."""
    return [outcome for group in change.groups for outcome in group.outcomes]


def summaries(change: Change) -> list[RequestSummary | None]:
    """The summaries that the outcomes carry."""
    return [outcome.body.request_summary for outcome in outcomes(change)]


def keys(change: Change) -> list[list[str]]:
    """The records' keys, by group."""
    return [[record.key for record in group.records] for group in change.groups]


def test_a_task_id_is_durable_for_all_jobs_of_a_post_or_for_none() -> None:
    life = Life()
    change = life.run()
    [group] = change.groups
    [record] = group.records
    assert decode(record.key, record.value or b"") == life.shard.submissions[FIRST]
    assert all(job.task_ids == ("t1",) for job in life.shard.jobs.values())
    # And it is polled only once it is durable.
    assert (group.steps, change.steps) == ((Poll(FIRST, "t1", NOW_MS + 1_000),), ())


def test_what_need_not_be_durable_is_done_at_once() -> None:
    life = Life()
    life.run()
    change = life.on(Polled(TaskView("t1", TaskStatus.RUNNING), NOW_MS))
    assert not change.groups
    assert len(change.steps) == 1
    change = life.poll()
    assert not change.groups
    assert {step.ref for step in change.steps if isinstance(step, Fetch)} == set(life.shard.jobs)


def test_an_event_for_what_is_gone_changes_nothing() -> None:
    shard = Shard(0)
    assert shard.on_job(ref(), CancelAsked(), context()) == Change()
    assert shard.on_submission(FIRST, Posted("t1"), context()) == Change()
    before = shard.requests, shard.finished
    shard.forget_job(ref(), context())
    assert (shard.requests, shard.finished) == before
    assert shard.open_jobs(FIRST) == ()


def test_an_ending_is_announced_sent_and_marked_in_one_group() -> None:
    life = Life()
    life.run()
    life.poll()
    change = life.tell(Fetched(transcript()))
    [group] = change.groups
    assert [record.key for record in group.announcing] == [str(ref())]
    assert [outcome.id for outcome in group.outcomes] == ["r/0/0"]
    assert group.records == (JournalRecord(str(ref()), encode_done(FileEnd(0, True, 3))),)
    assert group.ended == (ref(),)
    assert group.retracting == ()
    assert group.spend is not None


def test_of_a_request_for_one_file_no_job_record_is_kept() -> None:
    life = Life(files=1)
    life.run()
    life.poll()
    [group] = life.tell(Fetched(transcript())).groups
    finished = life.shard.finished[ORIGIN]
    assert group.records == (JournalRecord(str(ORIGIN), encode_finished(finished)),)
    assert finished.ends == (FileEnd(0, True, 30),)
    # Where an ending is announced, its record goes again.
    assert group.retracting == Batch(1, (group,)).retracting == (JournalRecord(str(ref()), None),)


def test_only_the_last_outcome_of_a_request_carries_its_summary() -> None:
    life = Life()
    life.run()
    assert summaries(life.poll(0)) == [None]
    assert summaries(life.tell(Fetched(transcript()), 1)) == [None]
    # A file's own part of the bill is its speech: three seconds each.
    last = life.tell(Fetched(transcript()), 2)
    assert summaries(last) == [RequestSummary(succeeded=2, failed=1, billed_seconds=6)]


def test_the_tombstones_of_job_records_come_behind_the_finished_request() -> None:
    """A crash between the two would leave an open request whose jobs are to be done again."""
    life = Life()
    life.run()
    life.poll()
    for index in range(3):
        life.tell(Fetched(transcript()), index)
    assert keys(life.change) == [["r/0.0", "j/0.0/0", "j/0.0/1"]]
    assert [record.value is None for record in life.change.groups[0].records] == [False, True, True]


def test_a_request_is_remembered_once_its_last_outcome_is_durable() -> None:
    life = Life(files=2)
    life.run()
    life.poll()
    life.tell(Fetched(transcript()))
    assert list(life.shard.jobs) == [ref(1)]
    change = life.shard.on_job(ref(1), Fetched(transcript()), context())
    assert not life.shard.finished
    life.take(change)
    assert list(life.shard.finished) == [ORIGIN]
    for left in (life.shard.jobs, life.shard.requests, life.shard.progress, life.shard.submissions):
        assert not left
    assert life.shard.finished_jobs == 2
    assert list(life.shard.ended_submissions) == [FIRST]


def test_settling_a_job_that_has_not_ended_is_a_bug() -> None:
    life = Life()
    with pytest.raises(IllegalTransition):
        life.shard.forget_job(ref(), context())


def test_a_submit_of_several_files_that_is_refused_is_divided_in_one_group() -> None:
    """A crash between the parts would take a job's counters, or the job, out of all of them."""
    life = Life()
    life.on(Intended(NOW_MS))
    change = life.on(SubmitRefused(ProviderError("InvalidURL", "one of them", 400)))
    [group] = change.groups
    assert [record.key for record in group.records] == ["s/1.2", "s/1.3", "s/1.1"]
    assert [each.jobs for each in life.shard.submissions.values()] == [(ref(0),), (ref(1),), (ref(2),)]
    assert {step.key for step in group.steps if isinstance(step, QueueSubmit)} == {
        SubmissionKey(1, number) for number in (1, 2, 3)
    }
    shard, _ = life.restored()
    assert {key: each.jobs for key, each in shard.submissions.items()} == {
        key: each.jobs for key, each in life.shard.submissions.items()
    }


def test_a_file_that_is_tried_again_is_so_in_a_new_submission_and_the_old_record_stays() -> None:
    """Everybody has to know whose the old task was."""
    life = Life(files=2)
    life.run()
    files = (
        FileView(str(URLS[0]), provider_error=ProviderError("Throttling", "busy")),
        FileView(str(URLS[1]), "u"),
    )
    change = life.on(Polled(TaskView("t1", TaskStatus.SUCCEEDED, files, billed_seconds=3), NOW_MS))
    [group] = change.groups
    assert [record.key for record in group.records] == ["s/1.2"]
    assert SubmissionKey(1, 2) in {step.key for step in group.steps if isinstance(step, QueueSubmit)}
    assert [each.jobs for each in life.shard.submissions.values()] == [(ref(0), ref(1)), (ref(0),)]
    assert [job.ref for job in life.shard.open_jobs(FIRST)] == [ref(1)]
    shard, _ = life.restored()
    assert shard.jobs[ref(0)].submission == SubmissionKey(1, 2)
    assert shard.jobs[ref(0)].task_ids == ("t1",)
    assert shard.submissions[SubmissionKey(1, 2)].counters == Counters(1, 0, 1)


def test_an_end_of_all_jobs_is_written_behind_what_its_submission_says() -> None:
    """A refused submission is rewritten, else others would wait for its task."""
    life = Life(files=1)
    life.on(Intended(NOW_MS))
    change = life.on(SubmitRefused(ProviderError("ModelNotFound", "no such model", 404)))
    assert keys(change) == [["s/1.1"], ["r/0.0"]]
    [record] = change.groups[0].records
    written = decode(record.key, record.value or b"")
    assert isinstance(written, Submission)
    assert (written.state, written.intent) == (SubmissionState.WAITING, None)
    assert not life.shard.submissions


def test_a_submission_stays_while_a_job_in_it_could_not_meet_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job meets the event once more; without its submission it would be open for ever."""
    life, kept = Life(files=1), list[tuple[object, object]]()
    life.on(Intended(NOW_MS))

    @contextmanager
    def boundary(key: object, event: object) -> Iterator[None]:
        try:
            yield
        except ZeroDivisionError:
            kept.append((key, event))

    refused = SubmitRefused(ProviderError("ModelNotFound", "no such model", 404))
    with monkeypatch.context() as spoilt:
        spoilt.setattr("service.core.shard.decisions.finish", lambda *_: 1 // 0)
        life.take(life.shard.on_submission(FIRST, refused, context(), boundary))
    assert FIRST in life.shard.submissions
    [(key, event)] = kept
    assert isinstance(key, JobRef)
    change = life.take(life.shard.on_job(key, event, context()))  # type: ignore[arg-type]
    assert [outcome.id for outcome in outcomes(change)] == ["r/0/0"]
    assert not life.shard.submissions


def test_a_task_that_two_passes_have_found_is_adopted_once() -> None:
    life = Life(files=1)
    life.on(Intended(NOW_MS))
    life.on(SubmitLost(NO_ANSWER))
    life.on(Adopted("t1"))
    assert life.on(Adopted("t1")) == Change()
    assert life.shard.submissions[FIRST].task_id == "t1"


def test_whose_a_task_was_is_kept_from_when_it_was_made_and_not_from_its_accept() -> None:
    life = Life(files=1)
    late_ms = NOW_MS + 23 * 3_600_000
    life.take(life.shard.on_submission(FIRST, Intended(late_ms), context(late_ms)))
    life.take(life.shard.on_submission(FIRST, Posted("t1"), context(late_ms)))
    gone_file = FileView(str(URLS[0]), provider_error=GONE)
    life.on(Polled(TaskView("t1", TaskStatus.SUCCEEDED, (gone_file,)), late_ms))
    assert len(life.shard.ended_submissions) == 1
    swept = life.shard.expired_tombstones(NOW_MS + DAY_MS + 3_600_000)
    assert "s/1.1" not in [record.key for group in swept.groups for record in group.records]
    swept = life.shard.expired_tombstones(late_ms + DAY_MS + 3_600_000)
    assert "s/1.1" in [record.key for group in swept.groups for record in group.records]


def test_a_submission_that_was_never_tried_leaves_nothing_behind() -> None:
    life = Life(files=1)
    change = life.tell(CancelAsked())
    assert keys(change) == [["r/0.0"]]
    assert not life.shard.submissions
    assert not life.shard.unwritten
    assert len(life.shard.ended_submissions) == 0


def test_a_cancel_while_the_post_is_out_is_a_record_of_its_own() -> None:
    life = Life(files=1)
    life.on(Intended(NOW_MS))
    change = life.tell(CancelAsked())
    assert keys(change) == [["j/0.0/0"]]
    change = life.on(Posted("t1"))
    assert keys(change) == [["s/1.1"], ["r/0.0", "j/0.0/0"]]
    assert [step for group in change.groups for step in group.steps if isinstance(step, CancelTask)]


@contextmanager
def kept_inside(seen: list[object], of: JobRef | SubmissionKey) -> Iterator[None]:
    try:
        yield
    except RuntimeError:
        seen.append(of)


def breaking(monkeypatch: pytest.MonkeyPatch, ids: set[str]) -> None:
    """Let the outcomes of some jobs be impossible to make."""

    def outcome(job: Job, summary: RequestSummary | None, now_ms: int, rules: OutcomeRules) -> Outcome:
        if str(job.key) in ids:
            raise RuntimeError("a fault of ours")
        return job_outcome(job, summary, now_ms, rules)

    monkeypatch.setattr(finishing, "job_outcome", outcome)


def test_what_raises_has_changed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life()
    life.run()
    jobs, submissions = dict(life.shard.jobs), dict(life.shard.submissions)
    progress = dict(life.shard.progress)
    cursor, spend = life.shard.cursor, life.shard.spend
    breaking(monkeypatch, {"r/0/1"})
    with pytest.raises(RuntimeError):
        life.shard.on_submission(FIRST, Polled(view(0, 1, 2), NOW_MS), context())
    with pytest.raises(RuntimeError):
        take(life.shard, request_record(1, "r", action="cancel"))
    assert life.shard.jobs == jobs
    assert life.shard.submissions == submissions
    assert life.shard.progress == progress
    assert (life.shard.cursor, life.shard.spend) == (cursor, spend)


def test_a_fault_over_one_jobs_part_of_a_poll_keeps_no_other_from_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    life = Life()
    life.run()
    seen: list[object] = []
    with monkeypatch.context() as patched:
        breaking(patched, {"r/0/1"})
        change = life.shard.on_submission(
            FIRST, Polled(view(0, 1, 2), NOW_MS), context(), lambda of, _event: kept_inside(seen, of)
        )
    life.take(change)
    assert seen == [ref(1)]
    assert [outcome.id for outcome in outcomes(change)] == ["r/0/0", "r/0/2"]
    assert [job.ref for job in life.shard.open_jobs(FIRST)] == [ref(1)]
    last = life.tell(HandlingFailed("a fault"), 1)
    assert summaries(last) == [RequestSummary(succeeded=0, failed=3, billed_seconds=0)]


def test_a_fault_over_one_jobs_restore_keeps_no_other_from_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(Shard(0, epoch=1))
    changes = [life.shard.on_job(ref(index), CancelAsked(), context()) for index in range(2)]
    announced = [Group(group.announcing) for change in changes for group in change.groups]
    restore = restore_of(
        [
            each
            for items in items_of([*life.groups, *announced], "exactly_once", 1)
            for each in items
            if isinstance(each, Entry)
        ]
    )
    breaking(monkeypatch, {"r/0/0"})
    seen: list[object] = []
    shard = Shard(0, 2)
    change = shard.load(restore, context(), lambda of, _event: kept_inside(seen, of))
    assert seen == [ref(0)]
    assert [outcome.id for outcome in outcomes(change)] == ["r/0/1"]
    monkeypatch.undo()
    again = shard.on_job(ref(0), JobRestored(), context())
    assert [outcome.id for outcome in outcomes(again)] == ["r/0/0"]


# What is remembered.


def ended(shard: Shard, count: int, first: int = 0) -> None:
    """Accept and cancel some requests of one file."""
    for offset in range(first, first + count):
        take(shard, request_record(offset, f"q{offset}"))
        shard.on_job(ref(0, offset), CancelAsked(), context(NOW_MS + offset))
        shard.forget_job(ref(0, offset), context())
    shard.durable_cursor = shard.cursor


def gone(change: Change) -> list[str]:
    """The keys that are forgotten."""
    assert all(record.value is None for group in change.groups for record in group.records)
    return [record.key for group in change.groups for record in group.records]


def test_requests_leave_the_window_when_they_are_too_old() -> None:
    shard = Shard(0, window=Window(seconds=10.0))
    ended(shard, 3)
    assert gone(shard.expired_tombstones(NOW_MS + 10_000)) == []
    assert gone(shard.expired_tombstones(NOW_MS + 10_002)) == ["r/0.0", "r/0.1"]
    assert list(shard.finished) == [Origin(0, 2)]
    assert (shard.finished_jobs, len(shard.by_id)) == (1, 1)


def test_an_older_request_of_an_id_leaves_the_window_without_the_later_one() -> None:
    """Two of one id are remembered where a journal holds both."""
    ends = (FileEnd(0, True),)
    old, new = (FinishedRequest(Origin(0, n), "r", 0, "d", ends, NOW_MS - 10 + n) for n in range(2))
    written = [JournalRecord(str(each.origin), encode_finished(each)) for each in (new, old)]
    shard, _ = restored([Group(tuple(written), cursor=Cursor(2))])
    assert shard.by_id == {"r": Origin(0, 1)}
    shard.window = Window(jobs=1)
    assert gone(shard.expired_tombstones(NOW_MS)) == ["r/0.0"]
    assert shard.by_id == {"r": Origin(0, 1)}
    shard.window = Window(jobs=0)
    assert gone(shard.expired_tombstones(NOW_MS)) == ["r/0.1"]
    assert shard.by_id == {}


def test_the_oldest_requests_leave_the_window_when_there_are_too_many() -> None:
    shard = Shard(0, window=Window(jobs=2))
    ended(shard, 5)
    assert gone(shard.expired_tombstones(NOW_MS)) == ["r/0.0", "r/0.1", "r/0.2"]
    assert gone(shard.expired_tombstones(NOW_MS)) == []


def test_a_request_whose_record_may_be_read_again_is_not_forgotten() -> None:
    """Its cursor did not become durable before a crash: it would be done, and billed, again."""
    shard = Shard(0, window=Window(seconds=0.0))
    ended(shard, 2)
    shard.durable_cursor = Cursor(1)
    assert gone(shard.expired_tombstones(NOW_MS + DAY_MS)) == ["r/0.0"]
    assert gone(shard.expired_tombstones(NOW_MS + DAY_MS)) == []
    shard.durable_cursor = Cursor(2)
    assert gone(shard.expired_tombstones(NOW_MS + DAY_MS)) == ["r/0.1"]


def test_one_sweep_makes_a_bounded_number_of_tombstones() -> None:
    shard = Shard(0, window=Window(seconds=0.0))
    ended(shard, TOMBSTONES_AT_ONCE - 1)
    for number in range(3):
        shard.ended_submissions.add(NOW_MS, SubmissionKey(1, number))
    late_ms = NOW_MS + 10 * DAY_MS
    assert len(gone(shard.expired_tombstones(late_ms))) == TOMBSTONES_AT_ONCE
    assert len(gone(shard.expired_tombstones(late_ms))) == 2
    assert shard.expired_tombstones(late_ms) == Change()


def test_a_submission_is_remembered_for_a_day_so_that_its_task_is_not_adopted() -> None:
    life = Life(files=1)
    life.run()
    life.poll(0)
    shard = life.shard
    assert list(shard.ended_submissions) == [FIRST]
    assert "s/1.1" not in gone(shard.expired_tombstones(NOW_MS + DAY_MS))
    assert "s/1.1" in gone(shard.expired_tombstones(DAY_AFTER_MS))


def test_an_id_that_is_used_again_while_its_old_submission_is_kept_is_another_request() -> None:
    """The old task is not its own, and its end is not the old one's."""
    life = Life(Shard(0, epoch=1, window=Window(seconds=60.0)), files=1)
    life.run()
    life.poll(0)
    life.take(life.shard.expired_tombstones(NOW_MS + 61_000))
    life.take(take(life.shard, request_record(1, "r", file_urls=URLS[:1]), now_ms=NOW_MS + 61_000).change)
    for shard in (life.shard, life.restored()[0]):
        [job] = shard.jobs.values()
        assert (job.ref, job.state, job.task_ids) == (ref(0, 1), JobState.WAITING, ())
        assert shard.by_id == {"r": Origin(0, 1)}
        assert list(shard.ended_submissions) == [FIRST]
        assert shard.submissions[job.submission].jobs == (ref(0, 1),)


# What the day has cost.


def test_each_ending_counts_once_for_the_day_and_for_the_next_owner() -> None:
    prices = {"fun-asr": Price(per_second=0.5)}
    life = Life(Shard(0, epoch=1, prices=prices))
    for number in range(1, 4):
        key = SubmissionKey(1, number)
        life.run(f"t{number}", key)
        life.poll(number - 1, key=key)
    assert (life.shard.spend.on(NOW_MS), life.shard.spend.cost_on(NOW_MS)) == (90, 45.0)
    again, _ = life.restored()
    assert (again.spend.on(NOW_MS), again.spend.cost_on(NOW_MS)) == (90, 45.0)


def test_a_model_without_a_price_costs_nothing() -> None:
    life = Life(Shard(0, epoch=1, prices={"fun-asr-mtl": Price(per_second=0.5)}), files=1)
    life.run()
    life.poll(0)
    assert (life.shard.spend.on(NOW_MS), life.shard.spend.cost_on(NOW_MS)) == (30, 0.0)


def test_a_day_that_the_journal_has_ahead_of_now_is_todays() -> None:
    life = Life(files=1)
    life.run()
    life.poll(0)
    ahead = Entry("~spend/3", b'{"day":99999,"seconds":7,"cost":0.0}', 3)
    shard, _ = life.restored(ahead)
    assert shard.spend.on(NOW_MS) == 7


def followed(files: int = 1, prices: dict[str, Price] | None = None) -> Life:
    """A task that goes on while its jobs have ended."""
    life = Life(Shard(0, epoch=1, files_per_task=3, prices=prices or {}), files=files)
    life.run()
    for index in range(files):
        life.tell(CancelAsked(), index)
    return life


def test_a_task_without_jobs_is_followed_until_its_bill_counts() -> None:
    """Six requests with `ttl_seconds: 4` were billed 1,200 s, and the limit of a day saw none of it."""
    life = followed(prices={"fun-asr": Price(per_second=0.5)})
    assert life.shard.finished[ORIGIN].ends == (FileEnd(0, False, None),)
    assert list(life.shard.submissions) == [FIRST]
    shard, change = life.restored()
    assert list(shard.submissions) == [FIRST]
    assert [step.task_id for step in change.steps if isinstance(step, Poll)] == ["t1"]
    change = life.poll(seconds=120)
    assert outcomes(change) == []
    [group] = change.groups
    assert [record.key for record in group.records] == ["s/1.1", "r/0.0"]
    assert group.spend is not None
    assert life.shard.finished[ORIGIN].ends == (FileEnd(0, False, 120, 60.0),)
    assert (life.shard.spend.on(NOW_MS), life.shard.spend.cost_on(NOW_MS)) == (120, 60.0)
    assert not life.shard.submissions
    again, change = life.restored()
    assert (list(again.submissions), change.steps, again.spend.on(NOW_MS)) == ([], (), 120)
    assert again.finished == life.shard.finished


def test_the_bill_of_a_task_is_shared_by_the_files_that_have_none() -> None:
    life = followed(files=3)
    life.poll(seconds=31)
    assert [end.billed_seconds for end in life.shard.finished[ORIGIN].ends] == [10, 10, 10]
    assert life.shard.spend.on(NOW_MS) == 30


def test_a_file_that_was_given_up_takes_its_part_of_the_bill_beside_those_that_go_on() -> None:
    life = Life(Shard(0, epoch=1, files_per_task=3), files=3)
    life.run()
    life.tell(CancelAsked())
    change = life.poll(seconds=30)
    assert keys(change) == [["j/0.0/0"]]
    assert life.shard.progress[ORIGIN].ends[0] == FileEnd(0, False, 10)
    for index in (1, 2):
        life.tell(Fetched(transcript()), index)
    assert [end.billed_seconds for end in life.shard.finished[ORIGIN].ends] == [10, 3, 3]
    assert summaries(life.change) == [RequestSummary(succeeded=2, failed=1, billed_seconds=16)]


def test_a_bill_that_comes_before_the_last_outcome_is_durable_is_in_what_is_left() -> None:
    life = Life(files=1)
    life.run()
    change = life.shard.on_job(ref(), CancelAsked(), context())
    late = life.shard.on_submission(FIRST, Polled(view(seconds=9), NOW_MS), context())
    life.take(change)
    life.take(late)
    assert life.shard.finished[ORIGIN].ends == (FileEnd(0, False, 9),)
    assert life.restored()[0].finished == life.shard.finished


def test_a_bill_whose_request_is_forgotten_counts_for_the_day_alone() -> None:
    life = followed()
    life.shard.window = Window(seconds=0.0)
    life.take(life.shard.expired_tombstones(NOW_MS + 1000))
    change = life.poll(seconds=9)
    assert keys(change) == [["s/1.1"]]
    assert life.shard.spend.on(NOW_MS) == 9


def test_a_task_without_a_bill_costs_what_is_known() -> None:
    life = followed()
    life.on(Polled(view(seconds=None), NOW_MS))
    assert life.shard.spend.on(NOW_MS) == 0
    assert not life.shard.submissions


def test_a_bill_does_not_say_that_an_outcome_which_was_not_sent_is_out() -> None:
    """The ending of a job was announced; a fault of ours keeps its outcome back."""
    life = Life(files=2)
    life.run()
    change = life.shard.on_job(ref(), CancelAsked(), context())
    announced = [Group(group.announcing) for group in change.groups]
    entries = [each for items in items_of([*life.groups, *announced], "exactly_once", 1) for each in items]
    shard = Shard(0, 2)
    with pytest.MonkeyPatch.context() as patched:
        breaking(patched, {"r/0/0"})
        restore = restore_of([each for each in entries if isinstance(each, Entry)])
        shard.load(restore, context(), lambda of, _event: kept_inside([], of))
        change = shard.on_submission(FIRST, Polled(view(seconds=8), NOW_MS), context())
    assert "j/0.0/0" not in [key for group in keys(change) for key in group]
    assert shard.progress[ORIGIN].ends[0] == FileEnd(0, False, 4)


# A restore.


def test_a_restored_shard_goes_on_where_the_journal_ends() -> None:
    life = Life()
    life.run()
    life.poll(0)
    shard, change = life.restored()
    assert not change.groups
    assert sorted(shard.jobs) == [ref(1), ref(2)]
    assert [job.state for job in shard.jobs.values()] == [JobState.SUBMITTED] * 2
    assert [step.key for step in change.steps if isinstance(step, Poll)] == [FIRST]
    assert shard.requests == life.shard.requests
    shard.on_submission(FIRST, Polled(view(1), NOW_MS), context())
    last = shard.on_job(ref(2), Fetched(transcript()), context())
    assert summaries(last) == [RequestSummary(succeeded=1, failed=2, billed_seconds=3)]


def test_a_restore_leaves_the_cursor_to_the_take_over() -> None:
    shard = Shard(0, cursor=Cursor(3))
    shard.load(restore_of([Entry("~cursor/1", b'{"next":500}', 1)]), context())
    assert shard.cursor == shard.durable_cursor == Cursor(3)


def announced(life: Life, *changes: Change) -> list[Group]:
    """The first stage alone: the endings are announced, then comes the crash."""
    return [*life.groups, *(Group(group.announcing) for change in changes for group in change.groups)]


def test_an_outcome_that_was_announced_is_sent_again_with_its_summary() -> None:
    life = Life(files=2)
    life.run()
    # Decided in this order: file 1, then file 0 with the summary.
    sent = [life.shard.on_job(ref(index), CancelAsked(), context()) for index in (1, 0)]
    shard, change = restored(announced(life, *sent))
    told = {outcome.id: outcome.body.request_summary for outcome in outcomes(change)}
    assert told == {"r/0/1": None, "r/0/0": RequestSummary(succeeded=0, failed=2, billed_seconds=0)}
    assert all(isinstance(outcome.body, Failure) for outcome in outcomes(change))
    # The request is finished by the last outcome that is written, not by the one with the summary.
    assert keys(change) == [["j/0.0/0"], ["r/0.0", "j/0.0/0", "j/0.0/1"]]
    assert not shard.open_jobs(FIRST)


def test_a_result_that_was_announced_counts_before_it_is_fetched_again() -> None:
    life = Life(files=2)
    life.run()
    life.poll()
    sent = life.shard.on_job(ref(0), Fetched(transcript()), context())
    shard, change = restored(announced(life, sent))
    assert not outcomes(change)
    assert shard.jobs[ref(0)].must_be_result
    # What may be out already carries no summary, so the other one has to.
    other = shard.on_job(ref(1), CancelAsked(), context())
    assert summaries(other) == [RequestSummary(succeeded=1, failed=1, billed_seconds=3)]
    shard.on_submission(FIRST, Polled(view(), NOW_MS), context())
    last = shard.on_job(ref(0), Fetched(transcript()), context())
    assert summaries(last) == [None]
    assert keys(last)[-1] == ["r/0.0", "j/0.0/0", "j/0.0/1"]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_summary_of_an_ending_that_was_never_announced_is_taken_back(lost: int) -> None:
    """A broker may take the later of two records and lose the earlier; then no outcome of them was sent."""
    life = Life(files=2)
    life.run()
    life.shard.on_job(ref(lost), CancelAsked(), context())
    sent = life.shard.on_job(ref(1 - lost), CancelAsked(), context())
    shard, change = restored(announced(life, sent))
    assert summaries(change) == [None]
    last = shard.on_job(ref(lost), CancelAsked(), context())
    assert summaries(last) == [RequestSummary(succeeded=0, failed=2, billed_seconds=0)]


def test_a_request_whose_jobs_are_all_done_is_finished_by_the_next_owner() -> None:
    life = Life(files=2)
    done = Group(tuple(JournalRecord(str(ref(n)), encode_done(FileEnd(n, True, 4))) for n in range(2)))
    shard, change = restored([*life.groups, done])
    assert keys(change) == [["r/0.0", "j/0.0/0", "j/0.0/1"]]
    assert shard.finished[ORIGIN].ends == (FileEnd(0, True, 4), FileEnd(1, True, 4))
    assert not shard.requests


def test_what_refers_to_a_closed_request_is_ignored_and_its_job_records_go() -> None:
    life = Life(files=1)
    life.run()
    life.poll(0)
    left = Group((JournalRecord("j/0.0/0", b'{"cancel":true}'), JournalRecord("j/0.9/0", b'{"cancel":true}')))
    shard, change = restored([*life.groups, left])
    assert gone(change) == ["j/0.0/0", "j/0.9/0"]
    assert (len(shard.jobs), len(shard.requests), len(shard.submissions)) == (0, 0, 0)
    assert list(shard.ended_submissions) == [FIRST]


def test_a_job_is_in_the_highest_numbered_submission_that_lists_it() -> None:
    life = Life(files=1)
    life.on(Intended(NOW_MS))
    life.on(SubmitLost(NO_ANSWER))
    life.on(NotFound())
    later = SubmissionKey(1, 2)
    assert life.shard.jobs[ref()].submission == later
    shard, change = life.restored()
    assert shard.jobs[ref()].submission == later
    assert list(shard.submissions) == [later]
    assert [step.key for step in change.steps if isinstance(step, QueueSubmit)] == [later]
    # An older record that names it as well says nothing.
    old = life.shard.submissions[later]
    strange = replace(old, key=FIRST, state=SubmissionState.RUNNING, task_id="t9", submitted_ms=NOW_MS)
    shard, _ = restored([*life.groups, Group((JournalRecord("s/1.1", encode_submission(strange)),))])
    assert shard.jobs[ref()].submission == later
    assert shard.jobs[ref()].task_ids == ("t9",)


def test_a_request_of_a_model_that_is_no_more_still_has_submissions() -> None:
    life = Life(files=2)
    request = replace(life.shard.requests[ORIGIN], model="gone-asr")
    shard, change = restored([Group((JournalRecord("r/0.0", encode_request(request)),))])
    assert [each.jobs for each in shard.submissions.values()] == [(ref(0),), (ref(1),)]
    assert len(change.steps) == 2


def test_times_that_lie_ahead_of_now_hold_nothing_up() -> None:
    life = Life(files=1)
    life.on(Intended(NOW_MS))
    life.on(SubmitRefused(ProviderError("Throttling", "slow", 429)))
    ahead = replace(life.shard.submissions[FIRST], created_ms=NOW_MS + 10**12, due_ms=NOW_MS + 10**12 + 5)
    shard, change = restored([*life.groups, Group((JournalRecord("s/1.1", encode_submission(ahead)),))])
    [step] = change.steps
    assert isinstance(step, QueueSubmit)
    assert step.due_ms <= NOW_MS + 600_000
    assert shard.submissions[FIRST].created_ms == NOW_MS


def test_a_finish_that_lies_ahead_of_now_leaves_the_window_in_time() -> None:
    life = Life(files=1)
    life.take(life.shard.on_job(ref(), CancelAsked(), context(NOW_MS + 10**12)))
    shard, _ = life.restored()
    assert shard.finished[ORIGIN].finished_ms == NOW_MS
    assert gone(shard.expired_tombstones(NOW_MS + DAY_MS + 1)) == ["r/0.0"]


# What a stranger wrote over.


def test_a_key_that_a_stale_owner_overwrote_is_rewritten_with_its_current_value() -> None:
    life = Life(files=2)
    shard = life.shard
    assert shard.rewrite(["r/0.0"]).groups == (
        Group((JournalRecord("r/0.0", encode_request(shard.requests[ORIGIN])),)),
    )
    assert shard.rewrite(["s/1.1", "j/0.0/0"]).groups == (
        Group((JournalRecord("s/1.1", None),)),
        Group((JournalRecord("j/0.0/0", None),)),
    )
    life.on(Intended(NOW_MS))
    life.tell(CancelAsked())
    assert shard.rewrite(["s/1.1", "j/0.0/0"]).groups == (
        Group((JournalRecord("s/1.1", encode_submission(shard.submissions[FIRST])),)),
        Group((JournalRecord("j/0.0/0", b'{"cancel":true}'),)),
    )


def test_rewriting_does_not_restore_a_job_whose_outcome_is_in_flight() -> None:
    life = Life(files=2)
    life.shard.on_job(ref(0), CancelAsked(), context())
    done = JournalRecord("j/0.0/0", encode_done(FileEnd(0, False, None)))
    assert life.shard.rewrite(["j/0.0/0"]).groups == (Group((done,)),)
    change = life.shard.on_job(ref(1), CancelAsked(), context())
    finished = change.groups[0].records[0]
    assert life.shard.rewrite(["j/0.0/0", "r/0.0"]).groups == (
        Group((JournalRecord("j/0.0/0", None),)),
        Group((finished,)),
    )
    for index in range(2):
        life.shard.forget_job(ref(index), context())
    assert life.shard.rewrite(["r/0.0"]).groups == (Group((finished,)),)


def test_an_unknown_key_gets_a_tombstone() -> None:
    life = Life(files=1)
    unknown = ["r/0.9", "j/0.9/0", "j/0.0/7", "s/9.9", "rubbish"]
    assert gone(life.shard.rewrite(unknown)) == unknown


def test_keys_of_an_epoch_are_not_rewritten() -> None:
    shard = Shard(0, epoch=7)
    assert shard.rewrite(["~owner/6", "~owner/7", "~cursor/7", "~spend/7"]) == Change()
    assert gone(shard.rewrite(["~cursor/6", "~spend/6"])) == ["~cursor/6", "~spend/6"]


def test_a_stale_owners_record_of_an_ended_submission_stays_until_its_tombstone() -> None:
    """A tombstone would make its task anybody's."""
    life = Life(files=1)
    life.run()
    life.poll(0)
    assert life.shard.rewrite(["s/1.1"]) == Change()


def test_a_restore_rewrites_what_stale_owners_wrote() -> None:
    life = Life(files=1)
    life.on(Intended(NOW_MS))
    strange = [
        Entry("s/1.1", None, 1),
        Entry("r/0.0", b"of another format", 1),
        Entry("r/0.5", b"{}", 1),
        Entry("~cursor/1", b'{"next":9}', 1),
        Entry("~owner/1", b"{}", 1),
    ]
    _, change = life.restored(*strange)
    assert [record.key for group in change.groups for record in group.records if record.value is None] == [
        "r/0.5",
        "~cursor/1",
    ]
    written = {record.key for group in change.groups for record in group.records if record.value is not None}
    assert written == {"r/0.0", "s/1.1"}


# What others ask.


def test_jobs_that_wait_for_a_submit_or_its_answer_are_counted() -> None:
    life = Life(Shard(0, epoch=1))
    assert life.shard.jobs_without_task() == life.shard.jobs_without_task("fun-asr") == 3
    assert life.shard.jobs_without_task("fun-asr-mtl") == 0
    life.on(Intended(NOW_MS))
    assert life.shard.jobs_without_task() == 3
    life.on(Posted("t1"))
    assert life.shard.jobs_without_task() == 2
    assert life.shard.task_ids() == {"t1"}


def test_a_job_that_failed_to_hear_of_its_post_is_counted_once() -> None:
    life = Life(Shard(0, epoch=1), files=1)
    life.on(Intended(NOW_MS))
    life.shard.jobs[ref()] = replace(life.shard.jobs[ref()], state=JobState.WAITING)
    assert life.shard.jobs_without_task() == life.shard.jobs_without_task("fun-asr") == 1


def test_overdue_jobs_are_those_whose_deadline_has_come_and_whose_ending_is_open() -> None:
    life = Life(files=0)
    life.take(take(life.shard, request_record(0, file_urls=URLS[:2], ttl_seconds=60)).change)
    late_ms = NOW_MS - 500 + 60_000
    assert life.shard.overdue(late_ms - 1) == []
    assert life.shard.overdue(late_ms) == [ref(0), ref(1)]
    life.shard.on_job(ref(0), DeadlinePassed(), context(late_ms))
    assert life.shard.overdue(late_ms) == [ref(1)]


def test_the_records_of_a_request_for_one_file_take_600_bytes_beside_the_request() -> None:
    """Key, value and header of the intent, the task, the finished request and the tombstones."""
    life = Life(files=0)
    life.shard = Shard(0, epoch=12, cursor=Cursor(123_456), last_number=98_765)
    life.take(take(life.shard, request_record(123_456, "order-2026-11-29-000123", file_urls=[URL])).change)
    key = SubmissionKey(12, 98_766)
    life.groups.clear()
    life.on(Intended(NOW_MS + 5, 120), key)
    life.on(Posted("0d3f8a52-6d7c-4b9a-9a4e-2f3c1b5a6d7e"), key)
    failed = TaskView("t1", TaskStatus.SUCCEEDED, (FileView(URL, provider_error=GONE),), billed_seconds=3_600)
    life.on(Polled(failed, NOW_MS), key)
    life.take(life.shard.expired_tombstones(DAY_AFTER_MS + DAY_MS))
    records = [record for group in life.groups for record in group.records]
    assert len(records) == 5
    stamp = len(STAMP_HEADER) + len(Stamp(12, 123_456).encode())
    assert sum(len(each.key) + len(each.value or b"") + stamp for each in records) <= 600


def test_submissions_of_jobs_of_several_requests_are_one_task_for_all_of_them() -> None:
    life = Life(Shard(0, epoch=1), files=1)
    life.take(take(life.shard, request_record(1, "other", file_urls=URLS[1:2])).change)
    one, other = life.shard.submissions.values()
    packed = replace(one, jobs=(*one.jobs, *other.jobs))
    del life.shard.submissions[other.key]
    life.shard.submissions[packed.key] = packed
    life.shard.jobs[ref(0, 1)] = replace(life.shard.jobs[ref(0, 1)], submission=packed.key)
    life.run()
    shard, _ = life.restored()
    assert shard.submissions[FIRST].jobs == (ref(0), ref(0, 1))
    assert [job.task_ids for job in shard.jobs.values()] == [("t1",), ("t1",)]
    life.poll(0, 1)
    assert list(life.shard.finished) == [Origin(0, 0), Origin(0, 1)]


def test_an_intent_that_is_taken_twice_is_a_bug() -> None:
    life = Life(files=1)
    life.on(Intended(NOW_MS))
    with pytest.raises(IllegalTransition):
        life.on(Intended(NOW_MS))
    assert life.shard.submissions[FIRST].counters == Counters(1)
    assert life.shard.jobs[ref()].state is JobState.SUBMITTED


def test_a_failed_handling_ends_as_internal_error() -> None:
    life = Life(files=1)
    life.run()
    [outcome] = outcomes(life.tell(HandlingFailed("a fault of ours")))
    assert isinstance(outcome.body, Failure)
    assert outcome.body.code is FailureCode.INTERNAL_ERROR


def test_the_urls_of_a_submissions_files_are_known_while_their_requests_are_open() -> None:
    life = Life()
    submission = life.shard.submissions[FIRST]
    assert life.shard.file_urls(submission) == list(map(str, URLS[:3]))
    strange = replace(submission, jobs=(*submission.jobs, ref(0, 99)))
    assert life.shard.file_urls(strange) == list(map(str, URLS[:3]))
