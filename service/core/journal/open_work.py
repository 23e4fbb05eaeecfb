"""Open requests and jobs, kept short while a task runs: a process may have a hundred thousand of them.

While the task of a request's only file runs, the request is kept as its journal record, and the job as the
key of its submission. Reading either makes an object that equals the one that was stored. Rules this module
guarantees:

1. A job is kept short only if all of it follows from its request and its RUNNING submission, of which nothing
   that a job repeats changes any more.
2. A request is kept short only with its job: what a stage works on is at hand as an object.
3. A request of several files is never kept short: reading it would cost each of its jobs as much as all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping

from service.core.job.accepted_request import AcceptedRequest
from service.core.job.deadlines import Deadlines
from service.core.job.earliest import EarliestTime
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.request_progress import ONE_OPEN_FILE, RequestProgress
from service.core.job.submission import Submission, SubmissionState
from service.core.journal.entries import decode_request, encode_request

MAX_GONE = 1_000
"""Deadlines of jobs that are gone, beyond as many as there are jobs, before they are forgotten."""

_WITH = (JobState.WAITING, JobState.SUBMITTED)


class OpenRequests(MutableMapping[Origin, AcceptedRequest]):
    """The open requests, as objects or as journal records.

    `records` are those that a restore has read: they need not be encoded again.
    """

    __slots__ = ("_kept", "records")

    def __init__(self) -> None:
        self.records: dict[Origin, bytes] = {}
        self._kept: dict[Origin, AcceptedRequest | bytes] = {}

    def shorten(self, origin: Origin) -> bool:
        """Keep the request as its journal record; False if that cannot be made, as when memory is short."""
        kept = self._kept[origin]
        if isinstance(kept, AcceptedRequest):
            try:
                self._kept[origin] = self.records.pop(origin, b"") or encode_request(kept)
            except (MemoryError, TypeError, ValueError):
                # A draft is being adopted, which must not stop half-way.
                return False
        return True

    def __getitem__(self, key: Origin) -> AcceptedRequest:
        kept = self._kept[key]
        return kept if isinstance(kept, AcceptedRequest) else decode_request(key, kept)

    def __setitem__(self, key: Origin, value: AcceptedRequest) -> None:
        self._kept[key] = value

    def __delitem__(self, key: Origin) -> None:
        del self._kept[key]

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[Origin]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


class OpenProgress(MutableMapping[Origin, RequestProgress]):
    """The progress of each open request; nothing is kept of one whose only file is open."""

    __slots__ = ("_kept", "_requests")

    def __init__(self, requests: OpenRequests) -> None:
        self._kept: dict[Origin, RequestProgress] = {}
        self._requests = requests

    def __getitem__(self, key: Origin) -> RequestProgress:
        kept = self._kept.get(key)
        if kept is None and key not in self._requests:
            raise KeyError(key)
        return kept or ONE_OPEN_FILE

    def __setitem__(self, key: Origin, value: RequestProgress) -> None:
        if value == ONE_OPEN_FILE:
            self._kept.pop(key, None)
        else:
            self._kept[key] = value

    def __delitem__(self, key: Origin) -> None:
        self._kept.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._kept or key in self._requests

    def __iter__(self) -> Iterator[Origin]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)


class OpenJobs(MutableMapping[JobRef, Job]):
    """The jobs whose outcome is not durable: their number and the oldest by state, how many wait by model.

    A job is kept as an object or as the key of its submission.
    """

    __slots__ = ("_accepted", "_deadlines", "_kept", "_requests", "_submissions", "by_state", "waiting")

    def __init__(self, requests: OpenRequests, submissions: Mapping[SubmissionKey, Submission]) -> None:
        self.by_state: Counter[JobState] = Counter()
        self.waiting: Counter[str] = Counter()
        self._kept: dict[JobRef, Job | SubmissionKey] = {}
        self._requests = requests
        self._submissions = submissions
        self._deadlines = Deadlines()
        self._accepted = {state: EarliestTime() for state in JobState}

    def accepted_ms(self, state: JobState) -> int | None:
        """When the oldest job of the state was accepted, to ten seconds; None if there is none."""
        return self._accepted[state].earliest_ms()

    def overdue(self, now_ms: int) -> list[JobRef]:
        """The open jobs whose deadline has passed, in the order of the topic."""
        passed = ((ref, self[ref]) for ref in sorted(self._deadlines.passed(now_ms, self._kept)))
        return [ref for ref, job in passed if job.request.deadline_ms <= now_ms and job.is_open]

    def apart(self) -> Iterator[JobRef]:
        """The jobs that do not wait with a submission: they have left it, or it is gone."""
        for ref, kept in self._kept.items():
            key, waits = (kept.submission, kept.state in _WITH) if isinstance(kept, Job) else (kept, True)
            if not (waits and key in self._submissions):
                yield ref

    def __getitem__(self, key: JobRef) -> Job:
        return self._read(key, self._kept[key])

    def __setitem__(self, key: JobRef, value: Job) -> None:
        kept = self._kept.get(key)
        old = None if kept is None else self._read(key, kept)
        if self._follows(value) and self._requests.shorten(key.origin):
            self._kept[key] = value.submission
        else:
            self._kept[key] = value
            if key.origin in self._requests:
                self._requests[key.origin] = value.request
        self._count(old, value)

    def __delitem__(self, key: JobRef) -> None:
        old = self[key]
        del self._kept[key]
        self._count(old, None)

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[JobRef]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def _read(self, ref: JobRef, kept: Job | SubmissionKey) -> Job:
        if isinstance(kept, Job):
            return kept
        return _submitted(ref, self._requests[ref.origin], kept, self._submissions.get(kept))

    def _follows(self, job: Job) -> bool:
        """Whether all of the job follows from its request, which is of one file, and its submission."""
        submission = self._submissions.get(job.submission)
        is_running = submission is not None and submission.state is SubmissionState.RUNNING
        if not is_running or job.request.job_count > 1 or job.ref.origin not in self._requests:
            return False
        return job == _submitted(job.ref, job.request, job.submission, submission)

    def _count(self, old: Job | None, new: Job | None) -> None:
        """Change the counts and the deadlines with the jobs."""
        if old is not None and new is not None and old.state is new.state and old.request is new.request:
            return
        if old is not None:
            self._add(old, -1)
        if new is not None:
            self._add(new, 1)
        if new is not None and (old is None or old.request.deadline_ms != new.request.deadline_ms):
            self._deadlines.add(new.request.deadline_ms, new.ref)
        elif self._deadlines.size > 2 * len(self) + MAX_GONE:
            self._deadlines.forget_gone(self._kept)

    def _add(self, job: Job, number: int) -> None:
        self.by_state[job.state] += number
        self._accepted[job.state].change(job.request.accepted_ms, number)
        if job.state is JobState.WAITING:
            model = job.request.model
            self.waiting[model] += number
            if not self.waiting[model]:
                # Models are named by requests: their number has no bound.
                del self.waiting[model]


def _submitted(
    ref: JobRef, request: AcceptedRequest, key: SubmissionKey, submission: Submission | None
) -> Job:
    """The job whose submission has a task, if it had none before."""
    if submission is None or submission.task_id is None:
        return Job(ref, request, key, JobState.SUBMITTED)
    return Job(
        ref,
        request,
        key,
        JobState.SUBMITTED,
        task_ids=(submission.task_id,),
        submit_attempts=submission.counters.submits,
        submitted_ms=submission.submitted_ms,
        task_files=submission.task_files,
    )
