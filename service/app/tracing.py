"""Tracing, if the settings ask for it: nothing of OpenTelemetry is imported otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

from service import __version__
from service.app.from_settings import member_of
from service.clock import Clock
from service.errors import ConfigError
from service.observability.metrics import Metrics
from service.observability.tracing import Exporter, SpanQueue
from service.settings import Settings
from service.settings.environment import variable


def exporter_of(settings: Settings) -> Exporter | None:
    """The exporter of spans; None without tracing.

    Raises `ConfigError` if its packages are missing, or do not take their variables.
    """
    if not settings.tracing.enabled:
        return None
    try:
        from service.observability.otlp import OtlpExporter  # noqa: PLC0415 - an extra that few install
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{variable('tracing', 'enabled')} needs packages that are not installed ({error.name}): "
            "pip install 'scribe-speech[otel]', or requirements/otel.txt"
        ) from None
    try:
        return OtlpExporter(__version__, member_of(settings))
    except ValueError as error:
        raise ConfigError(
            f"{error}; check OTEL_EXPORTER_OTLP_HEADERS (name=value, with commas), "
            "OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_COMPRESSION and OTEL_RESOURCE_ATTRIBUTES"
        ) from None


@contextmanager
def traced(settings: Settings, clock: Clock, metrics: Metrics) -> Iterator[SpanQueue | None]:
    """Takes spans for a block, and sends the last of them at its end; None without tracing."""
    exporter = exporter_of(settings)
    if exporter is None:
        yield None
        return
    spans = SpanQueue(exporter, clock, metrics)
    spans.start()
    try:
        yield spans
    finally:
        spans.stop()
