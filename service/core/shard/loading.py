"""Load a shard from its replayed journal: all records are read before any are linked.

Rules this module guarantees:

1. A job is in the highest-numbered submission that lists it; a job that no submission lists was never tried.
2. A request whose jobs are all done is finished; references to a closed request are ignored, and its job
   records get tombstones.
3. A time in the future, caused by a wrong clock, delays nothing beyond `LATEST_DUE_MS`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.core.job.accepted_request import AcceptedRequest, FileEnd
from service.core.job.events import JobRestored, SubmissionRestored
from service.core.job.identity import NOWHERE, JobRef, Origin, RequestKey, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.packing import plan_submissions
from service.core.job.request_progress import RequestProgress
from service.core.job.submission import UNANSWERED, Counters, Submission, SubmissionState
from service.core.job.transition_context import Boundary, Context, Successor, open_jobs
from service.core.journal.entries import JobEntry
from service.core.journal.replay import Restore
from service.core.shard.batches import Change, Group, JournalRecord, together
from service.core.shard.decisions import Decision
from service.core.shard.draft import Draft
from service.core.shard.finishing import closing_records, finished_of

LATEST_DUE_MS = 600_000
"""Latest due time after now: more than the provider's longest wait (5 min) plus our backoff (1 min)."""
TOMBSTONES = 100
"""Tombstones in one group; they do not depend on each other."""


def tombstones(keys: Iterable[str]) -> Iterator[Group]:
    """Groups of tombstones for the keys."""
    records = [JournalRecord(key, None) for key in keys]
    for first in range(0, len(records), TOMBSTONES):
        yield Group(tuple(records[first : first + TOMBSTONES]))


@dataclass(slots=True)
class Loading:
    """Links replayed records into the draft of a new shard."""

    draft: Draft
    restored: Restore
    now_ms: int
    _groups: list[Group] = field(default_factory=list)
    """What must be written."""
    _submissions: dict[SubmissionKey, Submission] = field(default_factory=dict)
    """Those restored, none of them with a time in the future."""
    _refs: dict[JobRef, JobRef] = field(default_factory=dict)
    """One object for equal references, which saves memory."""
    _home: dict[JobRef, SubmissionKey] = field(default_factory=dict)
    """The last submission of each job."""
    _task_ids: dict[JobRef, tuple[str, ...]] = field(default_factory=dict)
    """The tasks that were made for each job."""

    def link(self) -> tuple[Group, ...]:
        """Fill the draft from the records.

        Returns groups that remove or close leftover records.
        """
        self.draft.spend = self.restored.spend.not_after(self.now_ms)
        for finished in self.restored.finished():
            self.draft.remember(replace(finished, finished_ms=min(finished.finished_ms, self.now_ms)))
            self._name(finished.origin, finished.key)
        requests, entries = self.restored.requests(), self.restored.jobs()
        self._read_submissions()
        closed = (ref for ref in entries if not _has(requests.get(ref.origin), ref.file_index))
        self._groups += tombstones(map(str, closed))
        for request in requests.values():
            # Each identity is kept once: a second copy for a hundred thousand jobs takes 17 MB.
            refs = tuple(self._once(request.ref(file.index)) for file in request.files)
            self._name(refs[0].origin, request.key)
            self._load_request(request, refs, entries)
        self._load_submissions()
        return tuple(self._groups)

    def _once(self, ref: JobRef) -> JobRef:
        """The job's identity as the first submission that lists it has it."""
        return self._refs.get(ref, ref)

    def _name(self, origin: Origin, key: RequestKey) -> None:
        known = self.draft.by_id.get(key.compact)
        self.draft.by_id[key.compact] = origin if known is None else max(known, origin)

    def _read_submissions(self) -> None:
        for key, submission in self.restored.submissions().items():
            self._submissions[key] = _not_ahead(submission, self.now_ms)
            for ref in submission.jobs:
                self._refs.setdefault(ref, ref)
                self._home[ref] = key
                if submission.task_id is not None:
                    self._task_ids[ref] = (*self._task_ids.get(ref, ()), submission.task_id)

    def _load_request(
        self, request: AcceptedRequest, refs: Sequence[JobRef], entries: Mapping[JobRef, JobEntry]
    ) -> None:
        own = {ref: entries[ref] for ref in refs if ref in entries}
        progress = _progress(request, own)
        if not progress.open:
            finished = finished_of(request, progress, self.now_ms)
            self.draft.remember(finished)
            self._groups.append(Group(closing_records(finished, progress)))
            return
        self.draft.requests[refs[0].origin] = request
        for ref in refs:
            entry = own.get(ref) or JobEntry(ref)
            if entry.end is not None:
                continue
            job = self._job(request, ref, entry)
            if job.accounted is not None and job.accounted.carries_summary and not progress.is_decided:
                # A summary over endings that the journal lacks was never sent: account the job again.
                job, progress = replace(job, accounted=None), progress.without_end(ref.file_index)
            self.draft.jobs[ref] = job
        self.draft.progress[request.origin] = progress
        self._plan(request, [ref for ref in refs if self._is_homeless(ref)])

    def _job(self, request: AcceptedRequest, ref: JobRef, entry: JobEntry) -> Job:
        home = self._submissions.get(self._home.get(ref, NOWHERE))
        is_waiting = home is None or home.state is SubmissionState.WAITING
        state = JobState.WAITING if is_waiting else JobState.SUBMITTED
        return Job(
            ref,
            request,
            NOWHERE if home is None else home.key,
            # A job that ends with a result fetches its transcript, or calls the model, again.
            state=state if entry.ending is None else JobState.FINISHING,
            cancelled=entry.cancelled,
            must_be_result=entry.is_result,
            task_ids=self._task_ids.get(ref, ()),
            submit_attempts=0 if home is None else home.counters.submits,
            submitted_ms=None if home is None else home.submitted_ms,
            task_files=home.task_files if home and home.task_id else 0,
            ending=entry.ending,
            accounted=entry.accounted,
        )

    def _plan(self, request: AcceptedRequest, homeless: Sequence[JobRef]) -> None:
        """Plan submissions for jobs that were never tried."""
        if not homeless:
            return
        most = self.draft.shard.most_files(request.model)
        files = [(ref, request.url(ref.file_index)) for ref in homeless]
        for refs in plan_submissions(files, most):
            successor = Successor(refs, request.model, Counters(), self.now_ms)
            self.draft.new_submission(successor, self.now_ms)

    def _is_homeless(self, ref: JobRef) -> bool:
        job = self.draft.jobs.get(ref)
        return job is not None and job.submission == NOWHERE and job.is_open

    def _load_submissions(self) -> None:
        """Load open submissions, and mark those that only wait for their tombstones as over."""
        for submission in self._submissions.values():
            self.draft.submissions[submission.key] = submission
            is_settled = submission.state not in UNANSWERED and not submission.is_followed
            if is_settled and not open_jobs(submission, self.draft.jobs):
                self.draft.end_submission(submission)


