"""The metrics that are counted as things happen, and the page of all metrics.

The gauges that are read when the page is requested are defined in `status_gauges`. docs/metrics.md is
generated from the page, so it names both.

Label sets are closed: an unexpected value is counted under `other`, so that no input from outside creates
series. The event loop calls the methods, any thread calls `page`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from service.clock import Clock, SystemClock
from service.contract.model_table import Family
from service.contract.outcome import STAGES
from service.core.job.uncertainty import UncertainOutcome
from service.core.shard.admission import AdmissionKind
from service.errors import FailureCode
from service.observability.fault_isolation import watches
from service.observability.status import Status
from service.observability.status_gauges import LoopTicks, StatusGauges, among
from service.pipeline.shard.stage_breaker import StageName

CALLS = ("submit", "query", "list", "cancel", "fetch", "hotwords")
CALL_RESULTS = ("ok", "throttled", "refused", "lost", "not_sent", "error")
BOUNDARIES = ("record", "job", "answer")
SHARD_EVENTS = ("taken", "resumed", "refused", "lost", "fenced", "closed")
MAX_UNKNOWN_CODES = 50

STAGE_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
"""From the delay that we add (below a second) through a usual task (minutes) to the vendor's 24 h."""
CALL_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120)
"""The simulator answers in 10 ms; 10, 30 and 120 s are the default bounds of a call, submit and fetch."""
BATCH_BUCKETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60)
"""A broker acknowledges in milliseconds; 60 s is the bound of a send."""
RECORD_BUCKETS = (1, 3, 10, 30, 100, 300, 1000)
"""Group commit: few when idle, many under load."""


