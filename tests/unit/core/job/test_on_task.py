"""Jobs and what becomes of their submission: no task, a task, no result, a cancel, a deadline."""

from dataclasses import replace

import pytest

from service.contract.stage import Stage
from service.contract.transcript import empty_transcript
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.events import (
    CancelAsked,
    DeadlinePassed,
    Fetched,
    FetchFailed,
    GivenBack,
    HandlingFailed,
    JobEvent,
    JobRestored,
    NoResult,
    Poll,
    PostIntended,
    ReadyToCollect,
    SubmitFailed,
    TaskMade,
)
from service.core.job.job import FetchProgress, Job, JobState
from service.core.job.job_endings import MAY_BE_BILLED
from service.core.job.job_table import advance_job
from service.core.job.on_poll import CANCELED, MISSING
from service.core.job.on_task import FRESH_POLL_MS
from service.core.job.submission import Counters, Submission, SubmissionState
from service.core.job.transition_context import LAST_POLL_GRACE_MS, JobTransition, Successor
from service.core.job.uncertainty import UncertainOutcome
from service.core.job.urgency import RETENTION_MS
from service.core.provider.answers import ProviderError, TaskStatus
from service.core.provider.error_table import FILE_ATTEMPTS, Action, ErrorPolicy
from service.errors import FailureCode
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    REF,
    SUBMISSION,
    context,
    job,
    running_job,
    submission,
    task,
    transcript,
)

WAITING = submission()
INTENDED = submission(SubmissionState.INTENDED)
UNCERTAIN = submission(SubmissionState.UNCERTAIN)
RUNNING = submission(SubmissionState.RUNNING)
SUBMITTED = job(JobState.SUBMITTED)
SILENT = ProviderError("ASR_RESPONSE_HAVE_NO_WORDS", "no words")
UNREACHABLE = ProviderError("FILE_DOWNLOAD_FAILED", "no answer")
FORBIDDEN = ProviderError("FILE_403_FORBIDDEN", "403")
GONE = NoResult(task(TaskStatus.UNKNOWN), ProviderError("UNKNOWN", "not known 99 s after its submit"))


def failed(after: JobTransition) -> FailureEnding:
    """The failure that the job ends in, durably."""
    assert after.job.state is JobState.FINISHING
    assert (after.durable, after.leaves, after.resubmit) == (True, True, None)
    assert isinstance(after.job.ending, FailureEnding)
    return after.job.ending


def meet(
    event: JobEvent, before: Job, where: Submission, now_ms: int = NOW_MS, draw: float = 0.5
) -> JobTransition:
    """What the job answers."""
    return advance_job(before, event, where, context(now_ms, draw))


# The POST.


def test_a_job_that_is_taken_counts_the_submits_of_its_submission() -> None:
    after = meet(PostIntended(), job(), replace(INTENDED, counters=Counters(4)))
    assert after == JobTransition(job(JobState.SUBMITTED, submit_attempts=4))


def test_a_job_that_is_given_back_waits_for_the_next_post() -> None:
    told = replace(running_job(), is_last_poll_asked=True)
    after = meet(GivenBack("slow down"), told, replace(WAITING, counters=Counters(2)))
    assert after == JobTransition(job(task_ids=("t1",), submit_attempts=2))


@pytest.mark.parametrize(
    ("may_be_billed", "uncertain_outcomes"), [(False, ()), (True, (UncertainOutcome.CANCELLED,))]
)
def test_a_noted_cancel_ends_a_job_that_is_given_back(
    may_be_billed: bool, uncertain_outcomes: tuple[UncertainOutcome, ...]
) -> None:
    before = replace(SUBMITTED, cancelled=True)
    after = meet(GivenBack("slow down", may_be_billed), before, WAITING, DEADLINE_MS)
    ending = failed(after)
    assert (ending.code, ending.stage) == (FailureCode.CANCELLED, Stage.SUBMIT)
    assert ending.message.endswith(MAY_BE_BILLED) == may_be_billed
    assert (after.is_unwanted, after.uncertain_outcomes) == (True, uncertain_outcomes)


