"""What a storm is played on: replicas with names, a Prometheus that scrapes them, and switches for faults."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.kafka import Cluster
from sandbox.simulator import Fault
from tests.integration.prometheus import Prometheus
from tests.integration.stack import Scribe, Stack
from tests.integration.test_main_job import HELLO, request
from tests.watch.worker import SWITCHES

BY_TIME = frozenset(
    {
        "ScribeAbsent",
        "ScribeEventLoopLate",
        "ScribeGroupLost",
        "ScribeLoopStuck",
        "ScribeNoMembership",
        "ScribeNothingMoves",
        "ScribeShardUnserved",
    }
)
"""On seconds that a busy machine may take: at sixty times their speed these may fire at any time."""
CALM_SECONDS = 240.0
LOOK_SECONDS = 0.5
NAMES = ("scribe-0", "scribe-1", "scribe-2")


@dataclass
class Storm:
    """The replicas by their names, and all that a phase may turn."""

    stack: Stack
    server: Prometheus
    folder: Path
    names: tuple[str, ...] = NAMES
    cluster: Cluster | None = None
    """The broker, if it is real and may be frozen."""
    settings: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Settings of one replica alone, by its name."""
    replicas: dict[str, Scribe] = field(default_factory=dict)
    published: int = 0
    """Requests that will have an outcome."""
    ended: set[str] = field(default_factory=set)
    """The ids of the outcomes so far."""

    @property
    def switches(self) -> Path:
        """The folder of `tests.watch.worker`."""
        return self.folder / "switches"

    async def start(self, *names: str, **settings: str) -> None:
        """Start these replicas, or all, and wait until they are ready and scraped."""
        self.switches.mkdir(exist_ok=True)
        await asyncio.gather(*(self._start(name, settings) for name in names or self.names))
        for name in names or self.names:
            await self.server.until(f'scribe_build_info{{instance="{name}"}}')

    async def _start(self, name: str, settings: Mapping[str, str]) -> None:
        own = {SWITCHES: str(self.switches), **self.settings, **self.own.get(name, {}), **settings}
        scribe = self.replicas[name] = await self.stack.launch(**own)
        self._show()
        await self.stack.until_ready(scribe)

    async def launch(self, name: str) -> None:
        """Start a replica and wait for nothing."""
        own = {SWITCHES: str(self.switches), **self.settings, **self.own.get(name, {})}
        self.replicas[name] = await self.stack.launch(**own)
        self._show()

    async def stop(self, *names: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End these replicas, or all."""
        ended = names or self.names
        await asyncio.gather(*(self.replicas[name].end(how) for name in ended))

    async def restart(self, *names: str, **settings: str) -> None:
        """End these replicas, or all, and start them with these settings besides."""
        await self.stop(*names)
        await self.start(*names, **settings)

    def _show(self) -> None:
        self.server.targets({name: scribe.port for name, scribe in self.replicas.items()})

    def send(self, name: str, how: signal.Signals) -> None:
        """Signal a replica, if it runs."""
        if self.replicas[name].process.returncode is None:
            self.replicas[name].process.send_signal(how)

    def fault(self, on: str, kind: str, **more: object) -> None:
        """Put a rule in force at the provider."""
        rule: dict[str, object] = {"on": on, "kind": kind, "times": None, **more}
        self.stack.sim.state.add_fault(Fault(**rule))  # type: ignore[arg-type]

    def mend(self) -> None:
        """The provider works again, and no fault of ours is on."""
        self.stack.sim.state.faults.clear()
        for path in self.switches.glob("*"):
            path.unlink()

    def switch(self, name: str) -> None:
        """Turn a fault of ours on."""
        (self.switches / name).touch()

    async def publish(self, count: int = 1, script: str = HELLO, *, is_counted: bool = True) -> None:
        """Publish requests with names of their own."""
        names = [f"storm-{time.monotonic_ns()}-{number}" for number in range(count)]
        await self.stack.publish_all([(request(name, f"{script}&n={name}"), None, ()) for name in names])
        self.published += count if is_counted else 0

    async def all_end(self) -> None:
        """Wait until each request has an outcome."""
        try:
            async with asyncio.timeout(CALM_SECONDS):
                while len(self.ended) < self.published:
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{len(self.ended)} of {self.published} requests ended") from None

    async def recover(self) -> None:
        """After a phase that failed: new processes, and what is left to do is no matter of the next."""
        self.mend()
        if self.cluster is not None:
            self.cluster.nodes[0].thaw()
        for name in self.names:
            self.send(name, signal.SIGCONT)
        await self.stop(how=signal.SIGKILL)
        await self.start()
        with suppress(AssertionError):
            await self.all_end()
        self.published = len(self.ended)
        with suppress(AssertionError):
            await self.calm()

    async def calm(self) -> None:
        """Wait until no alert fires, or will, but those that go by seconds."""
        active: set[str] = set()
        try:
            async with asyncio.timeout(CALM_SECONDS):
                while active := await self.server.active() - BY_TIME:
                    await asyncio.sleep(LOOK_SECONDS)
                # The next phase may start replicas too: then the window of that alert must have passed.
                while await self.server.rows("max(changes(process_start_time_seconds[30s])) > 0"):
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"these alerts do not end: {active}") from None


@asynccontextmanager
async def followed(storm: Storm) -> AsyncIterator[Storm]:
    """The storm, while what its requests come to is noted."""

    async def follow() -> None:
        async for outcome in storm.stack.follow():
            storm.ended.add(outcome.id)

    following = asyncio.create_task(follow())
    try:
        yield storm
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@dataclass(frozen=True)
class Phase:
    """One phase: what happens, which alerts must fire in it, and which may besides."""

    name: str
    play: Callable[[Storm], Awaitable[None]]
    fires: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    is_last: bool = False
    """What it breaks cannot be repaired."""


@dataclass(frozen=True)
class Played:
    """When a phase was played, and what fired in it."""

    name: str
    begin: float
    end: float
    fired: frozenset[str]

    def __str__(self) -> str:
        return json.dumps(
            {"phase": self.name, "seconds": round(self.end - self.begin), "fired": sorted(self.fired)}
        )


async def play(storm: Storm, phase: Phase) -> Played:
    """Play a phase until all is calm; fails where an alert is missing, or fires that should not."""
    begin = time.time()
    await phase.play(storm)
    for alert in phase.fires:
        await storm.server.until_has_fired(alert, begin)
    storm.mend()
    if not phase.is_last:
        await storm.calm()
    end = time.time()
    fired = await storm.server.fired(begin, end)
    unexpected = fired - BY_TIME - {*phase.fires, *phase.may}
    assert not unexpected, f"these fired in the phase {phase.name!r}: {sorted(unexpected)}"
    return Played(phase.name, begin, end, frozenset(fired))
