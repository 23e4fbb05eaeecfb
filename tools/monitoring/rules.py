"""Prometheus rules as data: recording rules for sums over replicas, and the alerts.

What has the label `partition` is summed truly while shards move; `scribe:waiting_jobs:sum` has none, and may
count the jobs of a shard twice, or not at all, for the seconds in which it moves.
"""

import re
from typing import NamedTuple

from tools.monitoring.alerts import ALERTS, Alert

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"\b(\d+)([smhd])\b")
_NUMBER = re.compile(r"~(\d+)")
RUNBOOK = "docs/operations.md#"

Rule = dict[str, object]


class Recording(NamedTuple):
    """A sum over replicas and the name under which dashboards read it."""

    name: str
    expression: str


OURS = 'fault=~"provider|operator|service"'
PAUSED = (
    " unless on (namespace, job) (max by (namespace, job) (max_over_time(scribe_hold[1h])) == 1"
    " or max by (namespace, job) (max_over_time(scribe_provider_outage[1h])) == 1)"
)
"""Results are late in a hold, in an outage, and in the hour after, which works off what waited: not ours."""


def _rate(series: str) -> str:
    return f"sum by (namespace, job) (rate({series}[5m]))"


def _ratios(name: str, whole: str) -> tuple[Recording, ...]:
    """The part of bad events in each window of the burn rates; both sides have the same gaps."""
    return tuple(
        Recording(
            f"scribe:{name}:ratio{window}",
            f"avg_over_time(scribe:{name}:rate5m[{window}]) / avg_over_time(scribe:{whole}:rate5m[{window}])",
        )
        for window in ("5m", "30m", "1h", "6h")
    )


RECORDINGS = (
    Recording(
        "scribe:open_jobs:sum",
        "sum by (namespace, job, state) (max by (namespace, job, partition, state) (scribe_open_jobs))",
    ),
    Recording(
        "scribe:shards_ready:sum",
        'sum by (namespace, job) (max by (namespace, job, partition) (scribe_shard_state{state="ready"}))',
    ),
    Recording(
        "scribe:request_lag_records:sum",
        "sum by (namespace, job) (max by (namespace, job, partition) (scribe_request_lag_records))",
    ),
    Recording("scribe:request_lag_seconds:max", "max by (namespace, job) (scribe_request_lag_seconds)"),
    Recording(
        "scribe:billed_seconds_today:sum",
        "sum by (namespace, job) (max by (namespace, job, partition) (scribe_billed_seconds_today))",
    ),
    Recording(
        "scribe:billed_cost_today:sum",
        "sum by (namespace, job) (max by (namespace, job, partition) (scribe_billed_cost_today))",
    ),
    Recording(
        "scribe:uncertain_submissions:sum",
        "sum by (namespace, job) (max by (namespace, job, partition) (scribe_uncertain_submissions))",
    ),
    Recording("scribe:waiting_jobs:sum", "sum by (namespace, job, model, reason) (scribe_waiting_jobs)"),
    Recording("scribe:results:rate5m", _rate("scribe_result_own_seconds_count") + PAUSED),
    Recording(
        "scribe:results_late:rate5m",
        f"({_rate('scribe_result_own_seconds_count')}"
        f""" - {_rate('scribe_result_own_seconds_bucket{le="60.0"}')})""" + PAUSED,
    ),
    *_ratios("results_late", "results"),
    Recording("scribe:files:rate5m", _rate("scribe_jobs_finished_total")),
    Recording("scribe:files_failed:rate5m", _rate(f"scribe_jobs_finished_total{{{OURS}}}")),
    *_ratios("files_failed", "files"),
)


def scaled(text: str, factor: float) -> str:
    """Durations and `~` numbers, times `factor`; no duration becomes shorter than a second."""
    numbers = _NUMBER.sub(lambda found: f"{float(found[1]) * factor:g}", text)
    if factor == 1:
        return numbers
    return _DURATION.sub(
        lambda found: (
            found[0] if found[1] == "0" else f"{max(1, round(int(found[1]) * SECONDS[found[2]] * factor))}s"
        ),
        numbers,
    )


def groups(factor: float = 1.0) -> dict[str, object]:
    """The content of a rule file; with a `factor` below 1, hours pass in minutes."""
    recording: list[Rule] = [
        {"record": each.name, "expr": scaled(each.expression, factor)} for each in RECORDINGS
    ]
    # One group is evaluated in its order, so that alerts see the recorded values of the same moment.
    return {"groups": [{"name": "scribe", "rules": [*recording, *(_alert(each, factor) for each in ALERTS)]}]}


def _alert(alert: Alert, factor: float) -> Rule:
    return {
        "alert": alert.name,
        "expr": scaled(alert.expression, factor),
        "for": scaled(alert.hold, factor),
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.meaning, "runbook": RUNBOOK + alert.section},
    }
