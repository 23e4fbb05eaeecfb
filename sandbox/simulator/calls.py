"""One HTTP call from arrival to answer: picks its fault, lets the endpoint work, writes the ledger.
It knows no endpoint; what a fault does to an answer is in `damage`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sandbox.simulator.clock import http_date
from sandbox.simulator.damage import NoAnswer, broken_reply, deliver, whole
from sandbox.simulator.faults import ANSWER_KINDS, Fault
from sandbox.simulator.ledger import CallEntry, SubmitEntry
from sandbox.simulator.state import SimulatorState
from sandbox.simulator.wire import ApiError, Reply, error_reply

BODY_LIMIT_BYTES: Final = 8 * 1024 * 1024
_FORM_BYTES: Final = 65_536
"""What an upload may have around its file."""


@dataclass
class Call:
    """One request, read whole. The endpoint fills in `entry` and `submit` for the ledger."""

    request: Request
    body: bytes
    entry: CallEntry
    submit: SubmitEntry | None = None
    fault: Fault | None = None
    """The rule that hits the call: the list heeds what concerns its rows."""


Work = Callable[[Call], Reply]


async def run_call(state: SimulatorState, kind: str, request: Request, work: Work) -> Response:
    """Answer one call, well or badly. Every request that arrived whole is one ledger entry.

    The entry is there before the answer is sent; its status is 0 until then.
    """
    limit = state.config.upload_limit_bytes + _FORM_BYTES if kind == "upload" else BODY_LIMIT_BYTES
    try:
        body = await read_body(request, limit)
    except ClientDisconnect:
        return NoAnswer()
    entry = CallEntry(kind, state.clock.now(), state.clock.wall(), task_id=request.path_params.get("task_id"))
    call = Call(request, body, entry)
    fault = call.fault = state.faults.take(kind, f"{request.url} {body.decode('utf-8', 'replace')}")
    reply = _reply(call, fault, partial(_work, call, work, limit))
    entry.task_id = entry.task_id or reply.task_id
    entry.fault = fault.kind if fault else None
    state.ledger.calls.append(entry)
    response = whole(reply) if fault is None else await deliver(fault, reply, request, state.closing)
    entry.status = 0 if isinstance(response, NoAnswer) else response.status_code
    if call.submit is not None:
        call.submit.answered = fault is None or (entry.status == reply.status and fault.kind == "slow")
    response.headers["date"] = http_date(state.clock.now())
    return response


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The body up to one byte more than the limit; the rest is read and dropped."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk[: limit_bytes + 1 - len(body)]
    return bytes(body)


def _reply(call: Call, fault: Fault | None, work: Callable[[], Reply]) -> Reply:
    """What there is to send: the endpoint's answer, or the fault's own, with or without the work done."""
    if fault is None:
        return work()
    done = work() if fault.works_first else None
    if done is not None and fault.kind not in ANSWER_KINDS:
        return done
    task_id = call.entry.task_id or (done.task_id if done is not None else None)
    return replace(broken_reply(fault, call.entry.kind, task_id), task_id=task_id)


def _work(call: Call, work: Work, limit: int) -> Reply:
    try:
        if len(call.body) > limit:
            raise ApiError(400, "BadRequest.TooLarge", "Payload Too Large")
        return work(call)
    except ApiError as error:
        return error_reply(error)
