"""Several replicas with one account, each a whole pipeline, that share pages through a topic in memory."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fakes.clock import FakeClock
from tests.fakes.page_topic import MemoryTopic
from tests.fakes.provider import FakeProvider
from tests.unit.pipeline.world import KnownTime, Limits, World

DELAY_SECONDS, JITTER_SECONDS = 0.05, 0.05
"""How long a record takes through the topic."""
CLOCK_ERROR_SECONDS = 0.06
PARTITIONS = 60
"""So that each of 1, 4 or 12 replicas has equally many."""


@dataclass
class DiceClock(FakeClock):
    """A clock whose chance differs from replica to replica."""

    seed: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def draw(self) -> float:
        """As the port says."""
        return self.dice.random()


class SkewedTime(KnownTime):
    """The vendor's clock as a replica sees it, which is wrong by up to `error_seconds`."""

    def __init__(self, skew_seconds: float, error_seconds: float = CLOCK_ERROR_SECONDS) -> None:
        super().__init__(error_seconds)
        self.skew_seconds = skew_seconds

    def offset_seconds(self, boot_seconds: float) -> tuple[float, float] | None:
        """As the port says."""
        bounds = super().offset_seconds(boot_seconds)
        return bounds and (bounds[0] + self.skew_seconds, bounds[1] + self.skew_seconds)


class Fleet:
    """The replicas; `stages` run in each of them."""

    def __init__(self, replicas: int, limits: Limits, provider: FakeProvider, *, shares: bool = True) -> None:
        self.dice = random.Random(1)
        self.clock = DiceClock()
        self.topic = MemoryTopic(
            self.clock, lambda: DELAY_SECONDS + JITTER_SECONDS * self.dice.random(), is_down=not shares
        )
        self.worlds = [self._replica(number, replicas, limits, provider) for number in range(replicas)]
        self.provider = provider

    def _replica(self, number: int, replicas: int, limits: Limits, provider: FakeProvider) -> World:
        world = World(
            limits,
            clock=DiceClock(seed=number),
            provider=provider,
            send_page=self.topic.send,
        )
        share = world.limiter.share
        share.vendor = SkewedTime(CLOCK_ERROR_SECONDS * (2 * self.dice.random() - 1))
        now = world.clock.boot_seconds()
        share.set_partitions(PARTITIONS, now)
        share.served = {each: now for each in range(PARTITIONS) if each * replicas // PARTITIONS == number}
        return world

    def run(self, *stages: str, of: Sequence[World] | None = None) -> None:
        """Start the loops of these stages, and those that read the topic."""
        for world in self.worlds if of is None else of:
            if not world.shards:
                world.shard()
            world.run(*stages)
            self.listen(world)

    def listen(self, world: World) -> None:
        """Let the replica read the topic."""
        reading = self.topic.read(world.sweep.take_shared, world.shared.is_wanted, lambda: None)
        world.spawn(reading, name="read_pages")

    async def take(self, number: int) -> None:
        """Let a replica accept the one-file request of this number."""
        world = self.worlds[number % len(self.worlds)]
        await world.take(world.shards[0], f"r{number}", ttl_seconds=86_000)

    async def end(self) -> None:
        """End every task; a crash of one fails the test."""
        for world in self.worlds:
            await world.end()
