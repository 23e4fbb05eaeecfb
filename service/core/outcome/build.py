"""Build the records that users consume, results and failures, from a job's ending.

Rules this module guarantees:

1. `ce_id` is the job key alone, or the origin of a record that belongs to no job, so that a repeated
   delivery always has the same id.
2. A result has every requested rendering, or a warning that its transcript has no times for it; a failure has
   none.
3. A result carries its URL without the query; a failure's `original_request` follows the rules (N9).
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from typing import Literal

from pydantic import JsonValue

from service.contract import options
from service.contract.options import Notice, NoticeCode
from service.contract.outcome import (
    FAILURE_TYPE,
    RESULT_TYPE,
    Attempts,
    Failure,
    Origin,
    ProviderTimes,
    RequestSummary,
    Result,
    Times,
    Usage,
    rfc3339,
    utc_time,
)
from service.contract.redaction import without_query
from service.contract.request_decoder import raw_failure_fields
from service.contract.stage import Stage
from service.contract.traceparent import TRACEPARENT, TraceParent, trace_parent
from service.contract.transcript import Transcript
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.identity import Position
from service.core.job.job import Job
from service.core.job.request_record import Record
from service.core.transcript.missing_times import interpolated_times, speech_ms
from service.core.transcript.rendering import render
from service.core.transcript.short_result import is_cut_off
from service.core.transcript.whole_text import is_incomplete
from service.errors import InvalidRecord
from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class OutcomeRules:
    """The operator's settings for outcomes.

    `original_request` says how much of a request a failure repeats. Raw bytes are repeated only with `full`,
    since the queries of their URLs cannot be removed.
    """

    source: str = "/scribe"
    original_request: Literal["full", "no_query", "none"] = "full"
    has_publish_span: bool = False
    """Whether a span is recorded for the publication of a traced outcome, which its reader continues."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One record for the results or the failures topic.

    A body that cannot be encoded raises here, where the job is known, and not while publishing.
    """

    id: str
    key: str
    body: Result | Failure
    headers: tuple[tuple[str, bytes], ...]
    may_succeed: bool = True
    """Whether the same work, published again, can still get a result."""
    trace: TraceParent | None = None
    """What the request's `traceparent` named."""
    value: bytes = field(init=False, repr=False, compare=False)
    """The encoded body."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.body.to_bytes())

    @property
    def is_result(self) -> bool:
        """Whether it belongs to the results topic, else to the failures topic."""
        return isinstance(self.body, Result)


def job_outcome(job: Job, summary: RequestSummary | None, now_ms: int, rules: OutcomeRules) -> Outcome:
    """The outcome of a job whose ending is decided."""
    if isinstance(job.ending, ResultEnding):
        body: Result | Failure = _result(job, job.ending, summary, now_ms)
    else:
        assert job.ending is not None
        body = _failure(job, job.ending, summary, now_ms, rules)
    identity, request_id, trace = str(job.key), job.request.request_id, trace_parent(job.request.headers)
    copied = _copied(job, identity, trace if rules.has_publish_span else None)
    headers = (*_cloud_headers(identity, request_id, body, now_ms, rules), *copied)
    return Outcome(identity, request_id, body, headers, _may_succeed(job, now_ms), trace)


def _copied(job: Job, identity: str, trace: TraceParent | None) -> Iterator[tuple[str, bytes]]:
    """The request's headers; a sampled trace goes on from the span that publishes this outcome."""
    for name, value in job.request.headers:
        if name == TRACEPARENT and trace is not None and trace.is_sampled:
            yield name, trace.header(trace.child_id(identity)).encode()
        else:
            yield name, value.encode("latin-1")


