"""Submissions that are queued until they are due; their jobs are counted by model and reason as they come."""

from collections import Counter
from typing import NamedTuple

from service.clock import Clock
from service.pipeline.guards.wait_reasons import WaitReason
from service.pipeline.shard.timers import Timers
from service.pipeline.submit_queue import Queued


class Delayed(NamedTuple):
    """A submission that is queued until it is due, and what its jobs are counted as until then."""

    queued: Queued
    counted: tuple[str, WaitReason] | None = None
    jobs: int = 0


class DelayedSubmits:
    """The timers of the submit stage."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: Timers[Delayed] = Timers(clock)
        self.jobs: Counter[tuple[str, WaitReason]] = Counter()
        """The jobs of submissions that were not due when they came, by model and reason."""

    def __len__(self) -> int:
        return len(self._timers)

    def push(self, due_ms: int, queued: Queued, reason: WaitReason) -> None:
        """Add a submission; `reason` is why it is not due yet."""
        runner, key = queued
        delayed = Delayed(queued)
        submission = runner.state.submissions.get(key) if due_ms > self._clock.now_ms() else None
        if submission is not None:
            delayed = Delayed(queued, (submission.model, reason), len(submission.jobs))
            self.jobs[submission.model, reason] += delayed.jobs
        self._timers.push(due_ms, delayed)

    def wake(self) -> None:
        """Let a waiting `take` return now."""
        self._timers.wake()

    async def take(self, within_seconds: float) -> Queued | None:
        """The submission that has been due longest; None if none was due in time."""
        delayed = await self._timers.take(within_seconds)
        if delayed is None:
            return None
        if delayed.counted is not None:
            self.jobs[delayed.counted] -= delayed.jobs
            if not self.jobs[delayed.counted]:
                # Models are named by requests: their number has no bound.
                del self.jobs[delayed.counted]
        return delayed.queued
