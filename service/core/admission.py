"""What becomes of one request record: new jobs, nothing new, or one failure.

Every record moves the cursor, whatever it holds, and ends in exactly one of the `Admitted` words (N1).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from service.contract.models import model_info
from service.core.events import CancelAsked, DeadlinePassed
from service.core.finished import already_finished, conflict, may_answer, unknown
from service.core.grouping import files_per_task, new_jobs
from service.core.identity import JobKey
from service.core.job import Job, Spec
from service.core.moment import Moment
from service.core.outcomes import record_failure
from service.core.record import Record, cursor_after
from service.core.shard import Change, Move, Shard, together
from service.core.tally import Tally
from service.errors import InvalidRecord
from service.messages import MAX_FILES, Action, DecodedRequest, Request


class Admitted(StrEnum):
    """How a record was taken; the label of the metric that counts records."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    FINISHED = "already_finished"
    CANCEL = "cancel"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Admission:
    """The word for the record, what is to be written, and the new jobs.

    `repeats` names the request, and its replay, that the record asks for once more.
    """

    word: Admitted
    change: Change
    jobs: tuple[Job, ...] = ()
    repeats: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What the operator sets about accepting requests."""

    default_ttl_seconds: float = 7 * 24 * 3600.0
    files_per_task: int | None = None
    """None means the model table's number."""
    copied_headers: frozenset[str] = frozenset()
    copied_headers_bytes: int = 4096


def admit(
    shard: Shard, record: Record, read: DecodedRequest | InvalidRecord, rules: AdmissionRules, moment: Moment
) -> Admission:
    """Take one record into the shard, or into its draft: where this raises, it is left half-way."""
    shard.cursor = cursor_after(record)
    if isinstance(read, InvalidRecord):
        return _refuse(shard, record, read, moment)
    request = read.request
    tally = shard.tallies.get(_key(request))
    if request.action is Action.CANCEL:
        return _cancel(shard, record, request, tally, moment)
    if tally is None:
        return _open(shard, record, read, rules, moment)
    if tally.digest != read.digest:
        return _refuse(shard, record, conflict(request, shard.tallies), moment)
    if not tally.is_whole:
        # Only some of its jobs became durable before a crash, and the record is read again.
        return _open(shard, record, read, rules, moment)
    if tally.has_ended and tally.origin_offset != record.position.offset:
        return _answer(shard, record, request, tally, moment)
    return Admission(Admitted.DUPLICATE, Change(), repeats=_key(request))


def _key(request: Request) -> tuple[str, int]:
    return (request.request_id, request.replay)


def _refuse(shard: Shard, record: Record, error: InvalidRecord, moment: Moment) -> Admission:
    outcome = record_failure(record, error, moment.now_ms, shard.outcomes)
    return Admission(Admitted.REFUSED, Change((Move(outcome=outcome),)))


def _answer(shard: Shard, record: Record, request: Request, tally: Tally, moment: Moment) -> Admission:
    """Say that the request has ended, at most once in a while: else the record is a silent duplicate."""
    if not may_answer(tally, request.action, moment.now_ms):
        return Admission(Admitted.DUPLICATE, Change(), repeats=_key(request))
    refused = _refuse(shard, record, already_finished(request, tally, shard.tallies), moment)
    tally.answered_ms = {**(tally.answered_ms or {}), request.action: moment.now_ms}
    return replace(refused, word=Admitted.FINISHED, repeats=_key(request))


def _cancel(shard: Shard, record: Record, request: Request, tally: Tally | None, moment: Moment) -> Admission:
    if tally is None:
        return _refuse(shard, record, unknown(request), moment)
    if tally.has_ended:
        return _answer(shard, record, request, tally, moment)
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
    jobs = new_jobs(spec, files, files_per_task(info, rules.files_per_task))
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
        duplicates_detected=record.key == request.request_id.encode(),
        accepted_ms=moment.now_ms,
        formats=request.formats,
        has_fixed_deadline=request.deadline is not None,
    )


def _deadline_ms(record: Record, request: Request, rules: AdmissionRules, moment: Moment) -> int:
    """The user's deadline; ours counts from the accept, so that a long outage fails nobody's backlog."""
    if request.deadline is not None:
        return round(1000 * request.deadline.timestamp())
    if request.ttl_seconds is not None:
        made_ms = record.position.timestamp_ms
        # A producer's clock that is ahead must not keep a request alive for years.
        begin_ms = moment.now_ms if made_ms is None else min(made_ms, moment.now_ms)
        return begin_ms + 1000 * request.ttl_seconds
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
