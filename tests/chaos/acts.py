"""Carries the acts of a schedule out on a fleet."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from sandbox.simulator import Fault
from tests.chaos import clocks
from tests.chaos.brokers import Broker
from tests.chaos.fleet import Fleet
from tests.chaos.outages import faults_of
from tests.chaos.schedule import Act
from tests.integration.stack import Scribe

MOST_MEMBERS = 4
FEWEST_MEMBERS = 2
UNMET_SECONDS = 6.0
CHECK_SECONDS = 0.1
KEEP_SECONDS = 1.0
MOST_PARTITIONS_ADDED = 4
PARTITIONS_ADDED = 2
STEPS = ("+400d", "-3d", "+30d", "-400d")
"""Of a wall clock: over every deadline, the de-duplication window and a day of spending, and back."""


@dataclass
class Stage:
    """A fleet and its broker, what is deliberately out of order at the moment, and what has been."""

    fleet: Fleet
    broker: Broker
    frozen: set[int] = field(default_factory=set)
    """Process ids of the workers that an act has frozen, or cut off."""
    shifting: int = 0
    """How many acts are under way after which the group needs a while to become stable again."""
    launching: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the group must have no member: no other act may start one then."""
    met: Counter[str] = field(default_factory=Counter)
    """How often each act was carried out; one that could not be counts as `left out`."""
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    """The rules of the simulator that acts have made, by the act's name."""

    def hits(self) -> Counter[str]:
        """How many calls each act at the provider met."""
        hits: Counter[str] = Counter()
        for name, fault in self.faults:
            hits[name] += fault.hits
        return hits

    async def carry_out(self, act: Act) -> None:
        """Do it, and undo what lasts only for a while."""
        doing: Mapping[str, Callable[[Act], Awaitable[bool | None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "join": self._join,
            "freeze": self._freeze,
            "rolling_restart": self._rolling_restart,
            "restart_broker": self._restart_broker,
            "forget_offsets": self._forget_offsets,
            "stranger": self._stranger,
            "cut_off": self._cut_off,
            "grow": self._grow,
            "clock_step": self._clock_step,
            "refuse": self._refuse,
        }
        self.shifting += 1
        try:
            was_done = await doing.get(act.name, self._fault)(act)
            self.met[act.name if was_done is not False else f"{act.name} left out"] += 1
        finally:
            self.shifting -= 1

    async def start_members(self, count: int) -> None:
        """Start so many workers at once; the requests may be there before them."""
        for _ in range(count):
            await self.fleet.launch()

    async def keep_members(self) -> None:
        """As an orchestrator does: replace those that end, as they do when they begin without a broker."""
        while True:
            await self._fill_up(FEWEST_MEMBERS)
            await asyncio.sleep(KEEP_SECONDS)

    async def _fill_up(self, members: int) -> None:
        async with self.launching:
            await self.start_members(members - len(self.fleet.alive()))

    async def _launch(self) -> None:
        async with self.launching:
            await self.fleet.launch()

    async def _pick(self, act: Act) -> Scribe:
        """One that runs; all may have ended by themselves, as those do that begin without a broker."""
        await self._fill_up(1)
        alive = self.fleet.alive()
        return alive[int(act.draw * len(alive))]

    async def _kill(self, act: Act) -> None:
        await self.fleet.kill(await self._pick(act))
        await self._replace(act)

    async def _stop(self, act: Act) -> None:
        await (await self._pick(act)).end(signal.SIGTERM)
        await self._replace(act)

    async def _replace(self, act: Act) -> None:
        """As an orchestrator does, after a while; every other time the fleet stays smaller, down to two."""
        await asyncio.sleep(act.seconds)
        if act.step % 2:
            await self._launch()

    async def _join(self, act: Act) -> None:
        if len(self.fleet.alive()) < MOST_MEMBERS:
            await self._launch()
        else:
            await (await self._pick(act)).end(signal.SIGTERM)

    async def _freeze(self, act: Act) -> None:
        """For longer than the session, so that others take its shards over meanwhile."""
        worker = await self._pick(act)
        self.frozen.add(worker.process.pid)
        with suppress(ProcessLookupError):
            worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.fleet.setting.session_seconds + act.seconds)
        self.fleet.thaw(worker)
        self.frozen.discard(worker.process.pid)

    async def _rolling_restart(self, act: Act) -> None:
        """One after the other, as a new release comes: the next is there before the last one goes."""
        del act
        for worker in self.fleet.alive():
            await self._launch()
            await worker.end(signal.SIGTERM)

    async def _restart_broker(self, act: Act) -> None:
        await self.broker.restart(act.draw, act.seconds)

    async def _forget_offsets(self, act: Act) -> None:
        """A group without offsets and without members, as after a week's holiday; then all come back."""
        del act
        async with self.launching:
            count = len(self.fleet.alive())
            await self.fleet.end()
            await self.broker.forget_group(self.fleet.stack.topics["requests"])
            await self.start_members(count)

    async def _stranger(self, act: Act) -> bool:
        """A record of an owner that is long gone. While nobody owns the partition nobody writes it over: then
        a compaction that does not wait takes the owner's own away, so the two do not go together.
        """
        if self.fleet.setting.compaction is not None:
            return False
        partition = int(act.draw * self.fleet.setting.partitions)
        journal = self.fleet.stack.topics["journal"]
        return await self.broker.hold_transaction(journal, partition, act.seconds, commit=bool(act.step % 2))

    async def _cut_off(self, act: Act) -> bool:
        """From Kafka alone, for longer than the session: every other time nobody tells the worker."""
        workers = [each for each in self.fleet.alive() if self.fleet.doors_of(each)]
        if not workers:
            return False
        worker = workers[int(act.draw * len(workers))]
        doors = self.fleet.doors_of(worker)
        self.frozen.add(worker.process.pid)
        for door in doors:
            if act.step % 2:
                await door.shut()
            else:
                door.mute()
        await asyncio.sleep(self.fleet.setting.session_seconds + act.seconds)
        for door in doors:
            door.unmute()
            await door.open()
        self.frozen.discard(worker.process.pid)
        return True

    async def _grow(self, act: Act) -> bool:
        """The journal first, as docs/contract.md asks; keys move, and what was asked stays where it is."""
        del act
        fleet = self.fleet
        wanted = fleet.partitions + PARTITIONS_ADDED
        if wanted > fleet.setting.partitions + MOST_PARTITIONS_ADDED:
            return False
        for role in ("journal", "requests"):
            if not await self.broker.grow(fleet.stack.topics[role], wanted):
                return False
        fleet.partitions = wanted
        return True

    async def _clock_step(self, act: Act) -> bool:
        """One machine's wall clock is wrong by days for a while; nothing else is."""
        workers = self.fleet.alive()
        offset_path = self.fleet.clock_of(workers[int(act.draw * len(workers))]) if workers else None
        if offset_path is None:
            return False
        clocks.step(offset_path, STEPS[act.step % len(STEPS)])
        await asyncio.sleep(act.seconds)
        clocks.step(offset_path, clocks.NO_STEP)
        return True

    async def _refuse(self, act: Act) -> None:
        """The provider's address takes no connections, and those that stand are cut."""
        await self.fleet.door.shut()
        await asyncio.sleep(act.seconds)
        await self.fleet.door.open()

    async def _fault(self, act: Act) -> None:
        """What the simulator answers for a while, and until some call has met it, or nobody calls.

        What it answers so often only is kept until it has.
        """
        board = self.fleet.stack.sim.state.faults
        faults = faults_of(act.name, act.step)
        self.faults += [(act.name, fault) for fault in faults]
        for fault in faults:
            board.add(fault)
        await asyncio.sleep(act.seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(UNMET_SECONDS):
                while not any(fault.hits for fault in faults):
                    await asyncio.sleep(CHECK_SECONDS)
        kept = [rule for rule in board.rules() if rule.times is not None and not rule.is_spent]
        board.clear()
        for rule in kept:
            board.add(rule)
