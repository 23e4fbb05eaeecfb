"""`scribe cancel`: cancels an open request, and waits for what becomes of it if it is told to."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import JsonValue

from service.cli import client
from service.cli.client import ClientConfig, NewRequest
from service.cli.exit_codes import ExitCode, sentences
from service.cli.outcome_text import OutcomeView, read_outcome
from service.cli.tables import Output, OutputForm, plain, print_json, ranges
from service.clock import SYSTEM_CLOCK
from service.core.job.request_record import Record
from service.errors import FailureCode
from service.frozen import dataclass
from service.kafka.client.clients import ConsumerRecord
from service.kafka.client.terminal_client import following
from service.kafka.client.topic_reader import topic_reader
from service.settings import load

RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The id of an open request.")]
Replay = Annotated[int, typer.Option(min=0, metavar="NUMBER", help="The replay number of the request.")]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until it is cancelled, or is found to have ended.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="TEXT", help="The key of the request's record, if it is not the id."),
]
Timeout = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long --wait waits.")]


class End(StrEnum):
    """What became of a cancel."""

    ASKED = "asked"
    """Not waited for."""
    CANCELLED = "cancelled"
    """At least one file of the request was cancelled."""
    ALREADY_FINISHED = "already_finished"
    """Each file had ended by itself."""
    UNKNOWN = "unknown"
    """The partition of this key knows no such request."""
    REFUSED = "refused"
    """The service takes no such cancel."""
    NO_ANSWER = "no_answer"
    """Nothing was heard in time."""


_CODES = {
    End.ASKED: ExitCode.DONE,
    End.CANCELLED: ExitCode.DONE,
    End.ALREADY_FINISHED: ExitCode.ENDED_BEFORE,
    End.UNKNOWN: ExitCode.UNKNOWN,
    End.REFUSED: ExitCode.FAILED,
    End.NO_ANSWER: ExitCode.FAILED,
}
_ANSWERS: Mapping[str, End] = {
    FailureCode.ALREADY_FINISHED: End.ALREADY_FINISHED,
    FailureCode.CANCEL_UNKNOWN_REQUEST: End.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a cancel, with a sentence, and the files that were heard of."""

    end: End
    message: str
    cancelled: tuple[int, ...] = ()
    finished: tuple[int, ...] = ()


def cancel(
    request_id: RequestId,
    replay: Replay = 0,
    key: Key = None,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    form: Output = OutputForm.TEXT,
) -> None:
    """Cancel an open request.

    Each unfinished file becomes a failure. With --wait: exit code 7 if the request had ended before, 5 if it
    is not known.
    """
    with sentences():
        place = client.config_of(load(os.environ))
        fields: dict[str, JsonValue] = {
            "request_id": request_id,
            "action": "cancel",
            "replay": replay or None,
        }
        request = NewRequest(client.new_request(fields), key=None if key is None else key.encode())
        done = asyncio.run(_cancelled(place, request, replay, timeout) if wait else _asked(place, request))
    if form is OutputForm.JSON:
        print_json(_document(request_id, replay, done))
    else:
        typer.echo(plain(done.message), err=done.end is not End.CANCELLED)
    if _CODES[done.end] is not ExitCode.DONE:
        raise typer.Exit(_CODES[done.end])


async def _asked(place: ClientConfig, request: NewRequest) -> Cancelled:
    await client.send(place, request)
    return Cancelled(End.ASKED, f"asked to cancel {request.request_id}")


async def _cancelled(
    place: ClientConfig, request: NewRequest, replay: int, timeout_seconds: float
) -> Cancelled:
    """Publish the cancel, unless the request is known to have ended, and wait for what becomes of it."""
    seen = _Seen(request.request_id, replay)
    topics, wait_ms, key = place.outcome_topics, place.fetch_max_wait_ms, request.request_id.encode()
    async with following(place.cluster, topics, wait_ms, key=key) as records:
        # A day of many outcomes may take long to read, and the task is billed meanwhile.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds / 2):
                await _read_known(place, key, seen)
        if seen.is_last_seen:
            # The service answers a cancel of an ended request once a minute at most: a wait would hang.
            return seen.found(End.ALREADY_FINISHED)
        placed = await client.send(place, request)
        typer.echo(f"asked to cancel {request.request_id}; waiting for what becomes of it", err=True)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await _end_of(records, seen, placed)
        except TimeoutError:
            return seen.late(timeout_seconds)