def record_failure(record: Record, error: InvalidRecord, now_ms: int, rules: OutcomeRules) -> Outcome:
    """The failure of a record that became no job; with `full` it holds the record's bytes or their start."""
    raw, raw_bytes, raw_sha256 = raw_failure_fields(record.value)
    body = Failure(
        request_id=error.request_id,
        replay=error.replay,
        model=error.model,
        stage=Stage.DECODE if error.request_id is None else Stage.ACCEPT,
        code=error.code,
        message=error.message,
        retryable=False,
        attempts=Attempts(submit=0, poll=0, fetch=0),
        times=Times(requested_at=utc_time(record.position.timestamp_ms), published_at=utc_time(now_ms)),
        origin=_origin(record.position),
        raw=raw if rules.original_request == "full" else None,
        raw_bytes=raw_bytes,
        raw_sha256=raw_sha256,
        metadata=_plain(error.metadata),
    )
    key = error.request_id or record.origin_id
    headers = _cloud_headers(record.origin_id, key, body, now_ms, rules)
    return Outcome(record.origin_id, key, body, headers)


def _may_succeed(job: Job, now_ms: int) -> bool:
    """Whether the same request has time left: a fixed deadline does not move."""
    return not job.request.has_fixed_deadline or now_ms < job.request.deadline_ms


def billed_seconds(job: Job) -> int | None:
    """The billed seconds of this file: the task's bill, or its own speech if the task has several files."""
    if job.task_files <= 1 or job.task_end.billed_seconds is None:
        return job.task_end.billed_seconds
    if not isinstance(job.ending, ResultEnding):
        return 0
    return math.ceil(speech_ms(job.ending.transcript) / 1000)


def usage_of(job: Job) -> Usage:
    """The provider's bill for this file, as far as it reports it."""
    return Usage(
        billed_seconds=billed_seconds(job),
        estimated=job.task_files > 1 or job.task_end.bill.is_estimated,
        task_billed_seconds=job.task_end.billed_seconds,
        input_tokens=job.task_end.bill.input_tokens,
        output_tokens=job.task_end.bill.output_tokens,
    )


def _result(job: Job, ending: ResultEnding, summary: RequestSummary | None, now_ms: int) -> Result:
    request, renderings = job.request, _renderings(job, ending)
    return Result(
        request_id=request.request_id,
        replay=request.replay,
        file_index=job.ref.file_index,
        file_count=request.file_count,
        file_url=without_query(job.file_url),
        model=request.model,
        task_id=job.task_id,
        transcript=ending.transcript,
        usage=usage_of(job),
        times=_times(job, now_ms),
        attempts=_attempts(job),
        warnings=_warnings(job, ending, renderings or {}),
        omitted=(),
        renderings=renderings,
        duplicates_detected=request.duplicates_detected,
        metadata=_plain(request.metadata),
        request_summary=summary,
    )


def _renderings(job: Job, ending: ResultEnding) -> dict[str, str] | None:
    if not job.request.formats:
        return None
    made = ending.renderings
    return render(ending.transcript, job.request.formats) if made is None else dict(made)


def _warnings(job: Job, ending: ResultEnding, renderings: Collection[str]) -> tuple[Notice, ...]:
    notices = list(
        options.warnings_for(job.request.model, job.request.options, ending.transcript.audio.duration_ms)
    )
    if ending.silent:
        notices.append(
            Notice(code=NoticeCode.NO_SPEECH, message="The provider found no speech in this file.")
        )
    if utc_time(job.request.timestamp_ms) is None:
        text = "The record has no time that can be used: a `ttl_seconds` counts from the acceptance."
        notices.append(Notice(code=NoticeCode.RECORD_TIME_UNUSABLE, message=text))
    if is_cut_off(ending.transcript):
        text = "The model stopped writing before the text was whole: split the file, or ask for less."
        notices.append(Notice(code=NoticeCode.TEXT_CUT, message=text))
    notices += _transcript_warnings(ending.transcript)
    if lacking := [name.value for name in job.request.formats if name.value not in renderings]:
        text = f"The model gave no usable times for this file, so there is no {' and no '.join(lacking)}."
        notices.append(Notice(code=NoticeCode.NO_TIMES, message=text))
    return tuple(notices)


