"""The log: one line for each finished job and each lifecycle change, as JSON or for people.

Every text, of our code or of a library, is redacted before it is written (N9). Single calls to the provider
or to Kafka are not logged.
"""

import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from dataclasses import field
from functools import lru_cache, partial
from types import TracebackType
from typing import Literal, TextIO

import structlog
from pydantic import SecretStr

from service.clock import SYSTEM_CLOCK, Clock
from service.contract.outcome import Failure, Result, rfc3339, stage_seconds, utc_time
from service.contract.redaction import redact
from service.core.time.trusted_time import TimeEvent
from service.frozen import dataclass
from service.observability.log_throttle import LogThrottle
from service.observability.never_raises import never_raises
from service.pipeline.shard.observer import ShardChange

Fields = MutableMapping[str, object]

SHORTEST_SECRET = 6
"""Shorter configured secrets are not replaced: they would match inside ordinary words."""
MAX_ROTATED = 100
"""Older keys were replaced so many rotations ago that they open nothing."""
MAX_TOKENS = 20
"""Older tokens have ended: each was fetched in the last fifth of the life of the one before."""
FIRST_FIELDS = ("time", "level", "event", "logger")
MAX_TRACEBACK_LINES = 60
"""The last lines, which name the error; collectors cut or drop lines that are too long."""
MAX_NAMES = 512
"""Field names whose redaction is remembered: there are far fewer, but a library could make them up."""
MAX_DEPTH = 6
"""Deeper values of a field are written as text, so that no line grows without bound in levels."""

OWN = "service"
"""The logger of our own lines."""
KAFKA_CLIENT = "aiokafka"
LIBRARIES = (KAFKA_CLIENT, "aiohttp", "asyncio", "httpcore", "httpx", "kafka", "prometheus_client", "urllib3")
"""They log at warning and above only: at info, httpx writes whole URLs."""


@dataclass(frozen=True, slots=True)
class Event:
    """The name of a kind of line and its level.

    `levels` overrides it by the line's `change`.
    """

    name: str
    level: int = logging.INFO
    levels: Mapping[object, int] = field(default_factory=dict)


SERVICE_STARTED = Event("service_started")
SERVICE_STOPPED = Event("service_stopped")
SERVICE_CRASHED = Event("service_crashed", logging.CRITICAL)
CLOCK = Event("clock", levels={TimeEvent.STEPPED: logging.ERROR, TimeEvent.ADOPTED: logging.WARNING})
TOPICS_WARNING = Event("topics_warning", logging.WARNING)
PROXY_UNUSED = Event("proxy_unused", logging.WARNING)
DRAINING = Event("draining")
DRAINED = Event("drained")
LEAVING = Event("leaving", levels={"unclear": logging.WARNING, "failed": logging.WARNING})
SHARD = Event(
    "shard",
    levels={
        ShardChange.REFUSED: logging.ERROR,
        ShardChange.LOST: logging.WARNING,
        ShardChange.FENCED: logging.WARNING,
    },
)
BATCH_RETRIED = Event("batch_retried", logging.WARNING)
REQUESTS_LOST = Event("requests_lost", logging.ERROR)
GROUP_LOST = Event("group_lost", logging.WARNING)
GROUP_REGAINED = Event("group_regained")
DUPLICATE_MEMBER = Event("duplicate_member", logging.ERROR)
HOLD_STARTED = Event("hold_started", logging.ERROR)
HOLD_ENDED = Event("hold_ended")
OUTAGE_STARTED = Event("outage_started", logging.ERROR)
FILES_PER_TASK_LOWERED = Event("files_per_task_lowered", logging.WARNING)
OUTAGE_ENDED = Event("outage_ended")
LIST_DISTRUSTED = Event("list_distrusted", logging.WARNING)
LIST_SHARING = Event("list_sharing", levels={"failed": logging.WARNING})
RESULT_HOST = Event("result_host", levels={"refused": logging.WARNING, "stopped": logging.ERROR})
INTERNAL_ERROR = Event("internal_error", logging.ERROR)
STAGE = Event("stage", levels={"stopped": logging.ERROR})
WORK_RESTORED = Event("work_restored", logging.ERROR)
JOURNAL_UNREADABLE = Event("journal_unreadable", logging.ERROR)
KEY_REPLACED = Event("key_replaced")
KEY_REFUSED = Event("key_refused", logging.WARNING)
KAFKA_LOGIN_REPLACED = Event("kafka_login_replaced")
KAFKA_LOGIN_REFUSED = Event("kafka_login_refused", logging.WARNING)
HEALTH_FAILED = Event("health_request_failed", logging.WARNING)
TRACING = Event("tracing", levels={"failed": logging.WARNING})
JOB_FINISHED = Event("job_finished")
REQUEST_REPEATED = Event("request_repeated", logging.DEBUG)


@never_raises
def write(event: Event, **fields: object) -> None:
    """Write one line; `exc_info=error` adds the traceback."""
    level = event.levels.get(fields.get("change"), event.level)
    structlog.get_logger(OWN).log(level, event.name, **fields)


