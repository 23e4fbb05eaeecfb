"""Expire: apply passed deadlines to open jobs.

The job's state decides whether it ends now.

Deadlines are days away and most jobs finish long before. A sweep therefore checks, once a second, the jobs
whose deadline is near, instead of queueing every deadline; a jump of the wall clock then needs no special
handling. Many deadlines that pass at once are handled in slices, as the journal's backlog has room.
"""

import asyncio
from collections.abc import Callable, Iterable

from service.clock import Clock
from service.core.job.events import DeadlinePassed
from service.core.job.job import Job, JobState
from service.core.job.submission import SubmissionState
from service.pipeline.guards.submit_guards import SubmitGuards
from service.pipeline.hotwords.prepare import HotwordListStage
from service.pipeline.poll import PollStage
from service.pipeline.shard.backlog import SLICE
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageBreaker, StageName

CHECK_SECONDS = 1.0
"""Deadlines are in whole seconds."""

Why = Callable[[ShardRunner, Job], str]


async def expire(
    shards: Callable[[], Iterable[ShardRunner]],
    clock: Clock,
    breaker: StageBreaker,
    on_tick: Callable[[], None],
    why: Why,
) -> None:
    """Check the deadlines that are near and run due retries, until cancelled.

    `why` returns what a job was waiting for.
    """
    while True:
        on_tick()
        for runner in list(shards()):
            runner.boundary.try_again()
            await _expire(runner, clock, breaker, on_tick, why)
        await clock.sleep(CHECK_SECONDS)


async def _expire(
    runner: ShardRunner, clock: Clock, breaker: StageBreaker, on_tick: Callable[[], None], why: Why
) -> None:
    waits = set(runner.boundary.waiting())
    overdue = [ref for ref in runner.state.overdue(clock.confirmed_ms()) if ref not in waits]
    for start in range(0, len(overdue), SLICE):
        on_tick()
        # A shard that is full or being given back must not delay the others: the next sweep continues.
        if not runner.has_room or not runner.takes_work or breaker.is_stopped(StageName.EXPIRE):
            return
        for ref in overdue[start : start + SLICE]:
            job = runner.state.jobs.get(ref)
            if job is not None:
                runner.on_job(ref, DeadlinePassed(why(runner, job)))
        await asyncio.sleep(0)


def reason(
    runner: ShardRunner, job: Job, guards: SubmitGuards, poll: PollStage, hotword_lists: HotwordListStage
) -> str:
    """What blocks the job: the current poll error, or what its submit waits for."""
    submission = runner.state.submissions.get(job.submission)
    if submission is None or job.state not in (JobState.WAITING, JobState.SUBMITTED):
        return ""
    if submission.state is SubmissionState.RUNNING:
        return poll.reason()
    if submission.state is SubmissionState.INTENDED:
        return ""
    return hotword_lists.reason(job.request) or guards.reason(job.request.model)
