"""What each kind of fault does to an answer: other content, late, in part, or no answer at all. It
decides neither which call is hit nor what the healthy answer is.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final, Protocol, cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sandbox.simulator.faults import Fault
from sandbox.simulator.wire import ApiError, Reply, error_reply, json_reply, store_error

CONNECTION: Final = "simulator.connection"
_CHUNK: Final = b" " * 65_536
_TRICKLES: Final = 20
_DROPS: Final = ("drop_before", "drop_after", "hang")


class Connection(Protocol):
    """What the server puts into each request's state: how to end a connection without a word."""

    def abort(self) -> None: ...

    def close(self) -> None: ...


class NoAnswer(Response):
    """Closes the connection instead of answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cast(Connection, scope["state"][CONNECTION]).abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class _CutShort(Response):
    """Promises the whole body, sends half of it, and closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        cast(Connection, scope["state"][CONNECTION]).close()
        while (await receive())["type"] != "http.disconnect":
            pass


def whole(reply: Reply) -> Response:
    """The answer as it should be."""
    return Response(reply.body, reply.status, headers=dict(reply.headers), media_type=reply.content_type)


def broken_reply(fault: Fault, kind: str, task_id: str | None) -> Reply:
    """The content of a call that does no work because of a fault."""
    error = ApiError(fault.http_status(), fault.code, fault.message)
    if fault.kind == "status" and kind == "result":
        return store_error(error.status, error.code, error.message)
    if fault.kind in ("status", "business_code"):
        return error_reply(error, fault.headers())
    if fault.kind == "unknown":
        return json_reply({"output": {"task_id": task_id, "task_status": "UNKNOWN"}}, task_id=task_id)
    if fault.kind == "redirect":
        return Reply(error.status, b"", headers={"location": fault.location})
    page = b"<html><head><title>Gateway</title></head><body><h1>It went wrong.</h1></body></html>"
    return Reply(error.status, page, "text/html", headers=fault.headers())


async def deliver(fault: Fault, reply: Reply, request: Request, closing: asyncio.Event) -> Response:
    """Send, hold back or spoil an answer; waits end early when the client goes or the simulator stops."""
    if fault.kind == "hang":
        await _wait(request, closing, fault.seconds)
    if fault.kind in _DROPS:
        return NoAnswer()
    if fault.kind == "truncate":
        return _CutShort(reply.body, reply.status, headers=dict(reply.headers), media_type=reply.content_type)
    if fault.kind == "huge":
        return _huge(fault)
    if fault.kind == "slow":
        return await _slow(fault, reply, request, closing)
    return whole(reply)


async def _slow(fault: Fault, reply: Reply, request: Request, closing: asyncio.Event) -> Response:
    """A late answer, or, for a result file, one that trickles in."""
    seconds = 1.0 if fault.seconds is None else fault.seconds
    if fault.on != "result":
        arrived = await _wait(request, closing, seconds)
        return whole(reply) if arrived else NoAnswer()
    headers = {**reply.headers, "content-length": str(len(reply.body))}
    return StreamingResponse(
        _trickle(reply.body, seconds), reply.status, headers=headers, media_type=reply.content_type
    )


async def _trickle(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    step = max(1, -(-len(body) // _TRICKLES))
    for begin in range(0, len(body), step):
        await asyncio.sleep(seconds / _TRICKLES)
        yield body[begin : begin + step]


def _huge(fault: Fault) -> Response:
    headers = {"content-encoding": "gzip"} if fault.gzip else {}
    body = _squeezed(fault.size_bytes) if fault.gzip else _blank(fault.size_bytes)
    return StreamingResponse(body, fault.http_status(), headers=headers, media_type="application/json")


async def _blank(size_bytes: int) -> AsyncIterator[bytes]:
    for begin in range(0, size_bytes, len(_CHUNK)):
        yield _CHUNK[: size_bytes - begin]


async def _squeezed(size_bytes: int) -> AsyncIterator[bytes]:
    """Blanks as gzip, a thousandth of their size on the wire."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    async for chunk in _blank(size_bytes):
        yield squeezer.compress(chunk)
    yield squeezer.flush()


async def _wait(request: Request, closing: asyncio.Event, seconds: float | None) -> bool:
    """True when the time passed (None: never), False when the client or the simulator went first."""
    left = asyncio.create_task(gone(request))
    stopped = asyncio.create_task(closing.wait())
    try:
        done, _ = await asyncio.wait((left, stopped), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return not done
    finally:
        left.cancel()
        stopped.cancel()


async def gone(request: Request) -> None:
    """Returns when the client has gone; the request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
