"""Stop a stage that fails for request after request: a bug of ours must not fail all work.

Rules this module guarantees:

1. Five faults of one stage from different requests within a minute stop it. Its jobs are kept, and it is
   tried again after a growing delay. During a trial, one fault stops it again and one success restores it.
2. A request counts once, however often it fails.
3. The first part of a trial is for other requests; those that failed in the stage are retried in the second.
   A faulty request therefore never keeps a stage stopped for healthy ones.
4. One fault of each trial counts against its request, so that every request ends, even if no other comes.
"""

from collections.abc import Callable
from dataclasses import field
from enum import StrEnum

from service.clock import Clock
from service.core.limits.backoff import Backoff
from service.frozen import dataclass

FAULTS = 5
"""Requests with a fault in one stage that stop it; a fault of one request alone is blamed on its content."""
WITHIN_SECONDS = 60.0
"""Faulty requests that come one by one must not stop a stage; a bug that affects all is faster."""
RETRY = Backoff(first_seconds=10.0, longest_seconds=600.0)
"""The wait before a trial: short for a bug that data caused, at most ten minutes for one that lasts."""


class StageName(StrEnum):
    """The stage of a fault, as named in metrics, readiness and logs."""

    ACCEPT = "accept"
    SUBMIT = "submit"
    POLL = "poll"
    COLLECT = "collect"
    RECONCILE = "reconcile"
    EXPIRE = "expire"
    PUBLISH = "publish"
    RESTORE = "restore"


@dataclass(slots=True)
class Circuit:
    """One stage's circuit: its recent faults by request, and when it opened."""

    faults: dict[str, float] = field(default_factory=dict)
    openings: int = 0
    """How often it opened in a row; zero while it is closed."""
    since_ms: int | None = None
    retry_at: float = 0.0
    others_until: float = 0.0
    """Until then the trial is for requests that have not failed in this stage."""
    suspects: set[str] = field(default_factory=set)
    """Requests that failed since it opened, or caused it to open."""


@dataclass(slots=True)
class StageBreaker:
    """The circuits of all stages.

    `on_change` is called when one stops (True) or resumes (False).
    """

    clock: Clock
    on_change: Callable[[StageName, bool], None]
    circuits: dict[StageName, Circuit] = field(
        default_factory=lambda: {name: Circuit() for name in StageName}
    )

    def failed(self, stage: StageName, request: str) -> bool:
        """Record a fault of ours for the request.

        Return whether it counts against the request.

        It does not count while the stage is stopped or on trial for others: the stage is at fault then.
        """
        circuit, now = self.circuits[stage], self.clock.boot_seconds()
        is_suspect = request in circuit.suspects
        circuit.faults = {at: when for at, when in circuit.faults.items() if now - when < WITHIN_SECONDS}
        circuit.faults[request] = now
        if circuit.openings:
            circuit.suspects.add(request)
            if now < (circuit.others_until if is_suspect else circuit.retry_at):
                return False
            self._open(stage, circuit, now)
        elif len(circuit.faults) >= FAULTS:
            circuit.suspects = set(circuit.faults)
            self._open(stage, circuit, now)
        return True

    def succeeded(self, stage: StageName) -> None:
        """An event of this stage was handled."""
        circuit = self.circuits[stage]
        if circuit.openings and self.clock.boot_seconds() >= circuit.retry_at:
            circuit.openings, circuit.since_ms = 0, None
            circuit.faults, circuit.suspects = {}, set()
            self.on_change(stage, False)

    def is_stopped(self, stage: StageName) -> bool:
        """Whether the stage may do nothing now."""
        return self.wait_seconds(stage) > 0

    def wait_seconds(self, stage: StageName) -> float:
        """How long until the stage may continue; zero while it works or is on trial."""
        circuit = self.circuits[stage]
        return max(0.0, circuit.retry_at - self.clock.boot_seconds()) if circuit.openings else 0.0

    def again_seconds(self, stage: StageName) -> float:
        """How long until requests that failed in the stage may be retried.

        Zero while it works.
        """
        circuit = self.circuits[stage]
        return max(0.0, circuit.others_until - self.clock.boot_seconds()) if circuit.openings else 0.0

    def stopped(self) -> list[StageName]:
        """The stages that are stopped or on trial."""
        return [stage for stage, circuit in self.circuits.items() if circuit.openings]

    def _open(self, stage: StageName, circuit: Circuit, now: float) -> None:
        circuit.openings += 1
        wait_seconds = RETRY.wait_ms(circuit.openings, (1 + self.clock.draw()) / 2) / 1000
        circuit.retry_at = now + wait_seconds
        circuit.others_until = circuit.retry_at + wait_seconds / 2
        if circuit.since_ms is None:
            circuit.since_ms = self.clock.now_ms()
            self.on_change(stage, True)
