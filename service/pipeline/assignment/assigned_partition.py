"""One assigned partition: its state, its runner, and how it is loaded, suspended and drained."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum

from service.core.job.transition_context import INTENT_SECONDS
from service.core.journal.replay import Restore
from service.core.shard.batches import Change
from service.core.shard.shard import Shard
from service.kafka.journal.tail import Followed
from service.kafka.journal.takeover import RestoredShard
from service.pipeline.assignment.dependencies import AssignmentDeps
from service.pipeline.shard.backlog import SLICE
from service.pipeline.shard.shard_runner import ShardRunner

REVOCATION_SECONDS = 10.0
"""Bound for a revoked shard to flush, while the group waits; also for the drain of a shard to be retaken."""
ENDING_SECONDS = 5.0
"""Bound for a cancelled takeover or shard to end."""
ANSWER_SECONDS = 8.0
"""Bound for calls of synchronous models in a revoked shard, which is ours until the revocation returns.
A revocation may take all three bounds, one after another, within the group's rebalance timeout
(`kafka.group.consumer`)."""
UNSENT_SECONDS = INTENT_SECONDS
"""Bound, within `REVOCATION_SECONDS`, for unsent POSTs to return as not sent: as long as one may wait for the
proof of its intent. To the next owner, an intent without an outcome is uncertain and must settle first."""
INLINE_ENTRIES = 1_000
"""A larger journal is loaded in a thread: a hundred thousand jobs would block the loop for seconds."""


MayRelease = Callable[[int], bool]
"""Whether a partition's journal may record that nobody calls in its slots."""


class PartitionState(StrEnum):
    """The state of an assigned partition."""

    RESTORING = "restoring"
    READY = "ready"
    REFUSED = "refused"
    """It could not be taken over; `detail` says why, and the takeover is retried."""
    LOST = "lost"
    """The group no longer accepts us as its owner; the next rebalance removes it here."""


@dataclass(slots=True)
class AssignedPartition:
    """One assigned partition: its state, the reason, its runner and its task."""

    state: PartitionState = PartitionState.RESTORING
    detail: str = ""
    runner: ShardRunner | None = None
    is_full: bool = False
    task: "asyncio.Task[None] | None" = None

    @property
    def is_served(self) -> bool:
        """Whether its shard is open."""
        return self.runner is not None and self.runner.is_open

    def close(self) -> None:
        """Stop all effects now and cancel the serving task."""
        if self.runner is not None:
            self.runner.close()
        if self.task is not None:
            self.task.cancel()


async def open_runner(
    deps: AssignmentDeps,
    partition: int,
    taken: RestoredShard,
    is_owner: Callable[[ShardRunner], Awaitable[bool]],
    on_fenced: Callable[[ShardRunner], None],
) -> tuple[ShardRunner, Change]:
    """Create the runner of a shard that was taken over, and load it from its journal."""
    state = Shard(
        partition, taken.epoch, taken.cursor, deps.window, deps.outcomes, deps.prices, deps.files_per_task
    )
    writer = deps.journal.writer(partition, taken, lambda: is_owner(runner))
    runner = ShardRunner(state, writer, taken.epoch, deps.runner)
    followed = Followed(
        taken.epoch,
        taken.claim_offset,
        lambda: on_fenced(runner),
        lambda key: runner.rewrite([key]) if runner.is_open else None,
    )
    async with AsyncExitStack() as undo:
        undo.push_async_callback(writer.close)
        undo.callback(runner.drop_state)
        undo.callback(runner.close)
        change = await load(runner, taken.restore)
        undo.pop_all()
    deps.journal.tail.follow(partition, followed)
    return runner, change


async def load(runner: ShardRunner, restore: Restore) -> Change:
    """Load the shard from its journal.

    The change holds what must be written and done next.
    """
    context = runner.context()
    runner.is_restoring = True
    if is_small(restore):
        return runner.state.load(restore, context, runner.guard)
    return await asyncio.to_thread(runner.state.load, restore, context, runner.guard)


