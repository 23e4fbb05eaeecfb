"""The metrics that are counted as things happen, and the page of all metrics.

Label sets are closed: an unexpected value from outside is counted under `other`, so that no request and no
answer creates series. The event loop calls the methods, any thread calls `page`.
"""

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

from service.clock import Clock, SystemClock
from service.core.job.uncertainty import UncertainOutcome
from service.core.limits.price import Price
from service.core.shard.admission import AdmissionKind
from service.observability import metric_definitions as definitions
from service.observability import process_definitions as of_process
from service.observability.instruments import Children, counter, counters, gauge, histogram, histograms
from service.observability.job_metrics import JobMetrics
from service.observability.label_values import among, model_label
from service.observability.metric_definitions import CALLS, MAX_UNKNOWN_CODES, SUBMITS_ONLY, CallResult
from service.observability.never_raises import watches
from service.observability.process_definitions import BatchResult
from service.observability.process_metrics import ProcessMetrics
from service.observability.status import Status
from service.observability.status_gauges import LoopTicks, StatusGauges
from service.pipeline.guards.call_limiter import CallKind
from service.pipeline.shard.observer import BoundaryName, HintResult, PageResult, ShardChange
from service.pipeline.shard.stage_breaker import StageName

OPEN_METRICS = "application/openmetrics-text"


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
        self.process = ProcessMetrics(self._registry)
        self._make_work_metrics()
        self._make_provider_metrics()
        self._make_shard_metrics()
        self._finished: JobMetrics | None = None
        self._submitted: set[str] = set()
        self._begin_at_zero()

    def _make_work_metrics(self) -> None:
        self._records = counters(self._registry, definitions.REQUEST_RECORDS)
        self._lost = counter(self._registry, definitions.REQUESTS_LOST)
        self._uncertain = counters(self._registry, definitions.UNCERTAIN_SUBMITS)

    def _make_provider_metrics(self) -> None:
        self._calls = counters(self._registry, definitions.PROVIDER_CALLS)
        self._call_seconds = histograms(self._registry, definitions.PROVIDER_CALL_SECONDS)
        self._unknown = counters(self._registry, definitions.PROVIDER_UNKNOWN_CODES)
        self._cancels_dropped = counter(self._registry, definitions.CANCELS_DROPPED)
        self._list_sweep = gauge(self._registry, definitions.LIST_SWEEP_SECONDS)
        self._list_hints = counters(self._registry, definitions.LIST_HINTS)
        self._list_pages = counters(self._registry, definitions.LIST_PAGES)
        for call in CALLS:
            self._call_seconds.begin((call,))
            if call != CallKind.SUBMIT:
                self._calls.begin(*((call, "", each) for each in CallResult if each not in SUBMITS_ONLY))
        for hint in HintResult:
            self._list_hints.begin((hint,))
        for page in PageResult:
            self._list_pages.begin((page,))

    def _make_shard_metrics(self) -> None:
        self._batch_seconds = histogram(self._registry, of_process.BATCH_COMMIT_SECONDS)
        self._batch_records = histogram(self._registry, of_process.BATCH_RECORDS)
        self._batches = counters(self._registry, of_process.BATCHES)
        self._internal_errors = counters(self._registry, of_process.INTERNAL_ERRORS)
        self._stage_stops = counters(self._registry, of_process.STAGE_STOPS)
        self._stopped = gauge(self._registry, of_process.STAGE_STOPPED)
        self._restored = counter(self._registry, of_process.WORK_RESTORED)
        self._journal_unread = counter(self._registry, of_process.JOURNAL_UNREAD)
        self._clock_steps = counter(self._registry, of_process.CLOCK_STEPS)
        self._shard_events = counters(self._registry, of_process.SHARD_EVENTS)

    def _begin_at_zero(self) -> None:
        """Create the closed series, so that a rate includes the first event of a kind."""
        for change in AdmissionKind:
            self._records.begin((change,))
        for uncertainty in UncertainOutcome:
            self._uncertain.begin((uncertainty,))
        for stage in StageName:
            self._stage_stops.begin((stage,))
            self._stopped.labels(stage)
        for boundary in BoundaryName:
            self._internal_errors.begin((boundary,))
        self._batches.begin(*((result,) for result in BatchResult))
        for event in ShardChange:
            self._shard_events.begin((event,))

    def count_jobs(self, prices: Mapping[str, Price]) -> JobMetrics:
        """Show the metrics of finished jobs; without a price there is no metric of the cost."""
        if self._finished is None:
            self._finished = JobMetrics(self._registry, prices)
        return self._finished

    def count_spans(self) -> Children[Counter]:
        """Show what becomes of spans; only a process that traces does."""
        spans = counters(self._registry, of_process.SPANS)
        spans.begin(*((result,) for result in of_process.SpanResult))
        return spans

    def show_status(self, status: Callable[[], Status]) -> None:
        """Show the numbers of `status()` as gauges.

        The thread that serves the page calls it.
        """
        self._registry.register(StatusGauges(status, self._clock))

    def record_admitted(self, kind: AdmissionKind) -> None:
        """A request record was admitted."""
        self._records[(kind,)].inc()

    def provider_call(self, kind: str, result: CallResult, seconds: float, model: str = "") -> None:
        """A call to the provider ended; `kind` is one of `CALLS`, and submits have a model."""
        label = model_label(model) if model else ""
        if model and label not in self._submitted:
            self._begin_submits(model, label)
        kind = among(kind, CALLS)
        self._calls[kind, label, result].inc()
        self._call_seconds[(kind,)].observe(seconds)

    def _begin_submits(self, model: str, label: str) -> None:
        """Show the series of a model in use from the end of its first submit on, which no rate sees.

        A rate sees its first result, and its first submit with another result.
        """
        self._submitted.add(label)
        self._calls.begin(*((CallKind.SUBMIT, label, result) for result in CallResult))
        self.process.begin_model(model)
        if self._finished is not None:
            self._finished.begin(model)

    def unknown_provider_code(self, code: str) -> None:
        """The provider returned a code that is not in the error table."""
        if len(self._unknown_codes) < MAX_UNKNOWN_CODES:
            self._unknown_codes.add(code)
        self._unknown[(among(code, self._unknown_codes),)].inc()

    def cancel_dropped(self) -> None:
        """A cancel is dropped, as too many wait: the task of a job that has ended runs on, and is billed."""
        self._cancels_dropped.inc()

    def list_swept(self, seconds: float) -> None:
        """A sweep over the task list took so long; 0: tasks are polled by schedule alone."""
        self._list_sweep.set(seconds)

    def list_hint(self, result: HintResult) -> None:
        """A query confirmed or refuted what the list said of its task."""
        self._list_hints[(result,)].inc()

    def list_page(self, result: PageResult) -> None:
        """A page of the list was read here, or came from another replica."""
        self._list_pages[(result,)].inc()

    def batch_committed(self, records: int, seconds: float) -> None:
        """A batch is durable, `seconds` after it was sealed."""
        self._batches[(BatchResult.COMMITTED,)].inc()
        self._batch_seconds.observe(seconds)
        self._batch_records.observe(records)

    def batch_failed(self, result: BatchResult) -> None:
        """A batch was not acknowledged, or is behind another owner's claim."""
        self._batches[(result,)].inc()

    def shard_event(self, change: ShardChange) -> None:
        """A shard changed."""
        self._shard_events[(change,)].inc()

    def internal_error(self, boundary: BoundaryName) -> None:
        """The boundary isolated a fault of Scribe itself."""
        self._internal_errors[(boundary,)].inc()

    def stage_stopped(self, stage: StageName, is_stopped: bool) -> None:
        """A stage is stopped, or resumes."""
        self._stopped.labels(stage).set(is_stopped)
        if is_stopped:
            self._stage_stops[(stage,)].inc()

    def work_restored(self, count: int) -> None:
        """The audit returned `count` jobs and submissions to their stages."""
        self._restored.inc(count)

    def journal_unreadable(self) -> None:
        """Reconciling could not read a record, or a partition, of the journal."""
        self._journal_unread.inc()

    def submission_uncertain(self, change: UncertainOutcome) -> None:
        """A job's submission is uncertain, or no longer."""
        self._uncertain[(change,)].inc()

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

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the metrics: in OpenMetrics if that is accepted, else in Prometheus's text."""
        if OPEN_METRICS in accept:
            return openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
