"""Submissions with a provider task: polls, lost tasks, and tasks that nobody waits for any more."""

from dataclasses import replace

import pytest

from service.core.job.events import (
    CancelTask,
    DeadlinePassed,
    JobsLeft,
    NoResult,
    Poll,
    Polled,
    PollFailed,
    ReadyToCollect,
    SubmissionEvent,
    SubmissionRestored,
    TaskMade,
)
from service.core.job.identity import JobRef
from service.core.job.job import Job, JobState
from service.core.job.job_table import advance_job
from service.core.job.on_poll import CANCELED, JOBLESS_TASK_POLL_MS, MISSING, UNKNOWN_APART_MS
from service.core.job.on_task import FRESH_POLL_MS
from service.core.job.submission import Submission, SubmissionState
from service.core.job.submission_table import advance_submission
from service.core.job.transition_context import Rules, SubmissionTransition
from service.core.job.urgency import RETENTION_MS
from service.core.provider.answers import FileView, ProviderError, TaskStatus
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    REF,
    SUBMISSION,
    URL,
    context,
    job,
    jobs_of,
    request_of,
    running_job,
    submission,
    submission_of,
    task,
    url,
)

RUNNING = submission(SubmissionState.RUNNING)
WAITS = running_job()
RESULT = "https://r.example/1?sig=2"
READY = FileView(URL, transcription_url=RESULT)
FORBIDDEN = ProviderError("FILE_403_FORBIDDEN", "403")
BUSY = ProviderError("http_error", "busy", 502, 7.0)
UNKNOWN = Polled(task(TaskStatus.UNKNOWN), NOW_MS)
AT_WORK = Polled(task(TaskStatus.RUNNING), NOW_MS)
FOLLOWED = replace(RUNNING, is_followed=True)
THREE = request_of(3)
REFS = tuple(THREE.ref(n) for n in range(3))


def answer(
    event: SubmissionEvent,
    now_ms: int = NOW_MS,
    before: Submission = RUNNING,
    jobs: dict[JobRef, Job] | None = None,
    draw: float = 0.5,
    *,
    asked_ms: int | None = None,
) -> SubmissionTransition:
    """What the submission answers, with its one job beside it unless others are given.

    An answer to a poll was asked for at the time when it is handled, unless `asked_ms` is given.
    """
    if isinstance(event, Polled):
        event = replace(event, asked_ms=now_ms if asked_ms is None else asked_ms)
    return advance_submission(before, event, {REF: WAITS} if jobs is None else jobs, context(now_ms, draw))


def test_an_unknown_task_is_lost_only_by_a_query_made_a_minute_after_the_first_answer() -> None:
    before = once_unknown()
    hours_later_ms = NOW_MS + 2 * 3_600_000
    asked_ms = NOW_MS + UNKNOWN_APART_MS - 1
    slept = answer(UNKNOWN, hours_later_ms, before, asked_ms=asked_ms)
    assert (slept.to_jobs, slept.is_over) == ((), False)
    assert answer(UNKNOWN, hours_later_ms, before, asked_ms=asked_ms + 1).to_jobs


def test_an_unknown_task_is_judged_by_its_age_when_the_query_was_made() -> None:
    grace_ms, submitted_ms = round(1000 * Rules().unknown_grace_seconds), RUNNING.submitted_ms or 0
    asked_young = answer(UNKNOWN, NOW_MS + 7_200_000, asked_ms=submitted_ms + grace_ms - 1)
    assert asked_young.submission.unknown_since_ms is None
    asked_old = answer(UNKNOWN, NOW_MS + 7_200_000, asked_ms=submitted_ms + grace_ms)
    assert asked_old.submission.unknown_since_ms == NOW_MS + 7_200_000


def test_an_unfinished_task_was_unfinished_when_it_was_asked_for_and_not_when_the_answer_was_read() -> None:
    slept = answer(AT_WORK, NOW_MS + 7_200_000, asked_ms=NOW_MS)
    assert slept.submission.unfinished_ms == NOW_MS
    late = answer(AT_WORK, NOW_MS + 7_200_000, replace(RUNNING, unfinished_ms=NOW_MS + 9), asked_ms=NOW_MS)
    assert late.submission.unfinished_ms == NOW_MS + 9


