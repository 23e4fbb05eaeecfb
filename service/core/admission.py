"""What becomes of one request record: new jobs, nothing new, or one failure.

Every record moves the cursor, whatever it holds, and ends in exactly one of the `Admitted` words (N1).
"""

from dataclasses import dataclass
from enum import StrEnum

from service.contract.models import model_info
from service.core.events import CancelAsked, DeadlinePassed
from service.core.grouping import new_jobs
from service.core.identity import JobKey
from service.core.job import Job, Spec
from service.core.moment import Moment
from service.core.outcomes import record_failure
from service.core.record import Record, cursor_after
from service.core.shard import Change, Move, Shard, together
from service.errors import FailureCode, InvalidRecord
from service.messages import MAX_FILES, Action, DecodedRequest, Request


class Admitted(StrEnum):
    """How a record was taken; the label of the metric that counts records."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CANCEL = "cancel"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Admission:
    """The word for the record, what is to be written, and the new jobs."""

    word: Admitted
    change: Change
    jobs: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What the operator sets about accepting requests."""

    default_ttl_seconds: float = 7 * 24 * 3600.0
    files_per_task: int = 100
    copied_headers: frozenset[str] = frozenset()
    copied_headers_bytes: int = 4096


def admit(
    shard: Shard, record: Record, read: DecodedRequest | InvalidRecord, rules: AdmissionRules, moment: Moment
) -> Admission:
    """Take one record into the shard, or into its draft: where this raises, it is left half-way."""
    shard.cursor = cursor_after(record)
    if isinstance(read, InvalidRecord):
        return _refuse(shard, record, read, moment)
    if read.request.action is Action.CANCEL:
        return _cancel(shard, record, read.request, moment)
    tally = shard.tallies.get((read.request.request_id, read.request.replay))
    if tally is None:
        return _open(shard, record, read, rules, moment)
    if tally.digest == read.digest:
        # Not whole: only some of its jobs became durable before a crash, and the record is read again.
        is_known = tally.is_whole
        return (
            Admission(Admitted.DUPLICATE, Change()) if is_known else _open(shard, record, read, rules, moment)
        )
    conflict = InvalidRecord(
        FailureCode.REQUEST_ID_CONFLICT,
        "another request with this request_id and replay was accepted before; it goes on untouched",
        request_id=read.request.request_id,
    )
    return _refuse(shard, record, conflict, moment)


def _refuse(shard: Shard, record: Record, error: InvalidRecord, moment: Moment) -> Admission:
    outcome = record_failure(record, error, moment.now_ms, shard.outcomes)
    return Admission(Admitted.REFUSED, Change((Move(outcome=outcome),)))


def _cancel(shard: Shard, record: Record, request: Request, moment: Moment) -> Admission:
    tally = shard.tallies.get((request.request_id, request.replay))
    if tally is None:
        unknown = InvalidRecord(
            FailureCode.CANCEL_UNKNOWN_REQUEST,
            "no request with this request_id and replay is known to this partition",
            request_id=request.request_id,
        )
        return _refuse(shard, record, unknown, moment)
    keys = [JobKey(request.request_id, request.replay, index) for index in range(MAX_FILES)]
    return Admission(Admitted.CANCEL, together([shard.apply(key, CancelAsked(), moment) for key in keys]))


def _open(
    shard: Shard, record: Record, read: DecodedRequest, rules: AdmissionRules, moment: Moment
) -> Admission:
    request = read.request
    indexes = request.file_indexes or tuple(range(len(request.file_urls)))
    info = model_info(request.model)
    assert info is not None, "read_request refuses models that are not in the table"
    spec = _spec(record, read, len(indexes), rules, moment)
    files = [(index, request.file_urls[index]) for index in indexes]
    jobs = new_jobs(spec, files, min(info.files_per_task, rules.files_per_task))
    new = shard.unknown(jobs)
    change = shard.open_request(new)
    if moment.now_ms < spec.deadline_ms:
        return Admission(Admitted.ACCEPTED, change, new)
    late = [shard.apply(job.key, DeadlinePassed(), moment) for job in new]
    return Admission(Admitted.ACCEPTED, together([change, *late]))


def _spec(
    record: Record, read: DecodedRequest, job_count: int, rules: AdmissionRules, moment: Moment
) -> Spec:
    request = read.request
    return Spec(
        request_id=request.request_id,
        replay=request.replay,
        file_count=len(request.file_urls),
        job_count=job_count,
        model=request.model,
        options=request.options,
        metadata=request.metadata or None,
        headers=_copied_headers(record, rules),
        deadline_ms=_deadline_ms(record, request, rules, moment),
        origin=record.position,
        digest=read.digest,
        deduplicated=record.key == request.request_id.encode(),
        accepted_ms=moment.now_ms,
        formats=request.formats,
    )


def _deadline_ms(record: Record, request: Request, rules: AdmissionRules, moment: Moment) -> int:
    """The user's deadline; ours counts from the accept, so that a long outage fails nobody's backlog."""
    if request.deadline is not None:
        return round(1000 * request.deadline.timestamp())
    if request.ttl_seconds is not None:
        return record.position.timestamp_ms + 1000 * request.ttl_seconds
    return moment.now_ms + round(1000 * rules.default_ttl_seconds)


def _copied_headers(record: Record, rules: AdmissionRules) -> tuple[tuple[str, str], ...]:
    """The headers an outcome repeats, as many as fit the bound; latin-1 keeps any byte as it is."""
    copied: list[tuple[str, str]] = []
    room_bytes = rules.copied_headers_bytes
    for name, value in record.headers:
        text = (value or b"").decode("latin-1")
        size_bytes = len(name.encode()) + len(text)
        if name in rules.copied_headers and size_bytes <= room_bytes:
            room_bytes -= size_bytes
            copied.append((name, text))
    return tuple(copied)
