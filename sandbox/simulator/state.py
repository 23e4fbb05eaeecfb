"""The state of one running simulator, and the handle that tests hold. It starts and stops nothing."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from sandbox.simulator.clock import SimulatedClock
from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.faults import Fault, FaultBoard
from sandbox.simulator.hotwords import HotwordLists
from sandbox.simulator.ledger import Ledger
from sandbox.simulator.quota import Quotas
from sandbox.simulator.signing import UrlSigner
from sandbox.simulator.tasks import Submission, Task, TaskStore
from sandbox.simulator.uploads import UploadStore


class Engine(Protocol):
    """Turns an accepted task into times and outcomes, now or later."""

    def check(self, submission: Submission) -> None:
        """Raise ScriptError to refuse a submit before it is billed."""
        ...

    def begin(self, task: Task) -> None:
        """Start work on an accepted task; returns at once."""
        ...


@dataclass
class SimulatorState:
    """Owned by the server; tests may read all of it, add faults and advance the clock."""

    config: SimulatorConfig
    clock: SimulatedClock
    quotas: Quotas
    origin: str
    faults: FaultBoard = field(default_factory=FaultBoard)
    ledger: Ledger = field(default_factory=Ledger)
    tasks: TaskStore = field(default_factory=TaskStore)
    signer: UrlSigner = field(default_factory=UrlSigner)
    hotwords: HotwordLists = field(init=False)
    uploads: UploadStore = field(init=False)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hotwords = HotwordLists(self.config, self.clock)
        self.uploads = UploadStore(self.config, self.clock, self.origin)

    def add_fault(self, fault: Fault) -> Fault:
        """Put a rule in force behind those that are there, and give it back (its `hits` count)."""
        self.faults.add(fault)
        return fault

    def quota_now(self) -> float:
        """The time that quotas count with."""
        return self.clock.wall() if self.config.quota_clock == "wall" else self.clock.now()