@pytest.mark.parametrize(
    ("may_be_billed", "uncertain_outcomes"), [(False, ()), (True, (UncertainOutcome.EXPIRED,))]
)
def test_a_deadline_ends_a_job_that_is_given_back_and_its_failure_says_what_stood_in_the_way(
    may_be_billed: bool, uncertain_outcomes: tuple[UncertainOutcome, ...]
) -> None:
    after = meet(GivenBack("slow down", may_be_billed), SUBMITTED, WAITING, DEADLINE_MS)
    ending = failed(after)
    assert (ending.code, ending.stage, ending.retryable) == (
        FailureCode.DEADLINE_EXCEEDED,
        Stage.SUBMIT,
        True,
    )
    assert ending.message.startswith("the deadline passed while the job was waiting: slow down")
    assert ending.message.endswith(MAY_BE_BILLED) == may_be_billed
    assert after.uncertain_outcomes == uncertain_outcomes


def test_a_task_is_remembered_by_its_job_once_behind_those_before() -> None:
    before = replace(SUBMITTED, task_ids=("t0",))
    after = meet(TaskMade("t9", 3, NOW_MS), before, replace(RUNNING, task_id="t9")).job
    assert (after.state, after.task_ids, after.task_files) == (JobState.SUBMITTED, ("t0", "t9"), 3)
    assert (after.submitted_ms, after.task_id) == (NOW_MS, "t9")
    assert meet(TaskMade("t9", 3, NOW_MS), after, replace(RUNNING, task_id="t9")) == JobTransition(after)


def test_a_cancel_while_the_post_is_out_ends_the_job_when_its_task_is_known() -> None:
    noted = meet(CancelAsked(), SUBMITTED, INTENDED)
    assert noted == JobTransition(replace(SUBMITTED, cancelled=True), durable=True)
    assert meet(CancelAsked(), noted.job, INTENDED) == JobTransition(noted.job)
    after = meet(TaskMade("t9", 1, NOW_MS), noted.job, replace(RUNNING, task_id="t9"))
    assert (failed(after).code, failed(after).stage) == (FailureCode.CANCELLED, Stage.POLL)
    assert (after.job.task_ids, after.is_unwanted) == (("t9",), True)


@pytest.mark.parametrize("state", [JobState.WAITING, JobState.SUBMITTED])
def test_a_submission_that_fails_ends_its_job_by_the_policy(state: JobState) -> None:
    provider_error = ProviderError("InvalidParameter", "no", 400)
    policy = ErrorPolicy(Action.FAIL, FailureCode.SUBMIT_REJECTED)
    after = meet(SubmitFailed(provider_error, policy), job(state), WAITING)
    assert failed(after) == FailureEnding(Stage.SUBMIT, FailureCode.SUBMIT_REJECTED, "no", "InvalidParameter")
    assert (after.uncertain_outcomes, after.is_unwanted) == ((), False)


def test_a_job_whose_submission_stays_uncertain_ends_with_a_note_on_its_bill() -> None:
    policy = ErrorPolicy(Action.FAIL, FailureCode.SUBMIT_UNCERTAIN, retryable=True)
    event = SubmitFailed(ProviderError("restored", "lost"), policy, may_be_billed=True)
    after = meet(event, SUBMITTED, WAITING)
    assert failed(after).message == f"lost; {MAY_BE_BILLED}"
    assert (failed(after).provider_code, after.uncertain_outcomes) == (None, (UncertainOutcome.FAILED,))


def test_silence_reported_by_a_submit_is_a_result() -> None:
    policy = ErrorPolicy(Action.EMPTY, FailureCode.AUDIO_UNUSABLE)
    after = meet(SubmitFailed(SILENT, policy), SUBMITTED, WAITING)
    assert after.job.ending == ResultEnding(empty_transcript(), silent=True)
    assert (after.durable, after.leaves) == (True, True)


# No result.


def no_result(provider_error: ProviderError, before: Job | None = None, **fields: object) -> JobTransition:
    """A finished task without a result for the file."""
    where = replace(RUNNING, is_task_over=True, **fields)  # type: ignore[arg-type]
    return meet(
        NoResult(task(TaskStatus.FAILED, end_time="then"), provider_error), before or running_job(), where
    )


def test_silence_is_a_result() -> None:
    after = no_result(SILENT)
    assert after.job.ending == ResultEnding(empty_transcript(), silent=True)
    assert (after.job.task_end.completed_ms, after.job.task_end.provider_times[2]) == (NOW_MS, "then")


def test_a_failed_file_fails_with_the_attempts_of_its_submission() -> None:
    after = no_result(FORBIDDEN, running_job(poll_attempts=3), counters=Counters(5, 0, 1), poll_attempts=4)
    ending = failed(after)
    assert (ending.code, ending.stage) == (FailureCode.AUDIO_FORBIDDEN, Stage.POLL)
    assert ending.provider_code == "FILE_403_FORBIDDEN"
    assert (after.job.submit_attempts, after.job.poll_attempts) == (5, 7)
    assert (after.job.task_end.billed_seconds, after.is_unwanted) == (9, False)


