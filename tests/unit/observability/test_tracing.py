"""Spans: what becomes one and what it says, that the queue is bounded, and that no collector is waited for.

The exporter is the real one, and so is the collector.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import structlog

from service.contract.stage import Stage
from service.contract.traceparent import TraceParent
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.identity import Origin
from service.core.job.job import JobState
from service.core.outcome.build import Outcome, OutcomeRules, job_outcome
from service.errors import FailureCode
from service.observability.metrics import Metrics
from service.observability.otlp import OtlpExporter
from service.observability.tracing import MAX_AT_ONCE, MAX_TEXT, MAX_WAITING, Span, SpanQueue
from service.pipeline.shard.tracer import TracedStep, requests_of
from tests.otlp_collector import HANGING_SECONDS, Collector, collecting
from tests.unit.core.samples import job, request, transcript
from tests.unit.observability.test_metrics import StillClock

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
NOT_SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-00"),)
TRACED = request(headers=SAMPLED)
REFUSED = FailureEnding(Stage.POLL, FailureCode.AUDIO_NOT_FOUND, "no such file")


@dataclass
class Setup:
    """A queue, what it counts, and the collector behind it."""

    collector: Collector
    metrics: Metrics = field(default_factory=Metrics)
    clock: StillClock = field(default_factory=StillClock)

    def __post_init__(self) -> None:
        self.queue = SpanQueue(OtlpExporter("1.0", "member-0"), self.clock, self.metrics)

    def counted(self, result: str) -> float | None:
        """How many spans ended so."""
        return self.metrics._registry.get_sample_value("scribe_spans_total", {"result": result})

    def send(self) -> None:
        """Send what waits, as the queue's thread does."""
        self.queue._send_waiting()


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    library = logging.getLogger("opentelemetry")
    handlers, propagate = library.handlers, library.propagate
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        yield Setup(collector)
    library.handlers, library.propagate = handlers, propagate


def outcome_of(asked: AcceptedRequest, ending: ResultEnding | FailureEnding, decided_ms: int) -> Outcome:
    """The outcome of its job."""
    ended = job(JobState.FINISHING, request=asked, ending=ending, task_ids=("t1",))
    return job_outcome(ended, None, decided_ms, OutcomeRules(has_publish_span=True))


def test_a_step_is_a_span_below_the_requests_own_and_says_how_long_it_took(setup: Setup) -> None:
    setup.clock.seconds = 100.25
    setup.queue.step(TracedStep.SUBMIT, [TRACED], 100.0, task_id="t1")
    setup.send()
    [span] = setup.collector.spans
    assert (span.name, span.trace_id, span.parent_id) == ("submit", TRACE, PARENT)
    assert (span.begin_ns, span.end_ns) == (100_000_000_000, 100_250_000_000)
    assert span.attributes == {
        "scribe.request_id": "r",
        "scribe.model": "fun-asr",
        "scribe.task_id": "t1",
    }
    assert span.resource["service.name"] == "scribe"
    assert (span.resource["service.version"], span.resource["service.instance.id"]) == ("1.0", "member-0")
    assert setup.counted("sent") == 1


def test_an_accepted_record_is_named_by_topic_partition_and_offset(setup: Setup) -> None:
    setup.queue.step(TracedStep.ACCEPT, [request(headers=SAMPLED, replay=2)], setup.clock.seconds)
    setup.send()
    [span] = setup.collector.spans
    assert span.attributes == {
        "scribe.request_id": "r",
        "scribe.replay": 2,
        "scribe.model": "fun-asr",
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": "transcription.requests",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 7,
    }


def test_what_the_provider_says_is_short_and_without_keys_in_a_span(setup: Setup) -> None:
    key = "sk-0123456789abcdef0123456789abcdef"
    error = f"Bad {key} https://h.example/a?Signature=secret {'x' * 10_000}"
    setup.queue.step(
        TracedStep.FETCH, [TRACED], 100.0, task_id=f"{key}{'y' * 999}", file_index=3, error=error
    )
    setup.send()
    [span] = setup.collector.spans
    assert span.is_error
    assert span.attributes["scribe.file_index"] == 3
    for name in ("error.type", "scribe.task_id"):
        assert len(str(span.attributes[name])) <= MAX_TEXT
        assert key not in str(span.attributes[name])
    assert "Signature" not in str(span.attributes["error.type"])


@pytest.mark.parametrize("headers", [NOT_SAMPLED, (), (("traceparent", "00-1"),), (("tracestate", "a=b"),)])
def test_a_request_without_a_sampled_trace_has_no_span(
    setup: Setup, headers: tuple[tuple[str, str], ...]
) -> None:
    asked = request(headers=headers)
    setup.queue.step(TracedStep.SUBMIT, [asked], 100.0)
    setup.queue.published(outcome_of(asked, ResultEnding(transcript()), 99_000))
    setup.send()
    assert setup.collector.bodies == []


