"""How a job ends in any state: by an error policy, a cancel, its deadline, or a fault of ours.

Rules this module guarantees:

1. A job whose result may already be published ends with a result, or with a failure that says that the
   result is gone; a fault of ours keeps its own code.
2. If there may be a task or a call that the service does not know of, the failure says that it may be billed.
"""

import math
from dataclasses import replace

from service.contract.stage import Stage
from service.core.job.ending import Ending, FailureEnding
from service.core.job.job import Job, JobState, TaskEnd
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Context, JobTransition
from service.core.job.uncertainty import UncertainOutcome
from service.core.provider.answers import Bill, ProviderError, TaskView
from service.core.provider.error_table import ErrorPolicy
from service.errors import FailureCode

MAY_BE_BILLED = "the provider may have done the work, and billed it"


def finish(
    job: Job,
    ending: Ending,
    submission: Submission,
    *,
    uncertain_outcome: UncertainOutcome = UncertainOutcome.FAILED,
    may_be_billed: bool = False,
) -> JobTransition:
    """Decide the job's ending; `internal_error` stays even if a result may already be published.

    `uncertain_outcome` is counted only if the submission is uncertain or `may_be_billed` is set.
    """
    may_be_billed = may_be_billed or submission.state is SubmissionState.UNCERTAIN
    if isinstance(ending, FailureEnding):
        is_ours = ending.code is FailureCode.INTERNAL_ERROR
        code = FailureCode.RESULT_EXPIRED if job.must_be_result and not is_ours else ending.code
        message = f"{ending.message}; {MAY_BE_BILLED}" if may_be_billed else ending.message
        ending = replace(ending, code=code, message=message)
    ended = replace(
        job,
        state=JobState.FINISHING,
        ending=ending,
        submit_attempts=submission.counters.submits,
        poll_attempts=job.poll_attempts + submission.poll_attempts,
    )
    return JobTransition(
        ended, durable=True, leaves=True, uncertain_outcomes=(uncertain_outcome,) if may_be_billed else ()
    )


def note_end(job: Job, task: TaskView, context: Context) -> Job:
    """Copy the finished task's times and bill into the job."""
    files = max(1, job.task_files)
    times = (task.submit_time, task.scheduled_time, task.end_time)
    tokens = Bill(
        input_tokens=_share(task.input_tokens, files), output_tokens=_share(task.output_tokens, files)
    )
    return replace(job, task_end=TaskEnd(context.now_ms, task.billed_seconds, times, tokens))


def _share(tokens: int | None, files: int) -> int | None:
    """An equal share of a task's tokens, since the provider does not divide them by file."""
    return None if tokens is None else math.ceil(tokens / files)


def fail(
    job: Job, stage: Stage, provider_error: ProviderError, policy: ErrorPolicy, submission: Submission
) -> JobTransition:
    """End the job with the failure that the policy gives for the error."""
    ending = FailureEnding(
        stage, policy.code, provider_error.message, provider_error.provider_code, policy.retryable
    )
    return finish(job, ending, submission)


def stage_of(job: Job, submission: Submission) -> Stage:
    """The stage that a failure of the job names."""
    if job.state is JobState.COLLECTING:
        return Stage.COLLECT
    is_running = job.state is JobState.SUBMITTED and submission.state is SubmissionState.RUNNING
    return Stage.POLL if is_running else Stage.SUBMIT


def cancel(job: Job, submission: Submission, *, may_be_billed: bool = False) -> JobTransition:
    """End the job because its user cancelled it."""
    stage = Stage.POLL if job.state is JobState.COLLECTING else stage_of(job, submission)
    ending = FailureEnding(stage, FailureCode.CANCELLED, "cancelled on request")
    ended = finish(
        job, ending, submission, uncertain_outcome=UncertainOutcome.CANCELLED, may_be_billed=may_be_billed
    )
    return replace(ended, is_unwanted=True)


def expire(
    job: Job, submission: Submission, reason: str = "", *, may_be_billed: bool = False
) -> JobTransition:
    """End the job because its deadline has passed; `reason` says what it waited for."""
    where = submission.state if job.state is JobState.SUBMITTED else job.state
    message = f"the deadline passed while the job was {where}" + (f": {reason}" if reason else "")
    stage = stage_of(job, submission)
    ending = FailureEnding(stage, FailureCode.DEADLINE_EXCEEDED, message, retryable=True)
    ended = finish(
        job, ending, submission, uncertain_outcome=UncertainOutcome.EXPIRED, may_be_billed=may_be_billed
    )
    return replace(ended, is_unwanted=True)