def test_a_finished_task_that_does_not_name_the_file_is_a_failure() -> None:
    ending = failed(no_result(MISSING))
    assert (ending.code, ending.provider_code) == (FailureCode.PROVIDER_ERROR, None)


def test_a_task_cancelled_at_the_provider_ends_the_job() -> None:
    after = meet(NoResult(task(TaskStatus.CANCELED), CANCELED), running_job(), RUNNING)
    assert (failed(after).code, failed(after).provider_code) == (FailureCode.CANCELLED, "CANCELED")


def test_a_file_that_the_provider_could_not_fetch_is_submitted_again_in_another_submission() -> None:
    before = running_job(poll_attempts=1, is_last_poll_asked=True)
    after = no_result(UNREACHABLE, before, counters=Counters(2, 1, 1), poll_attempts=2)
    assert after.resubmit == Successor((REF,), "fun-asr", Counters(2, 1, 1), NOW_MS + 1_000)
    assert (after.leaves, after.durable, after.steps) == (True, False, ())
    waits = after.job
    assert (waits.state, waits.task_ids, waits.task_files, waits.submitted_ms) == (
        JobState.WAITING,
        ("t1",),
        0,
        None,
    )
    assert (waits.poll_attempts, waits.is_last_poll_asked) == (3, False)


def test_a_file_is_submitted_as_often_as_the_table_allows() -> None:
    """Counted in tasks that were made: submits that were throttled made none."""
    assert no_result(UNREACHABLE, counters=Counters(50, 0, FILE_ATTEMPTS - 1)).resubmit is not None
    ending = failed(no_result(UNREACHABLE, counters=Counters(3, 0, FILE_ATTEMPTS)))
    assert ending.code is FailureCode.AUDIO_UNREACHABLE


def test_an_overdue_file_is_not_submitted_again() -> None:
    after = meet(NoResult(task(TaskStatus.FAILED), UNREACHABLE), running_job(), RUNNING, DEADLINE_MS)
    assert failed(after).code is FailureCode.DEADLINE_EXCEEDED
    assert failed(after).message == "the deadline passed while the job was running: no answer"


@pytest.mark.parametrize("provider_error", [UNREACHABLE, FORBIDDEN, MISSING])
def test_a_result_that_may_be_out_is_never_submitted_again(provider_error: ProviderError) -> None:
    ending = failed(no_result(provider_error, running_job(must_be_result=True)))
    assert ending.code is FailureCode.RESULT_EXPIRED


def test_a_lost_task_is_lost_within_the_day_and_expired_after_it() -> None:
    where = replace(RUNNING, submitted_ms=NOW_MS - 2 * RETENTION_MS, unfinished_ms=NOW_MS - RETENTION_MS + 1)
    ending = failed(meet(GONE, running_job(), where))
    assert (ending.code, ending.stage, ending.retryable) == (FailureCode.TASK_LOST, Stage.POLL, True)
    assert (ending.message, ending.provider_code) == ("not known 99 s after its submit", "UNKNOWN")
    later = failed(meet(GONE, running_job(), where, NOW_MS + 1))
    assert later.code is FailureCode.RESULT_EXPIRED
    promised = running_job(must_be_result=True)
    assert failed(meet(GONE, promised, where)).code is FailureCode.RESULT_EXPIRED


# Cancels.


def test_a_cancelled_job_that_waits_is_never_submitted() -> None:
    after = meet(CancelAsked(), job(), WAITING)
    assert (failed(after).code, failed(after).stage) == (FailureCode.CANCELLED, Stage.SUBMIT)
    assert (after.steps, after.is_unwanted, after.uncertain_outcomes) == ((), True, ())


@pytest.mark.parametrize("state", [JobState.SUBMITTED, JobState.COLLECTING])
def test_a_cancel_ends_a_job_whose_task_runs_or_is_finished(state: JobState) -> None:
    after = meet(CancelAsked(), job(state), RUNNING)
    assert (failed(after).code, failed(after).stage) == (FailureCode.CANCELLED, Stage.POLL)
    assert after.is_unwanted


def test_a_cancel_ends_a_job_that_is_uncertain_and_says_that_it_may_be_billed() -> None:
    after = meet(CancelAsked(), SUBMITTED, UNCERTAIN)
    assert failed(after).message == f"cancelled on request; {MAY_BE_BILLED}"
    assert (failed(after).stage, after.uncertain_outcomes) == (Stage.SUBMIT, (UncertainOutcome.CANCELLED,))