def test_a_submission_of_several_requests_is_a_span_in_each_of_their_traces(setup: Setup) -> None:
    other = request(
        origin=Origin(0, 8),
        request_id="other",
        headers=(("traceparent", f"00-{'b' * 32}-{PARENT}-01"),),
    )
    jobs = [job(request=TRACED), job(request=TRACED), job(request=other)]
    setup.queue.step(TracedStep.SUBMIT, requests_of(jobs), 100.0)
    setup.send()
    assert [span.trace_id for span in setup.collector.spans] == [TRACE, "b" * 32]
    assert len({span.span_id for span in setup.collector.spans}) == 2


@pytest.mark.parametrize(
    ("ending", "told"), [(ResultEnding(transcript("Hush.")), "result"), (REFUSED, "failure")]
)
def test_a_publication_is_the_span_that_the_outcomes_reader_continues(
    setup: Setup, ending: ResultEnding | FailureEnding, told: str
) -> None:
    outcome = outcome_of(TRACED, ending, 99_000)
    setup.queue.published(outcome)
    setup.send()
    [span] = setup.collector.spans
    assert dict(outcome.headers)["traceparent"].decode() == f"00-{TRACE}-{span.span_id}-01"
    assert (span.name, span.trace_id, span.parent_id) == ("publish", TRACE, PARENT)
    assert (span.begin_ns, span.end_ns) == (99_000_000_000, 100_000_000_000)
    assert span.attributes["scribe.outcome"] == told
    assert span.attributes.get("error.type") == ("audio_not_found" if told == "failure" else None)
    assert span.is_error is (told == "failure")
    assert b"Hush" not in setup.collector.bodies[0]


def test_a_full_queue_drops_spans_counts_them_and_sends_the_others(setup: Setup) -> None:
    for _ in range(MAX_WAITING + 10):
        setup.queue.step(TracedStep.POLL, [TRACED], 100.0)
    assert setup.counted("dropped") == 10
    setup.send()
    assert len(setup.collector.spans) == MAX_WAITING
    assert len(setup.collector.bodies) == MAX_WAITING // MAX_AT_ONCE
    assert setup.counted("sent") == MAX_WAITING


def test_a_collector_that_never_answers_delays_a_stop_by_its_bound_alone(setup: Setup) -> None:
    setup.collector.answers.clear()
    setup.queue.step(TracedStep.POLL, [TRACED], 100.0)
    setup.queue.start()
    assert setup.collector.has_call.wait(HANGING_SECONDS)
    # Whoever waits for the answer gets one when the collector gives up hanging.
    setup.queue.stop()
    assert setup.counted("sent") == 0


def test_what_a_collector_refuses_is_counted_and_logged_when_it_begins_and_when_it_ends(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.collector.status = 400
    with structlog.testing.capture_logs() as lines:
        for status in (400, 400, 200, 200):
            setup.collector.status = status
            setup.queue.step(TracedStep.POLL, [TRACED], 100.0)
            setup.queue._send_waiting()
    assert [(line["event"], line["change"]) for line in lines] == [
        ("tracing", "failed"),
        ("tracing", "works"),
    ]
    assert "400" in lines[0]["detail"]
    assert (setup.counted("sent"), setup.counted("dropped")) == (2, 2)


class Faulty:
    """An exporter with a fault of its own."""

    def export(self, spans: Sequence[Span]) -> str | None:
        raise RuntimeError

    def close(self) -> None:
        """Nothing is open."""


def test_a_fault_of_the_exporter_ends_nothing_and_its_spans_count_as_dropped() -> None:
    metrics = Metrics()
    queue = SpanQueue(Faulty(), StillClock(), metrics)
    queue.step(TracedStep.POLL, [TRACED], 100.0)
    queue._send_waiting()
    assert metrics._registry.get_sample_value("scribe_spans_total", {"result": "dropped"}) == 1


def test_a_started_queue_sends_by_itself_and_its_thread_ends_with_a_stop(setup: Setup) -> None:
    setup.queue.step(TracedStep.POLL, [TRACED], 100.0)
    setup.queue.start()
    assert setup.collector.has_call.wait(HANGING_SECONDS)
    setup.queue.stop()
    setup.queue._thread.join()
    assert setup.counted("sent") == 1


def test_opentelemetrys_variables_name_the_service(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "captions")
    exporter = OtlpExporter("1.0", "member-0")
    span = Span(TracedStep.POLL, TraceParent(TRACE, PARENT, True), "1" * 16, 1, 2)
    assert exporter.export([span]) is None
    exporter.close()
    assert setup.collector.spans[0].resource["service.name"] == "captions"
