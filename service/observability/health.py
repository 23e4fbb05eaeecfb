"""The HTTP port for probes and operators: /livez, /readyz, /metrics, /status.

It changes nothing.

It runs in its own threads, so that it answers while the event loop is stuck: /livez reports that. It calls
its functions from those threads, so they may only read what the loop published.
"""

import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Self

from service.clock import Clock
from service.errors import ConfigError
from service.observability import log
from service.observability.status import Status

STUCK_AFTER_SECONDS = 30.0
"""A loop without a beat for this long is stuck: no code of ours may block it for even a tenth of that."""
MAX_CONNECTIONS = 32
"""Probes and scrapes come one or two at a time. Above this the oldest idle connection is closed."""
ROOM_SECONDS = 0.5
"""How long a new connection waits until the thread of a closed one has freed its place."""
CONNECTION_SECONDS = 10.0
"""The whole time of a connection, so that slow clients cannot keep probes out."""
POLL_SECONDS = 0.1
"""How soon the server's thread notices that it must stop."""

HealthResponse = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""
Page = Callable[[str], HealthResponse]
"""Called with the request's `Accept`."""
MetricsPage = Callable[[str], tuple[str, bytes]]
"""Called with the request's `Accept`; returns the content type and the body."""
Socket = socket.socket


class Heartbeat:
    """Shows other threads that the event loop runs.

    A task of the loop calls `beat` every second.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._beaten = clock.boot_seconds()

    def beat(self) -> None:
        """Record that the loop runs."""
        self._beaten = self.clock.boot_seconds()

    def age_seconds(self) -> float:
        """Time since the last beat; any thread may ask."""
        return self.clock.boot_seconds() - self._beaten


class HealthServer:
    """Serves the four pages; a context manager, or `start` and `stop`."""

    def __init__(
        self,
        host: str,
        port: int,
        status: Callable[[], Status],
        metrics_page: MetricsPage,
        ready: Callable[[], tuple[bool, str]],
        beat: Heartbeat,
    ) -> None:
        self._address = (host, port)
        self._clock = beat.clock
        self._pages: dict[str, Page] = {
            "/livez": lambda _accept: _live(beat),
            "/readyz": lambda _accept: _probe(*ready()),
            "/metrics": lambda accept: (HTTPStatus.OK, *metrics_page(accept)),
            "/status": lambda _accept: (HTTPStatus.OK, "application/json", status().to_json()),
        }
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen and serve from now on; raises `ConfigError` when the port is taken."""
        host, port = self._address
        try:
            self._server = _Server(self._address, self._pages, self._clock)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"cannot listen on {host}, port {port} ({reason}); change SCRIBE_HTTP__PORT or __HOST"
            raise ConfigError(message) from error
        run = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True, name="health"
        )
        run.start()

    @property
    def port(self) -> int:
        """The port in use, also if the setting asks for any free one.

        Only while it serves.
        """
        if self._server is None:
            return self._address[1]
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Free the port; takes a tenth of a second."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _live(beat: Heartbeat) -> HealthResponse:
    age_seconds = beat.age_seconds()
    if age_seconds <= STUCK_AFTER_SECONDS:
        return _probe(True, "the event loop turns")
    return _probe(False, f"the event loop has not turned for {age_seconds:.0f} s")


def _probe(is_well: bool, reason: str) -> HealthResponse:
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "text/plain; charset=utf-8", f"{reason}\n".encode()


@dataclass(slots=True)
class _Connection:
    """When it was opened, and whether it is idle: its request has not arrived."""

    opened: float
    is_idle: bool = True


class _Server(ThreadingHTTPServer):
    """Bounded in connections and in the time of each.

    A new connection is always accepted: if none is free, the oldest idle connection is closed, or the oldest
    of all if none is idle. So clients that hold connections open block nobody.
    """

    request_queue_size = socket.SOMAXCONN
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], pages: dict[str, Page], clock: Clock) -> None:
        self.pages = pages
        self._clock = clock
        self._opened: dict[Socket, _Connection] = {}
        """In the order of arrival; a connection that is cut off stays until its thread has closed it."""
        self._cut: set[Socket] = set()
        self._freed = threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Page)

    def server_bind(self) -> None:
        """Bind without the name lookup of the standard library's HTTP server: it can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def verify_request(self, request: Socket | tuple[bytes, Socket], client_address: object) -> bool:
        """Accept the connection; if none is free, close another first."""
        with self._freed:
            if len(self._opened) >= MAX_CONNECTIONS:
                self._cut_off(self._least_wanted())
                self._freed.wait_for(lambda: len(self._opened) < MAX_CONNECTIONS, ROOM_SECONDS)
            if len(self._opened) >= MAX_CONNECTIONS or not isinstance(request, Socket):
                return False
            self._opened[request] = _Connection(self._clock.boot_seconds())
            return True

    def _least_wanted(self) -> list[Socket]:
        """The oldest idle connection, else the oldest; none while all are being closed."""
        wanted = [each for each in self._opened if each not in self._cut]
        idle = [each for each in wanted if self._opened[each].is_idle]
        return (idle or wanted)[:1]

    def _cut_off(self, requests: Iterable[Socket]) -> None:
        """Shut the socket down: its thread then closes the connection and frees its place."""
        for request in requests:
            self._cut.add(request)
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def begin(self, request: Socket) -> None:
        """The connection's request has arrived and is served now."""
        with self._freed:
            if request in self._opened:
                self._opened[request].is_idle = False

    def shutdown_request(self, request: Socket | tuple[bytes, Socket]) -> None:
        """Close the connection, then free its place."""
        super().shutdown_request(request)
        if isinstance(request, Socket):
            with self._freed:
                self._opened.pop(request, None)
                self._cut.discard(request)
                self._freed.notify()

    def service_actions(self) -> None:
        """Cut off connections older than `CONNECTION_SECONDS`."""
        oldest = self._clock.boot_seconds() - CONNECTION_SECONDS
        with self._freed:
            self._cut_off(
                [each for each, at in self._opened.items() if at.opened < oldest and each not in self._cut]
            )

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a page's exception, which the standard library would print raw.

        A lost client is no error.
        """
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.write(log.HEALTH_FAILED, exc_info=True)


class _Page(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    server_version = "scribe"
    sys_version = ""
    timeout = CONNECTION_SECONDS
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"

    def do_GET(self) -> None:
        """Send the page."""
        self.server.begin(self.connection)
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND, "There are " + ", ".join(self.server.pages))
            return
        status, content_type, body = page(self.headers.get("Accept", ""))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""
