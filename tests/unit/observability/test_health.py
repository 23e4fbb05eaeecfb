"""The health port, over real HTTP: what each page says, and that it answers whatever the loop does."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families

from service.clock import SystemClock
from service.errors import ConfigError
from service.observability import health
from service.observability.health import HealthServer, Heartbeat
from service.observability.metrics import Metrics
from service.observability.status import ShardStatus, Status

TIMEOUT_SECONDS = 30


@dataclass
class HandClock(SystemClock):
    """A clock that is moved by hand."""

    seconds: float = 1000.0

    def now_ms(self) -> int:
        return round(1000 * self.seconds)

    def boot_seconds(self) -> float:
        return self.seconds

    def draw(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Service:
    """What the loop would publish, and the server that shows it."""

    clock: HandClock = field(default_factory=HandClock)
    status: Status = Status("1.2.3", "scribe-0", shards=(ShardStatus(4, "open"),))
    ready: tuple[bool, str] = (True, "ready")

    def __post_init__(self) -> None:
        self.beat = Heartbeat(self.clock)
        self.metrics = Metrics(clock=self.clock)
        self.server = self.another(0)

    def another(self, port: int) -> HealthServer:
        return HealthServer(
            "127.0.0.1", port, lambda: self.status, self.metrics.page, lambda: self.ready, self.beat
        )

    def get(self, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
        finally:
            connection.close()


@pytest.fixture(autouse=True)
def stops_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "POLL_SECONDS", 0.01)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    with made.server:
        yield made


def test_livez_is_well_while_the_loop_beats(service: Service) -> None:
    service.clock.seconds += health.STUCK_AFTER_SECONDS - 1
    assert service.get("/livez")[0] == 200
    service.clock.seconds += 2
    assert service.get("/livez")[0] == 503
    service.beat.beat()
    assert service.get("/livez")[0] == 200


def test_livez_says_how_long_the_loop_has_been_stuck(service: Service) -> None:
    service.clock.seconds += 42
    assert service.get("/livez")[2] == b"the event loop has not turned for 42 s\n"


async def test_a_blocked_loop_fails_livez_while_the_port_goes_on_answering(service: Service) -> None:
    answers: list[tuple[int, str, bytes]] = []

    def probe() -> None:
        service.clock.seconds += health.STUCK_AFTER_SECONDS + 1
        answers.extend(service.get(path) for path in ("/livez", "/status", "/metrics", "/readyz"))

    async def beating() -> None:
        while True:
            service.beat.beat()
            await asyncio.sleep(0)

    beats = asyncio.create_task(beating())
    await asyncio.sleep(0)
    prober = threading.Thread(target=probe)
    prober.start()
    prober.join(timeout=4 * TIMEOUT_SECONDS)  # the loop is stuck here, as with a long computation
    beats.cancel()
    assert [status for status, _, _ in answers] == [503, 200, 200, 200]


def test_readyz_follows_what_the_loop_published(service: Service) -> None:
    assert service.get("/readyz") == (200, "text/plain; charset=utf-8", b"ready\n")
    service.ready = (False, "restoring partitions 3, 4")
    assert service.get("/readyz")[0] == 503
    assert service.get("/readyz")[2] == b"restoring partitions 3, 4\n"


def test_metrics_are_what_prometheus_reads(service: Service) -> None:
    service.metrics.requests_lost(3)
    status, content_type, body = service.get("/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert b"scribe_requests_lost_total 3.0\n" in body


def test_status_is_json(service: Service) -> None:
    status, content_type, body = service.get("/status")
    assert (status, content_type) == (200, "application/json")
    assert json.loads(body)["shards"][0]["partition"] == 4


def test_a_query_is_ignored_and_other_paths_are_named(service: Service) -> None:
    assert service.get("/livez?verbose=1")[0] == 200
    status, _, body = service.get("/nothing?sk-canary12345")
    assert status == 404
    assert body == b"There are /livez, /readyz, /metrics, /status\n"


def test_head_has_no_body_and_post_is_refused(service: Service) -> None:
    assert service.get("/livez", "HEAD")[::2] == (200, b"")
    assert service.get("/livez", "POST")[0] == 501


def test_the_server_does_not_say_what_it_runs_on(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=TIMEOUT_SECONDS) as sock:
        sock.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        with sock.makefile("rb") as answer:
            head = answer.read().lower()
    assert b"server: scribe" in head
    assert b"python" not in head


def test_a_taken_port_is_a_sentence_that_names_the_setting(service: Service) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1, port \d+ .*SCRIBE_HTTP__PORT"):
        service.another(service.server.port).start()


def test_an_address_that_is_not_ours_is_a_sentence(service: Service) -> None:
    page, ready = service.metrics.page, lambda: service.ready
    odd = HealthServer("host.invalid", 0, lambda: service.status, page, ready, service.beat)
    with pytest.raises(ConfigError, match=r"cannot listen on host\.invalid"):
        odd.start()


def test_the_port_is_free_again_after_a_stop_and_a_second_stop_does_nothing() -> None:
    made = Service()
    made.server.start()
    port = made.server.port
    made.server.stop()
    made.server.stop()
    with made.another(port) as again:
        assert again.port == port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)


def test_a_page_that_breaks_is_logged_and_the_next_one_is_served(service: Service) -> None:
    def broken(_accept: str) -> tuple[str, bytes]:
        raise RuntimeError("no metrics today")

    service.server.stop()
    service.server = HealthServer(
        "127.0.0.1", 0, lambda: service.status, broken, lambda: service.ready, service.beat
    )
    # Captured: what structlog prints where nobody has configured it, the values of all variables in colours,
    # may take longer on a busy machine than the client waits.
    with service.server, structlog.testing.capture_logs() as lines:
        with pytest.raises(ConnectionError):
            service.get("/metrics")
        assert service.get("/livez")[0] == 200
    assert [line["event"] for line in lines] == ["health_request_failed"]


def open_connections(port: int, count: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) for _ in range(count)]


IDLE = 3 * health.MAX_CONNECTIONS
BEGINNINGS = [
    b"",
    b"G",
    b"GET",
    b"GET /livez",
    b"GET /livez HTTP/1.1",
    b"GET /livez HTTP/1.1\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 2_000,
    b"GET /" + b"a" * 10_000,
    b"POST /livez HTTP/1.1\r\nContent-Length: 10",
    b"PRI * HTTP/2.0\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"\x00" * 100,
    b"\r\n",
]
"""What a client may send that never ends its request."""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def closed(connections: list[socket.socket]) -> bool:
    """Whether the server ends each of them; an error page or a reset is an end as well."""
    for each in connections:
        try:
            while each.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
    return True


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_connections_that_never_ask_do_not_shut_out_a_probe(service: Service, beginning: bytes) -> None:
    with structlog.testing.capture_logs() as lines:
        silent = open_connections(service.server.port, IDLE)
        try:
            for each in silent:
                with suppress(ConnectionError):
                    each.sendall(beginning)
            for path in ("/livez", "/readyz", "/metrics", "/status"):
                assert service.get(path)[0] == 200
            assert closed(silent[: IDLE - health.MAX_CONNECTIONS]), "the oldest have made place"
        finally:
            for each in silent:
                each.close()
    assert lines == [], "whoever goes away is no news"


def test_the_number_of_open_descriptors_is_bounded(service: Service) -> None:
    before = descriptors()
    silent = open_connections(service.server.port, IDLE)
    try:
        assert service.get("/livez")[0] == 200
        of_server = descriptors() - before - IDLE
        assert of_server <= health.MAX_CONNECTIONS + 4
        assert threading.active_count() <= health.MAX_CONNECTIONS + 10
    finally:
        for each in silent:
            each.close()


async def test_idle_connections_and_a_blocked_loop_together_keep_no_probe_waiting(service: Service) -> None:
    silent = open_connections(service.server.port, IDLE)
    answers: list[int] = []

    def probe() -> None:
        service.clock.seconds += health.STUCK_AFTER_SECONDS + 1
        answers.extend(service.get(path)[0] for path in ("/livez", "/metrics"))

    prober = threading.Thread(target=probe)
    prober.start()
    while prober.is_alive():
        sum(range(100_000))  # the loop is stuck here, and the interpreter is busy
    for each in silent:
        each.close()
    assert answers == [503, 200]


def test_a_silent_client_is_cut_off_when_its_time_is_over(service: Service) -> None:
    silent = open_connections(service.server.port, 4)
    try:
        assert service.get("/livez")[0] == 200  # those before it have been taken
        service.clock.seconds += health.CONNECTION_SECONDS + 1
        assert closed(silent)
    finally:
        for each in silent:
            each.close()


def test_a_client_that_drips_its_request_is_cut_off_in_time(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=TIMEOUT_SECONDS) as dripping:
        dripping.sendall(b"GET /livez HTTP/1.1\r\n")
        assert service.get("/livez")[0] == 200
        service.clock.seconds += health.CONNECTION_SECONDS / 2
        dripping.sendall(b"X-A: b\r\n")
        service.clock.seconds += health.CONNECTION_SECONDS / 2 + 1
        assert closed([dripping])


@dataclass
class SlowPage:
    """A page that is not done before it is told so."""

    release: threading.Event = field(default_factory=threading.Event)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, _accept: str) -> tuple[str, bytes]:
        self.asked.release()
        self.release.wait(TIMEOUT_SECONDS)
        return "text/plain", b"whole\n"


@pytest.fixture
def slow() -> Iterator[tuple[Service, SlowPage]]:
    made, page = Service(), SlowPage()
    made.server = HealthServer("127.0.0.1", 0, lambda: made.status, page, lambda: made.ready, made.beat)
    with made.server:
        yield made, page


def ask(port: int, path: str) -> socket.socket:
    asking = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
    asking.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return asking


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "is_open_metrics"),
    [("*/*", False), ("text/plain;version=0.0.4", False), ("", False), (PROMETHEUS, True)],
)
def test_a_scrape_gets_open_metrics_if_it_accepts_them(
    service: Service, accept: str, is_open_metrics: bool
) -> None:
    status, content_type, body = service.get("/metrics", accept=accept)
    assert (status, content_type.startswith("application/openmetrics-text")) == (200, is_open_metrics)
    assert body.endswith(b"# EOF\n") == is_open_metrics
    parse = open_metrics_families if is_open_metrics else text_string_to_metric_families
    names = {family.name for family in parse(body.decode())}
    assert {"scribe_rebalances", "scribe_provider_calls"} <= names


def test_a_scrape_that_is_being_served_is_not_cut_off_for_idle_newcomers(
    slow: tuple[Service, SlowPage],
) -> None:
    service, page = slow
    with ask(service.server.port, "/metrics") as scrape:
        assert page.asked.acquire(timeout=TIMEOUT_SECONDS)
        silent = open_connections(service.server.port, IDLE)
        assert service.get("/livez")[0] == 200
        page.release.set()
        with scrape.makefile("rb") as answer:
            assert answer.read().endswith(b"whole\n")
        for each in silent:
            each.close()


def test_pages_that_hang_take_every_place_for_their_time_alone(slow: tuple[Service, SlowPage]) -> None:
    service, page = slow
    scrapes = [ask(service.server.port, "/metrics") for _ in range(health.MAX_CONNECTIONS)]
    for _ in scrapes:
        assert page.asked.acquire(timeout=TIMEOUT_SECONDS)
    with pytest.raises(ConnectionError):
        service.get("/livez")
    page.release.set()
    assert closed(scrapes)
    assert service.get("/livez")[0] == 200
    for each in scrapes:
        each.close()
