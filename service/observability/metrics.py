"""The metrics that are counted as things happen, and the page of all metrics.

Label sets are closed: an unexpected value from outside is counted under `other`, so that no request and no
answer creates series. The event loop calls the methods, any thread calls `page`.
"""

from collections.abc import Callable, Collection, Mapping

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
from service.observability import metric_definitions as definitions
from service.observability.label_values import among
from service.observability.metric_definitions import CALLS, MAX_UNKNOWN_CODES, CallResult, Definition
from service.observability.never_raises import watches
from service.observability.status import Status
from service.observability.status_gauges import LoopTicks, StatusGauges
from service.pipeline.shard.observer import BoundaryName, HintResult, PageResult, ShardChange
from service.pipeline.shard.stage_breaker import StageName


@watches
class Metrics:
    """All metrics, and their page. Without a registry it creates one."""

    def __init__(self, registry: CollectorRegistry | None = None, clock: Clock | None = None) -> None:
        # Otherwise each metric has a second series with its creation time, which none of our queries needs.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry() if registry is None else registry
        self._clock = clock or SystemClock()
        self._turns = LoopTicks(self._clock)
        self._registry.register(self._turns)
        self._unknown_codes: set[str] = set()
        self._make_work_metrics()
        self._make_provider_metrics()
        self._make_shard_metrics()
        self._costs: Counter | None = None
        self._begin_at_zero()

    def _make_work_metrics(self) -> None:
        self._records = self._counter(definitions.REQUEST_RECORDS)
        self._jobs = self._counter(definitions.JOBS_FINISHED)
        self._stages = self._histogram(definitions.JOB_STAGE_SECONDS)
        self._lost = self._counter(definitions.REQUESTS_LOST)
        self._uncertain = self._counter(definitions.UNCERTAIN_SUBMITS)

    def _make_provider_metrics(self) -> None:
        self._calls = self._counter(definitions.PROVIDER_CALLS)
        self._call_seconds = self._histogram(definitions.PROVIDER_CALL_SECONDS)
        self._unknown = self._counter(definitions.PROVIDER_UNKNOWN_CODES)
        self._cancels_dropped = self._counter(definitions.CANCELS_DROPPED)
        self._list_sweep = self._gauge(definitions.LIST_SWEEP_SECONDS)
        self._list_hints = self._counter(definitions.LIST_HINTS)
        self._list_pages = self._counter(definitions.LIST_PAGES)
        for call in CALLS:
            for result in CallResult:
                self._calls.labels(call, result)
        for hint in HintResult:
            self._list_hints.labels(hint)
        for page in PageResult:
            self._list_pages.labels(page)

    def _make_shard_metrics(self) -> None:
        self._batch_seconds = self._histogram(definitions.BATCH_COMMIT_SECONDS)
        self._batch_records = self._histogram(definitions.BATCH_RECORDS)
        self._retries = self._counter(definitions.BATCH_RETRIES)
        self._internal_errors = self._counter(definitions.INTERNAL_ERRORS)
        self._stage_stops = self._counter(definitions.STAGE_STOPS)
        self._stopped = self._gauge(definitions.STAGE_STOPPED)
        self._restored = self._counter(definitions.WORK_RESTORED)
        self._journal_unread = self._counter(definitions.JOURNAL_UNREAD)
        self._clock_steps = self._counter(definitions.CLOCK_STEPS)
        self._shard_events = self._counter(definitions.SHARD_EVENTS)

    def _counter(self, metric: Definition) -> Counter:
        return Counter(metric.name, metric.text, metric.labels, registry=self._registry)

    def _gauge(self, metric: Definition) -> Gauge:
        return Gauge(metric.name, metric.text, metric.labels, registry=self._registry)

    def _histogram(self, metric: Definition) -> Histogram:
        return Histogram(
            metric.name, metric.text, metric.labels, buckets=metric.buckets, registry=self._registry
        )

    def _begin_at_zero(self) -> None:
        """Create the closed series, so that a rate includes the first event of a kind."""
        for change in AdmissionKind:
            self._records.labels(change)
        for family in Family:
            self._jobs.labels("result", "none", family)
            for code in FailureCode:
                self._jobs.labels("failure", code, family)
        for uncertainty in UncertainOutcome:
            self._uncertain.labels(uncertainty)
        for stage in StageName:
            self._stage_stops.labels(stage)
            self._stopped.labels(stage)
        for boundary in BoundaryName:
            self._internal_errors.labels(boundary)
        for event in ShardChange:
            self._shard_events.labels(event)

    def describe_process(self, version: str) -> None:
        """Add the service's version and the metrics of the process, of Python and of its collector."""
        build = definitions.BUILD
        Info(build.name, build.text, registry=self._registry).info({"version": version})
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def show_costs(self, models: Collection[str]) -> None:
        """Count the cost of results of these models; without a price there is no such metric."""
        if models:
            self._costs = self._counter(definitions.COST)
            for model in models:
                self._costs.labels(model)

    def result_cost(self, model: str, cost: float) -> None:
        """A result of a model that has a price is durable."""
        if self._costs is not None:
            self._costs.labels(model).inc(cost)

    def show_status(self, status: Callable[[], Status]) -> None:
        """Show the numbers of `status()` as gauges.

        The thread that serves the page calls it.
        """
        self._registry.register(StatusGauges(status, self._clock))

    def record_admitted(self, kind: AdmissionKind) -> None:
        """A request record was admitted."""
        self._records.labels(kind).inc()

    def job_finished(
        self, kind: str, code: str | None, model_family: str, seconds_by_stage: Mapping[str, float]
    ) -> None:
        """A job's outcome is durable.

        `kind` is result or failure, stages are `contract.outcome.STAGES`.
        """
        kind = among(kind, ("result", "failure"))
        code = among(code, tuple(FailureCode)) if code else "none"
        self._jobs.labels(kind, code, among(model_family, tuple(Family))).inc()
        for stage, seconds in seconds_by_stage.items():
            self._stages.labels(among(stage, STAGES)).observe(seconds)

    def provider_call(self, kind: str, result: CallResult, seconds: float) -> None:
        """A call to the provider ended; `kind` is one of `CALLS`."""
        kind = among(kind, CALLS)
        self._calls.labels(kind, result).inc()
        self._call_seconds.labels(kind).observe(seconds)

    def unknown_provider_code(self, code: str) -> None:
        """The provider returned a code that is not in the error table."""
        if len(self._unknown_codes) < MAX_UNKNOWN_CODES:
            self._unknown_codes.add(code)
        self._unknown.labels(among(code, self._unknown_codes)).inc()

    def cancel_dropped(self) -> None:
        """A cancel is dropped, as too many wait: the task of a job that has ended runs on, and is billed."""
        self._cancels_dropped.inc()

    def list_swept(self, seconds: float) -> None:
        """A sweep over the task list took so long; 0: tasks are polled by schedule alone."""
        self._list_sweep.set(seconds)

    def list_hint(self, result: HintResult) -> None:
        """A query confirmed or refuted what the list said of its task."""
        self._list_hints.labels(result).inc()

    def list_page(self, result: PageResult) -> None:
        """A page of the list was read here, or came from another replica."""
        self._list_pages.labels(result).inc()

    def batch_committed(self, records: int, seconds: float) -> None:
        """A batch is durable, `seconds` after it was sealed."""
        self._batch_seconds.observe(seconds)
        self._batch_records.observe(records)

    def batch_retried(self) -> None:
        """A batch is sent again."""
        self._retries.inc()

    def shard_event(self, change: ShardChange) -> None:
        """A shard changed."""
        self._shard_events.labels(change).inc()

    def internal_error(self, boundary: BoundaryName) -> None:
        """The boundary isolated a fault of Scribe itself."""
        self._internal_errors.labels(boundary).inc()

    def stage_stopped(self, stage: StageName, is_stopped: bool) -> None:
        """A stage is stopped, or resumes."""
        self._stopped.labels(stage).set(is_stopped)
        if is_stopped:
            self._stage_stops.labels(stage).inc()

    def work_restored(self, count: int) -> None:
        """The audit returned `count` jobs and submissions to their stages."""
        self._restored.inc(count)

    def journal_unreadable(self) -> None:
        """Reconciling could not read a record, or a partition, of the journal."""
        self._journal_unread.inc()

    def submission_uncertain(self, change: UncertainOutcome) -> None:
        """A job's submission is uncertain, or no longer."""
        self._uncertain.labels(change).inc()

    def requests_lost(self, count: int) -> None:
        """Retention removed `count` unread request records."""
        self._lost.inc(count)

    def clock_stepped(self) -> None:
        """The wall clock has stepped by a second or more."""
        self._clock_steps.inc()

    def loop_tick(self, name: str) -> None:
        """The named loop (a constant of the code) has run once.

        The age of a stalled loop grows.
        """
        self._turns.tick(name)

    def page(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)
