"""Makes every count and every log line of the pipeline."""

from collections.abc import Mapping

from service.contract.outcome import Result
from service.core.job.uncertainty import UncertainOutcome
from service.core.limits.hold_causes import SPEND_ADVICE, SPENT, HoldCause
from service.core.limits.price import Price
from service.core.limits.spend_limit import SPEND_LIMIT, SpendLimit
from service.core.outcome.build import Outcome
from service.core.polling.list_trust import PageSource
from service.core.provider.answers import ProviderError
from service.core.shard.admission import Admission
from service.core.time.trusted_time import TimeEvent
from service.errors import FailureCode
from service.observability import log
from service.observability.metrics import Metrics
from service.observability.never_raises import never_raises, watches
from service.observability.process_definitions import BatchResult
from service.pipeline.shard.observer import BoundaryName, HintResult, PageResult, ShardChange
from service.pipeline.shard.stage_breaker import StageName


@watches
class PipelineInstrumentation:
    """Counts and logs; it decides nothing and raises nothing."""

    def __init__(self, metrics: Metrics, prices: Mapping[str, Price] | None = None) -> None:
        self._metrics = metrics
        self._jobs = metrics.count_jobs(prices or {})

    def committed(self, records: int, seconds: float) -> None:
        """A batch became durable."""
        self._metrics.batch_committed(records, seconds)

    def retried(self, partition: int, reason: str) -> None:
        """A batch was not acknowledged and is sent again."""
        self._metrics.batch_failed(BatchResult.UNKNOWN)
        log.write(log.BATCH_RETRIED, partition=partition, reason=reason)

    def fenced(self, partition: int, reason: str) -> None:
        """Another owner has the shard: its effects end here."""
        self._metrics.batch_failed(BatchResult.FENCED)
        self.shard(ShardChange.FENCED, partition, reason)

    def published(self, outcome: Outcome) -> None:
        """An outcome is durable. `already_finished` ends no job, so it is not counted."""
        body = outcome.body
        if isinstance(body, Result):
            self._jobs.succeeded(body, outcome.trace)
        elif body.code is FailureCode.ALREADY_FINISHED:
            return
        else:
            self._jobs.failed(body)
        log.write_job(outcome.id, body)

    def admitted(self, admission: Admission) -> None:
        """A request record was admitted."""
        self._metrics.record_admitted(admission.kind)
        if admission.repeats is not None:
            request_id, replay = admission.repeats
            log.write(log.REQUEST_REPEATED, request_id=request_id, replay=replay, change=admission.kind)

    def internal_error(self, boundary: BoundaryName, subject: str, error: Exception) -> None:
        """A boundary isolated a fault of Scribe itself.

        `subject` is a job, a record or a kind of call.
        """
        self._metrics.internal_error(boundary)
        log.write(log.INTERNAL_ERROR, boundary=boundary, subject=subject, exc_info=error)

    def journal_unreadable(self, partition: int, detail: str) -> None:
        """A journal record or partition could not be read: its uncertain submissions wait."""
        self._metrics.journal_unreadable()
        log.write(log.JOURNAL_UNREADABLE, partition=partition, detail=detail)

    def shard(self, change: ShardChange, partition: int, detail: str = "") -> None:
        """The shard of the partition changed."""
        self._metrics.shard_event(change)
        log.write(log.SHARD, change=change, partition=partition, detail=detail)

    def rebalanced(self) -> None:
        """The group has made an assignment."""
        self._metrics.process.rebalanced()

    def served(self, change: ShardChange, seconds: float) -> None:
        """A shard is served, `seconds` after its take-over or its resumption began."""
        self._metrics.process.served(change, seconds)

    def uncertain(self, uncertain_outcome: UncertainOutcome) -> None:
        """A submission became uncertain, or this ended; called once for each of its jobs."""
        self._metrics.submission_uncertain(uncertain_outcome)

    def stage_stopped(self, stage: StageName, is_stopped: bool) -> None:
        """A stage stops because of faults of Scribe itself in different requests, or resumes."""
        self._metrics.stage_stopped(stage, is_stopped)
        log.write(log.STAGE, change="stopped" if is_stopped else "resumed", stage=stage.value)

    def work_restored(self, count: int) -> None:
        """The audit found jobs and submissions that no timer, call or queue held."""
        self._metrics.work_restored(count)
        log.write(log.WORK_RESTORED, count=count)

    def requests_lost(self, partition: int, count: int) -> None:
        """The request topic's retention removed unread requests."""
        self._metrics.requests_lost(count)
        log.write(log.REQUESTS_LOST, partition=partition, count=count)

    def duplicate_member(self, detail: str) -> None:
        """Another process uses our name in the group."""
        log.write(log.DUPLICATE_MEMBER, detail=detail)

    def group_lost(self, detail: str) -> None:
        """We have no client in the group.

        Called once for each cause until we have one again.
        """
        self._metrics.process.group_lost()
        log.write(log.GROUP_LOST, detail=detail)

    def group_regained(self) -> None:
        """The group has made an assignment, perhaps an empty one, to a new client of ours."""
        log.write(log.GROUP_REGAINED)

    def hold(self, held: HoldCause, is_on: bool, jobs_waiting: int = 0) -> None:
        """A hold for a provider error began or ended; `jobs_waiting` have no task yet."""
        if not is_on:
            code = held.provider_error.code
            log.write(log.HOLD_ENDED, provider_code=code, model=held.model, jobs_waiting=jobs_waiting)
            return
        self._metrics.process.hold_began(held.provider_error.code)
        log.write(
            log.HOLD_STARTED,
            provider_code=held.provider_error.code,
            model=held.model,
            host=held.provider_error.host,
            reason=held.provider_error.message,
            jobs_waiting=jobs_waiting,
            advice=held.advice,
        )

    def spend_guard(self, limit: SpendLimit | None) -> None:
        """This limit of the day was reached, or none is reached any more (None)."""
        if limit is None:
            log.write(log.HOLD_ENDED, code=SPEND_LIMIT)
        else:
            self._metrics.process.hold_began(SPEND_LIMIT)
            log.write(log.HOLD_STARTED, code=SPEND_LIMIT, reason=SPENT[limit], advice=SPEND_ADVICE[limit])

    def outage(self, model: str, provider_error: ProviderError | None) -> None:
        """Submits of a model wait for a probe because of this last error, or no longer wait (None)."""
        if provider_error is None:
            log.write(log.OUTAGE_ENDED, model=model)
            return
        self._metrics.process.outage_began(model)
        log.write(
            log.OUTAGE_STARTED,
            model=model,
            cause=provider_error.kind.value,
            host=provider_error.host,
            http_status=provider_error.http_status,
            provider_code=provider_error.provider_code,
            reason=provider_error.message,
        )

    def result_host(self, model: str, host: str, change: str) -> None:
        """A result is on a host that is not allowed.

        Submits of the model stop for that, or resume.
        """
        log.write(log.RESULT_HOST, change=change, model=model, host=host, setting="SCRIBE_FETCH__HOSTS")

    def files_per_task_lowered(self, model: str, files: int) -> None:
        """A submit was refused for the number of its files: later ones hold fewer."""
        log.write(log.FILES_PER_TASK_LOWERED, model=model, files_per_task=files)

    def list_swept(self, seconds: float) -> None:
        """A sweep over the task list took so long; 0: tasks are polled by schedule alone."""
        self._metrics.list_swept(seconds)

    def list_hint(self, result: HintResult) -> None:
        """A query confirmed or refuted what the list said of its task."""
        self._metrics.list_hint(result)

    def list_distrusted(self, source: PageSource, seconds: float) -> None:
        """The list, or what others tell of it, misled too often and is not used for `seconds`."""
        log.write(log.LIST_DISTRUSTED, source=source, seconds=round(seconds))

    def list_page(self, result: PageResult) -> None:
        """A page of the list was read here, or came from another replica."""
        self._metrics.list_page(result)

    def list_shared(self, is_shared: bool, detail: str = "") -> None:
        """The topic of shared pages cannot be read or written, for this reason, or can be again."""
        log.write(log.LIST_SHARING, change="works" if is_shared else "failed", detail=detail)

    def cancel_dropped(self) -> None:
        """Too many cancels wait: this one is not sent, and its task runs to its end."""
        self._metrics.cancel_dropped()


@never_raises
def time_event(metrics: Metrics, event: TimeEvent, ahead_seconds: float) -> None:
    """The wall clock has stepped or come back, or the vendor has confirmed the time."""
    if event is TimeEvent.STEPPED:
        metrics.clock_stepped()
    log.write(log.CLOCK, change=event, wall_ahead_seconds=round(ahead_seconds, 3))
