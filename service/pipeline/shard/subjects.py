"""The jobs and submissions that events, steps and records are about."""

from service.core.job.events import CancelTask, Fetch, Step
from service.core.job.identity import JobRef, SubmissionKey
from service.core.shard.batches import Group
from service.core.shard.shard import Shard
from service.pipeline.shard.fault_boundary import Key


def subject_of(step: Step) -> Key | None:
    """The job or submission of a step; None for a cancel, whose task has no open job."""
    if isinstance(step, CancelTask):
        return None
    return step.ref if isinstance(step, Fetch) else step.key


def state_of(state: Shard, key: Key) -> tuple[str, object] | None:
    """The state that must be unchanged for a late event to apply.

    None if the subject is gone.
    """
    if isinstance(key, JobRef):
        job = state.jobs.get(key)
        return None if job is None else (job.state, job.submission)
    submission = state.submissions.get(key)
    return None if submission is None else (submission.state, submission.task_id)


def request_of(state: Shard, key: Key) -> str:
    """A name for the request behind a key.

    The first request, if a submission has several.
    """
    if isinstance(key, SubmissionKey):
        submission = state.submissions.get(key)
        jobs = submission.jobs if submission else ()
        return f"{state.partition}:{jobs[0].origin if jobs else key}"
    return f"{state.partition}:{key.origin}"


def writes(group: Group, key: SubmissionKey) -> bool:
    """Whether the group holds a record of the submission."""
    return any(record.key == str(key) for record in group.records)
