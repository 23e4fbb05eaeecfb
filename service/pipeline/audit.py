"""Audit: find open jobs and submissions that no stage holds, and give them back to their stages.

Each must have a timer, a call or a place in a queue, or wait for its batch. One that has none at two audits
in a row was lost by a bug of ours: it is restored, as after a takeover, and counted.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from service.clock import Clock
from service.core.job.events import Fetch, JobRestored, SubmissionRestored
from service.core.job.identity import SubmissionKey
from service.core.shard.batches import Change
from service.pipeline.dispatch import Stages
from service.pipeline.shard.backlog import SLICE
from service.pipeline.shard.fault_boundary import Key
from service.pipeline.shard.in_flight import StageItems
from service.pipeline.shard.observer import Observer
from service.pipeline.shard.shard_runner import ShardRunner

AUDIT_SECONDS = 60.0
"""An audit walks over all open work; what it finds was lost by a bug and has waited anyway."""

AuditTarget = tuple[ShardRunner, Key]


@dataclass(slots=True)
class Audit:
    """Audits all open jobs and submissions once a minute."""

    shards: Callable[[], Iterable[ShardRunner]]
    stages: Stages
    clock: Clock
    observer: Observer
    _missing: set[AuditTarget] = field(default_factory=set)
    """Items that no stage held at the last audit."""

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Audit until cancelled."""
        waited_seconds = 0.0
        while True:
            on_tick()
            await self.clock.sleep(1.0)
            waited_seconds += 1.0
            if waited_seconds >= AUDIT_SECONDS:
                waited_seconds = 0.0
                await self.audit(on_tick)

    async def audit(self, on_tick: Callable[[], None]) -> None:
        """Restore a bounded number of the items that no stage held at this audit and the last."""
        missing: set[AuditTarget] = set()
        for runner in list(self.shards()):
            missing |= await self._missing_of(runner, on_tick)
        lost = sorted(self._missing & missing, key=lambda target: (target[0].partition, str(target[1])))
        self._missing = missing
        if lost:
            self.observer.work_restored(len(lost))
        for runner, key in lost[:SLICE]:
            _restore(runner, key, self.clock.now_ms())

    async def _missing_of(self, runner: ShardRunner, on_tick: Callable[[], None]) -> set[AuditTarget]:
        """Check in slices; an item that moves between two slices may look lost once."""
        runner.boundary.forget_gone(lambda key: not _exists(runner, key))
        waits = {*runner.not_durable(), *runner.boundary.waiting()}
        missing: set[AuditTarget] = set()
        expected = list(_expected(runner)) if _is_at_work(runner) else []
        for start in range(0, len(expected), SLICE):
            on_tick()
            for key in expected[start : start + SLICE]:
                if key not in waits and _exists(runner, key) and not self._is_held(runner, key):
                    missing.add((runner, key))
            await asyncio.sleep(0)
        return missing if _is_at_work(runner) else set()

    def _is_held(self, runner: ShardRunner, key: Key) -> bool:
        stages = self.stages
        holders: tuple[StageItems, ...] = (
            stages.poll,
            stages.submit,
            stages.collect,
            stages.reconcile,
            stages.hotword_lists,
        )
        return runner.boundary.has_given_up(key) or any(holder.holds(runner, key) for holder in holders)


def _is_at_work(runner: ShardRunner) -> bool:
    return runner.is_open and runner.takes_work and not runner.is_restoring


def _restore(runner: ShardRunner, key: Key, now_ms: int) -> None:
    if isinstance(key, SubmissionKey):
        runner.on_submission(key, SubmissionRestored())
        return
    url = runner.state.jobs[key].fetch.url if key in runner.state.jobs else None
    if url is not None:
        # `JobRestored` does not cover this job: the end of its task is not in the journal.
        runner.put(Change(steps=(Fetch(key, url, now_ms),)))
    else:
        runner.on_job(key, JobRestored())


def _exists(runner: ShardRunner, key: Key) -> bool:
    return key in (runner.state.submissions if isinstance(key, SubmissionKey) else runner.state.jobs)


def _expected(runner: ShardRunner) -> Iterator[Key]:
    """What a stage must hold: submissions whose task is not over, and jobs that have left their submission.

    A job that is waiting or submitted but has no submission is lost as well.
    """
    for key, submission in runner.state.submissions.items():
        if not submission.is_task_over:
            yield key
    yield from runner.state.jobs.apart()
