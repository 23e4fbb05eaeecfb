"""One immutable picture of the process's work: for /status and for the gauges of /metrics.

It contains ids, codes, numbers and the provider's messages: no transcript, no URL, of requests only counts.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, field
from typing import NamedTuple

from service.contract.outcome import rfc3339, utc_time
from service.contract.redaction import redact, shown
from service.core.provider.answers import ProviderError
from service.frozen import dataclass
from service.pipeline.guards.account_hold import HoldKnowledge
from service.pipeline.guards.wait_reasons import CallsInFlight

MAX_RESULT_HOLDS = 20
"""The provider chooses the hosts, so there may be as many as jobs."""


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard: `state` is a short word, `detail` says why it does not serve."""

    partition: int
    state: str
    open_jobs: int = 0
    epoch: int | None = None
    cursor: int | None = None
    detail: str | None = None
    work: "ShardWork | None" = None
    """None unless the shard is loaded here, and certainly no other process has claimed it."""


@dataclass(frozen=True, slots=True)
class ShardWork:
    """What belongs to a shard, whoever serves it."""

    jobs: Mapping[str, int] = field(default_factory=dict)
    """Open jobs by state."""
    uncertain_submissions: int = 0
    billed_seconds_today: int = 0
    billed_cost_today: float = 0.0
    unread_requests: int | None = None
    """Requests that wait in Kafka; None if that is not known."""
    unread_seconds: float | None = None
    """For how long at least the oldest of them has waited."""
    journal_offsets: int | None = None
    """The length of its journal, in offsets; None if that is not known."""


class Waiting(NamedTuple):
    """How many jobs of a model wait for this reason."""

    model: str
    reason: str
    jobs: int


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """The calls per second of one kind: the rate in force now, and the share it recovers to.

    `model` is set for submits, which the provider counts by model.
    """

    kind: str
    rate_per_second: float
    share_per_second: float
    model: str | None = None


@dataclass(frozen=True, slots=True)
class HoldStatus:
    """Submits have stopped: the code of the reason, and since when (epoch milliseconds).

    The code is the provider's, or `spend_limit`. `reason` is the provider's message, `model` is set if only
    one is concerned, `advice` says what to do.
    """

    code: str
    since_ms: int
    reason: str = ""
    model: str | None = None
    advice: str = ""
    jobs_waiting: int = 0


