"""Answers that come as server-sent events: sent in time with the work, and the ways in which a stream can
break. It knows no wire shape.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import cast

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sandbox.simulator.damage import CONNECTION, Connection
from sandbox.simulator.faults import Fault
from sandbox.simulator.ledger import SubmitEntry
from sandbox.simulator.state import SimulatorState
from sandbox.simulator.wire import Reply

EVENT_STREAM = "text/event-stream"
_POLL_SECONDS = 0.05


def sse_stream(events: Sequence[bytes], request_id: str) -> Reply:
    """A stream of events that are framed already."""
    return Reply(
        200, b"".join(events), EVENT_STREAM, headers={"x-request-id": request_id}, events=tuple(events)
    )


class Pace:
    """When the events of a stream are due: spread over the work, the last one at its end.

    The submit counts as answered before the last event is handed out: the client cannot have it any earlier.
    """

    def __init__(self, state: SimulatorState, submit: SubmitEntry) -> None:
        self._clock = state.clock
        self._closing = state.closing
        self._patient_until = submit.wall + state.config.call_patience_seconds
        self._submit = submit
        task = submit.task
        self._begin = task.submitted_at if task.scheduled_at is None else task.scheduled_at
        self._end = task.ended_at or self._begin

    async def send(self, events: Sequence[bytes]) -> AsyncIterator[bytes]:
        """Hand out each event when it is due."""
        for number, event in enumerate(events, 1):
            await self._until(self._begin + (self._end - self._begin) * number / len(events))
            if number == len(events):
                self._submit.answered = True
            yield event

    async def _until(self, moment: float) -> None:
        while not self._is_over() and (seconds := self._clock.real_seconds_until(moment)) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), min(seconds, _POLL_SECONDS))

    def _is_over(self) -> bool:
        return self._closing.is_set() or self._clock.wall() >= self._patient_until


class _Broken(Response):
    """Sends some events and closes the connection in the middle of the stream."""

    def __init__(self, reply: Reply, events: Sequence[bytes]) -> None:
        super().__init__(status_code=reply.status, headers=dict(reply.headers), media_type=EVENT_STREAM)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        cast(Connection, scope["state"][CONNECTION]).close()
        while (await receive())["type"] != "http.disconnect":
            pass


def paced(reply: Reply, pace: Pace) -> Response:
    """The stream as it should be."""
    return _response(reply, pace.send(reply.events))


def trickling(reply: Reply, seconds: float) -> Response:
    """The whole stream over so many real seconds."""

    async def send() -> AsyncIterator[bytes]:
        for event in reply.events:
            await asyncio.sleep(seconds / len(reply.events))
            yield event

    return _response(reply, send())


def broken(fault: Fault, reply: Reply, error_event: bytes) -> Response:
    """The stream up to where the fault cuts it, never with its last event."""
    events = reply.events[: min(max(fault.chunks, 0), len(reply.events) - 1)]
    if fault.kind == "break_stream":
        return _Broken(reply, events)

    async def send() -> AsyncIterator[bytes]:
        for event in events:
            yield event
        if fault.kind == "stream_error":
            yield error_event

    return _response(reply, send())


def _response(reply: Reply, events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, reply.status, headers=dict(reply.headers), media_type=EVENT_STREAM)
