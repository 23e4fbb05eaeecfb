"""One assigned partition: its state, what serves it, how it is loaded, suspended and drained."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum

from service.core.job.transition_context import Context
from service.core.journal.replay import Restore
from service.core.shard.batches import Change
from service.core.shard.shard import Shard
from service.kafka.journal.tail import Followed
from service.kafka.journal.takeover import RestoredShard
from service.pipeline.assignment.dependencies import AssignmentDeps
from service.pipeline.shard.backlog import SLICE
from service.pipeline.shard.shard_runner import ShardRunner

REVOCATION_SECONDS = 10.0
"""Within this bound a revoked shard waits for its answers and flushes; the group waits for it."""
ENDING_SECONDS = 5.0
"""Within this bound a cancelled take-over or shard ends."""
ANSWER_SECONDS = 8.0
"""Within this bound a revoked shard waits for calls of synchronous models: we own it until we have said so.
All three bounds, and `UNSENT_SECONDS`, together stay below the rebalance's 25 s."""
UNSENT_SECONDS = 1.0
"""Within this bound POSTs that have not left come back as not sent: an intent without an end is uncertain to
the next owner, who waits until it has settled."""
INLINE_ENTRIES = 1_000
"""A larger journal becomes a shard in a thread: a hundred thousand jobs hold up the loop for seconds."""


MayRelease = Callable[[int], bool]
"""Whether the journal of a partition may say that nobody calls in its slots."""


class PartitionState(StrEnum):
    """The state of an assigned partition."""

    RESTORING = "restoring"
    READY = "ready"
    REFUSED = "refused"
    """It could not be taken over; `detail` says why, and it is tried again."""
    LOST = "lost"
    """Another member owns it by the group's word; the next rebalance says so here too."""


@dataclass(slots=True)
class AssignedPartition:
    """One assigned partition: its state, why, and what serves it."""

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
        """Stop all effects at once, and serving as soon as the task has noticed."""
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
    """Make the runner of a shard that was taken over, and let it become what its journal says."""
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
        undo.callback(runner.close)
        change = await load(runner, taken.restore)
        undo.pop_all()
    deps.journal.tail.follow(partition, followed)
    return runner, change


async def load(runner: ShardRunner, restore: Restore) -> Change:
    """Let the shard become what its journal says; the change is what is to be written and done next."""
    context = runner.context()
    runner.is_restoring = True
    if is_small(restore):
        return runner.state.load(restore, context, runner.guard)
    return await asyncio.to_thread(_load_and_release, runner, restore, context)


def is_small(restore: Restore) -> bool:
    """Whether the journal becomes a shard without holding up the loop."""
    return len(restore.entries) <= INLINE_ENTRIES


def _load_and_release(runner: ShardRunner, restore: Restore, context: Context) -> Change:
    change = runner.state.load(restore, context, runner.guard)
    restore.release()
    return change


async def begin(runner: ShardRunner, change: Change) -> None:
    """Queue what a restore writes and wants done, in slices that leave the event loop its turns.

    Nothing else happens to the shard meanwhile, and nothing is committed: a group that came between would
    be overwritten by an older record of its key.
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
    """Stop what is only being taken over: it would begin work. Then drain what is served."""
    for partition in partitions:
        if partition.runner is None:
            partition.close()
    runners = [each.runner for each in partitions if each.runner]
    await drain(runners, bound_seconds, answer_seconds, may_release)


async def suspend(
    runners: Iterable[ShardRunner], bound_seconds: float, answer_seconds: float, may_release: MayRelease
) -> None:
    """Let shards begin nothing and write down what they have; calls in flight go on.

    Their slots are not used any more when this begins: their journals say so at its end. POSTs that have not
    left come back as not sent. Answers of synchronous models, which are paid for and nowhere else, get
    `answer_seconds` before that.
    """
    resting = list(runners)
    await _answered(resting, answer_seconds)
    unsent = [post for runner in resting for post, call in runner.calls.items() if not call.has_left]
    if unsent:
        await asyncio.wait(unsent, timeout=UNSENT_SECONDS)
    for runner in resting:
        runner.suspend()
    try:
        async with asyncio.timeout(bound_seconds):
            await asyncio.gather(*(_written_and_released(runner, may_release) for runner in resting))
    except TimeoutError:
        return


async def close_runner(runner: ShardRunner, may_release: MayRelease) -> None:
    """Close a shard that is to be taken over again; an answer in flight is worth the wait."""
    await drain([runner], REVOCATION_SECONDS, ANSWER_SECONDS, may_release)
    runner.close()


async def drain(
    runners: Iterable[ShardRunner], bound_seconds: float, answer_seconds: float, may_release: MayRelease
) -> None:
    """Let shards begin nothing, wait for answers in flight, and write everything down.

    As in `suspend`, their slots are not used any more.
    """
    resting = list(runners)
    await _answered(resting, answer_seconds)
    try:
        async with asyncio.timeout(bound_seconds):
            await asyncio.gather(*(_rested_and_released(runner, may_release) for runner in resting))
    except TimeoutError:
        return


async def _written_and_released(runner: ShardRunner, may_release: MayRelease) -> None:
    await runner.wait_until_written()
    if may_release(runner.partition):
        await runner.release()


async def _rested_and_released(runner: ShardRunner, may_release: MayRelease) -> None:
    await runner.wait_for_calls()
    if may_release(runner.partition):
        await runner.release()


async def _answered(runners: Collection[ShardRunner], bound_seconds: float) -> None:
    """Let shards begin nothing, and wait for calls of synchronous models."""
    for runner in runners:
        runner.takes_work = False
    calls = {call for runner in runners for call in runner.long_calls}
    if calls:
        await asyncio.wait(calls, timeout=bound_seconds)