def test_an_answer_asked_for_long_before_a_deadline_does_not_end_the_job() -> None:
    late_ms = DEADLINE_MS + 5_000
    before = replace(RUNNING, submitted_ms=DEADLINE_MS - 3_600_000)
    after = answer(AT_WORK, late_ms, before, asked_ms=DEADLINE_MS - FRESH_POLL_MS - 1)
    [(ref, event)] = after.to_jobs
    kept = advance_job(WAITS, event, after.submission, context(late_ms))
    last = Poll(SUBMISSION, "t1", late_ms, is_last=True)
    assert (ref, kept.job.is_open, kept.steps) == (REF, True, (last,))


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.RUNNING])
def test_an_unfinished_task_is_polled_later(status: TaskStatus) -> None:
    assert answer(Polled(task(status), NOW_MS)) == SubmissionTransition(
        replace(RUNNING, poll_attempts=1, unfinished_ms=NOW_MS),
        steps=(Poll(SUBMISSION, "t1", NOW_MS + 2_500),),
    )


def test_a_task_of_unknown_age_is_polled_as_if_it_were_new() -> None:
    after = answer(AT_WORK, before=replace(RUNNING, submitted_ms=None))
    assert after.steps == (Poll(SUBMISSION, "t1", NOW_MS + 1_000),)


@pytest.mark.parametrize("status", [TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED])
def test_a_usable_file_is_collected_whatever_the_task_says(status: TaskStatus) -> None:
    view = task(status, files=(READY,))
    assert answer(Polled(view, NOW_MS)) == SubmissionTransition(
        replace(RUNNING, poll_attempts=1, is_task_over=True),
        to_jobs=((REF, ReadyToCollect(view, RESULT)),),
        bill=view,
    )


def test_each_file_of_a_task_gets_its_own_event_by_its_url() -> None:
    files = (
        FileView(url(2), provider_error=FORBIDDEN),
        FileView(url(0).replace("a.wav", "%61.wav"), transcription_url=RESULT),
    )
    view = task(TaskStatus.FAILED, files=files)
    after = answer(
        Polled(view, NOW_MS),
        before=submission_of(THREE, SubmissionState.RUNNING),
        jobs=jobs_of(THREE, JobState.SUBMITTED, task_files=3),
    )
    assert after.to_jobs == (
        (REFS[0], ReadyToCollect(view, RESULT)),
        (REFS[1], NoResult(view, MISSING)),
        (REFS[2], NoResult(view, FORBIDDEN)),
    )


def test_a_failed_task_without_files_speaks_for_all_of_them() -> None:
    broken = ProviderError("InvalidFile", "no audio")
    view = task(TaskStatus.FAILED, provider_error=broken)
    assert answer(Polled(view, NOW_MS)).to_jobs == ((REF, NoResult(view, broken)),)


def test_a_finished_task_that_does_not_name_a_file_has_no_result_for_it() -> None:
    assert answer(Polled(task(), NOW_MS)).to_jobs == ((REF, NoResult(task(), MISSING)),)


def test_a_task_cancelled_at_the_provider_has_no_result() -> None:
    view = task(TaskStatus.CANCELED, provider_error=FORBIDDEN)
    assert answer(Polled(view, NOW_MS)).to_jobs == ((REF, NoResult(view, CANCELED)),)


def test_a_job_that_collects_gets_no_second_task_event_and_one_bill() -> None:
    first = answer(Polled(task(), NOW_MS), jobs={REF: job(JobState.COLLECTING)})
    assert (first.to_jobs, first.bill, first.is_over) == ((), task(), False)
    again = answer(Polled(task(files=(READY,)), NOW_MS), before=first.submission)
    assert (len(again.to_jobs), again.bill) == (1, None)


# UNKNOWN.


