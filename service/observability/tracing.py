"""Spans of requests that belong to a sampled trace: made on the event loop, sent by a thread of its own.

A span that finds the queue full is dropped, as is a batch that the collector does not take: nothing waits.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from secrets import token_hex
from threading import Event, Thread
from typing import Protocol

from service.clock import Clock
from service.contract.outcome import Failure, utc_time
from service.contract.redaction import redact
from service.contract.traceparent import TraceParent, trace_parent
from service.core.job.accepted_request import AcceptedRequest
from service.core.outcome.build import Outcome
from service.frozen import dataclass
from service.observability import log
from service.observability.metrics import Metrics
from service.observability.never_raises import never_raises, watches
from service.observability.process_definitions import SpanResult
from service.pipeline.shard.tracer import TracedStep

MAX_WAITING = 2048
"""Spans of at most 2 KB or so; a second's worth of four hundred jobs."""
MAX_AT_ONCE = 512
EVERY_SECONDS = 1.0
CLOSING_SECONDS = 1.0
"""How long a stop waits for the collector to take the last spans."""
MAX_TEXT = 200
"""Characters of a code or an id that comes from the provider."""


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a request, which has ended."""

    step: TracedStep
    parent: TraceParent
    span_id: str
    begin_ns: int
    end_ns: int
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    error: str | None = None
    """The code of what went wrong."""


class Exporter(Protocol):
    """Sends spans somewhere; its methods may block."""

    def export(self, spans: Sequence[Span]) -> str | None:
        """Send them; returns why they were not taken."""
        ...

    def close(self) -> None:
        """End a call of `export` soon, and close connections."""
        ...


@watches
class SpanQueue:
    """Collects spans, and sends them once a second; `step` and `published` are for the event loop."""

    def __init__(self, exporter: Exporter, clock: Clock, metrics: Metrics) -> None:
        self._exporter = exporter
        self._clock = clock
        self._counted = metrics.count_spans()
        self._waiting: deque[Span] = deque()
        self._stopping = Event()
        self._is_failing = False
        self._thread = Thread(target=self._run, name="spans", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, within a bound."""
        self._stopping.set()
        self._thread.join(CLOSING_SECONDS)
        self._exporter.close()

    def step(
        self,
        step: TracedStep,
        requests: Iterable[AcceptedRequest],
        began_seconds: float,
        *,
        task_id: str | None = None,
        file_index: int | None = None,
        error: str | None = None,
    ) -> None:
        """A step has ended: a span for each of its requests that belongs to a sampled trace."""
        end_ns = 1_000_000 * self._clock.now_ms()
        begin_ns = end_ns - round(1e9 * (self._clock.boot_seconds() - began_seconds))
        code = None if error is None else _short(error)
        for request in requests:
            parent = trace_parent(request.headers)
            if parent is not None and parent.is_sampled:
                about = _about(request.request_id, request.replay, request.model, task_id, file_index)
                if step is TracedStep.ACCEPT:
                    about.update(_record(request))
                self._put(Span(step, parent, token_hex(8), begin_ns, end_ns, about, code))

    def published(self, outcome: Outcome) -> None:
        """An outcome is durable: its span begins with the decision to publish it."""
        parent, body = outcome.trace, outcome.body
        if parent is None or not parent.is_sampled:
            return
        end_ns = 1_000_000 * self._clock.now_ms()
        decided = body.times.published_at or utc_time(0)
        begin_ns = min(end_ns, round(1000 * decided.timestamp()) * 1_000_000) if decided else end_ns
        error = body.code.value if isinstance(body, Failure) else None
        about = _about(
            body.request_id or "", body.replay or 0, body.model or "", body.task_id, body.file_index
        )
        about.update({"messaging.system": "kafka", "messaging.operation.type": "send"})
        about["scribe.outcome"] = "failure" if error else "result"
        span_id = parent.child_id(outcome.id)
        self._put(Span(TracedStep.PUBLISH, parent, span_id, begin_ns, end_ns, about, error))

    def _put(self, span: Span) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._counted[(SpanResult.DROPPED,)].inc()
        else:
            self._waiting.append(span)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            self._send_waiting()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), MAX_AT_ONCE)
            self._send([self._waiting.popleft() for _ in range(count)])

    @never_raises
    def _send(self, spans: Sequence[Span]) -> None:
        result = SpanResult.DROPPED
        try:
            reason = self._exporter.export(spans)
            result = SpanResult.DROPPED if reason is not None else SpanResult.SENT
            self._tell(reason)
        finally:
            self._counted[(result,)].inc(len(spans))

    def _tell(self, reason: str | None) -> None:
        """Log when sending begins to fail, and when it works again."""
        if (reason is not None) is not self._is_failing:
            self._is_failing = reason is not None
            log.write(log.TRACING, change="works" if reason is None else "failed", detail=reason or "")


def _about(
    request_id: str, replay: int, model: str, task_id: str | None, file_index: int | None
) -> dict[str, str | int]:
    """The attributes of every span: ids and codes, never a URL or a text."""
    found: dict[str, str | int] = {"scribe.request_id": request_id, "scribe.model": model}
    if replay:
        found["scribe.replay"] = replay
    if task_id is not None:
        found["scribe.task_id"] = _short(task_id)
    if file_index is not None:
        found["scribe.file_index"] = file_index
    return found


def _short(text: str) -> str:
    """Text of the provider as an attribute: without keys and queries, and bounded."""
    return redact(text)[:MAX_TEXT]


def _record(request: AcceptedRequest) -> dict[str, str | int]:
    """The request's record, by OpenTelemetry's names for messaging."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": request.topic,
        "messaging.destination.partition.id": str(request.partition),
        "messaging.kafka.offset": request.position.offset,
    }
