"""Carries the acts of a schedule out on a fleet."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sandbox.simulator import Fault
from tests.chaos.brokers import Broker
from tests.chaos.fleet import Fleet
from tests.chaos.schedule import Act
from tests.integration.stack import Scribe

MOST_MEMBERS = 4
FEWEST_MEMBERS = 2
ERROR_KINDS = ("submit", "query", "result")


@dataclass
class Stage:
    """A fleet and its broker, and what is deliberately out of order at the moment."""

    fleet: Fleet
    broker: Broker
    frozen: set[int] = field(default_factory=set)
    """Process ids of the workers that an act has frozen."""
    shifting: int = 0
    """How many acts are under way after which the group needs a while to become stable again."""

    async def carry_out(self, act: Act) -> None:
        """Do it, and undo what lasts only for a while."""
        doing: Mapping[str, Callable[[Act], Awaitable[None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "join": self._join,
            "freeze": self._freeze,
            "restart_broker": self._restart_broker,
            "errors": self._errors,
            "refuse": self._refuse,
            "lose_answers": self._lose_answers,
            "forget_offsets": self._forget_offsets,
            "stranger": self._stranger,
        }
        self.shifting += 1
        try:
            await doing[act.name](act)
            await self.start_members(FEWEST_MEMBERS - len(self.fleet.alive()))
        finally:
            self.shifting -= 1

    async def start_members(self, count: int) -> None:
        """Start so many workers at once; the requests may be there before them."""
        for _ in range(count):
            await self.fleet.launch()

    def _pick(self, act: Act) -> Scribe:
        alive = self.fleet.alive()
        return alive[int(act.draw * len(alive))]

    async def _kill(self, act: Act) -> None:
        await self.fleet.kill(self._pick(act))
        await self._replace(act)

    async def _stop(self, act: Act) -> None:
        await self._pick(act).end(signal.SIGTERM)
        await self._replace(act)

    async def _replace(self, act: Act) -> None:
        """As an orchestrator does, after a while; every other time the fleet stays smaller, down to two."""
        await asyncio.sleep(act.seconds)
        if act.step % 2:
            await self.fleet.launch()

    async def _join(self, act: Act) -> None:
        if len(self.fleet.alive()) < MOST_MEMBERS:
            await self.fleet.launch()
        else:
            await self._pick(act).end(signal.SIGTERM)

    async def _freeze(self, act: Act) -> None:
        """For longer than the session, so that others take its shards over meanwhile."""
        worker = self._pick(act)
        self.frozen.add(worker.process.pid)
        worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.fleet.setting.session_seconds + act.seconds)
        worker.process.send_signal(signal.SIGCONT)
        self.frozen.discard(worker.process.pid)

    async def _restart_broker(self, act: Act) -> None:
        await self.broker.restart(act.draw, act.seconds)

    async def _errors(self, act: Act) -> None:
        """The provider answers 503 to everything."""
        faults = [Fault(on=kind, kind="status", status=503, times=None) for kind in ERROR_KINDS]
        for fault in faults:
            self.fleet.stack.sim.state.add_fault(fault)
        await asyncio.sleep(act.seconds)
        self.fleet.stack.sim.state.faults.clear()

    async def _refuse(self, act: Act) -> None:
        """The provider's address takes no connections, and those that stand are cut."""
        await self.fleet.door.shut()
        await asyncio.sleep(act.seconds)
        await self.fleet.door.open()

    async def _lose_answers(self, act: Act) -> None:
        """The provider does the work, and bills it, and the answer never arrives."""
        for kind in ERROR_KINDS:
            self.fleet.stack.sim.state.add_fault(Fault(on=kind, kind="drop_after", times=2))
        await asyncio.sleep(act.seconds)

    async def _forget_offsets(self, act: Act) -> None:
        """A group without offsets and without members, as after a week's holiday; then all come back."""
        count = len(self.fleet.alive())
        await self.fleet.end()
        await self.broker.forget_group(self.fleet.stack.topics["requests"])
        await self.start_members(count)

    async def _stranger(self, act: Act) -> None:
        partition = int(act.draw * self.fleet.setting.partitions)
        journal = self.fleet.stack.topics["journal"]
        await self.broker.hold_transaction(journal, partition, act.seconds, commit=bool(act.step % 2))
