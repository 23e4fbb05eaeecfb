"""The health check of the image: it asks the service of its own container, by the service's own variables."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.cli.livez import complaint
from service.settings import Settings
from service.settings.environment import variables


@contextmanager
def answering(status: int, text: str) -> Iterator[dict[str, str]]:
    """A server that answers so; the variables that lead to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield {"SCRIBE_HTTP__PORT": str(server.server_port)}
        server.shutdown()
        thread.join()


def test_a_service_that_is_well_gives_no_complaint() -> None:
    with answering(200, "the event loop turns\n") as environment:
        assert complaint(environment) is None
        assert complaint({**environment, "SCRIBE_HTTP__HOST": "127.0.0.1"}) is None


def test_a_service_that_is_stuck_says_why() -> None:
    with answering(503, "the event loop has not turned for 40 s\n") as environment:
        assert complaint(environment) == "the event loop has not turned for 40 s"


@pytest.mark.parametrize(
    "environment",
    [
        {"SCRIBE_HTTP__PORT": "1", "SCRIBE_HTTP__HOST": "127.0.0.1"},
        {"SCRIBE_HTTP__PORT": "no number"},
        {"SCRIBE_HTTP__PORT": "99999"},
    ],
    ids=["nobody listens", "not a number", "no port"],
)
def test_where_nothing_answers_it_names_the_address(environment: dict[str, str]) -> None:
    said = complaint(environment)
    assert said is not None
    assert said.startswith("/livez does not answer at ")
    assert environment["SCRIBE_HTTP__PORT"] in said


def test_its_defaults_and_variables_are_those_of_the_settings() -> None:
    assert {"SCRIBE_HTTP__HOST", "SCRIBE_HTTP__PORT"} <= set(variables(Settings))
    http = Settings().http
    said = complaint({"SCRIBE_HTTP__HOST": "127.0.0.1", "SCRIBE_HTTP__PORT": str(http.port)})
    assert said == complaint({"SCRIBE_HTTP__HOST": "127.0.0.1"})
    assert said == complaint({"SCRIBE_HTTP__HOST": "127.0.0.1", "SCRIBE_HTTP__PORT": ""})
    assert http.host == "0.0.0.0"


def test_it_imports_neither_the_settings_nor_a_client() -> None:
    code = "import sys, service.cli.livez; print(*{each.partition('.')[0] for each in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert {"service"} == set(done.stdout.split()) & {"service", "pydantic", "typer", "aiohttp", "aiokafka"}
