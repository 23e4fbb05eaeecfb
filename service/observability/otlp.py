"""Sends spans by OTLP over HTTP: the one module that imports OpenTelemetry, which the extra `otel` installs.

OpenTelemetry's own variables say where to and how: `OTEL_EXPORTER_OTLP_...`, `OTEL_SERVICE_NAME`,
`OTEL_RESOURCE_ATTRIBUTES`.
"""

import logging
import os
import re
from collections.abc import Sequence

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.re import parse_env_headers
from typing_extensions import override

from service.contract.redaction import redact
from service.observability.tracing import Span
from service.pipeline.shard.tracer import TracedStep

KINDS = {
    TracedStep.ACCEPT: SpanKind.CONSUMER,
    TracedStep.SUBMIT: SpanKind.CLIENT,
    TracedStep.POLL: SpanKind.CLIENT,
    TracedStep.FETCH: SpanKind.CLIENT,
    TracedStep.PUBLISH: SpanKind.PRODUCER,
}
UNNAMED = "unknown_service"
"""How the name of a service begins that nobody named."""
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
REFUSED = "OpenTelemetry does not take one of its variables"
SHORTEST_HIDDEN = 8
"""A shorter value of a header would match inside ordinary words."""
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_HEADER = re.compile(r"[\t -~\x80-\xff]*")
"""What a header's value may hold; the library finds out at each batch, and quotes the value."""


class OtlpExporter:
    """Sends each batch in one call, with the library's own retries, for at most its own timeout."""

    def __init__(self, version: str, member: str) -> None:
        """Raises ValueError, which repeats nothing of them, if the library does not take its variables."""
        self._reason = _Reason(logging.WARNING)
        library = logging.getLogger("opentelemetry")
        # It logs each failure of each batch: we log when that begins, with the reason, and when it ends.
        # It also logs variables that it cannot read as they are, and headers may hold a key.
        library.handlers, library.propagate = [self._reason], False
        self._scope = InstrumentationScope("scribe", version)
        session = requests.Session()
        session.trust_env = False  # no proxy and no login of the environment, as for all calls of ours
        try:
            self._resource = _resource(version, member)
            self._exporter = OTLPSpanExporter(session=session)
        except (ValueError, RuntimeError, ImportError, OSError):
            raise ValueError(REFUSED) from None
        sent = [
            value
            for name in _HEADERS
            for value in parse_env_headers(os.environ.get(name, ""), liberal=True).values()
        ]
        if self._reason.text or not all(map(_HEADER.fullmatch, sent)):
            raise ValueError(REFUSED)
        self._reason.hidden = tuple(value for value in sent if len(value) >= SHORTEST_HIDDEN)

    def export(self, spans: Sequence[Span]) -> str | None:
        """Send them; returns why they were not taken."""
        self._reason.text = "no reason given"
        result = self._exporter.export([self._readable(span) for span in spans])
        return None if result is SpanExportResult.SUCCESS else self._reason.text

    def close(self) -> None:
        """End the wait before a retry, and close the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        trace_id, parent = int(span.parent.trace_id, 16), int(span.parent.span_id, 16)
        attributes = dict(span.attributes)
        if span.error is not None:
            attributes["error.type"] = span.error
        return ReadableSpan(
            span.step.value,
            SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=SAMPLED),
            SpanContext(trace_id, parent, is_remote=True, trace_flags=SAMPLED),
            self._resource,
            attributes,
            kind=KINDS[span.step],
            status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR),
            start_time=span.begin_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


class _Reason(logging.Handler):
    """Keeps the last thing that the library said, without keys, queries and the values of headers."""

    text = ""
    hidden: tuple[str, ...] = ()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        for value in self.hidden:
            text = text.replace(value, "*")
        self.text = redact(text)


def _resource(version: str, member: str) -> Resource:
    """What this process is called: `scribe`, unless OpenTelemetry's variables name it."""
    found = Resource.create({SERVICE_VERSION: version, SERVICE_INSTANCE_ID: member})
    is_named = not str(found.attributes[SERVICE_NAME]).startswith(UNNAMED)
    return found if is_named else found.merge(Resource({SERVICE_NAME: "scribe"}))
