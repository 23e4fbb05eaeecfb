"""The journal's records: how what a shard knows is written down and read back.

Keys: `r/`, `s/` and `j/` for a request, a submission and a job (`core.identity`); `~cursor`, `~spend` and
`~owner/<epoch>` for the shard itself. Every record carries a stamp in its header: the owner epoch, the batch
number and the format version, the epoch first, so that a reader of any version finds it.

1. What is written is read back as it was; a field that has its usual value is left out.
2. What this version did not write raises `ValueError`: every field is checked for its type and its bounds.
"""

import sys
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter

from service.core.ending import FailureEnding, Tallied
from service.core.identity import JobRef, Origin, Position, SubmissionKey, read_key
from service.core.job import Job
from service.core.journal_forms import (
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
from service.core.record import Cursor
from service.core.request import AcceptedRequest, FileEnd, FinishedRequest, RequestFile
from service.core.spend import DaySpend
from service.core.submission import Counters, Intent, Submission, SubmissionState

CURSOR_KEY = "~cursor"
SPEND_KEY = "~spend"
OWNER_PREFIX = "~owner/"
STAMP_HEADER = "scribe-stamp"
_MOST_DIGITS = 18
FORMAT = 2
"""The version of the records' form; a journal that holds another one is refused."""


def owner_key(epoch: int) -> str:
    """The key of a claim: one of its own for each epoch, so that no later record compacts it away."""
    return f"{OWNER_PREFIX}{epoch}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who wrote a journal record: the owner epoch, the number of the batch, and in which form."""

    epoch: int
    batch: int
    format: int = FORMAT

    def encode(self) -> bytes:
        """As the header's value."""
        return f"{self.epoch}.{self.batch}.{self.format}".encode()

    @staticmethod
    def decode(value: bytes) -> "Stamp":
        """Read a header's value, of this format version or a later one; raises `ValueError` for no stamp."""
        epoch, batch, version = (_whole(part) for part in value.split(b".", 3)[:3])
        return Stamp(epoch, batch, version)


def epoch_of(stamp: bytes) -> int:
    """The owner epoch in a stamp of any format version; raises `ValueError` for no stamp."""
    return _whole(stamp.partition(b".")[0])


def _whole(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise ValueError("no number of a stamp")
    return int(digits)


@dataclass(frozen=True, slots=True)
class Owner:
    """A claim: from here on only records of this epoch, or a later one, count.

    `released`: its owner wrote this last of all, and calls the provider no more.
    """

    epoch: int
    member: str
    released: bool = False


@dataclass(frozen=True, slots=True)
class JobEntry:
    """What a job's own record says: it is to be cancelled, its ending is decided, or it is done.

    `is_result` without `end`: it ends with a result, whose transcript is to be fetched again. `end` alone
    says that its outcome is durable.
    """

    ref: JobRef
    cancelled: bool = False
    is_result: bool = False
    ending: FailureEnding | None = None
    tallied: Tallied | None = None
    end: FileEnd | None = None


Entry = AcceptedRequest | FinishedRequest | Submission | JobEntry | Cursor | DaySpend | Owner

_REQUEST: TypeAdapter[FinishedForm | RequestForm] = TypeAdapter(
    Annotated[FinishedForm | RequestForm, Field(union_mode="left_to_right")],
    config=ConfigDict(hide_input_in_errors=True),
)
_STATES = {state.value[0]: state for state in SubmissionState}


def encode_request(request: AcceptedRequest) -> bytes:
    """An open request: written once, and again only over a stranger's record."""
    return dump(
        RequestForm,
        id=request.request_id,
        replay=request.replay,
        digest=request.digest,
        model=request.model,
        files=[(file.index, file.url) for file in request.files],
        count=request.file_count,
        deadline=request.deadline_ms,
        accepted=request.accepted_ms,
        topic=request.position.topic,
        partition=request.position.partition,
        timestamp=request.position.timestamp_ms,
        options=request.options,
        metadata=request.metadata,
        headers=request.headers,
        formats=request.formats,
        fixed=request.has_fixed_deadline,
        deduplicated=request.duplicates_detected,
    )


def encode_finished(finished: FinishedRequest) -> bytes:
    """What is left of a request, in the place of the request itself."""
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
    """A submission."""
    intent, created_ms = submission.intent, submission.created_ms
    return dump(
        SubmissionForm,
        state=submission.state.value[0],
        model=submission.model,
        jobs=tuple(packed(submission.jobs)),
        at=created_ms,
        due=submission.due_ms - created_ms if submission.due_ms else 0,
        tries=tuple(without_last_zeros(submission.counters)),
        intent=intent and (intent.sealed_ms - created_ms, *intent[1:]),
        task=submission.task_id,
        sent=None if submission.submitted_ms is None else submission.submitted_ms - created_ms,
        followed=submission.is_followed,
    )


def encode_job(job: Job) -> bytes | None:
    """What an open job needs a record of its own for; None where its request and submission say it all.

    Of one whose ending is decided: a failure whole, of a result only that it is one, since its transcript
    is fetched again after a crash.
    """
    if job.tallied is not None:
        ending = job.ending if isinstance(job.ending, FailureEnding) else None
        told = ending and (ending.stage, ending.code, ending.message, ending.provider_code, ending.retryable)
        tallied = (job.tallied.billed_seconds, job.tallied.carries_summary, job.tallied.cost or 0)
        return dump(JobForm, result=ending is None, ending=told, tallied=tallied)
    if job.must_be_result:
        return dump(JobForm, result=True)
    return dump(JobForm, cancel=True) if job.cancelled else None


def encode_done(end: FileEnd) -> bytes:
    """A job whose outcome is durable, of a request that has other jobs."""
    return dump(JobForm, done=_end(end))


def encode_cursor(cursor: Cursor) -> bytes:
    """The shard's cursor."""
    place = {"next": cursor.next_offset, "generation": cursor.generation}
    return dump(CursorForm, **place, timestamp=cursor.timestamp_ms, crc=cursor.crc)


def encode_spend(spend: DaySpend) -> bytes:
    """What a day has cost so far."""
    return dump(SpendForm, day=spend.day, seconds=spend.seconds, cost=spend.cost)


def encode_owner(owner: Owner) -> bytes:
    """A claim."""
    return dump(OwnerForm, epoch=owner.epoch, member=owner.member, released=owner.released)


def decode(key: str, value: bytes) -> Entry:
    """Read one record of this format back; raises `ValueError` for what we did not write."""
    if key == CURSOR_KEY:
        cursor = CursorForm.model_validate_json(value)
        return Cursor(cursor.next, cursor.timestamp, cursor.crc, cursor.generation)
    if key == SPEND_KEY:
        spend = SpendForm.model_validate_json(value)
        return DaySpend(spend.day, spend.seconds, spend.cost)
    if key.startswith(OWNER_PREFIX):
        return _read_owner(key, OwnerForm.model_validate_json(value))
    identity = read_key(key)
    if isinstance(identity, Origin):
        return _read_request(identity, value)
    if isinstance(identity, JobRef):
        return _read_job(identity, JobForm.model_validate_json(value))
    return _read_submission(identity, SubmissionForm.model_validate_json(value))


def _read_owner(key: str, form: OwnerForm) -> Owner:
    if key != owner_key(form.epoch):
        raise ValueError("a claim of another epoch than its key's")
    return Owner(form.epoch, form.member, form.released)


def _read_request(origin: Origin, value: bytes) -> AcceptedRequest | FinishedRequest:
    form = _REQUEST.validate_json(value, strict=True)
    if isinstance(form, FinishedForm):
        ends = tuple(FileEnd(*end) for end in form.ends)
        return FinishedRequest(origin, form.id, form.replay, form.digest, ends, form.ended)
    if len({index for index, _ in form.files}) < len(form.files):
        raise ValueError("a request that names a file twice")
    return AcceptedRequest(
        origin=origin,
        position=Position(sys.intern(form.topic), form.partition, origin.offset, form.timestamp),
        request_id=form.id,
        replay=form.replay,
        digest=form.digest,
        model=sys.intern(form.model),
        files=tuple(RequestFile(index, url) for index, url in form.files),
        file_count=form.count,
        deadline_ms=form.deadline,
        accepted_ms=form.accepted,
        options=form.options,
        metadata=form.metadata,
        headers=form.headers,
        formats=form.formats,
        has_fixed_deadline=form.fixed,
        duplicates_detected=form.deduplicated,
    )


def _read_job(ref: JobRef, form: JobForm) -> JobEntry:
    kinds = (form.cancel, form.result, form.ending is not None, form.done is not None)
    if sum(kinds) != 1 or (form.ending is not None and form.tallied is None):
        raise ValueError("a job record of no kind, or of several")
    return JobEntry(
        ref,
        form.cancel,
        form.result,
        None if form.ending is None else FailureEnding(*form.ending),
        None if form.tallied is None else Tallied(*form.tallied),
        None if form.done is None else FileEnd(ref.file_index, *form.done),
    )


def _read_submission(key: SubmissionKey, form: SubmissionForm) -> Submission:
    state = _STATES.get(form.state)
    if state is None or (form.task is None) == (state is SubmissionState.RUNNING):
        raise ValueError("a submission that is running without a task, or has one and is not")
    needs_intent = state in (SubmissionState.INTENDED, SubmissionState.UNCERTAIN)
    if form.intent is None and needs_intent:
        raise ValueError("a submission whose POST may be out, and no word when")
    intent = form.intent and Intent(form.at + form.intent[0], *form.intent[1:])
    return Submission(
        key,
        sys.intern(form.model),
        tuple(JobRef(Origin(*first), index) for *first, index in unpacked(form.jobs)),
        form.at,
        state=state,
        due_ms=form.at + form.due if form.due else 0,
        counters=Counters(*form.tries),
        intent=intent,
        task_id=form.task,
        submitted_ms=None if form.sent is None else form.at + form.sent,
        is_followed=form.followed,
    )