def _has(request: AcceptedRequest | None, file_index: int) -> bool:
    return request is not None and any(file.index == file_index for file in request.files)


def _not_ahead(submission: Submission, now_ms: int) -> Submission:
    """The submission without times in the future."""
    latest_ms, submitted_ms = now_ms + LATEST_DUE_MS, submission.submitted_ms
    if max(submission.created_ms, submitted_ms or 0) <= now_ms and submission.due_ms <= latest_ms:
        return submission
    return replace(
        submission,
        created_ms=min(submission.created_ms, now_ms),
        due_ms=min(submission.due_ms, latest_ms),
        submitted_ms=None if submitted_ms is None else min(submitted_ms, now_ms),
    )


def _progress(request: AcceptedRequest, own: Mapping[JobRef, JobEntry]) -> RequestProgress:
    """The request's progress, from its jobs' own records."""
    if not own:
        return RequestProgress.begun(request)
    ends = {ref.file_index: end for ref, entry in own.items() if (end := _decided(entry)) is not None}
    written = frozenset(ref.file_index for ref, entry in own.items() if entry.end is not None)
    return RequestProgress(
        request.job_count,
        open=tuple(file.index for file in request.files if file.index not in written),
        ends=ends,
        written=written,
        recorded=frozenset(ref.file_index for ref in own),
    )


def _decided(entry: JobEntry) -> FileEnd | None:
    """How the job ended or will end; None if that is not decided."""
    if entry.accounted is None:
        return entry.end
    accounted = entry.accounted
    return FileEnd(entry.ref.file_index, entry.ending is None, accounted.billed_seconds, accounted.cost)


def load(draft: Draft, restored: Restore, context: Context, boundary: Boundary) -> Change:
    """Load a new shard's draft from the journal and apply the restore events."""
    return together(_changes(draft, restored, context, boundary))


def _changes(draft: Draft, restored: Restore, context: Context, boundary: Boundary) -> Iterator[Change]:
    yield Change(Loading(draft, restored, context.now_ms).link())
    # Ended jobs first: a submission's restore concerns only open jobs. Open jobs need no event of their own:
    # their submission decides the next step.
    for ref in [ref for ref in draft.jobs.changed() if not draft.jobs[ref].is_open]:
        decision = Decision(draft, context, boundary)
        with boundary(ref, JobRestored()):
            decision.on_job(ref, JobRestored())
        yield decision.change()
    for key in draft.submissions.changed():
        decision = Decision(draft, context, boundary)
        with boundary(key, SubmissionRestored()):
            decision.on_submission(key, SubmissionRestored())
        yield decision.change()
