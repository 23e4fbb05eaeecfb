"""The text of docs/metrics.md, from the metrics themselves."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Metric

from service.contract.model_table import Family
from service.contract.outcome import Attempts, ProviderTimes, Result, Times, Usage
from service.contract.transcript import AudioProperties, Transcript
from service.core.job.job import JobState
from service.core.limits.price import Price
from service.core.limits.spend_limit import SPEND_LIMIT
from service.core.provider.answers import Cause, ProviderError
from service.observability import gauge_definitions, metric_definitions, process_definitions
from service.observability.metric_definitions import CALLS, MAX_UNKNOWN_CODES, CallResult, Definition
from service.observability.metrics import Metrics
from service.observability.process_definitions import (
    BILLED_COST_LIMIT,
    BILLED_SECONDS_LIMIT,
    OPEN_JOBS_LIMIT,
)
from service.observability.shard_gauges import UNPROVEN
from service.observability.status import (
    BudgetStatus,
    HoldStatus,
    ShardStatus,
    ShardWork,
    Status,
    SubmitStatus,
    Waiting,
)
from service.pipeline.guards.call_limiter import CallKind
from service.pipeline.guards.wait_reasons import CallsInFlight, WaitReason

INTRODUCTION = """\
# Metrics

`python -m tools.generate_docs metrics` generates this page from `service/observability/`, where
`metric_definitions.py` defines every metric; a test compares them.

`/metrics` shows them to Prometheus. Times are in seconds. Labels are closed: an unexpected value is
counted as `other`, so that no request and no answer creates series.

| metric | kind | labels | what | answers |
| --- | --- | --- | --- | --- |
"""

STATES = [state.value for state in JobState if state is not JobState.DONE]

OTHERS = """
There are also the usual metrics of the process and of Python
(`process_...`, `python_...`).

## Buckets

