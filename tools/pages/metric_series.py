"""Every series that a replica can have, for the page of metrics and for the test of their number."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from service.contract.outcome import Attempts, ProviderTimes, Result, Times, Usage
from service.contract.transcript import AudioProperties, Transcript
from service.core.job.job import JobState
from service.core.limits.price import Price
from service.core.provider.answers import ProviderError
from service.observability.metric_definitions import CALLS, HOLD_CODES, MAX_UNKNOWN_CODES, CallResult
from service.observability.metrics import Metrics
from service.observability.process_definitions import BILLED_COST_LIMIT, BILLED_SECONDS_LIMIT, OPEN_JOBS_LIMIT
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

SIX_MODELS = (
    "fun-asr",
    "paraformer-v2",
    "qwen-audio-3.1-asr-flash-filetrans",
    "qwen3-asr-flash",
    "fun-asr-flash",
    "qwen3-omni-flash",
)
"""Of six families: models of one family share its histograms."""
LOOPS = (
    "beat", "tail", "offsets", "submit", "hotwords", "ask_time", "poll", "sweep", "collect", "reconcile",
    "expire", "audit", "write_pages", "read_pages", "consume",
)  # fmt: skip
STATES = tuple(state.value for state in JobState if state is not JobState.DONE)
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def all_series(partitions: int, models: Sequence[str]) -> CollectorRegistry:
    """A replica that serves these partitions and models, and to which everything has happened."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.show_status(lambda: _status(partitions, models))
    for loop in LOOPS:
        metrics.loop_tick(loop)
    for number in range(MAX_UNKNOWN_CODES):
        metrics.unknown_provider_code(f"Code{number}")
    metrics.count_spans()
    limits = {OPEN_JOBS_LIMIT: 1.0, BILLED_SECONDS_LIMIT: 1.0, BILLED_COST_LIMIT: 1.0}
    metrics.process.describe("1.0.0", "0123456789ab", limits)
    jobs = metrics.count_jobs(dict.fromkeys(models, Price(1.0)))
    for model in models:
        metrics.provider_call(CallKind.SUBMIT, CallResult.OK, 0.0, model)
        jobs.succeeded(_result(model))
    for kind in CALLS:
        if kind != CallKind.SUBMIT:
            metrics.provider_call(kind, CallResult.OK, 0.0)
    return registry


def number_of_series(partitions: int, models: Sequence[str]) -> int:
    """How many series such a replica has, besides those of Python and of the process."""
    families = all_series(partitions, models).collect()
    return sum(len(each.samples) for each in families if each.name.startswith("scribe_"))


def _status(partitions: int, models: Sequence[str]) -> Status:
    work = ShardWork(dict.fromkeys(STATES, 1), 1, 1, 1.0, 1, 1.0, 1)
    return Status(
        version="",
        member="",
        shards=tuple(ShardStatus(number, "ready", work=work) for number in range(partitions)),
        waiting=tuple(Waiting(model, reason, 1) for model in models for reason in WaitReason),
        oldest_ages_seconds=dict.fromkeys(STATES, 1.0),
        retention_seconds=1.0,
        calls=tuple(CallsInFlight(kind, 0, 1) for kind in ("submit", "synchronous", "query", "fetch")),
        budgets=tuple(_budgets(models)),
        submits=tuple(SubmitStatus(model, 1.0, 1, ProviderError("timeout", "")) for model in models),
        holds=tuple(HoldStatus(code, 1) for code in HOLD_CODES),
    )


def _budgets(models: Sequence[str]) -> Iterator[BudgetStatus]:
    for kind in CallKind:
        if kind is not CallKind.SUBMIT:
            yield BudgetStatus(kind, 1.0, 1.0)
    for model in models:
        yield BudgetStatus(CallKind.SUBMIT, 1.0, 1.0, model)


def _result(model: str) -> Result:
    """A result with everything that is counted."""
    return Result(
        request_id="r",
        replay=0,
        file_index=0,
        file_count=1,
        file_url="https://h.example/a.wav",
        model=model,
        task_id="t",
        transcript=Transcript(audio=AudioProperties(duration_ms=1), channels=()),
        usage=Usage(billed_seconds=1, input_tokens=1, output_tokens=1),
        times=Times(
            requested_at=_MOMENT,
            accepted_at=_MOMENT,
            submitted_at=_MOMENT,
            completed_at=_MOMENT,
            fetched_at=_MOMENT,
            published_at=_MOMENT,
            provider=ProviderTimes(submit_time="2026-01-01 00:00:00", end_time="2026-01-01 00:00:00"),
        ),
        attempts=Attempts(),
    )