async def _read_known(place: ClientConfig, key: bytes, seen: "_Seen") -> None:
    """Show `seen` the outcomes of the id that Kafka has, of as long as the service remembers a request."""
    since_ms = SYSTEM_CLOCK.wall_ms() - 1000 * place.remembered_seconds

    def take(record: ConsumerRecord) -> None:
        if record.key == key:
            seen.take(read_outcome(record.value))

    async with topic_reader(place.cluster, place.outcome_topics, place.fetch_max_wait_ms) as reader:
        for topic in place.outcome_topics:
            await reader.read_through(await reader.since(reader.of_key(topic, key), since_ms), take)


async def _end_of(records: AsyncIterator[Record], seen: "_Seen", placed: tuple[int, int]) -> Cancelled:
    key = seen.request_id.encode()
    async for record in records:
        outcome = read_outcome(record.value) if record.key == key else None
        seen.take(outcome)
        if seen.is_over:
            return seen.found()
        if outcome is not None and outcome.origin is not None and outcome.origin.place == placed:
            return seen.answered(outcome)
    raise AssertionError("the records of a topic do not end")


class _Seen:
    """What the outcomes of one request and replay number tell."""

    def __init__(self, request_id: str, replay: int) -> None:
        self.request_id = request_id
        self._replay = replay
        self._cancelled: set[int] = set()
        self._finished: set[int] = set()
        self._files: int | None = None
        """How many files the request has, once its last outcome was seen."""

    @property
    def is_last_seen(self) -> bool:
        """Whether the last outcome of the request was seen: one in the other topic may still be missing."""
        return self._files is not None

    @property
    def is_over(self) -> bool:
        """Whether an outcome of each file was seen."""
        return self._files is not None and len(self._cancelled) + len(self._finished) >= self._files

    def take(self, outcome: OutcomeView | None) -> None:
        """Note an outcome of the key."""
        if outcome is None or outcome.replay != self._replay or outcome.file_index is None:
            return
        is_cancelled = outcome.code == FailureCode.CANCELLED
        (self._cancelled if is_cancelled else self._finished).add(outcome.file_index)
        summary = outcome.request_summary
        self._files = self._files if summary is None else summary.succeeded + summary.failed

    def found(self, end: End | None = None) -> Cancelled:
        """What the files' outcomes tell."""
        cancelled, finished = sorted(self._cancelled), sorted(self._finished)
        end = end or (End.CANCELLED if cancelled else End.ALREADY_FINISHED)
        parts = [f"cancelled file {ranges(cancelled)}"] if cancelled else []
        parts += [f"file {ranges(finished)} ended by itself"] if finished else []
        before = "nothing is left to cancel: it had ended: " if end is End.ALREADY_FINISHED else ""
        return Cancelled(
            end, f"{self.request_id}: {before}{'; '.join(parts)}", tuple(cancelled), tuple(finished)
        )

    def late(self, seconds: float) -> Cancelled:
        """What is known when the time is over."""
        if self.is_last_seen:
            return self.found()
        words = f"no outcome within {seconds:g} s; `scribe status` tells whether a service runs"
        return Cancelled(End.NO_ANSWER, f"{self.request_id}: asked to cancel; {words}")

    def answered(self, outcome: OutcomeView) -> Cancelled:
        """The end that the service's answer to the cancel tells."""
        end = _ANSWERS.get(outcome.code or "", End.REFUSED)
        message = f"{self.request_id}: {outcome.code}: {outcome.message or ''}"
        return Cancelled(end, message, tuple(sorted(self._cancelled)), tuple(sorted(self._finished)))


def _document(request_id: str, replay: int, done: Cancelled) -> dict[str, JsonValue]:
    return {
        "request_id": request_id,
        "replay": replay,
        "outcome": done.end.value,
        "cancelled": [*done.cancelled],
        "finished": [*done.finished],
        "message": done.message,
    }
