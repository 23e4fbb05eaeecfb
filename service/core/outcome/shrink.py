"""Shrink outcomes that the broker refuses for their size.

Repeated calls of `shrink` reduce a result: first without words, then without renderings, then to text alone,
then to a failure; and a failure: without raw bytes, then without its request. Words go first: they are most
of the bytes and were not requested. Sentences stay longest, since renderings can be made from them again.
A form that would leave out nothing is skipped.
"""

from dataclasses import replace

from service.contract.outcome import FAILURE_TYPE, Failure, RequestSummary, Result
from service.contract.stage import Stage
from service.core.outcome.build import Outcome
from service.core.transcript.normalise import text_only, without_words
from service.errors import FailureCode

_NAMING_CHARS = 20
"""Naming shorter renderings in `omitted` takes more room than the renderings."""


def _no_words(body: Result) -> Result:
    return body.model_copy(update={"transcript": without_words(body.transcript)})


def _no_renderings(body: Result) -> Result:
    if sum(map(len, (body.renderings or {}).values())) < _NAMING_CHARS:
        return body
    return body.model_copy(update={"renderings": None})


def _no_sentences(body: Result) -> Result:
    return body.model_copy(update={"transcript": text_only(body.transcript)})


_PARTS = (("words", _no_words), ("renderings", _no_renderings), ("sentences", _no_sentences))


def shrink(outcome: Outcome) -> Outcome | None:
    """The next smaller form of an outcome that the broker refused for its size.

    None if there is none.
    """
    body = outcome.body
    if isinstance(body, Failure):
        return _shrink_failure(outcome, body)
    for part, leave_out in _PARTS:
        reduced = leave_out(body)
        if reduced != body:
            named = reduced.model_copy(update={"omitted": (*body.omitted, part)})
            return replace(outcome, body=named)
    return _too_large(outcome, body)


def _shrink_failure(outcome: Outcome, body: Failure) -> Outcome | None:
    if body.raw is not None:
        return replace(outcome, body=body.model_copy(update={"raw": None}))
    if body.original_request is not None or body.metadata is not None:
        reduced = body.model_copy(update={"original_request": None, "metadata": None})
        return replace(outcome, body=reduced)
    return None


def _too_large(outcome: Outcome, body: Result) -> Outcome:
    failure = Failure(
        request_id=body.request_id,
        replay=body.replay,
        file_index=body.file_index,
        file_count=body.file_count,
        file_url=body.file_url,
        model=body.model,
        task_id=body.task_id,
        stage=Stage.PUBLISH,
        code=FailureCode.RESULT_TOO_LARGE,
        message="the results topic takes no form of this transcript, not even its text alone",
        retryable=outcome.may_succeed,
        attempts=body.attempts,
        times=body.times,
        duplicates_detected=body.duplicates_detected,
        metadata=body.metadata,
        request_summary=_one_more_failed(body.request_summary),
    )
    headers = tuple(
        (name, FAILURE_TYPE.encode() if name == "ce_type" else value) for name, value in outcome.headers
    )
    return replace(outcome, body=failure, headers=headers)


def _one_more_failed(summary: RequestSummary | None) -> RequestSummary | None:
    if summary is None:
        return None
    return summary.model_copy(update={"succeeded": summary.succeeded - 1, "failed": summary.failed + 1})
