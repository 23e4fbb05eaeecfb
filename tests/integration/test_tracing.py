"""Traces: what a collector gets of a request with `traceparent`, and what a dead collector changes."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.contract.traceparent import TraceParent, trace_parent
from tests.brokers import in_test_all
from tests.integration.stack import CHECK_SECONDS, Outcome, Scribe, Stack
from tests.integration.test_main_job import HELLO, MISSING, request
from tests.integration.test_restart import SLOW, until_running
from tests.otlp_collector import Collector, Received, collecting

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = [("traceparent", f"00-{TRACE}-{PARENT}-01".encode())]
NOT_SAMPLED = [("traceparent", f"00-{'a' * 32}-{PARENT}-00".encode())]
TRACED_SPANS = 9
"""Of a result five, of a failure four."""
STEPS = ["accept", "submit", "poll", "fetch", "publish"]
CONSUMER, CLIENT, PRODUCER = 5, 3, 4


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


def tracing(url: str) -> dict[str, str]:
    """The variables of a service that sends its spans there, though the environment names a dead proxy."""
    dead = "http://127.0.0.1:1"
    return {"SCRIBE_TRACING__ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": url, "HTTP_PROXY": dead}


async def open_metrics(scribe: Scribe) -> str:
    """The page of metrics as a Prometheus that keeps exemplars asks for it."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        url, accept = f"http://127.0.0.1:{scribe.port}/metrics", "application/openmetrics-text;version=1.0.0"
        return (await client.get(url, headers={"Accept": accept}, timeout=30)).text


def exemplars(page: str) -> dict[str, set[str]]:
    """The trace ids of a page by the names of their metrics; the parser holds the page to the format."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            if sample.exemplar:
                found.setdefault(family.name, set()).add(sample.exemplar.labels["trace_id"])
    return found


def trace_of(outcome: Outcome) -> TraceParent | None:
    """What the outcome's reader continues."""
    return trace_parent(outcome.headers.items())


async def test_a_traced_request_is_five_short_spans_and_its_times_name_the_trace(
    stack: Stack, collector: Collector
) -> None:
    named = {"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=seven", "OTEL_RESOURCE_ATTRIBUTES": "team=speech"}
    scribe = await stack.start(**tracing(collector.url), **named)
    await stack.publish(request("traced", HELLO), headers=SAMPLED)
    await stack.publish(request("failing", MISSING), headers=SAMPLED)
    await stack.publish(request("not-sampled", HELLO), headers=NOT_SAMPLED)
    await stack.publish(request("without", HELLO))
    await stack.publish(request("broken", HELLO), headers=[("traceparent", b"00-aa-bb-01")])
    outcomes = {outcome.key: outcome for outcome in await stack.outcomes(5)}
    await stack.until(lambda: len(collector.spans) >= TRACED_SPANS)
    page, plain = await open_metrics(scribe), (await scribe.get("metrics")).text
    assert await scribe.end(signal.SIGTERM) == 0

    _are_five_spans(collector.of("traced"), outcomes["traced"], stack.topics["requests"])
    _are_the_spans_of_a_failure(collector.of("failing"), outcomes["failing"])
    assert {span.attributes["scribe.request_id"] for span in collector.spans} == {"traced", "failing"}
    _is_named_as_told(collector)
    assert outcomes["not-sampled"].headers["traceparent"].encode() == NOT_SAMPLED[0][1]
    assert outcomes["broken"].headers["traceparent"] == "00-aa-bb-01"
    assert "traceparent" not in outcomes["without"].headers

    shown = exemplars(page)
    assert set(shown) >= {"scribe_result_seconds", "scribe_result_own_seconds", "scribe_result_stage_seconds"}
    assert set.union(*shown.values()) == {TRACE}
    assert TRACE not in plain


def _are_five_spans(spans: list[Received], outcome: Outcome, topic: str) -> None:
    assert [span.name for span in spans] == STEPS
    assert [span.kind for span in spans] == [CONSUMER, CLIENT, CLIENT, CLIENT, PRODUCER]
    assert {(span.trace_id, span.parent_id) for span in spans} == {(TRACE, PARENT)}
    assert not any(span.is_error for span in spans)
    assert all(span.begin_ns <= span.end_ns for span in spans)
    about = {"scribe.model": "fun-asr", "scribe.request_id": "traced"}
    assert all(about.items() <= span.attributes.items() for span in spans)
    task_ids = {span.attributes.get("scribe.task_id") for span in spans[1:]}
    assert task_ids == {outcome.body["task_id"]}
    assert spans[0].attributes["messaging.destination.name"] == topic
    assert trace_of(outcome) == TraceParent(TRACE, spans[-1].span_id, is_sampled=True)


