"""What the process is doing, as one immutable picture: for /status and for the gauges of /metrics.

Ids, codes, numbers and the provider's own words: no transcript, no URL, nothing of a request but counts.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from service.contract.outcome import rfc3339, utc_time
from service.contract.redaction import redact, shown
from service.core.provider.answers import ProviderError


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard: `state` is a short word, `detail` says why it does not serve."""

    partition: int
    state: str
    open_jobs: int = 0
    epoch: int | None = None
    cursor: int | None = None
    detail: str | None = None


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
    """Submitting has stopped: the code that says why, and since when (epoch milliseconds).

    The code is the provider's, or `spend_limit`. `reason` is the provider's message, `model` set where it
    concerns one alone, `advice` says what to do.
    """

    code: str
    since_ms: int
    reason: str = ""
    model: str | None = None
    advice: str = ""
    jobs_waiting: int = 0


@dataclass(frozen=True, slots=True)
class SubmitStatus:
    """How a model's submits fare: how many may be repeated at once now, and since when it is out of reach.

    `outage` is what the last submit of the outage met.
    """

    model: str
    retries_left: float
    outage_since_ms: int | None = None
    outage: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class ResultHoldStatus:
    """Finished results of a model that wait, as their host is not below `setting`.

    `since_ms` is when that stopped the model's submits, None while they go on.
    """

    model: str
    host: str
    setting: str
    jobs: int
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The picture. The loop makes a new one about once a second; any thread may read one."""

    version: str
    member: str
    shards: tuple[ShardStatus, ...] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Open jobs by state."""
    oldest_job_age_seconds: float | None = None
    budgets: tuple[BudgetStatus, ...] = ()
    unused_slots: tuple[str, ...] = ()
    """Why time slots of this process's partitions are not used now."""
    submits: tuple[SubmitStatus, ...] = ()
    holds: tuple[HoldStatus, ...] = ()
    """What holds submits: first what concerns the account, then models, then the limit of the day."""
    group_lost: str | None = None
    """Why the group of the request topic has no client of ours, while it has none."""
    result_holds: tuple[ResultHoldStatus, ...] = ()
    account_hold: Literal["held", "none", "unknown"] = "unknown"
    """Whether the provider holds the account, as far as this process knows: who submits nothing does not."""
    spent_seconds: int = 0
    """Billed seconds of this UTC day, of the shards that are ours."""
    spent_cost: float = 0.0
    """The same by the prices that are set."""
    clock_offset_seconds: float = 0.0
    """How far the wall clock is ahead of the time that ends and forgets things."""
    pending_bytes: int = 0
    """What is decided and not yet durable."""
    submissions: Mapping[str, int] = field(default_factory=dict)
    """Those that are not over, by state."""
    stopped_stages: tuple[str, ...] = ()
    """Stages that do nothing for now, as they failed for different requests."""

    def to_json(self) -> bytes:
        """The body of /status."""
        document = {
            "version": self.version,
            "member": self.member,
            "group_lost": None if self.group_lost is None else redact(self.group_lost),
            "shards": [_shard(shard) for shard in self.shards],
            "jobs": dict(self.jobs),
            "submissions": dict(self.submissions),
            "oldest_job_age_seconds": self.oldest_job_age_seconds,
            "budgets": [asdict(budget) for budget in self.budgets],
            "unused_slots": list(self.unused_slots),
            "submits": [_submits(each) for each in self.submits],
            "spent_seconds": self.spent_seconds,
            "spent_cost": round(self.spent_cost, 6),
            "hold": _hold(self.holds[0]) if self.holds else None,
            "other_holds": [_hold(each) for each in self.holds[1:]],
            "account_hold": self.account_hold,
            "result_holds": [_result_hold(each) for each in self.result_holds],
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
