"""Where and how a fleet runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.evidence import Mode
from tests.chaos.reading import BrokerName
from tests.chaos.topics import Compaction

SUBMIT_SECONDS, SETTLE_SECONDS = "4", "4"
"""So that what is uncertain is settled within seconds; the simulator's clock has to run as ours does."""


@dataclass(frozen=True)
class Setting:
    """Where a fleet runs: which broker, in which mode."""

    broker: BrokerName
    bootstrap: str
    mode: Mode = "at_least_once"
    partitions: int = 3
    replication: int = 1
    session_seconds: float = 4.0
    broker_ports: Sequence[int] = ()
    """Of the broker's nodes: every second worker reaches them through doors that can be shut."""
    compaction: Compaction | None = None
    """How the journal is compacted, if not as the service creates it."""

    def variables(self) -> Mapping[str, str]:
        """The service's settings that come of it."""
        return {
            "SCRIBE_KAFKA__DELIVERY": self.mode,
            "SCRIBE_KAFKA__IDEMPOTENT": str(self.broker == "kafka").lower(),
            "SCRIBE_TOPICS__PARTITIONS": str(self.partitions),
            "SCRIBE_TOPICS__REPLICATION": str(self.replication),
            "SCRIBE_LOG__FORMAT": "json",
            "SCRIBE_REQUESTS__FILES_PER_TASK": "100",
            "SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": SUBMIT_SECONDS,
            "SCRIBE_SUBMIT__SETTLE_SECONDS": SETTLE_SECONDS,
        }
