"""What a record is told that repeats, or cancels, a request whose work has ended.

A request has ended when the last of its outcomes is durable. Until then a repeat is silent: the outcomes that
are missing will come, and those that came are in the topics.
"""

from collections.abc import Container

from service.contract.outcome import rfc3339, utc_time
from service.contract.request import MAX_REPLAY, Action, Request
from service.core.job.identity import RequestKey
from service.core.job.request import FinishedRequest
from service.errors import FailureCode, InvalidRecord

ANSWER_EVERY_MS = 60_000
"""A topic that is published anew must not flood the failures topic."""
MAX_CHECKED = 1_000
"""Replay numbers that are tried for one that is unused; who has used so many takes another id."""


def may_answer(last_ms: int | None, now_ms: int) -> bool:
    """Whether the last answer to such a record is long ago; a clock that was set back counts as long."""
    return last_ms is None or not 0 <= now_ms - last_ms < ANSWER_EVERY_MS


def already_finished(
    request: Request, finished: FinishedRequest, known: Container[RequestKey]
) -> InvalidRecord:
    """The refusal that says what came of the request, and how to have it done again."""
    ended = f"the request ended at {_when(finished)}: {_what(finished)}"
    if request.action is Action.CANCEL:
        message = f"nothing is left to cancel: {ended}"
    else:
        message = f"{ended}. To do it again, and be billed again, {advice(request, known)}"
    return refused(request, FailureCode.ALREADY_FINISHED, message)


def conflict(request: Request, known: Container[RequestKey]) -> InvalidRecord:
    """The refusal of other work under an id and a replay number that are taken."""
    taken = "another request with this request_id and replay was accepted before and is untouched"
    return refused(
        request, FailureCode.REQUEST_ID_CONFLICT, f"{taken}. To have this one done, {advice(request, known)}"
    )


def unknown(request: Request) -> InvalidRecord:
    """The refusal of a cancel for which there is no request."""
    message = "no request with this request_id and replay is known to this partition"
    return refused(request, FailureCode.CANCEL_UNKNOWN_REQUEST, message)


def refused(request: Request, code: FailureCode, message: str) -> InvalidRecord:
    """A refusal of a request that could be read whole."""
    return InvalidRecord(
        code,
        message,
        request_id=request.request_id,
        replay=request.replay,
        model=request.model or None,
        metadata=request.metadata or None,
    )


def advice(request: Request, known: Container[RequestKey]) -> str:
    """How to publish the request so that it is new work: under the next unused replay number."""
    numbers = range(request.replay + 1, min(request.replay + MAX_CHECKED, MAX_REPLAY) + 1)
    unused = next((number for number in numbers if RequestKey(request.request_id, number) not in known), None)
    if unused is None:
        return "publish it with a new request_id"
    return f'publish it with "replay": {unused}, or a new request_id'


def _when(finished: FinishedRequest) -> str:
    moment = utc_time(finished.finished_ms)
    return "a time that is not known" if moment is None else rfc3339(moment)


def _what(finished: FinishedRequest) -> str:
    succeeded = sum(end.succeeded for end in finished.ends)
    return f"{succeeded} succeeded, {finished.job_count - succeeded} failed"