def _are_the_spans_of_a_failure(spans: list[Received], outcome: Outcome) -> None:
    assert [span.name for span in spans] == ["accept", "submit", "poll", "publish"]
    assert (spans[-1].is_error, spans[-1].attributes["error.type"]) == (True, "audio_not_found")
    assert trace_of(outcome) == TraceParent(TRACE, spans[-1].span_id, is_sampled=True)


def _is_named_as_told(collector: Collector) -> None:
    resource = collector.spans[0].resource
    assert (resource["service.name"], resource["team"]) == ("scribe", "speech")
    assert {headers["x-tenant"] for headers in collector.headers} == {"seven"}
    said = b"".join(collector.bodies)
    for secret in (b"Hello", b"hello.wav", b"run=0.2", b"sk-simulator"):
        assert secret not in said


@in_test_all
async def test_a_trace_goes_on_after_a_kill_and_times_name_it_although_nothing_is_sent(
    stack: Stack, collector: Collector
) -> None:
    first = await stack.start(**tracing(collector.url))
    await stack.publish(request("k-0", SLOW), headers=SAMPLED)
    await until_running(stack, 1)
    await first.end(signal.SIGKILL)
    await stack.publish(request("k-1", SLOW), headers=SAMPLED)
    second = await stack.start()
    outcomes = await stack.outcomes(2)
    assert {each.headers["traceparent"].encode() for each in outcomes} == {SAMPLED[0][1]}
    page = await open_metrics(second)
    assert exemplars(page)["scribe_result_own_seconds"] == {TRACE}
    assert "scribe_spans" not in page
    assert "poll" not in {span.name for span in collector.spans}


@pytest.mark.computes
@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_a_trace_goes_on_in_the_process_that_takes_the_request_over(
    stack: Stack, collector: Collector
) -> None:
    first = await stack.start(**tracing(collector.url))
    await stack.publish(request("k-0", SLOW), headers=SAMPLED)
    await until_running(stack, 1)
    await first.end(signal.SIGKILL)
    second = await stack.start(**tracing(collector.url))
    [outcome] = await stack.outcomes(1)
    await stack.until(lambda: "publish" in {span.name for span in collector.spans})
    assert await second.end(signal.SIGTERM) == 0
    found = [span for span in collector.of("k-0") if span.name in {"poll", "fetch", "publish"}]
    assert [span.name for span in found] == ["poll", "fetch", "publish"]
    assert {(span.trace_id, span.parent_id) for span in found} == {(TRACE, PARENT)}
    assert trace_of(outcome) == TraceParent(TRACE, found[-1].span_id, is_sampled=True)


@pytest.mark.computes
@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_a_collector_that_is_down_stops_nothing_and_its_spans_are_counted(stack: Stack) -> None:
    with collecting() as gone:
        pass
    scribe = await stack.start(**tracing(gone.url), OTEL_EXPORTER_OTLP_TIMEOUT="1")
    for number in range(3):
        await stack.publish(request(f"d-{number}", HELLO), headers=SAMPLED)
    outcomes = await stack.outcomes(3)
    assert {outcome.kind for outcome in outcomes} == {"result"}
    while "dropped" not in await scribe.counted("scribe_spans_total"):
        await asyncio.sleep(CHECK_SECONDS)
    assert await scribe.end(signal.SIGTERM) == 0
    [said] = [line for line in stack.logs().splitlines() if '"tracing"' in line]
    assert '"change": "failed"' in said
    assert "opentelemetry" not in stack.logs()


@pytest.mark.computes
@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_a_collector_that_never_answers_delays_neither_work_nor_the_stop(
    stack: Stack, collector: Collector
) -> None:
    collector.answers.clear()
    scribe = await stack.start(**tracing(collector.url), OTEL_EXPORTER_OTLP_TIMEOUT="600")
    await stack.publish(request("h-0", HELLO), headers=SAMPLED)
    await stack.outcomes(1)
    await stack.until(lambda: collector.bodies)
    await stack.publish(request("h-1", HELLO), headers=SAMPLED)
    await stack.outcomes(2)
    assert await scribe.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_without_the_extra_tracing_is_refused_with_what_to_install_and_the_rest_works(
    stack: Stack, tmp_path: Path
) -> None:
    hidden = tmp_path / "opentelemetry"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('not here', name='opentelemetry')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    refused = await stack.launch(**tracing("http://127.0.0.1:1"), PYTHONPATH=path)
    assert await refused.ended() == 78
    said = refused.log_path.read_text()
    assert re.search(r"SCRIBE_TRACING__ENABLED needs .*pip install 'scribe-speech\[otel\]'", said), said
    assert "Traceback" not in said

    await stack.start(PYTHONPATH=path)
    await stack.publish(request("e-0", HELLO), headers=SAMPLED)
    [outcome] = await stack.outcomes(1)
    assert (outcome.kind, outcome.headers["traceparent"].encode()) == ("result", SAMPLED[0][1])
