"""The closed list of reasons why an accepted job waits before its task, and how many calls are in flight."""

from enum import StrEnum
from typing import NamedTuple


class WaitReason(StrEnum):
    """What a job waits for; of several reasons the one that must end first is named."""

    IN_FLIGHT = "in_flight"
    """As many submits are in flight as may be."""
    STAGE_STOPPED = "stage_stopped"
    """Faults of Scribe itself have stopped the submit stage."""
    HOLD = "hold"
    """The provider refuses the account or the model."""
    SPEND_LIMIT = "spend_limit"
    """The day's limit is reached."""
    RESULT_HOST = "result_host"
    """Results of the model lie on a host that is not allowed."""
    OUTAGE = "outage"
    """Submits of the model fail; a probe goes at times."""
    RETRY_BUDGET = "retry_budget"
    """Repeated submits of the model have used up their budget."""
    SLOTS = "slots"
    """The quota's time slots are not used now; `scribe_slots_unused` says why."""
    QUOTA = "quota"
    """Nothing but the quota: the job has its turn after those before it."""
    BACKOFF = "backoff"
    """Its submit failed and is repeated later."""
    JOURNAL = "journal"
    """Its shard is being given back, or Kafka is slow to take its records."""
    HOTWORDS = "hotwords"
    """Its hotword list is being found or made."""
    SETTLE = "settle"
    """It is not known yet whether its submit made a task."""


class CallsInFlight(NamedTuple):
    """The calls of one kind in flight, and how many may be."""

    kind: str
    calls: int
    limit: int
