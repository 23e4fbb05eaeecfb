"""Admit one request record: it becomes new jobs, a duplicate, a cancel, or one failure.

Every record moves the cursor, whatever it holds, and gets exactly one `AdmissionKind` (N1).
"""

import sys
from dataclasses import replace
from enum import StrEnum

from service.contract.request import Action, Request
from service.contract.request_decoder import DecodedRequest
from service.core.job.accepted_request import NO_OPTIONS, AcceptedRequest, FinishedRequest, RequestFile
from service.core.job.events import CancelAsked, DeadlinePassed, QueueSubmit
from service.core.job.identity import NOWHERE, JobRef, RequestKey, SubmissionKey
from service.core.job.job import Job
from service.core.job.packing import files_of, plan_submissions
from service.core.job.request_progress import RequestProgress
from service.core.job.request_record import Record, cursor_after
from service.core.job.submission import Counters
from service.core.job.transition_context import Context, Successor
from service.core.journal.entries import encode_request
from service.core.outcome.build import record_failure
from service.core.shard.batches import Change, Group, JournalRecord, together
from service.core.shard.decisions import Decision
from service.core.shard.draft import Draft
from service.core.shard.finished_requests import already_finished, conflict, may_answer, unknown
from service.core.shard.shard import Shard
from service.errors import InvalidRecord
from service.frozen import dataclass


class AdmissionKind(StrEnum):
    """What a record was admitted as; the label of the metric that counts records."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    FINISHED = "already_finished"
    CANCEL = "cancel"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Admission:
    """The kind of the record, what to write, and the new submissions, which wait for their POST.

    The change also holds the steps that queue the submissions: a caller that posts at once gets them again.
    `repeats` names the request that the record repeats.
    """

    kind: AdmissionKind
    change: Change
    submissions: tuple[SubmissionKey, ...] = ()
    repeats: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """The operator's settings for accepting requests."""

    default_ttl_seconds: float = 7 * 24 * 3600.0
    copied_headers: frozenset[str] = frozenset()
    copied_headers_bytes: int = 4096


def admit(
    shard: Shard,
    record: Record,
    read: DecodedRequest | InvalidRecord,
    rules: AdmissionRules,
    context: Context,
) -> Admission:
    """Admit one record and move the cursor past it.

    If this raises, nothing has changed.
    """
    draft = Draft(shard)
    admission = _Admitting(draft, record, rules, context).admit(read)
    draft.cursor = cursor_after(record, shard.generation)
    groups = admission.change.groups or (Group(),)
    # On the last group: the cursor passes a record only after everything that the record caused (N5).
    groups = (*groups[:-1], replace(groups[-1], cursor=draft.cursor))
    draft.adopt()
    return replace(admission, change=replace(admission.change, groups=groups))