# Deadlines.


def test_the_deadline_ends_a_job_that_waits_and_says_for_what() -> None:
    after = meet(DeadlinePassed("the account is in arrears"), job(), WAITING, DEADLINE_MS)
    ending = failed(after)
    assert (ending.code, ending.stage, ending.retryable) == (
        FailureCode.DEADLINE_EXCEEDED,
        Stage.SUBMIT,
        True,
    )
    assert ending.message == "the deadline passed while the job was waiting: the account is in arrears"
    assert after.is_unwanted


@pytest.mark.parametrize("where", [WAITING, INTENDED, UNCERTAIN, RUNNING])
def test_a_deadline_that_has_not_passed_by_the_trusted_time_ends_nothing(where: Submission) -> None:
    before = job() if where is WAITING else SUBMITTED
    assert meet(DeadlinePassed(), before, where, DEADLINE_MS - 1) == JobTransition(before)
    collecting = job(JobState.COLLECTING, fetch=FetchProgress(1, "https://r.example/1"))
    assert meet(DeadlinePassed(), collecting, RUNNING, DEADLINE_MS - 1) == JobTransition(collecting)


def test_a_deadline_that_passes_while_the_post_is_out_waits_for_the_answer() -> None:
    assert meet(DeadlinePassed(), SUBMITTED, INTENDED, DEADLINE_MS + LAST_POLL_GRACE_MS) == JobTransition(
        SUBMITTED
    )


def test_the_deadline_ends_a_job_that_is_uncertain_and_says_that_it_may_be_billed() -> None:
    after = meet(DeadlinePassed(), SUBMITTED, UNCERTAIN, DEADLINE_MS)
    assert failed(after).message == f"the deadline passed while the job was uncertain; {MAY_BE_BILLED}"
    assert (failed(after).stage, after.uncertain_outcomes) == (Stage.SUBMIT, (UncertainOutcome.EXPIRED,))


def test_a_deadline_asks_for_one_last_poll_of_a_running_task() -> None:
    after = meet(DeadlinePassed(), running_job(), RUNNING, DEADLINE_MS)
    asked = running_job(is_last_poll_asked=True)
    assert after == JobTransition(asked, steps=(Poll(SUBMISSION, "t1", DEADLINE_MS, is_last=True),))
    assert meet(DeadlinePassed(), asked, RUNNING, DEADLINE_MS + 1) == JobTransition(asked)


@pytest.mark.parametrize("seen_ms", [DEADLINE_MS - FRESH_POLL_MS, DEADLINE_MS, DEADLINE_MS + 5])
def test_a_poll_near_the_deadline_that_found_the_task_at_work_was_the_last(seen_ms: int) -> None:
    where = replace(RUNNING, unfinished_ms=seen_ms)
    ending = failed(meet(DeadlinePassed("why"), running_job(), where, DEADLINE_MS + 5))
    assert (ending.code, ending.stage) == (FailureCode.DEADLINE_EXCEEDED, Stage.POLL)
    assert ending.message == "the deadline passed while the job was running: why"


def test_a_poll_long_before_the_deadline_does_not_count() -> None:
    where = replace(RUNNING, unfinished_ms=DEADLINE_MS - FRESH_POLL_MS - 1)
    assert meet(DeadlinePassed(), running_job(), where, DEADLINE_MS).steps


def test_a_last_poll_that_never_comes_to_an_answer_ends_a_quarter_of_an_hour_later() -> None:
    asked = running_job(is_last_poll_asked=True)
    before_ms = DEADLINE_MS + LAST_POLL_GRACE_MS - 1
    assert meet(DeadlinePassed(), asked, RUNNING, before_ms) == JobTransition(asked)
    assert failed(meet(DeadlinePassed(), asked, RUNNING, before_ms + 1)).stage is Stage.POLL


@pytest.mark.parametrize("event", [CancelAsked(), DeadlinePassed()])
@pytest.mark.parametrize(
    ("state", "where"),
    [
        (JobState.WAITING, WAITING),
        (JobState.SUBMITTED, INTENDED),
        (JobState.SUBMITTED, UNCERTAIN),
        (JobState.SUBMITTED, RUNNING),
        (JobState.COLLECTING, RUNNING),
    ],
)
def test_no_event_ends_a_job_whose_result_may_be_published(
    event: JobEvent, state: JobState, where: Submission
) -> None:
    before = job(state, must_be_result=True)
    assert meet(event, before, where, DEADLINE_MS + LAST_POLL_GRACE_MS) == JobTransition(before)