def test_a_task_that_is_unknown_right_after_its_submit_is_polled_on() -> None:
    grace_ms = round(1000 * Rules().unknown_grace_seconds)
    young = replace(RUNNING, submitted_ms=NOW_MS - grace_ms + 1)
    after = answer(UNKNOWN, before=young)
    assert (after.submission.unknown_since_ms, after.to_jobs) == (None, ())
    assert answer(UNKNOWN, NOW_MS + 1, young).submission.unknown_since_ms == NOW_MS + 1


def once_unknown() -> Submission:
    """A submission whose task was unknown in one poll."""
    return answer(UNKNOWN, before=replace(RUNNING, submitted_ms=NOW_MS - 3_600_000)).submission


def test_a_task_is_lost_only_after_two_polls_that_do_not_know_it_a_minute_apart() -> None:
    before = once_unknown()
    assert before.unknown_since_ms == NOW_MS
    first = answer(UNKNOWN, before=replace(RUNNING, submitted_ms=0))
    assert (first.to_jobs, first.steps) == ((), (Poll(SUBMISSION, "t1", NOW_MS + UNKNOWN_APART_MS),))
    soon = answer(UNKNOWN, NOW_MS + UNKNOWN_APART_MS - 1, before)
    assert (soon.to_jobs, soon.steps) == ((), (Poll(SUBMISSION, "t1", NOW_MS + UNKNOWN_APART_MS),))
    [(ref, event)] = answer(UNKNOWN, NOW_MS + UNKNOWN_APART_MS, before).to_jobs
    assert ref == REF
    assert isinstance(event, NoResult)
    assert event.task.status is TaskStatus.UNKNOWN
    assert (event.provider_error.code, event.provider_error.provider_code) == ("UNKNOWN", "UNKNOWN")
    assert "3660 s after its submit" in event.provider_error.message


def test_a_poll_that_knows_the_task_makes_it_count_anew() -> None:
    known = answer(AT_WORK, NOW_MS + 30_000, once_unknown()).submission
    assert known.unknown_since_ms is None
    assert answer(UNKNOWN, NOW_MS + UNKNOWN_APART_MS, known).to_jobs == ()


def test_what_another_accounts_key_does_not_know_is_not_lost() -> None:
    foreign = Polled(task(TaskStatus.UNKNOWN), NOW_MS, is_foreign=True)
    after = answer(foreign, NOW_MS + 10 * UNKNOWN_APART_MS, once_unknown())
    assert (after.submission.unknown_since_ms, after.to_jobs, len(after.steps)) == (None, (), 1)


# Polls that fail, and restores.


def test_a_poll_that_fails_is_repeated_without_end() -> None:
    before = replace(RUNNING, poll_attempts=500)
    assert answer(PollFailed(BUSY), before=before, draw=0.0) == SubmissionTransition(
        replace(RUNNING, poll_attempts=501), steps=(Poll(SUBMISSION, "t1", NOW_MS + 2_000 + 7_000),)
    )


def test_a_restored_task_is_polled_within_a_second() -> None:
    polled = SubmissionTransition(RUNNING, steps=(Poll(SUBMISSION, "t1", NOW_MS + 250),))
    assert answer(SubmissionRestored(), draw=0.25) == polled


@pytest.mark.parametrize("job", [replace(WAITS, task_ids=()), replace(WAITS, cancelled=True)])
def test_a_job_learns_of_a_restored_task_that_it_does_not_know_or_does_not_want(job: Job) -> None:
    after = answer(SubmissionRestored(), jobs={REF: job})
    assert after.to_jobs == ((REF, TaskMade("t1", 1, NOW_MS - 10_000)),)


def test_a_restored_task_without_jobs_is_followed_only_if_the_journal_says_so() -> None:
    assert answer(SubmissionRestored(), jobs={}).is_over
    billed = replace(FOLLOWED, is_task_over=True)
    assert answer(SubmissionRestored(), before=billed, jobs={}).is_over
    after = answer(SubmissionRestored(), before=FOLLOWED, jobs={})
    assert (after.is_over, after.steps) == (False, (Poll(SUBMISSION, "t1", NOW_MS + JOBLESS_TASK_POLL_MS),))


# Deadlines.


