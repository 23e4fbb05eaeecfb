"""The closed list of reasons why an accepted job waits before its task, and how many calls are in flight."""

from collections import Counter
from collections.abc import Container
from enum import StrEnum
from typing import NamedTuple

from service.pipeline.guards.call_limiter import MAX_MODELS

OTHER_MODELS = "other"
"""Stands for the models with the fewest jobs, if there are more than `MAX_MODELS`."""


class WaitReason(StrEnum):
    """What a job waits for; of several reasons the first in the table of docs/operations.md is named."""

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


def of_most_jobs(jobs: Counter[str]) -> Counter[str]:
    """The models with the most jobs, at most `MAX_MODELS`; the jobs of all others as `OTHER_MODELS`.

    Requests may name any dated version of a model, and the loop looks at each of these names each second.
    """
    found = Counter(dict(jobs.most_common(MAX_MODELS)))
    found[OTHER_MODELS] = jobs.total() - found.total()
    return +found


def of_models(
    jobs: Counter[tuple[str, WaitReason]], models: Container[str]
) -> Counter[tuple[str, WaitReason]]:
    """The same with the jobs of all models but these as `OTHER_MODELS`."""
    found: Counter[tuple[str, WaitReason]] = Counter()
    for (model, reason), count in jobs.items():
        found[model if model in models else OTHER_MODELS, reason] += count
    return found


class CallsInFlight(NamedTuple):
    """The calls of one kind in flight, and how many may be."""

    kind: str
    calls: int
    limit: int
