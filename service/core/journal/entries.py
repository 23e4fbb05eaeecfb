"""Encode and decode the journal's records.

Keys: `r/`, `s/` and `j/` for a request, a submission and a job (`core.job.identity`); `~owner/`, `~cursor/`
and `~spend/` with the owner's epoch for the shard itself. Every record carries a stamp in its header: the
owner epoch, the batch number and the format version. The epoch comes first, so that a reader of any version
finds it.

1. Decoding restores what was encoded; a field with its default value is left out.
2. A record that this version did not write raises `ValueError`: the type and bounds of every field are
   checked.
"""

import sys

from service.core.job.accepted_request import (
    NO_OPTIONS,
    AcceptedRequest,
    FileEnd,
    FinishedRequest,
    RequestFile,
)
from service.core.job.ending import AccountedUsage, FailureEnding
from service.core.job.identity import JobRef, Origin, SubmissionKey, read_key
from service.core.job.job import Job
from service.core.job.request_record import Cursor
from service.core.job.submission import Counters, Intent, Submission, SubmissionState
from service.core.journal.forms import (
    CursorForm,
    FinishedForm,
    JobForm,
    OwnerForm,
    RequestForm,
    SpendForm,
    SubmissionForm,
    dump,
    packed,
    unpacked,
    without_last_zeros,
)
from service.core.journal.stamp import CURSOR_PREFIX, OWNER_PREFIX, SPEND_PREFIX, epoch_of_key, owner_key
from service.core.limits.spend_limit import DaySpend
from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class OwnerEntry:
    """A claim: after it only records of this epoch or a later one count.

    `released`: this is the owner's last record, and the owner no longer calls the provider.
    """

    epoch: int
    member: str
    released: bool = False


@dataclass(frozen=True, slots=True)
class JobEntry:
    """A job's own record: a cancel is noted, the ending is decided, or the job is done.

    `is_result` without `end`: the job ends with a result, whose transcript must be fetched again.
    `end` alone: the outcome is durable.
    """

    ref: JobRef
    cancelled: bool = False
    is_result: bool = False
    ending: FailureEnding | None = None
    accounted: AccountedUsage | None = None
    end: FileEnd | None = None


Entry = AcceptedRequest | FinishedRequest | Submission | JobEntry | Cursor | DaySpend | OwnerEntry

_FINISHED = b'{"ended":'
"""The first bytes of a request's short form: `encode_finished` writes this field first."""
_ONE_TASK = Counters(submits=1, tasks_made=1)
"""The counters of nearly all RUNNING submissions, shared between them."""
_STATES = {state.value[0]: state for state in SubmissionState}


def encode_request(request: AcceptedRequest) -> bytes:
    """Encode an open request: written once, and again only to replace a stale owner's record."""
    accepted_ms, timestamp_ms = request.accepted_ms, request.timestamp_ms
    after_ms = None if timestamp_ms is None else timestamp_ms - accepted_ms
    return dump(
        RequestForm,
        id=request.request_id,
        replay=request.replay,
        digest=request.digest,
        model=request.model,
        files=[(file.index, file.url) for file in request.files],
        count=None if request.file_count == request.job_count else request.file_count,
        at=accepted_ms,
        until=request.deadline_ms - accepted_ms,
        of=(request.topic, request.partition, after_ms),
        options=request.options or None,
        metadata=request.metadata,
        headers=request.headers,
        formats=request.formats,
        fixed=request.has_fixed_deadline,
        deduplicated=request.duplicates_detected,
    )


def encode_finished(finished: FinishedRequest) -> bytes:
    """Encode the short form of a request, which replaces the request's record."""
    return dump(
        FinishedForm,
        ended=finished.finished_ms,
        id=finished.request_id,
        replay=finished.replay,
        digest=finished.digest,
        ends=[[end.file_index, *_end(end)] for end in finished.ends],
    )


def _end(end: FileEnd) -> list[object]:
    return [end.succeeded, end.billed_seconds, end.cost or 0]


def encode_submission(submission: Submission) -> bytes:
    """Encode a submission; its times are relative to `created_ms`."""
    intent, created_ms = submission.intent, submission.created_ms
    return dump(
        SubmissionForm,
        state=submission.state.value[0],
        model=submission.model,
        jobs=tuple(packed(submission.jobs)),
        at=created_ms,
        due=submission.due_ms - created_ms if submission.due_ms else 0,
        tries=tuple(without_last_zeros(submission.counters)),
        intent=intent and (intent.intended_ms - created_ms, *intent[1:]),
        task=submission.task_id,
        sent=None if submission.submitted_ms is None else submission.submitted_ms - created_ms,
        followed=submission.is_followed,
    )


def encode_job(job: Job) -> bytes | None:
    """Encode a job that is not done.

    None if its request and submission hold all of its state.

    A decided failure is encoded whole. For a decided result only that fact is encoded, since its transcript
    is fetched again after a crash.
    """
    if job.accounted is not None:
        ending = job.ending if isinstance(job.ending, FailureEnding) else None
        ending_form = ending and (
            ending.stage,
            ending.code,
            ending.message,
            ending.provider_code,
            ending.retryable,
        )
        accounted = (job.accounted.billed_seconds, job.accounted.carries_summary, job.accounted.cost or 0)
        return dump(JobForm, result=ending is None, ending=ending_form, accounted=accounted)
    if job.must_be_result:
        return dump(JobForm, result=True)
    return dump(JobForm, cancel=True) if job.cancelled else None


