"""A tenancy: one assigned partition, how it stands and how it comes to rest; it takes nothing over itself."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from service.core.moment import Moment
from service.core.restore import Restore
from service.core.shard import Change
from service.pipeline.publish import OwnedShard

REVOCATION_SECONDS = 10.0
"""Within this bound a revoked shard waits for its answers and flushes; the group waits for it."""
ENDING_SECONDS = 5.0
"""Within this bound a cancelled take-over or shard ends."""
ANSWER_SECONDS = 8.0
"""Within this bound a revoked shard waits for calls of synchronous models: we own it until we have said so.
All three bounds together stay below the rebalance's 25 s."""
INLINE_ENTRIES = 1_000
"""A larger journal becomes a shard in a thread: a hundred thousand jobs hold up the loop for seconds."""
SLICE_STEPS = 200
"""Steps of a restored shard between two turns of the event loop."""


class Standing(StrEnum):
    """Where an assigned partition stands."""

    RESTORING = "restoring"
    READY = "ready"
    REFUSED = "refused"
    """It could not be taken over; `detail` says why, and it is tried again."""
    LOST = "lost"
    """Another member owns it by the group's word; the next rebalance says so here too."""


@dataclass(slots=True)
class Tenancy:
    """One assigned partition: how it stands, why, and what serves it."""

    standing: Standing = Standing.RESTORING
    detail: str = ""
    shard: OwnedShard | None = None
    is_full: bool = False
    task: "asyncio.Task[None] | None" = None

    @property
    def is_served(self) -> bool:
        """Whether its shard is open."""
        return self.shard is not None and self.shard.is_open

    def end(self) -> None:
        """Stop all effects at once, and serving as soon as the task has noticed."""
        if self.shard is not None:
            self.shard.close()
        if self.task is not None:
            self.task.cancel()


async def load(shard: OwnedShard, restore: Restore) -> Change:
    """Let the shard become what its journal says; the change is what its open jobs want next."""
    moment = shard.moment()
    if len(restore.entries) <= INLINE_ENTRIES:
        return shard.state.load(restore, moment, shard.around)
    return await asyncio.to_thread(_load_and_release, shard, restore, moment)


def _load_and_release(shard: OwnedShard, restore: Restore, moment: Moment) -> Change:
    change = shard.state.load(restore, moment, shard.around)
    restore.release()
    return change


async def go_on(shard: OwnedShard, change: Change) -> None:
    """Begin what the restored jobs want, and leave the event loop its turns meanwhile."""
    for start in range(0, len(change.steps), SLICE_STEPS):
        shard.put(Change(steps=change.steps[start : start + SLICE_STEPS]))
        await asyncio.sleep(0)
    shard.put(replace(change, steps=()))


async def come_to_rest(tenancies: Collection[Tenancy], bound_seconds: float, answer_seconds: float) -> None:
    """Stop what is only being taken over: it would begin work. Then drain what is served."""
    for tenancy in tenancies:
        if tenancy.shard is None:
            tenancy.end()
    await drain([tenancy.shard for tenancy in tenancies if tenancy.shard], bound_seconds, answer_seconds)


async def suspend(shards: Iterable[OwnedShard], bound_seconds: float, answer_seconds: float) -> None:
    """Let shards begin nothing and write down what they have; calls on the wire go on.

    Answers of synchronous models, which are paid for and nowhere else, get `answer_seconds` before that.
    """
    resting = list(shards)
    await _answered(resting, answer_seconds)
    for shard in resting:
        shard.suspend()
    try:
        async with asyncio.timeout(bound_seconds):
            await asyncio.gather(*(shard.written() for shard in resting))
    except TimeoutError:
        return


async def retire(shard: OwnedShard) -> None:
    """Close a shard that is to be taken over again; an answer on the wire is worth the wait."""
    await drain([shard], REVOCATION_SECONDS, ANSWER_SECONDS)
    shard.close()


async def drain(shards: Iterable[OwnedShard], bound_seconds: float, answer_seconds: float) -> None:
    """Let shards come to rest: no new work, answers on the wire awaited, everything written down."""
    resting = list(shards)
    await _answered(resting, answer_seconds)
    try:
        async with asyncio.timeout(bound_seconds):
            await asyncio.gather(*(shard.rest() for shard in resting))
    except TimeoutError:
        return


async def _answered(shards: Collection[OwnedShard], bound_seconds: float) -> None:
    """Let shards begin nothing, and wait for calls of synchronous models."""
    for shard in shards:
        shard.takes_work = False
    calls = {call for shard in shards for call in shard.long_calls}
    if calls:
        await asyncio.wait(calls, timeout=bound_seconds)
