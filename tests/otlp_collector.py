"""An OTLP/HTTP receiver on the loopback: it decodes what comes by OpenTelemetry's own message types."""

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from typing_extensions import override

HANGING_SECONDS = 30.0
"""How long a call hangs at most: who waits for it fails then."""


@dataclass(frozen=True)
class Received:
    """One span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    begin_ns: int
    end_ns: int
    is_error: bool
    attributes: dict[str, str | int]
    resource: dict[str, str | int]


@dataclass
class Collector:
    """What came, and how the next call is answered."""

    url: str = ""
    status: int = 200
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: threading.Event = field(default_factory=threading.Event)
    """Cleared: calls get no answer until it is set."""
    has_call: threading.Event = field(default_factory=threading.Event)
    """Set once a call has come."""

    def of(self, request_id: str) -> list[Received]:
        """The spans of a request, in the order in which they began."""
        found = [span for span in self.spans if span.attributes["scribe.request_id"] == request_id]
        return sorted(found, key=lambda span: span.begin_ns)

    def take(self, body: bytes) -> None:
        """Decode one call; raises on anything that is not one."""
        call = ExportTraceServiceRequest.FromString(body)
        for group in call.resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_received(span, resource) for span in scope.spans]


def _values(pairs: Iterable[KeyValue]) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for pair in pairs:
        is_text = pair.value.WhichOneof("value") == "string_value"
        found[pair.key] = pair.value.string_value if is_text else pair.value.int_value
    return found


def _received(span: ProtoSpan, resource: dict[str, str | int]) -> Received:
    return Received(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == span.status.STATUS_CODE_ERROR,
        _values(span.attributes),
        resource,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A receiver for a block, at a free port."""
    collector = Collector()
    collector.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            collector.bodies.append(body)
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.has_call.set()
            collector.answers.wait(HANGING_SECONDS)
            if collector.status == 200:
                collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(collector.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
