"""Stop a stage that fails for one request after the other: a bug of ours must not fail everybody's work.

Rules this module guarantees:

1. Five faults of one stage from different requests within a minute stop it. Its jobs are kept and it is tried
   again with a growing delay. While it is on trial, one fault stops it again and one success lets it go on.
2. A request counts once, however often it fails.
3. A trial is for others first: what has failed in the stage is tried again in the second part of the trial.
   So requests that are at fault themselves keep no stage stopped for those that are not.
4. One fault of a trial counts against its request: each comes to its end, also where nothing else comes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from service.clock import Clock
from service.core.limits.backoff import Backoff

FAULTS = 5
"""So many requests with a fault in the same stage: one alone is a fault of what the request holds."""
WITHIN_SECONDS = 60.0
RETRY = Backoff(first_seconds=10.0, longest_seconds=600.0)


class StageName(StrEnum):
    """Where a fault happened: the label of the metric, and what readiness and logs call the stage."""

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
    """One stage's circuit: recent faults by request, and since when it is open."""

    faults: dict[str, float] = field(default_factory=dict)
    openings: int = 0
    """How often in a row it opened; zero while it is closed."""
    since_ms: int | None = None
    retry_at: float = 0.0
    others_until: float = 0.0
    """As long the trial is for requests that have not failed in this stage."""
    suspects: set[str] = field(default_factory=set)
    """Requests that have failed since it opened, or made it open."""


@dataclass(frozen=True, slots=True)
class StageBreaker:
    """The stages of the process; `on_change` is told that one stops (True) or goes on (False)."""

    clock: Clock
    on_change: Callable[[StageName, bool], None]
    circuits: dict[StageName, Circuit] = field(
        default_factory=lambda: {name: Circuit() for name in StageName}
    )

    def failed(self, stage: StageName, request: str) -> bool:
        """A fault of ours met the request in this stage; whether it counts against the request.

        It does not while the stage is stopped, or on trial for others: the stage is at fault.
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
        """How long until the stage may go on; zero while it works, or is on trial."""
        circuit = self.circuits[stage]
        return max(0.0, circuit.retry_at - self.clock.boot_seconds()) if circuit.openings else 0.0

    def again_seconds(self, stage: StageName) -> float:
        """How long until what has failed in the stage may be tried again; zero while it works."""
        circuit = self.circuits[stage]
        return max(0.0, circuit.others_until - self.clock.boot_seconds()) if circuit.openings else 0.0

    def stopped(self) -> list[StageName]:
        """The stages that are stopped, or on trial."""
        return [stage for stage, circuit in self.circuits.items() if circuit.openings]

    def _open(self, stage: StageName, circuit: Circuit, now: float) -> None:
        circuit.openings += 1
        wait_seconds = RETRY.wait_ms(circuit.openings, (1 + self.clock.draw()) / 2) / 1000
        circuit.retry_at = now + wait_seconds
        circuit.others_until = circuit.retry_at + wait_seconds / 2
        if circuit.since_ms is None:
            circuit.since_ms = self.clock.now_ms()
            self.on_change(stage, True)