@dataclass(slots=True)
class _Admitting:
    """Admits one record to the draft of a shard."""

    draft: Draft
    record: Record
    rules: AdmissionRules
    context: Context

    def admit(self, read: DecodedRequest | InvalidRecord) -> Admission:
        if isinstance(read, InvalidRecord):
            return self._refuse(read)
        request = read.request
        key = RequestKey(request.request_id, request.replay)
        known = self.draft.known(key)
        if known is None:
            return self._refuse(unknown(request)) if request.action is Action.CANCEL else self._open(read)
        if known.origin >= self.draft.shard.origin(self.record.position.offset):
            # Read again after a crash: everything that the record caused is in the journal.
            return self._repeat(request, key)
        if request.action is Action.CANCEL:
            return self._cancel(request, known)
        if known.digest != read.digest:
            return self._refuse(conflict(request, self.draft.shard.by_id))
        if isinstance(known, FinishedRequest):
            return self._answer(request, known)
        return self._repeat(request, key)

    def _repeat(self, request: Request, key: RequestKey) -> Admission:
        if request.action is Action.CANCEL:
            return Admission(AdmissionKind.CANCEL, Change())
        return Admission(AdmissionKind.DUPLICATE, Change(), repeats=key)

    def _refuse(self, error: InvalidRecord) -> Admission:
        outcome = record_failure(self.record, error, self.context.now_ms, self.draft.shard.outcomes)
        return Admission(AdmissionKind.REFUSED, Change((Group(outcomes=(outcome,)),)))

    def _answer(self, request: Request, finished: FinishedRequest) -> Admission:
        """Report that the request has ended, or count a silent duplicate if that was reported just before."""
        place, now_ms = (finished.origin, str(request.action)), self.context.now_ms
        if not may_answer(self.draft.answered_ms.get(place), now_ms):
            return Admission(AdmissionKind.DUPLICATE, Change(), repeats=finished.key)
        refused = self._refuse(already_finished(request, finished, self.draft.shard.by_id))
        self.draft.answered_ms[place] = now_ms
        return replace(refused, kind=AdmissionKind.FINISHED, repeats=finished.key)

    def _cancel(self, request: Request, known: AcceptedRequest | FinishedRequest) -> Admission:
        if isinstance(known, FinishedRequest):
            return self._answer(request, known)
        refs = [known.ref(file.index) for file in known.files]
        return Admission(AdmissionKind.CANCEL, together([self._apply(ref, CancelAsked()) for ref in refs]))

    def _apply(self, ref: JobRef, event: CancelAsked | DeadlinePassed) -> Change:
        decision = Decision(self.draft, self.context)
        decision.on_job(ref, event)
        return decision.change()

    def _open(self, read: DecodedRequest) -> Admission:
        request = self._accepted(read)
        keys = self._plan(request)
        records = (JournalRecord(str(request.origin), encode_request(request)),)
        late: list[Change] = []
        if self.context.has_come(request.deadline_ms):
            late = [self._apply(request.ref(file.index), DeadlinePassed()) for file in request.files]
        queued = self.draft.still_wanted(QueueSubmit(key, self.context.now_ms) for key in keys)
        opened = Change((Group(records, steps=queued),))
        waiting = tuple(key for key in keys if key in self.draft.submissions)
        return Admission(AdmissionKind.ACCEPTED, together([opened, *late]), waiting)

    def _plan(self, request: AcceptedRequest) -> tuple[SubmissionKey, ...]:
        """Add the request; its jobs wait in new submissions, which have no journal records yet."""
        draft, now_ms = self.draft, self.context.now_ms
        most = draft.shard.most_files(request.model)
        draft.requests[request.origin] = request
        draft.by_id[request.key.compact] = request.origin
        draft.progress[request.origin] = RequestProgress.begun(request)
        keys = []
        for refs in plan_submissions(files_of(request), most):
            for ref in refs:
                draft.jobs[ref] = Job(ref, request, NOWHERE)
            successor = Successor(refs, request.model, Counters(), now_ms)
            keys.append(draft.new_submission(successor, now_ms).key)
        return tuple(keys)

    def _accepted(self, read: DecodedRequest) -> AcceptedRequest:
        record, request = self.record, read.request
        indexes = request.file_indexes or tuple(range(len(request.file_urls)))
        return AcceptedRequest(
            origin=self.draft.shard.origin(record.position.offset),
            topic=sys.intern(record.position.topic),
            partition=record.position.partition,
            timestamp_ms=record.position.timestamp_ms,
            request_id=request.request_id,
            replay=request.replay,
            digest=read.digest,
            # All requests share one string: there may be a hundred thousand of them.
            model=sys.intern(request.model),
            files=tuple(RequestFile(index, request.file_urls[index]) for index in indexes),
            file_count=len(request.file_urls),
            deadline_ms=_deadline_ms(record, request, self.rules, self.context.now_ms),
            accepted_ms=self.context.now_ms,
            options=request.options or NO_OPTIONS,
            metadata=request.metadata or None,
            headers=_copied_headers(record, self.rules),
            formats=request.formats,
            has_fixed_deadline=request.deadline is not None,
            duplicates_detected=record.key == request.request_id.encode(),
        )


def _deadline_ms(record: Record, request: Request, rules: AdmissionRules, now_ms: int) -> int:
    """When the request's jobs end without a result.

    The default TTL counts from acceptance, so that a long outage does not fail a backlog.
    """
    if request.deadline is not None:
        return round(1000 * request.deadline.timestamp())
    if request.ttl_seconds is not None:
        made_ms = record.position.timestamp_ms
        # If a producer's clock is ahead, the request must not stay alive for years.
        begin_ms = now_ms if made_ms is None else min(made_ms, now_ms)
        return begin_ms + 1000 * request.ttl_seconds
    return now_ms + round(1000 * rules.default_ttl_seconds)


def _copied_headers(record: Record, rules: AdmissionRules) -> tuple[tuple[str, str], ...]:
    """The headers that outcomes repeat, as many as fit the bound.

    Latin-1 preserves any byte.
    """
    copied: list[tuple[str, str]] = []
    room_bytes = rules.copied_headers_bytes
    for name, value in record.headers:
        text = (value or b"").decode("latin-1")
        size_bytes = len(name.encode()) + len(text)
        if name in rules.copied_headers and size_bytes <= room_bytes:
            room_bytes -= size_bytes
            copied.append((name, text))
    return tuple(copied)