| metric | upper bounds |
| --- | --- |
"""

NAMED_MODELS = {
    "scribe_waiting_jobs",
    "scribe_provider_calls",
    "scribe_budget_rate_per_second",
    "scribe_budget_share_per_second",
    "scribe_provider_outage",
    "scribe_provider_outage_cause",
    "scribe_retry_budget",
    "scribe_cost",
    "scribe_provider_outage_start_timestamp_seconds",
}
"""Metrics whose models have a row of their own below."""
OPEN_LABELS: Mapping[tuple[str, str], str] = {
    ("scribe_loop_age_seconds", "loop"): "the loops of the process",
    ("scribe_provider_unknown_codes", "code"): f"at most {MAX_UNKNOWN_CODES} codes",
    ("scribe_shard_state", "state"): f"as in /status, `{UNPROVEN}`",
    ("scribe_provider_calls", "model"): "those of the model table that were submitted; empty for other calls",
    ("scribe_waiting_jobs", "model"): "those of the model table with open jobs",
    ("scribe_budget_rate_per_second", "kind"): "the kinds of calls",
    ("scribe_budget_rate_per_second", "model"): "for submits",
    ("scribe_budget_share_per_second", "kind"): "the kinds of calls",
    ("scribe_budget_share_per_second", "model"): "for submits",
    ("scribe_provider_outage", "model"): "those submitted lately",
    ("scribe_provider_outage_cause", "model"): "those whose outage lasts",
    ("scribe_provider_outage_cause", "cause"): ", ".join(f"`{cause}`" for cause in Cause),
    ("scribe_provider_outage_start_timestamp_seconds", "model"): "those whose outage lasts",
    ("scribe_hold_start_timestamp_seconds", "code"): "those of `scribe_hold`",
    ("scribe_holds", "code"): "those of `scribe_hold`",
    ("scribe_build", "version"): "the version",
    ("scribe_settings", "hash"): "twelve hex digits",
    ("scribe_retry_budget", "model"): "those submitted lately",
    ("scribe_failures", "code"): "the codes of errors.md but `already_finished`",
    ("scribe_cost", "model"): "the models that have a price in `SCRIBE_SPEND__PRICES`; none, no such metric",
    ("scribe_hold", "code"): "the codes of errors.md that hold, `spend_limit`, `other`",
}
"""Labels whose values are not listed in the table."""


def metrics_page() -> str:
    """The whole page."""
    families, questions = _families(), {each.name: each.question for each in all_definitions()}
    rows = "".join(f"{_row(each, questions[each.name])}\n" for each in families)
    buckets = "".join(
        f"| `{each.name}` | {', '.join(_bounds(each))} |\n" for each in families if each.type == "histogram"
    )
    return INTRODUCTION + rows + OTHERS + buckets


def _row(family: Metric, question: str) -> str:
    cells = (f"`{_name(family)}`", family.type, _labels(family), family.documentation, question)
    return f"| {' | '.join(cells)} |"


def all_definitions() -> Iterator[Definition]:
    """Every definition of a metric."""
    for module in (metric_definitions, process_definitions, gauge_definitions):
        yield from (each for each in vars(module).values() if isinstance(each, Definition))


def _families() -> list[Metric]:
    """Every family with at least one series, so that its labels can be seen."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    status = Status(
        version="",
        member="",
        shards=(ShardStatus(0, "open", work=ShardWork(dict.fromkeys(STATES, 1), 1, 1, 1, 1, 1, 1)),),
        waiting=tuple(Waiting("fun-asr", reason, 1) for reason in WaitReason),
        oldest_ages_seconds=dict.fromkeys(STATES, 1.0),
        retention_seconds=1.0,
        holds=(HoldStatus(SPEND_LIMIT, 1),),
        calls=tuple(CallsInFlight(kind, 0, 1) for kind in ("submit", "synchronous", "query", "fetch")),
        budgets=(BudgetStatus("query", 1.0, 1.0),),
        submits=(SubmitStatus("fun-asr", 1.0, 1, ProviderError("timeout", "")),),
    )
    metrics.show_status(lambda: status)
    metrics.loop_tick("poll")
    metrics.unknown_provider_code("Code")
    limits = {OPEN_JOBS_LIMIT: 1.0, BILLED_SECONDS_LIMIT: 1.0, BILLED_COST_LIMIT: 1.0}
    metrics.process.describe("1.0.0", "0123456789ab", limits)
    jobs = metrics.count_jobs({"fun-asr": Price(1.0)})
    jobs.succeeded(_a_result())
    for kind in CALLS:
        metrics.provider_call(kind, CallResult.OK, 0.0, "fun-asr" if kind == CallKind.SUBMIT else "")
    families = (each for each in registry.collect() if each.name.startswith("scribe_"))
    return sorted(families, key=lambda family: family.name)


def _a_result() -> Result:
    """A result with everything that is counted."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Result(
        request_id="r",
        replay=0,
        file_index=0,
        file_count=1,
        file_url="https://h.example/a.wav",
        model="fun-asr",
        task_id="t",
        transcript=Transcript(audio=AudioProperties(duration_ms=1), channels=()),
        usage=Usage(billed_seconds=1, input_tokens=1, output_tokens=1),
        times=Times(
            requested_at=moment,
            accepted_at=moment,
            submitted_at=moment,
            completed_at=moment,
            fetched_at=moment,
            published_at=moment,
            provider=ProviderTimes(submit_time="2026-01-01 00:00:00", end_time="2026-01-01 00:00:00"),
        ),
        attempts=Attempts(),
    )


def _name(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def _labels(family: Metric) -> str:
    names = [name for name in _first_labels(family) if name != "le"]
    return "; ".join(f"`{name}`: {_values(family, name)}" for name in names) or "none"


def _first_labels(family: Metric) -> Iterator[str]:
    yield from dict.fromkeys(name for sample in family.samples for name in sample.labels)


def _values(family: Metric, label: str) -> str:
    found = dict.fromkeys(sample.labels[label] for sample in family.samples)
    if label == "partition":
        return "those of this process"
    if label == "model" and family.name not in NAMED_MODELS:
        return "those of the model table that were submitted"
    if label == "model_family":
        return ", ".join(Family)
    return OPEN_LABELS.get((family.name, label)) or ", ".join(found)


def _bounds(family: Metric) -> list[str]:
    found = dict.fromkeys(sample.labels["le"] for sample in family.samples if "le" in sample.labels)
    return [bound.removesuffix(".0") for bound in found if bound != "+Inf"]
