"""The refusal of a record that repeats or cancels a request that has ended, or that conflicts with another.

A request has ended when its last outcome is durable. Until then a repeat gets no answer: the missing outcomes
will still come, and the others are in the topics.
"""

from collections.abc import Container

from service.contract.outcome import rfc3339, utc_time
from service.contract.request import MAX_REPLAY, Action, Request
from service.core.job.accepted_request import FinishedRequest
from service.core.job.identity import CompactKey, RequestKey
from service.errors import FailureCode, InvalidRecord

ANSWER_EVERY_MS = 60_000
"""Minimum time between two answers, so that republishing a topic does not flood the failures topic."""
MAX_CHECKED = 1_000
"""Replay numbers checked for an unused one; if all are used, the advice is a new request id."""


def may_answer(last_ms: int | None, now_ms: int) -> bool:
    """Whether the last answer is at least `ANSWER_EVERY_MS` old, or the clock was set back since."""
    return last_ms is None or not 0 <= now_ms - last_ms < ANSWER_EVERY_MS


def already_finished(
    request: Request, finished: FinishedRequest, known: Container[CompactKey]
) -> InvalidRecord:
    """The refusal that says how the request ended and how to run it again."""
    ended = f"the request ended at {_when(finished)}: {_what(finished)}"
    if request.action is Action.CANCEL:
        message = f"nothing is left to cancel: {ended}"
    else:
        message = f"{ended}. To do it again, and be billed again, {advice(request, known)}"
    return refused(request, FailureCode.ALREADY_FINISHED, message)


def conflict(request: Request, known: Container[CompactKey]) -> InvalidRecord:
    """The refusal of different work under a request id and replay number that are taken."""
    taken = "another request with this request_id and replay was accepted before and is untouched"
    return refused(
        request, FailureCode.REQUEST_ID_CONFLICT, f"{taken}. To run this request, {advice(request, known)}"
    )


def unknown(request: Request) -> InvalidRecord:
    """The refusal of a cancel for an unknown request."""
    message = "no request with this request_id and replay is known to this partition"
    return refused(request, FailureCode.CANCEL_UNKNOWN_REQUEST, message)


def refused(request: Request, code: FailureCode, message: str) -> InvalidRecord:
    """A refusal of a request that was decoded completely."""
    return InvalidRecord(
        code,
        message,
        request_id=request.request_id,
        replay=request.replay,
        model=request.model or None,
        metadata=request.metadata or None,
    )


def advice(request: Request, known: Container[CompactKey]) -> str:
    """How to publish the request as new work: with the next unused replay number, or a new request id."""
    numbers = range(request.replay + 1, min(request.replay + MAX_CHECKED, MAX_REPLAY) + 1)
    unused = next((number for number in numbers if RequestKey(request.request_id, number) not in known), None)
    if unused is None:
        return "publish it with a new request_id"
    return f'publish it with "replay": {unused}, or a new request_id'


def _when(finished: FinishedRequest) -> str:
    moment = utc_time(finished.finished_ms)
    return "an unknown time" if moment is None else rfc3339(moment)


def _what(finished: FinishedRequest) -> str:
    succeeded = sum(end.succeeded for end in finished.ends)
    return f"{succeeded} succeeded, {finished.job_count - succeeded} failed"