def write_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For `sys.excepthook`, whose default would print the error without redaction."""
    write(SERVICE_CRASHED, exc_info=(kind, error, trace))


def write_job(job: str, body: Result | Failure) -> None:
    """Write the one line of a finished job: ids, times and codes, never its text or URL."""
    failure = body if isinstance(body, Failure) else None
    write(
        JOB_FINISHED,
        job=job,
        outcome="failure" if failure else "result",
        code=failure.code.value if failure else None,
        provider_code=failure.provider_code if failure else None,
        stage=failure.stage.value if failure else None,
        model=body.model,
        task_id=body.task_id,
        attempts=body.attempts.model_dump(),
        ms={stage: round(1000 * seconds) for stage, seconds in stage_seconds(body.times).items()},
        billed_seconds=None if isinstance(body, Failure) else body.usage.billed_seconds,
    )


def configure(
    level: str,
    form: Literal["auto", "json", "pretty"] = "auto",
    stream: TextIO | None = None,
    secrets: "Secrets | None" = None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Send every line of the process to `stream` (standard error).

    Call it once, at the start.

    `secrets` are never written, whatever their form. Python's warnings also go to the log. The time of a line
    is the machine's wall clock, as in the logs of other processes.
    """
    out = sys.stderr if stream is None else stream
    handler = _Lines(out)
    is_pretty = form == "pretty" or (form == "auto" and out.isatty())
    handler.setFormatter(
        _formatter(is_pretty, out, partial(_add_time, clock), Redactor(secrets or Secrets()))
    )
    handler.addFilter(_throttled)
    handler.addFilter(LogThrottle(OWN, clock))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _formatter(
    is_pretty: bool, out: TextIO, add_time: structlog.typing.Processor, redactor: "Redactor"
) -> logging.Formatter:
    if is_pretty:
        renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            add_time,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redactor,
            renderer,
        ],
    )


def _add_time(clock: Clock, _logger: object, _method: str, line: Fields) -> Fields:
    now = utc_time(clock.wall_ms())
    line["time"] = None if now is None else rfc3339(now)
    return line


class Secrets:
    """Values that no line may hold: those of the start, and the latest of a rotation."""

    def __init__(self, *secrets: SecretStr) -> None:
        self._first = tuple(value for value in map(_long_enough, secrets) if value)
        self._rotated: tuple[str, ...] = ()
        self._tokens: tuple[str, ...] = ()
        self._hidden = self._ordered()
        self._adding = threading.Lock()

    def add(self, secret: SecretStr) -> None:
        """Replace this value, too, from now on."""
        value = _long_enough(secret)
        with self._adding:
            if value and value not in (*self._first, *self._rotated):
                self._rotated = (*self._rotated, value)[-MAX_ROTATED:]
                self._hidden = self._ordered()

    def add_token(self, token: SecretStr) -> None:
        """The same for a value that ends by itself: many of them push no key out."""
        with self._adding:
            if token.get_secret_value() not in self._tokens:
                self._tokens = (*self._tokens, token.get_secret_value())[-MAX_TOKENS:]
                self._hidden = self._ordered()

    def hide(self, text: str) -> str:
        """The text without any of the values."""
        # Another thread may add one meanwhile: we see the tuple before or after.
        for value in self._hidden:
            text = text.replace(value, "*")
        return text

    def _ordered(self) -> tuple[str, ...]:
        """The longest first: of one that begins with another the rest would be left."""
        return tuple(sorted((*self._first, *self._rotated, *self._tokens), key=len, reverse=True))


def _long_enough(secret: SecretStr) -> str:
    value = secret.get_secret_value()
    return value if len(value) >= SHORTEST_SECRET else ""


class Redactor:
    """Makes every value of a line safe: the last processor before the renderer.

    What is written for a bug report passes it too (`app.document_redactor`).
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        # The names of fields are few, and stand in every line.
        self._name = lru_cache(maxsize=MAX_NAMES)(self.text)

    def __call__(self, _logger: object, _method: str, line: Fields) -> Fields:
        return self.line(line)

    def line(self, line: Fields) -> Fields:
        """The fields of a line, safe; those that every line has come first."""
        trace = line.pop("exception", None)
        first = {name: line.pop(name) for name in FIRST_FIELDS if name in line}
        safe: Fields = {
            self._name(name): self._value(value, MAX_DEPTH) for name, value in {**first, **line}.items()
        }
        if trace is not None:
            safe["exception"] = self._traceback(str(trace))
        return safe

    def document(self, document: object) -> object:
        """Any document, with each of its texts safe."""
        return self._value(document, MAX_DEPTH)

    def text(self, text: str) -> str:
        """A text as one safe line."""
        return redact(self._secrets.hide(text))

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth and isinstance(value, Mapping):
            return {self._name(str(name)): self._value(item, depth - 1) for name, item in value.items()}
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [self._value(item, depth - 1) for item in value]
        return self.text(value if isinstance(value, str) else repr(value))

    def _traceback(self, trace: str) -> str:
        lines = trace.splitlines()[-MAX_TRACEBACK_LINES:]
        indents = (len(line) - len(line.lstrip()) for line in lines)
        return "\n".join(" " * indent + self.text(line) for indent, line in zip(indents, lines, strict=True))


def _throttled(record: logging.LogRecord) -> bool:
    """Lower aiokafka's errors to warnings where it retries.

    Returns whether the line is still written.

    aiokafka logs such errors when any group starts. It raises errors that it cannot retry, and we log those.
    """
    is_retried = record.name.partition(".")[0] == KAFKA_CLIENT and not record.exc_info
    if is_retried and record.levelno == logging.ERROR:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return record.levelno >= logging.getLogger().level


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines, and replaces one that cannot be formatted.

    The standard library would print it raw.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        """Write that a line was lost, without its content."""
        if record.msg != _LOST:
            lost = logging.LogRecord(
                record.name, logging.ERROR, record.pathname, record.lineno, _LOST, (), None
            )
            self.handle(lost)


_LOST = "log_line_lost"
