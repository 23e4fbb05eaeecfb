"""The ways in which a job ends, whatever its state: by a verdict, a cancel, its deadline, a fault of ours.

Rules this module guarantees:

1. A job whose result may be out already ends with a result, or with the failure that says that it is gone.
2. Where there may be a task, or a call, that nobody knows of, the failure says that it may be billed.
"""

import math
from dataclasses import replace

from service.core.ending import Ending, FailureEnding
from service.core.job import Job, JobState
from service.core.submission import Submission, SubmissionState
from service.core.task import Bill, TaskView, Trouble
from service.core.transition_context import Context, JobTransition
from service.core.uncertainty import Uncertainty
from service.core.verdict import Verdict
from service.errors import FailureCode
from service.messages import Stage

MAY_BE_BILLED = "the provider may have done the work, and billed it"


def finish(
    job: Job,
    ending: Ending,
    submission: Submission,
    *,
    word: Uncertainty = Uncertainty.FAILED,
    may_be_billed: bool = False,
) -> JobTransition:
    """Decide how the job ends; a fault of ours keeps its name, whatever may be out already.

    `word` counts where its submission is uncertain, or `may_be_billed` says that it was.
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
    return JobTransition(ended, durable=True, leaves=True, words=(word,) if may_be_billed else ())


def note_end(job: Job, task: TaskView, context: Context) -> Job:
    """The job with what the finished task says."""
    files = max(1, job.task_files)
    return replace(
        job,
        completed_ms=context.now_ms,
        task_billed_seconds=task.billed_seconds,
        bill=Bill(
            input_tokens=_share(task.input_tokens, files), output_tokens=_share(task.output_tokens, files)
        ),
        provider_times=(task.submit_time, task.scheduled_time, task.end_time),
    )


def _share(tokens: int | None, files: int) -> int | None:
    """An equal share of a task's tokens, since nobody says which are whose."""
    return None if tokens is None else math.ceil(tokens / files)


def fail(job: Job, stage: Stage, trouble: Trouble, verdict: Verdict, submission: Submission) -> JobTransition:
    """End the job with what the verdict says of the trouble."""
    ending = FailureEnding(stage, verdict.code, trouble.message, trouble.provider_code, verdict.retryable)
    return finish(job, ending, submission)


def stage_of(job: Job, submission: Submission) -> Stage:
    """How far the job has come, in the words of a failure."""
    if job.state is JobState.COLLECTING:
        return Stage.COLLECT
    is_running = job.state is JobState.SUBMITTED and submission.state is SubmissionState.RUNNING
    return Stage.POLL if is_running else Stage.SUBMIT


def cancel(job: Job, submission: Submission, *, may_be_billed: bool = False) -> JobTransition:
    """End the job as its user wishes."""
    stage = Stage.POLL if job.state is JobState.COLLECTING else stage_of(job, submission)
    ending = FailureEnding(stage, FailureCode.CANCELLED, "cancelled on request")
    ended = finish(job, ending, submission, word=Uncertainty.CANCELLED, may_be_billed=may_be_billed)
    return replace(ended, is_unwanted=True)


def expire(
    job: Job, submission: Submission, reason: str = "", *, may_be_billed: bool = False
) -> JobTransition:
    """End the job because its deadline has passed; `reason` says what it waited for."""
    where = submission.state if job.state is JobState.SUBMITTED else job.state
    message = f"the deadline passed while the job was {where}" + (f": {reason}" if reason else "")
    stage = stage_of(job, submission)
    ending = FailureEnding(stage, FailureCode.DEADLINE_EXCEEDED, message, retryable=True)
    ended = finish(job, ending, submission, word=Uncertainty.EXPIRED, may_be_billed=may_be_billed)
    return replace(ended, is_unwanted=True)