def test_a_poll_that_finds_the_task_at_work_lets_overdue_jobs_end_and_no_others() -> None:
    jobs = jobs_of(THREE, JobState.SUBMITTED)
    jobs[REFS[1]] = replace(jobs[REFS[1]], request=replace(THREE, deadline_ms=NOW_MS))
    jobs[REFS[2]] = replace(jobs[REFS[1]], ref=REFS[2], must_be_result=True)
    after = answer(AT_WORK, before=submission_of(THREE, SubmissionState.RUNNING), jobs=jobs)
    assert after.to_jobs == ((REFS[1], DeadlinePassed()),)
    assert after.submission.unfinished_ms == NOW_MS


@pytest.mark.parametrize("event", [PollFailed(BUSY), UNKNOWN, SubmissionRestored()])
def test_a_poll_that_says_nothing_of_the_task_ends_no_overdue_job_and_is_made_again_as_the_last(
    event: SubmissionEvent,
) -> None:
    after = answer(event, DEADLINE_MS)
    assert not any(isinstance(told, DeadlinePassed) for _, told in after.to_jobs)
    [step] = after.steps
    assert isinstance(step, Poll)
    assert step.is_last


def test_a_finished_task_is_collected_beyond_the_deadline() -> None:
    view = task(files=(READY,))
    assert answer(Polled(view, NOW_MS), DEADLINE_MS).to_jobs == ((REF, ReadyToCollect(view, RESULT)),)


# Tasks that nobody waits for any more.


def test_a_task_is_cancelled_only_when_the_last_job_is_not_wanted_any_more() -> None:
    before = submission_of(THREE, SubmissionState.RUNNING)
    jobs = jobs_of(THREE, JobState.SUBMITTED)
    del jobs[REFS[0]]
    assert answer(JobsLeft(is_unwanted=True), before=before, jobs=jobs) == SubmissionTransition(before)
    after = answer(JobsLeft(is_unwanted=True), before=before, jobs={})
    assert after == SubmissionTransition(
        replace(before, is_followed=True), durable=True, steps=(CancelTask("t1"),)
    )


def test_a_task_whose_job_ended_by_a_fault_of_ours_goes_on_and_is_followed() -> None:
    after = answer(JobsLeft(), jobs={})
    assert (after.submission, after.durable, after.steps) == (FOLLOWED, True, ())


def test_a_finished_task_is_over_with_its_last_job() -> None:
    billed = replace(RUNNING, is_task_over=True)
    after = answer(JobsLeft(is_unwanted=True), before=billed, jobs={})
    assert after == SubmissionTransition(billed, is_over=True)


def test_a_followed_task_is_polled_seldom_until_its_bill_is_known() -> None:
    after = answer(AT_WORK, before=FOLLOWED, jobs={})
    assert (after.is_over, after.steps) == (False, (Poll(SUBMISSION, "t1", NOW_MS + JOBLESS_TASK_POLL_MS),))
    assert len(answer(PollFailed(BUSY), before=FOLLOWED, jobs={}).steps) == 1
    over = answer(Polled(task(), NOW_MS), before=after.submission, jobs={})
    assert (over.bill, over.is_over, over.durable, over.steps) == (task(), True, True, ())
    assert (over.submission.is_followed, over.submission.is_task_over) == (False, True)


def test_a_followed_task_that_is_lost_has_no_bill() -> None:
    before = replace(
        FOLLOWED, submitted_ms=0, unknown_since_ms=NOW_MS - UNKNOWN_APART_MS, unfinished_ms=NOW_MS
    )
    over = answer(UNKNOWN, before=before, jobs={})
    assert (over.bill, over.is_over, over.durable, over.submission.is_followed) == (None, True, True, False)


def test_a_followed_task_is_given_up_once_the_provider_has_forgotten_it() -> None:
    assert RUNNING.submitted_ms is not None
    end_ms = RUNNING.submitted_ms + RETENTION_MS
    assert answer(PollFailed(BUSY), end_ms - 1, FOLLOWED, jobs={}).steps
    over = answer(PollFailed(BUSY), end_ms, FOLLOWED, jobs={})
    assert (over.is_over, over.durable, over.steps, over.submission.is_followed) == (True, True, (), False)
