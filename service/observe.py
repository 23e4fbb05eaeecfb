"""What operators see of the work: every count and every log line of the pipeline is made here."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from service import log
from service.clock import Clock
from service.contract.models import model_info
from service.core import verdicts
from service.core.admission import Admission
from service.core.moment import Doubt
from service.core.outcomes import Outcome
from service.core.price import Price, cost_of
from service.core.spend import SPEND_LIMIT
from service.core.task import (
    Accepted,
    Answered,
    Lost,
    NotSent,
    Refused,
    SubmitAnswer,
    TaskPage,
    TaskView,
    Trouble,
)
from service.messages import Failure, Result, stage_seconds
from service.metrics import Metrics
from service.provider.api import Provider


class Observing:
    """Counts and logs; it decides nothing and raises nothing."""

    def __init__(self, metrics: Metrics, prices: Mapping[str, Price] | None = None) -> None:
        self._metrics = metrics
        self._prices = prices or {}
        metrics.show_costs(self._prices)

    def committed(self, moves: int, seconds: float) -> None:
        """A batch became durable."""
        self._metrics.batch_committed(moves, seconds)

    def retried(self, partition: int, reason: str) -> None:
        """A batch was not acknowledged and is sent again."""
        self._metrics.batch_retried()
        log.write(log.BATCH_RETRIED, partition=partition, reason=reason)

    def fenced(self, partition: int, reason: str) -> None:
        """The shard is another's: its effects end here."""
        self.shard("fenced", partition, reason)

    def published(self, outcome: Outcome) -> None:
        """An outcome and its marker are durable."""
        body = outcome.body
        code = body.code if isinstance(body, Failure) else ""
        info = model_info(body.model or "")
        self._metrics.job_finished(
            "failure" if code else "result", code, info.family if info else "", stage_seconds(body.times)
        )
        if isinstance(body, Result) and (price := self._prices.get(body.model)):
            self._metrics.result_cost(body.model, cost_of(body.usage, price))
        log.write_job(outcome.id, body)

    def admitted(self, admission: Admission) -> None:
        """A request record was taken."""
        self._metrics.record_admitted(admission.word)

    def shard(self, word: str, partition: int, detail: str = "") -> None:
        """A shard was taken, refused, fenced or closed."""
        self._metrics.shard_event(word)
        log.write(log.SHARD, word=word, partition=partition, detail=detail)

    def doubted(self, word: Doubt) -> None:
        """A job's submit became uncertain, or how that ended."""
        self._metrics.submit_doubted(word)

    def requests_lost(self, partition: int, count: int) -> None:
        """The request topic's retention removed requests that nobody had read."""
        self._metrics.requests_lost(count)
        log.write(log.REQUESTS_LOST, partition=partition, count=count)

    def hold(self, code: str | None) -> None:
        """A hold began for the provider's `code`, or ended (None)."""
        log.write(log.HOLD_STARTED if code else log.HOLD_ENDED, provider_code=code)

    def brake(self, code: str | None) -> None:
        """The day's limit was reached, under a code of ours, or there is room again (None)."""
        log.write(log.HOLD_STARTED if code else log.HOLD_ENDED, code=SPEND_LIMIT)

    def outage(self, model: str, is_on: bool) -> None:
        """Submits of a model wait for a probe, or no longer."""
        log.write(log.OUTAGE_STARTED if is_on else log.OUTAGE_ENDED, model=model)

    def cancel_dropped(self) -> None:
        """Too many cancels waited already: this one is not sent, and its task finishes unseen."""
        self._metrics.cancel_dropped()


class CountedProvider:
    """A provider whose calls are counted and timed."""

    def __init__(self, provider: Provider, metrics: Metrics, clock: Clock) -> None:
        self._provider = provider
        self._metrics = metrics
        self._clock = clock

    async def submit(
        self, model: str, file_urls: Sequence[str], options: Mapping[str, JsonValue]
    ) -> SubmitAnswer:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await self._provider.submit(model, file_urls, options)
        trouble = None if isinstance(answer, Accepted | Answered) else answer.trouble
        self._count("submit", started, trouble, _submit_result(answer))
        return answer

    async def query(self, task_id: str) -> TaskView | Trouble:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await self._provider.query(task_id)
        self._count("query", started, answer if isinstance(answer, Trouble) else None)
        if isinstance(answer, TaskView):
            self._note_codes(answer)
        return answer

    async def list_tasks(self, page_no: int) -> TaskPage | Trouble:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await self._provider.list_tasks(page_no)
        self._count("list", started, answer if isinstance(answer, Trouble) else None)
        return answer

    def clock_offset_ms(self) -> int | None:
        """As the port says."""
        return self._provider.clock_offset_ms()

    async def cancel(self, task_id: str) -> Trouble | None:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await self._provider.cancel(task_id)
        self._count("cancel", started, answer)
        return answer

    async def fetch(self, transcription_url: str) -> bytes | Trouble:
        """As the port says."""
        started = self._clock.boot_seconds()
        answer = await self._provider.fetch(transcription_url)
        self._count("fetch", started, answer if isinstance(answer, Trouble) else None)
        return answer

    def _count(self, kind: str, started: float, trouble: Trouble | None, result: str = "") -> None:
        seconds = self._clock.boot_seconds() - started
        self._metrics.provider_call(kind, result or _call_result(trouble), seconds)
        if trouble is not None:
            self._note_code(trouble)

    def _note_codes(self, task: TaskView) -> None:
        for trouble in (task.trouble, *(file.trouble for file in task.files)):
            if trouble is not None:
                self._note_code(trouble)

    def _note_code(self, trouble: Trouble) -> None:
        if not verdicts.is_known(trouble.code):
            self._metrics.unknown_provider_code(trouble.code)


def _submit_result(answer: SubmitAnswer) -> str:
    match answer:
        case Lost():
            return "lost"
        case NotSent():
            return "not_sent"
        case Refused(trouble):
            return _call_result(trouble)
        case _:
            return "ok"


def _call_result(trouble: Trouble | None) -> str:
    if trouble is None:
        return "ok"
    if trouble.http_status == 429:
        return "throttled"
    return "error" if trouble.http_status is None or trouble.http_status >= 500 else "refused"