@watches
class Metrics:
    """All metrics, and their page. Without a registry it creates one."""

    def __init__(self, registry: CollectorRegistry | None = None, clock: Clock | None = None) -> None:
        # Otherwise each metric has a second series with its creation time, which none of our queries needs.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry() if registry is None else registry
        self._turns = LoopTicks(clock or SystemClock())
        self._registry.register(self._turns)
        self._unknown_codes: set[str] = set()
        self._make_work_metrics()
        self._make_provider_metrics()
        self._make_shard_metrics()
        self._costs: Counter | None = None
        self._begin_at_zero()

    def _make_work_metrics(self) -> None:
        self._records = self._counter("scribe_request_records", "Request records taken, by how.", "admitted")
        self._jobs = self._counter(
            "scribe_jobs_finished",
            "Jobs that ended, by the kind of outcome and the failure's code (none for a result).",
            *("kind", "code", "model_family"),
        )
        self._stages = self._histogram(
            "scribe_job_stage_seconds",
            "Time of finished jobs in each stage; total goes from the request's timestamp to the outcome.",
            STAGE_BUCKETS,
            "stage",
        )
        self._lost = self._counter(
            "scribe_requests_lost", "Request records removed by the topic's retention before they were read."
        )

        self._uncertain = self._counter(
            "scribe_uncertain_submits",
            "Jobs whose submit may have made a task, when that began and how it ended.",
            "event",
        )

    def _make_provider_metrics(self) -> None:
        self._calls = self._counter(
            "scribe_provider_calls", "Calls to the provider, by what became of them.", "kind", "result"
        )
        self._call_seconds = self._histogram(
            "scribe_provider_call_seconds", "Time of calls to the provider.", CALL_BUCKETS, "kind"
        )
        self._unknown = self._counter(
            "scribe_provider_unknown_codes",
            f"Provider codes without a row in the error table, the first {MAX_UNKNOWN_CODES} by name.",
            "code",
        )
        self._cancels_dropped = self._counter(
            "scribe_cancels_dropped", "Tasks of cancelled jobs left to finish, as too many cancels waited."
        )

    def _make_shard_metrics(self) -> None:
        self._batch_seconds = self._histogram(
            "scribe_batch_commit_seconds", "Time until a batch was durable.", BATCH_BUCKETS
        )
        self._batch_records = self._histogram(
            "scribe_batch_records", "Records in a durable batch, outcomes included.", RECORD_BUCKETS
        )
        self._retries = self._counter(
            "scribe_batch_retries", "Batches sent again, because nobody knew whether they were durable."
        )
        self._internal_errors = self._counter(
            "scribe_internal_errors",
            "Faults of Scribe itself, by the boundary that isolated them.",
            "boundary",
        )
        self._stage_stops = self._counter(
            "scribe_stage_stops", "Stages stopped for faults of Scribe itself in different requests.", "stage"
        )
        self._stopped = self._gauge("scribe_stage_stopped", "1 while the stage is stopped.", "stage")
        self._restored = self._counter(
            "scribe_work_restored",
            "Open jobs and submissions that had no timer, call or place in a queue, given back by the audit.",
        )
        self._journal_unread = self._counter(
            "scribe_journal_unread",
            "Records, and passes over a partition, of the journal that reconciling could not read.",
        )
        self._clock_steps = self._counter(
            "scribe_clock_steps", "Times that the wall clock stepped away from the time that ends things."
        )
        self._shard_events = self._counter("scribe_shard_events", "Changes in the life of shards.", "event")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def _begin_at_zero(self) -> None:
        """Create the closed series, so that a rate includes the first event of a kind."""
        for change in AdmissionKind:
            self._records.labels(change)
        for family in Family:
            self._jobs.labels("result", "none", family)
            for code in FailureCode:
                self._jobs.labels("failure", code, family)
        for call in CALLS:
            for result in CALL_RESULTS:
                self._calls.labels(call, result)
        for uncertainty in UncertainOutcome:
            self._uncertain.labels(uncertainty)
        for stage in StageName:
            self._stage_stops.labels(stage)
            self._stopped.labels(stage)
        for boundary in BOUNDARIES:
            self._internal_errors.labels(boundary)
        for event in SHARD_EVENTS:
            self._shard_events.labels(event)

    def describe_process(self, version: str) -> None:
        """Add the service's version and the metrics of the process, of Python and of its collector."""
        Info("scribe_build", "The version that runs.", registry=self._registry).info({"version": version})
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def show_costs(self, models: Collection[str]) -> None:
        """Count the cost of results of these models; without a price there is no such metric."""
        if models:
            self._costs = self._counter(
                "scribe_cost", "What results cost, by the prices that are set.", "model"
            )
            for model in models:
                self._costs.labels(model)

    def result_cost(self, model: str, cost: float) -> None:
        """A result of a model that has a price is durable."""
        if self._costs is not None:
            self._costs.labels(model).inc(cost)

    def show_status(self, status: Callable[[], Status]) -> None:
        """Show the numbers of `status()` as gauges; the thread that serves the page calls it."""
        self._registry.register(StatusGauges(status))

    def record_admitted(self, change: str) -> None:
        """A request record was taken; `change` is one of `AdmissionKind`."""
        self._records.labels(among(change, tuple(AdmissionKind))).inc()

    def job_finished(
        self, kind: str, code: str | None, model_family: str, seconds_by_stage: Mapping[str, float]
    ) -> None:
        """A job's outcome is durable; `kind` is result or failure, stages are `contract.outcome.STAGES`."""
        kind = among(kind, ("result", "failure"))
        code = among(code, tuple(FailureCode)) if code else "none"
        self._jobs.labels(kind, code, among(model_family, tuple(Family))).inc()
        for stage, seconds in seconds_by_stage.items():
            self._stages.labels(among(stage, STAGES)).observe(seconds)

    def provider_call(self, kind: str, result: str, seconds: float) -> None:
        """A call to the provider ended; `kind` is one of `CALLS`, `result` one of `CALL_RESULTS`."""
        kind = among(kind, CALLS)
        self._calls.labels(kind, among(result, CALL_RESULTS)).inc()
        self._call_seconds.labels(kind).observe(seconds)

    def unknown_provider_code(self, code: str) -> None:
        """The provider returned a code that is not in the error table."""
        if len(self._unknown_codes) < MAX_UNKNOWN_CODES:
            self._unknown_codes.add(code)
        self._unknown.labels(among(code, self._unknown_codes)).inc()

    def cancel_dropped(self) -> None:
        """A cancel is dropped, as too many wait: the task of a job that has ended runs on, and is billed."""
        self._cancels_dropped.inc()

    def batch_committed(self, records: int, seconds: float) -> None:
        """A batch is durable, `seconds` after it was sealed."""
        self._batch_seconds.observe(seconds)
        self._batch_records.observe(records)

    def batch_retried(self) -> None:
        """A batch is sent again."""
        self._retries.inc()

    def shard_event(self, change: str) -> None:
        """A shard changed; `change` is one of `SHARD_EVENTS`."""
        self._shard_events.labels(among(change, SHARD_EVENTS)).inc()

    def internal_error(self, boundary: str) -> None:
        """A boundary isolated a fault of Scribe itself; `boundary` is one of `BOUNDARIES`."""
        self._internal_errors.labels(among(boundary, BOUNDARIES)).inc()

    def stage_stopped(self, stage: StageName, is_stopped: bool) -> None:
        """A stage is stopped, or goes on."""
        self._stopped.labels(stage).set(is_stopped)
        if is_stopped:
            self._stage_stops.labels(stage).inc()

    def work_restored(self, count: int) -> None:
        """The audit returned `count` jobs and submissions to their stages."""
        self._restored.inc(count)

    def journal_unreadable(self) -> None:
        """Reconciling could not read a record, or a partition, of the journal."""
        self._journal_unread.inc()

    def submission_uncertain(self, change: str) -> None:
        """A job's submission is uncertain, or no longer; `change` is one of `UncertainOutcome`."""
        self._uncertain.labels(among(change, tuple(UncertainOutcome))).inc()

    def requests_lost(self, count: int) -> None:
        """Retention removed `count` unread request records."""
        self._lost.inc(count)

    def clock_stepped(self) -> None:
        """The wall clock has stepped by a second or more."""
        self._clock_steps.inc()

    def loop_tick(self, name: str) -> None:
        """The named loop (a constant of the code) has run once; the age of a stalled loop grows."""
        self._turns.tick(name)

    def page(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)