def _transcript_warnings(transcript: Transcript) -> Iterator[Notice]:
    if any(map(is_incomplete, transcript.channels)):
        text = "The provider's sentences lack a part of the text: `text` or `provider_text` has all of it."
        yield Notice(code=NoticeCode.SENTENCES_INCOMPLETE, message=text)
    if interpolated := interpolated_times(transcript):
        text = f"The provider left out times ({interpolated} of sentences or words); they are interpolated."
        yield Notice(code=NoticeCode.TIMES_INCOMPLETE, message=text)


def _failure(
    job: Job, ending: FailureEnding, summary: RequestSummary | None, now_ms: int, rules: OutcomeRules
) -> Failure:
    request = job.request
    return Failure(
        request_id=request.request_id,
        replay=request.replay,
        file_index=job.ref.file_index,
        file_count=request.file_count,
        file_url=without_query(job.file_url),
        model=request.model,
        task_id=job.task_id,
        stage=ending.stage,
        code=ending.code,
        provider_code=ending.provider_code,
        message=ending.message,
        retryable=ending.retryable and _may_succeed(job, now_ms),
        attempts=_attempts(job),
        times=_times(job, now_ms),
        origin=_origin(request.position),
        original_request=_original_request(job, rules),
        duplicates_detected=request.duplicates_detected,
        metadata=_plain(request.metadata),
        request_summary=summary,
    )


def _original_request(job: Job, rules: OutcomeRules) -> dict[str, JsonValue] | None:
    """The request reduced to this job's file.

    Published with a new id, it repeats the work for this file.
    """
    if rules.original_request == "none":
        return None
    asked = job.request
    url = job.file_url if rules.original_request == "full" else without_query(job.file_url)
    request: dict[str, JsonValue] = {"request_id": asked.request_id, "file_urls": [url], "model": asked.model}
    if asked.options:
        request["options"] = dict(asked.options)
    if asked.formats:
        request["output"] = {"formats": [*asked.formats]}
    if asked.metadata is not None:
        request["metadata"] = dict(asked.metadata)
    return request


def _plain(metadata: Mapping[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    return None if metadata is None else dict(metadata)


def _attempts(job: Job) -> Attempts:
    return Attempts(submit=job.submit_attempts, poll=job.poll_attempts, fetch=job.fetch.attempts)


def _times(job: Job, now_ms: int) -> Times:
    submit_time, scheduled_time, end_time = job.task_end.provider_times
    fetched = now_ms if isinstance(job.ending, ResultEnding) and job.fetch.attempts else None
    return Times(
        requested_at=utc_time(job.request.timestamp_ms),
        accepted_at=utc_time(job.request.accepted_ms),
        submitted_at=utc_time(job.submitted_ms),
        completed_at=utc_time(job.task_end.completed_ms),
        fetched_at=utc_time(fetched),
        published_at=utc_time(now_ms),
        provider=ProviderTimes(submit_time=submit_time, scheduled_time=scheduled_time, end_time=end_time),
    )


def _origin(position: Position) -> Origin:
    return Origin(
        topic=position.topic,
        partition=position.partition,
        offset=position.offset,
        timestamp=utc_time(position.timestamp_ms),
    )


def _cloud_headers(
    identity: str, subject: str, body: Result | Failure, now_ms: int, rules: OutcomeRules
) -> tuple[tuple[str, bytes], ...]:
    """CloudEvents 1.0 headers in the Kafka binding's binary mode."""
    kind = RESULT_TYPE if isinstance(body, Result) else FAILURE_TYPE
    now = utc_time(now_ms)
    values = {
        "ce_specversion": "1.0",
        "ce_id": identity,
        "ce_type": kind,
        "ce_source": rules.source,
        "ce_time": now and rfc3339(now),
        "ce_subject": subject,
        "content-type": "application/json",
    }
    return tuple((name, value.encode()) for name, value in values.items() if value)