def is_small(restore: Restore) -> bool:
    """Whether the journal can be loaded without blocking the event loop."""
    return len(restore.entries) <= INLINE_ENTRIES


async def begin(runner: ShardRunner, change: Change) -> None:
    """Queue a restore's groups and steps in slices, so that the event loop keeps running.

    Nothing else may change the shard meanwhile, and nothing is committed: a group queued in between would be
    overwritten by an older record of its key.
    """
    runner.put(Change(uncertain_outcomes=change.uncertain_outcomes))
    for start in range(0, len(change.groups), SLICE):
        runner.put(Change(groups=change.groups[start : start + SLICE]))
        await asyncio.sleep(0)
    for start in range(0, len(change.steps), SLICE):
        runner.put(Change(steps=change.steps[start : start + SLICE]))
        await asyncio.sleep(0)
    runner.is_restoring = False


async def drain_all(
    partitions: Collection[AssignedPartition],
    bound_seconds: float,
    answer_seconds: float,
    may_release: MayRelease,
) -> None:
    """Stop takeovers in progress, which would start work; then drain the served shards."""
    for partition in partitions:
        if partition.runner is None:
            partition.close()
    runners = [each.runner for each in partitions if each.runner]
    await drain(runners, bound_seconds, answer_seconds, may_release)


async def suspend(
    runners: Iterable[ShardRunner], bound_seconds: float, answer_seconds: float, may_release: MayRelease
) -> None:
    """Stop the shards from starting work and write what they hold.

    Calls in flight go on.

    The caller has stopped all calls in their slots; their journals record that at the end. Unsent POSTs
    return as not sent. Before that, synchronous models get `answer_seconds` to answer: their answers are paid
    for and cannot be fetched again.
    """
    resting = list(runners)
    await _answered(resting, answer_seconds)
    for runner in resting:
        runner.suspend()
    try:
        async with asyncio.timeout(bound_seconds):
            await asyncio.gather(*(_written_and_released(runner, may_release) for runner in resting))
    except TimeoutError:
        return


async def close_runner(runner: ShardRunner, may_release: MayRelease) -> None:
    """Close a shard that will be taken over again; wait for answers in flight first."""
    await drain([runner], REVOCATION_SECONDS, ANSWER_SECONDS, may_release)
    runner.close()


async def drain(
    runners: Iterable[ShardRunner], bound_seconds: float, answer_seconds: float, may_release: MayRelease
) -> None:
    """Stop the shards from starting work, wait for answers in flight, and write everything.

    As in `suspend`, the caller has stopped all calls in their slots. The shards are not resumed afterwards.
    """
    resting = list(runners)
    for runner in resting:
        runner.is_draining = True
    await _answered(resting, answer_seconds)
    try:
        async with asyncio.timeout(bound_seconds):
            await asyncio.gather(*(_rested_and_released(runner, may_release) for runner in resting))
    except TimeoutError:
        return


async def _written_and_released(runner: ShardRunner, may_release: MayRelease) -> None:
    await runner.wait_until_written()
    # POSTs have their receipts by now. One that has not left returns as not sent, which is written too.
    calls = (*runner.calls.items(), *runner.long_calls.items())
    unsent = [post for post, call in calls if not call.has_left]
    if unsent:
        await asyncio.wait(unsent, timeout=UNSENT_SECONDS)
    await runner.wait_until_written()
    if may_release(runner.partition):
        await runner.release()


async def _rested_and_released(runner: ShardRunner, may_release: MayRelease) -> None:
    await runner.wait_for_calls()
    if may_release(runner.partition):
        await runner.release()


async def _answered(runners: Collection[ShardRunner], bound_seconds: float) -> None:
    """Stop the shards from starting work; wait for calls of synchronous models."""
    for runner in runners:
        runner.takes_work = False
    calls = {call for runner in runners for call in runner.long_calls}
    if calls:
        await asyncio.wait(calls, timeout=bound_seconds)
