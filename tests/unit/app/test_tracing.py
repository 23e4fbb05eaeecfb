"""Tracing is made only for those who ask for it, and says what to install where it cannot be."""

import logging
import sys
from typing import Any

import pytest
import typer.testing

from service.app.tracing import exporter_of, traced
from service.cli.commands import app
from service.errors import ConfigError
from service.observability.metrics import Metrics
from service.settings import load
from tests.unit.observability.test_metrics import StillClock

ON = {"SCRIBE_TRACING__ENABLED": "true"}
ADAPTER = "service.observability.otlp"


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if OpenTelemetry were not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, ADAPTER, raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_tracing_is_a_wrong_setting_that_says_what_to_install() -> None:
    with pytest.raises(
        ConfigError, match=r"SCRIBE_TRACING__ENABLED needs .* pip install 'scribe-speech\[otel"
    ):
        exporter_of(load(ON))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "%%%sk-canary"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=sk-canary%0Asecond"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "sk-canary"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "sk-canary"),
        ("OTEL_RESOURCE_ATTRIBUTES", "sk-canary"),
    ],
)
def test_what_opentelemetry_does_not_take_is_a_wrong_setting_and_shown_nowhere(
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as found:
        exporter_of(load(ON))
    assert "sk-canary" not in str(found.value) + "".join(capfd.readouterr()) + caplog.text


@pytest.mark.usefixtures("without_extra")
def test_a_process_that_does_not_trace_needs_no_extra_and_counts_no_spans() -> None:
    metrics = Metrics()
    with traced(load({}), StillClock(), metrics) as tracer:
        assert tracer is None
    assert b"scribe_spans" not in metrics.page()[1]


@pytest.mark.usefixtures("without_extra")
def test_the_doctor_says_that_the_extra_is_missing() -> None:
    done = typer.testing.CliRunner().invoke(app, ["doctor"], env=ON)
    assert done.exit_code == 3
    [line] = done.output.splitlines()
    assert "scribe-speech[otel]" in line


def test_what_opentelemetry_says_when_all_is_well_stops_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("opentelemetry").setLevel(logging.DEBUG)
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "host")
    assert exporter_of(load(ON)) is not None


def test_the_value_of_a_header_is_hidden_in_what_the_library_says_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=canary-of-no-pattern")
    exporter: Any = exporter_of(load(ON))
    logging.getLogger("opentelemetry.any").error("cannot send %r", "canary-of-no-pattern")
    assert exporter._reason.text == "cannot send '*'"