def encode_done(end: FileEnd) -> bytes:
    """Encode a job whose outcome is written, in a request with jobs that are not done."""
    return dump(JobForm, done=_end(end))


def encode_cursor(cursor: Cursor) -> bytes:
    """Encode the shard's cursor."""
    place = {"next": cursor.next_offset, "generation": cursor.generation}
    return dump(CursorForm, **place, timestamp=cursor.timestamp_ms, crc=cursor.crc)


def encode_spend(spend: DaySpend) -> bytes:
    """Encode what a day has cost so far."""
    return dump(SpendForm, day=spend.day, seconds=spend.seconds, cost=spend.cost)


def encode_owner(owner: OwnerEntry) -> bytes:
    """Encode a claim."""
    return dump(OwnerForm, epoch=owner.epoch, member=owner.member, released=owner.released)


def decode(key: str, value: bytes) -> Entry:
    """Decode one record of this format.

    Raises `ValueError` for a record that we did not write.
    """
    if key.startswith(CURSOR_PREFIX):
        _require_epoch(key)
        cursor = CursorForm.model_validate_json(value)
        return Cursor(cursor.next, cursor.timestamp, cursor.crc, cursor.generation)
    if key.startswith(SPEND_PREFIX):
        _require_epoch(key)
        spend = SpendForm.model_validate_json(value)
        return DaySpend(spend.day, spend.seconds, spend.cost)
    if key.startswith(OWNER_PREFIX):
        return _read_owner(key, OwnerForm.model_validate_json(value))
    identity = read_key(key)
    if isinstance(identity, Origin):
        return (_read_finished if value.startswith(_FINISHED) else decode_request)(identity, value)
    if isinstance(identity, JobRef):
        return _read_job(identity, JobForm.model_validate_json(value))
    return _read_submission(identity, SubmissionForm.model_validate_json(value))


def _require_epoch(key: str) -> None:
    if epoch_of_key(key) is None:
        raise ValueError("a key without an epoch")


def _read_owner(key: str, form: OwnerForm) -> OwnerEntry:
    if key != owner_key(form.epoch):
        raise ValueError("a claim of another epoch than its key's")
    return OwnerEntry(form.epoch, form.member, form.released)


def _read_finished(origin: Origin, value: bytes) -> FinishedRequest:
    finished = FinishedForm.model_validate_json(value)
    ends = tuple(FileEnd(*end) for end in finished.ends)
    return FinishedRequest(origin, finished.id, finished.replay, finished.digest, ends, finished.ended)


def decode_request(origin: Origin, value: bytes) -> AcceptedRequest:
    """Decode an open request; raises `ValueError` as `decode` does."""
    form = RequestForm.model_validate_json(value)
    if len({index for index, _ in form.files}) < len(form.files):
        raise ValueError("a request that names a file twice")
    topic, partition, after_ms = form.of
    return AcceptedRequest(
        origin=origin,
        topic=sys.intern(topic),
        partition=partition,
        timestamp_ms=None if after_ms is None else form.at + after_ms,
        request_id=form.id,
        replay=form.replay,
        digest=form.digest,
        model=sys.intern(form.model),
        files=tuple(RequestFile(index, url) for index, url in form.files),
        file_count=len(form.files) if form.count is None else form.count,
        deadline_ms=form.at + form.until,
        accepted_ms=form.at,
        options=form.options or NO_OPTIONS,
        metadata=form.metadata,
        headers=form.headers,
        formats=form.formats,
        has_fixed_deadline=form.fixed,
        duplicates_detected=form.deduplicated,
    )


def _read_job(ref: JobRef, form: JobForm) -> JobEntry:
    kinds = (form.cancel, form.result, form.ending is not None, form.done is not None)
    if sum(kinds) != 1 or (form.ending is not None and form.accounted is None):
        raise ValueError("a job record of no kind, or of several")
    return JobEntry(
        ref,
        form.cancel,
        form.result,
        None if form.ending is None else FailureEnding(*form.ending),
        None if form.accounted is None else AccountedUsage(*form.accounted),
        None if form.done is None else FileEnd(ref.file_index, *form.done),
    )


def _read_submission(key: SubmissionKey, form: SubmissionForm) -> Submission:
    state = _STATES.get(form.state)
    if state is None or (form.task is None) == (state is SubmissionState.RUNNING):
        raise ValueError(
            "the record says running and names no task, or names a task and does not say running"
        )
    needs_intent = state in (SubmissionState.INTENDED, SubmissionState.UNCERTAIN)
    if form.intent is None and needs_intent:
        raise ValueError("a submission whose POST may be out, and no word when")
    counters = Counters(*form.tries)
    intent = form.intent and Intent(_later(form.at, form.intent[0]), *form.intent[1:])
    return Submission(
        key,
        sys.intern(form.model),
        tuple(JobRef(Origin(*first), index) for *first, index in unpacked(form.jobs)),
        form.at,
        state=state,
        due_ms=form.at + form.due if form.due else 0,
        counters=_ONE_TASK if counters == _ONE_TASK else counters,
        intent=intent,
        task_id=form.task,
        submitted_ms=None if form.sent is None else _later(form.at, form.sent),
        is_followed=form.followed,
    )


def _later(time_ms: int, after_ms: int) -> int:
    """The later time: a difference of numbers takes 16 bytes less than a sum, which has room for a carry."""
    return time_ms - -after_ms
