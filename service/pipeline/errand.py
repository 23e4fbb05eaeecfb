"""An errand: the jobs of one request that share a submit, as they stand before and after its POST."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.models import model_info
from service.core.division import group_alone, is_group_of_part
from service.core.identity import JobKey
from service.core.job import Job, State
from service.pipeline.publish import OwnedShard


@dataclass(frozen=True, slots=True)
class Errand:
    """Jobs of one request that share a submit."""

    shard: OwnedShard
    keys: tuple[JobKey, ...]
    group: int | None = None
    """That they get, where they are not all of their group."""
    intended_ms: int = 0
    intended_boot_seconds: float = 0.0


def due_together(shard: OwnedShard, key: JobKey, now_ms: int, most: int | None = None) -> Errand | None:
    """The job and those of its request that may share its submit and are due too, `most` of them at most;
    None when it may not go."""
    job = shard.state.jobs.get(key)
    if job is None or not shard.is_open or not is_unsent(job):
        return None
    siblings = (shard.state.jobs.get(JobKey(*key.request, index)) for index in range(job.spec.file_count))
    due = [each for each in siblings if each and each.group == job.group and is_unsent(each)]
    others = [each.key for each in due if each.due_ms <= now_ms and each.key != key]
    together = sorted([key, *others[: None if most is None else most - 1]])
    return errand_of(shard, together, of=1 + len(others))


def errand_of(shard: OwnedShard, keys: Sequence[JobKey], *, of: int) -> Errand:
    """The errand for some `of` so many jobs; a part gets a group of its own, so that it is known again.

    What is left of a part is a part too: were it to keep its group, the part divided off first, which may
    have the same first file, would have the same.
    """
    is_part = len(keys) < of or is_group_of_part(shard.state.jobs[keys[0]].group)
    return Errand(shard, tuple(keys), group_alone(keys[0].file_index) if is_part else None)


def is_synchronous(model: str) -> bool:
    """Whether a submit of the model answers with the transcript."""
    info = model_info(model)
    return info is not None and info.is_synchronous


def is_unsent(job: Job) -> bool:
    """Whether the job waits for a submit."""
    return job.state in (State.ACCEPTED, State.WAITING)


def intended(errand: Errand) -> list[Job]:
    """Its jobs whose POST may go out, or is out."""
    jobs = (errand.shard.state.jobs.get(key) for key in errand.keys)
    return [job for job in jobs if job is not None and job.state is State.SUBMITTING]