# Faults of ours.


@pytest.mark.parametrize(
    ("state", "where", "stage"),
    [
        (JobState.WAITING, WAITING, Stage.SUBMIT),
        (JobState.SUBMITTED, INTENDED, Stage.SUBMIT),
        (JobState.SUBMITTED, RUNNING, Stage.POLL),
        (JobState.COLLECTING, RUNNING, Stage.COLLECT),
    ],
)
def test_a_fault_of_ours_ends_the_job_and_leaves_its_task_alone(
    state: JobState, where: Submission, stage: Stage
) -> None:
    after = meet(HandlingFailed("KeyError"), job(state), where)
    ending = failed(after)
    assert (ending.code, ending.stage, ending.message, ending.retryable) == (
        FailureCode.INTERNAL_ERROR,
        stage,
        "KeyError",
        True,
    )
    assert (after.steps, after.is_unwanted) == ((), False)


def test_a_fault_of_ours_keeps_its_name_where_a_result_may_be_out() -> None:
    after = meet(HandlingFailed("KeyError"), job(JobState.COLLECTING, must_be_result=True), RUNNING)
    assert failed(after).code is FailureCode.INTERNAL_ERROR


def test_a_fault_of_ours_names_the_task_whose_making_could_not_be_handled() -> None:
    after = meet(HandlingFailed("KeyError", "t9"), SUBMITTED, INTENDED)
    assert after.job.task_ids == ("t9",)
    again = meet(HandlingFailed("KeyError", "t1"), running_job(), RUNNING)
    assert again.job.task_ids == ("t1",)


def test_a_fault_of_ours_while_the_submit_is_uncertain_says_that_it_may_be_billed() -> None:
    after = meet(HandlingFailed("KeyError"), SUBMITTED, UNCERTAIN)
    assert failed(after).message == f"KeyError; {MAY_BE_BILLED}"
    assert after.uncertain_outcomes == (UncertainOutcome.FAILED,)


# Restores.


@pytest.mark.parametrize("where", [WAITING, INTENDED, UNCERTAIN, RUNNING])
def test_what_a_restored_job_does_next_its_submission_says(where: Submission) -> None:
    before = job() if where is WAITING else SUBMITTED
    assert meet(JobRestored(), before, where) == JobTransition(before)


def test_a_restored_failure_is_sent_as_it_was() -> None:
    before = job(JobState.FINISHING, ending=FailureEnding(Stage.POLL, FailureCode.TASK_LOST, "lost"))
    assert advance_job(before, JobRestored(), None, context()) == JobTransition(before, durable=True)


@pytest.mark.parametrize("event", [Fetched(transcript()), FetchFailed(FORBIDDEN), GONE, TaskMade("t", 1, 1)])
def test_an_answer_about_a_task_that_the_job_has_left_changes_nothing(event: JobEvent) -> None:
    assert meet(event, job(task_ids=("t1",)), WAITING) == JobTransition(job(task_ids=("t1",)))


@pytest.mark.parametrize("where", [WAITING, UNCERTAIN, RUNNING])
def test_a_job_is_taken_for_no_post_that_is_not_its_own_any_more(where: Submission) -> None:
    assert meet(PostIntended(), job(), where) == JobTransition(job())
    assert meet(PostIntended(), SUBMITTED, INTENDED) == JobTransition(SUBMITTED)


@pytest.mark.parametrize("where", [INTENDED, UNCERTAIN, RUNNING])
def test_a_job_is_not_given_back_by_a_post_before_the_one_that_is_out(where: Submission) -> None:
    assert meet(GivenBack(), SUBMITTED, where) == JobTransition(SUBMITTED)


@pytest.mark.parametrize("where", [INTENDED, UNCERTAIN])
@pytest.mark.parametrize(
    "event",
    [TaskMade("t1", 1, NOW_MS), NoResult(task(), FORBIDDEN), ReadyToCollect(task(), "https://r.example/0")],
)
def test_what_became_of_a_task_that_the_job_has_left_changes_nothing(
    event: JobEvent, where: Submission
) -> None:
    before = job(JobState.SUBMITTED, task_ids=("t1",))
    assert meet(event, before, where) == JobTransition(before)


def test_a_job_that_a_fault_kept_from_being_taken_learns_of_its_task_all_the_same() -> None:
    after = meet(TaskMade("t1", 1, NOW_MS), job(), RUNNING)
    assert (after.job.state, after.job.task_ids) == (JobState.SUBMITTED, ("t1",))
