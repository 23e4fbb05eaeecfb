"""The log: what a line says, which lines there are, and that no secret comes out whoever wrote it."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
import structlog
from pydantic import SecretStr

from service.contract.outcome import STAGES, Attempts, Failure, Result, Times, Usage, stage_seconds
from service.contract.stage import Stage
from service.contract.transcript import AudioProperties, Channel, Transcript
from service.errors import FailureCode
from service.observability import log

KEY = "sk-5f2e9a7714d0canary"
SIGNED = "https://bucket.aliyuncs.com/a/b.wav?Expires=1&Signature=signaturecanary%3D"
PASSWORD = "plainwordcanary"

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What `configure` changes belongs to the whole process: put it back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    libraries = {name: logging.getLogger(name).level for name in log.LIBRARIES}
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, before in libraries.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def configured(
    form: Literal["auto", "json", "pretty"] = "json", level: str = "info"
) -> tuple[io.StringIO, Lines]:
    stream = io.StringIO()
    log.configure(level, form, stream, log.Secrets(SecretStr(PASSWORD), SecretStr(KEY)))
    return stream, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_that_begins_with_time_level_and_event() -> None:
    stream, lines = configured()
    log.write(log.REQUESTS_LOST, partition=3, count=2)
    [line] = lines()
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["event"] == "requests_lost"
    assert line["level"] == "error"
    assert (line["partition"], line["count"]) == (3, 2)
    assert line["time"].endswith("Z")
    assert stream.getvalue().endswith("}\n")


def test_event_names_are_all_different() -> None:
    events = [value for value in vars(log).values() if isinstance(value, log.Event)]
    assert len({event.name for event in events}) == len(events) > 10


@pytest.mark.parametrize(
    ("change", "level"), [("taken", "info"), ("refused", "error"), ("fenced", "warning")]
)
def test_the_log_level_of_a_shard_follows_its_change(change: str, level: str) -> None:
    _, lines = configured()
    log.write(log.SHARD, change=change, partition=1)
    assert lines()[0]["level"] == level


def test_lines_below_the_level_are_not_written() -> None:
    stream, _ = configured(level="warning")
    log.write(log.DRAINED)
    assert stream.getvalue() == ""


def test_libraries_come_through_at_warning_and_above() -> None:
    _, lines = configured(level="debug")
    for name in ("aiokafka.consumer", "httpx", "httpcore.http11"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("provider_error")
    logging.getLogger("uvicorn.error").info("known")
    assert [line["event"] for line in lines()] == ["provider_error"] * 3 + ["known"]
    assert lines()[0]["logger"] == "aiokafka.consumer"


@pytest.mark.parametrize(
    "line",
    [
        "Group Coordinator Request failed: [Error 15] GroupCoordinatorNotAvailableError",
        "Unable connect to node with id 1: refused",
        "Topic requests not found in cluster metadata",
        "Heartbeat session expired - marking coordinator dead",
    ],
)
def test_what_kafkas_client_tries_again_is_no_error(line: str) -> None:
    """The first start of any group meets some of it."""
    _, lines = configured()
    logging.getLogger("aiokafka.consumer.group_coordinator").error(line)
    assert [(each["level"], each["event"]) for each in lines()] == [("warning", line)]


def test_what_kafkas_client_did_not_expect_stays_an_error() -> None:
    _, lines = configured()
    try:
        raise AssertionError("Did we not perform bootstrap?")
    except AssertionError:
        logging.getLogger("aiokafka.consumer.group_coordinator").exception("Unexpected error")
    logging.getLogger("aiokafkaesque").error("of another library")
    assert [each["level"] for each in lines()] == ["error", "error"]


def test_what_was_lowered_is_not_written_where_only_errors_are() -> None:
    stream, _ = configured(level="error")
    logging.getLogger("aiokafka").error("Unable connect to node with id 1")
    assert stream.getvalue() == ""


def test_a_library_that_repeats_itself_does_not_fill_the_log() -> None:
    _, lines = configured()
    for number in range(100):
        logging.getLogger("aiokafka").error("Unable connect to node with id %s", number)
    assert [line["event"] for line in lines()] == ["Unable connect to node with id 0"]


def test_warnings_of_python_go_to_the_log() -> None:
    _, lines = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.configure("info", "json", sys.stderr)
        _, lines = configured()
        warnings.warn("deprecated thing", UserWarning, stacklevel=1)
    assert "deprecated thing" in lines()[0]["event"]


def from_our_code() -> None:
    log.write(
        log.BATCH_RETRIED,
        reason=f"{KEY} {SIGNED} {PASSWORD}",
        nested={"list": [KEY, {"url": SIGNED}], PASSWORD: 1, "tuple": (PASSWORD,)},
        odd=ValueError(SIGNED),
        raw=f"Bearer {KEY}".encode(),
    )


def from_an_exception() -> None:
    try:
        raise ValueError(f"{KEY}\n{SIGNED}\nAuthorization: Bearer abcdefcanary\n{PASSWORD}")
    except ValueError as error:
        log.write(log.SERVICE_CRASHED, exc_info=error)


def from_a_chain_of_exceptions() -> None:
    try:
        try:
            raise KeyError(SIGNED)
        except KeyError as error:
            raise ExceptionGroup(PASSWORD, [ValueError(KEY)]) from error
    except ExceptionGroup:
        logging.getLogger("asyncio").exception("Task exception was never retrieved %s", SIGNED)


def from_a_crash() -> None:
    try:
        raise RuntimeError(f"{KEY} {SIGNED} {PASSWORD}")
    except RuntimeError as error:
        log.write_crash(type(error), error, error.__traceback__)


def from_a_library() -> None:
    logging.getLogger("aiokafka").error("cannot log in as %s with %s", "scribe", PASSWORD)
    logging.getLogger("httpx").warning("GET %s", SIGNED, stack_info=True)
    logging.getLogger("httpx").warning("headers %r", {"Authorization": f"Bearer {KEY}"})


def from_a_line_that_cannot_be_formatted() -> None:
    template = "%d calls with %s"
    logging.getLogger("httpx").error(template, KEY)


@pytest.mark.parametrize("form", ["json", "pretty"])
@pytest.mark.parametrize(
    "write",
    [
        from_our_code,
        from_an_exception,
        from_a_chain_of_exceptions,
        from_a_crash,
        from_a_library,
        from_a_line_that_cannot_be_formatted,
    ],
)
def test_no_key_password_or_signature_comes_out(
    write: Callable[[], None], form: Literal["json", "pretty"], capfd: pytest.CaptureFixture[str]
) -> None:
    stream, _ = configured(form)
    write()
    assert stream.getvalue(), "the line itself must come out"
    printed = capfd.readouterr()
    assert "canary" not in stream.getvalue() + printed.out + printed.err


def test_an_exception_keeps_its_traceback_line_by_line() -> None:
    _, lines = configured()
    from_an_exception()
    trace = lines()[0]["exception"].splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[1].startswith("  File ")
    assert trace[3] == "ValueError: *"


def test_a_line_that_cannot_be_formatted_says_that_it_was_lost() -> None:
    _, lines = configured()
    from_a_line_that_cannot_be_formatted()
    assert [line["event"] for line in lines()] == ["log_line_lost"]


def test_a_closed_stream_stops_no_work(capfd: pytest.CaptureFixture[str]) -> None:
    stream, _ = configured()
    stream.close()
    log.write(log.DRAINED)
    assert capfd.readouterr() == ("", "")


def test_a_deep_value_cannot_exhaust_the_stack() -> None:
    deep: list[Any] = []
    deep.append(deep)
    _, lines = configured()
    log.write(log.DRAINED, deep=deep)
    assert lines()[0]["event"] == "drained"


def test_pretty_lines_are_for_people() -> None:
    stream, _ = configured("pretty")
    log.write(log.SHARD, change="taken", partition=3)
    assert "shard" in stream.getvalue()
    assert "partition=3" in stream.getvalue()
    assert "\x1b" not in stream.getvalue(), "colours are for terminals"


def test_auto_is_json_where_there_is_no_terminal() -> None:
    _, lines = configured("auto")
    log.write(log.DRAINED)
    assert lines()[0]["event"] == "drained"


BEGIN = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)


def times(**seconds: float) -> Times:
    moments = {name: BEGIN + timedelta(seconds=after) for name, after in seconds.items()}
    return Times.model_validate(moments)


def test_the_stages_of_a_job_add_up_to_the_whole_way() -> None:
    way = times(
        requested_at=0,
        accepted_at=0.5,
        submitted_at=2,
        completed_at=12,
        fetched_at=12.25,
        published_at=12.5,
    )
    stages = stage_seconds(way)
    assert tuple(stages) == STAGES
    assert stages.pop("total") == sum(stages.values()) == 12.5


def test_stages_that_a_job_did_not_reach_are_left_out_and_none_is_negative() -> None:
    assert stage_seconds(times(requested_at=5, accepted_at=4)) == {"queue": 0.0}
    assert stage_seconds(Times()) == {}


def test_a_finished_jobs_line_holds_ids_times_and_codes_and_nothing_that_was_said() -> None:
    spoken = Transcript(audio=AudioProperties(), channels=(Channel(channel_id=0, text="spokencanary"),))
    body = Result(
        request_id="r1",
        replay=0,
        file_index=2,
        file_count=3,
        file_url="https://h/pathcanary.wav?Signature=x",
        model="fun-asr",
        task_id="t-1",
        transcript=spoken,
        usage=Usage(billed_seconds=4),
        times=times(requested_at=0, accepted_at=0.25, published_at=1),
        attempts=Attempts(submit=1, poll=3, fetch=1),
        metadata={"note": "metadatacanary"},
    )
    stream, lines = configured()
    log.write_job("r1/0/2", body)
    [line] = lines()
    assert line["event"] == "job_finished"
    assert line["job"] == "r1/0/2"
    assert line["outcome"] == "result"
    assert line["code"] is None
    assert line["task_id"] == "t-1"
    assert line["ms"] == {"queue": 250, "total": 1000}
    assert line["attempts"] == {"submit": 1, "poll": 3, "fetch": 1}
    assert line["billed_seconds"] == 4
    assert "canary" not in stream.getvalue()


def test_a_failed_jobs_line_names_stage_and_codes_but_not_the_message() -> None:
    body = Failure(
        request_id="r1",
        stage=Stage.SUBMIT,
        code=FailureCode.SUBMIT_REJECTED,
        provider_code="InvalidParameter",
        message="messagecanary",
        retryable=False,
        raw="cmF3Y2FuYXJ5",
        original_request={"file_urls": ["https://h/canary"]},
    )
    stream, lines = configured()
    log.write_job("r1/0/0", body)
    [line] = lines()
    assert (line["outcome"], line["stage"], line["code"]) == ("failure", "submit", "submit_rejected")
    assert line["provider_code"] == "InvalidParameter"
    assert "canary" not in stream.getvalue()


def test_a_secret_that_is_added_later_is_hidden_from_then_on() -> None:
    stream, secrets = io.StringIO(), log.Secrets(SecretStr(KEY))
    log.configure("info", "json", stream, secrets)
    rotated = "sk-rotated-0123456789"
    secrets.add(SecretStr(rotated))
    log.write(log.TOPICS_WARNING, detail=f"{KEY} and {rotated}")
    assert KEY not in stream.getvalue()
    assert rotated not in stream.getvalue()


def test_neither_rotations_nor_what_is_no_key_push_the_first_secrets_out() -> None:
    secrets = log.Secrets(SecretStr(KEY), SecretStr(PASSWORD))
    secrets.add(SecretStr("live-key-1"))
    for _ in range(2 * log.MAX_ROTATED):
        secrets.add(SecretStr("two words"))
    assert secrets.hide(f"{KEY} {PASSWORD} live-key-1 two words") == "* * * *"
    for number in range(2 * log.MAX_ROTATED):
        secrets.add(SecretStr(f"rotated-{number:06}"))
    assert secrets.hide(f"{KEY} {PASSWORD} rotated-000199") == "* * *"


def test_tokens_that_come_and_go_push_no_key_out_of_what_is_hidden() -> None:
    secrets = log.Secrets()
    secrets.add(SecretStr("rotated-0"))
    for number in range(500):
        secrets.add_token(SecretStr(f"token-{number:06}"))
    assert secrets.hide("rotated-0 token-000499 token-000480") == "* * *"


def test_of_two_secrets_that_begin_alike_nothing_is_left() -> None:
    secrets = log.Secrets(SecretStr("secret-value"))
    secrets.add(SecretStr("secret-value-9f8e7d"))
    secrets.add_token(SecretStr("secret-value-9f8e7d-token"))
    assert secrets.hide("secret-value secret-value-9f8e7d secret-value-9f8e7d-token") == "* * *"