@dataclass(frozen=True, slots=True)
class SubmitStatus:
    """A model's submits: how many may be retried at once now, and since when the provider is out of reach.

    `outage` is the error of the last submit during the outage.
    """

    model: str
    retries_left: float
    outage_since_ms: int | None = None
    outage: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class ResultHoldStatus:
    """Results of a model that wait because their host is not below `setting`.

    `since_ms` is when that stopped the model's submits, None while they continue.
    """

    model: str
    host: str
    setting: str
    jobs: int
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The picture. The loop makes a new one about once a second.

    Any thread may read it.
    """

    version: str
    member: str
    taken_at: float = math.inf
    """When it was taken, by the boot clock: while the loop stands still, it is old."""
    shards: tuple[ShardStatus, ...] = ()
    """Those that are assigned here, and those that a rebalance has suspended."""
    is_ready: bool = False
    partitions: int = 0
    """Partitions of the request topic, by the group's last assignment; 0 before the first."""
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Open jobs by state."""
    waiting: tuple[Waiting, ...] = ()
    """Why jobs have no task yet; of more models than a bound, those with the fewest jobs are `other`."""
    oldest_job_age_seconds: float | None = None
    oldest_ages_seconds: Mapping[str, float] = field(default_factory=dict)
    """The age of the oldest job in each state that has any, to ten seconds."""
    retention_seconds: float | None = None
    """How long the first result that is not fetched is certainly kept, to ten seconds; None without one."""
    calls: tuple[CallsInFlight, ...] = ()
    """Calls to the provider in flight, with their limits."""
    budgets: tuple[BudgetStatus, ...] = ()
    unused_slots: tuple[str, ...] = ()
    """Why this process does not use time slots of its partitions now."""
    submits: tuple[SubmitStatus, ...] = ()
    holds: tuple[HoldStatus, ...] = ()
    """The holds of submits: first of the account, then of models, then the day's limit."""
    group_lost: str | None = None
    """Why the consumer group has no client of ours; None while it has one."""
    result_holds: tuple[ResultHoldStatus, ...] = ()
    account_hold: HoldKnowledge = "unknown"
    """Whether the provider holds the account; unknown to a process that submits nothing."""
    spent_seconds: int = 0
    """Billed seconds of this UTC day, of our shards."""
    spent_cost: float = 0.0
    """The same in cost, by the configured prices."""
    clock_offset_seconds: float = 0.0
    """How far the wall clock is ahead of trusted time."""
    pending_bytes: int = 0
    """Bytes that are decided and not yet durable."""
    submissions: Mapping[str, int] = field(default_factory=dict)
    """Open submissions by state."""
    stopped_stages: tuple[str, ...] = ()
    """Stages that are stopped because they failed for different requests."""

    def to_json(self) -> bytes:
        """The body of /status."""
        document = {
            "version": self.version,
            "member": self.member,
            "group_lost": None if self.group_lost is None else redact(self.group_lost),
            "shards": [_shard(shard) for shard in self.shards],
            "ready": self.is_ready,
            "partitions": self.partitions,
            "jobs": dict(self.jobs),
            "submissions": dict(self.submissions),
            "waiting": [each._asdict() for each in self.waiting],
            "oldest_ages_seconds": dict(self.oldest_ages_seconds),
            "retention_seconds": self.retention_seconds,
            "calls": [each._asdict() for each in self.calls],
            "oldest_job_age_seconds": self.oldest_job_age_seconds,
            "budgets": [asdict(budget) for budget in self.budgets],
            "unused_slots": list(self.unused_slots),
            "submits": [_submits(each) for each in self.submits],
            "spent_seconds": self.spent_seconds,
            "spent_cost": round(self.spent_cost, 6),
            "hold": _hold(self.holds[0]) if self.holds else None,
            "other_holds": [_hold(each) for each in self.holds[1:]],
            "account_hold": self.account_hold,
            "result_holds": [_result_hold(each) for each in self.result_holds[:MAX_RESULT_HOLDS]],
            "more_result_holds": max(0, len(self.result_holds) - MAX_RESULT_HOLDS),
            "clock_offset_seconds": round(self.clock_offset_seconds, 3),
            "pending_bytes": self.pending_bytes,
            "stopped_stages": list(self.stopped_stages),
        }
        return (json.dumps(document, indent=2) + "\n").encode()


def _shard(shard: ShardStatus) -> dict[str, object]:
    detail = None if shard.detail is None else redact(shard.detail)
    return {**asdict(shard), "detail": detail}


def _hold(hold: HoldStatus) -> dict[str, object]:
    return {
        "code": shown(hold.code),
        "since": _time(hold.since_ms),
        "reason": redact(hold.reason),
        "model": hold.model,
        "jobs_waiting": hold.jobs_waiting,
        "advice": hold.advice,
    }


def _result_hold(held: ResultHoldStatus) -> dict[str, object]:
    return {
        "model": held.model,
        "host": shown(held.host),
        "setting": held.setting,
        "jobs": held.jobs,
        "submits_stopped_since": None if held.since_ms is None else _time(held.since_ms),
    }


def _submits(submits: SubmitStatus) -> dict[str, object]:
    since_ms = submits.outage_since_ms
    return {
        "model": submits.model,
        "retries_left": round(submits.retries_left, 1),
        "outage_since": None if since_ms is None else _time(since_ms),
        "outage": None if submits.outage is None else _error_view(submits.outage),
    }


def _error_view(provider_error: ProviderError) -> dict[str, object]:
    code = provider_error.provider_code
    return {
        "cause": provider_error.kind.value,
        "host": provider_error.host,
        "http_status": provider_error.http_status,
        "provider_code": None if code is None else shown(code),
        "reason": redact(provider_error.message),
    }


def _time(epoch_ms: int) -> str:
    moment = utc_time(epoch_ms)
    return "unknown" if moment is None else rfc3339(moment)
