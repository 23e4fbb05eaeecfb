"""One shard's state: its open requests, jobs and submissions, what it remembers, and its cursor.

Rules this module guarantees:

1. What an event changes is changed here at once and carried out only after it is durable: the steps of a
   group wait for its batch, `Change.steps` need not. A method that raises has changed nothing.
2. Records that must not be separated are one group: a task id for all jobs of its POST, the parts of a
   divided submission, a job's outcome and the record that says it is done.
3. Each job gets one outcome, built when its ending is decided (N1); the last one decided of a request
   carries the `request_summary`. The request's short form is written with the last of its outcomes, and the
   tombstones of its job records behind that.
4. What is remembered is bounded in age and in number (N8), and is not forgotten while the record that began
   it may be read again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from service.contract.request import Action
from service.core.job.events import JobEvent, SubmissionEvent
from service.core.job.identity import JobRef, Origin, SubmissionKey, read_key
from service.core.job.job import Job
from service.core.job.request import FinishedRequest
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Boundary, Context, without_boundary
from service.core.journal.entries import encode_done, encode_job, encode_request
from service.core.journal.replay import Restore
from service.core.journal.stamp import OWNER_PREFIX, cursor_key, spend_key
from service.core.shard.batches import Change, Group, JournalRecord, together
from service.core.shard.decisions import Decision, submission_record
from service.core.shard.draft import Draft, open_jobs
from service.core.shard.finishing import finished_record, forget_job
from service.core.shard.loading import load, tombstones
from service.core.shard.state import ShardState

SWEEP_RECORDS = 1_000
"""Tombstones of one sweep: a day without work must not end in one huge batch."""


@dataclass(slots=True)
class Shard(ShardState):
    """The state of one shard; every method is a decision, none does anything."""

    def on_submission(
        self,
        key: SubmissionKey,
        event: SubmissionEvent,
        context: Context,
        boundary: Boundary = without_boundary,
    ) -> Change:
        """Let one submission meet one event, and its jobs what that means for them.

        Nothing happens to one that is gone. `border(ref, event)` is put around what each job meets: where it
        keeps an exception inside, that job alone has not changed, and `on_job` may be tried with the same
        event later. What is raised outside it has changed nothing at all.
        """
        decision = Decision(Draft(self), context, boundary)
        decision.on_submission(key, event)
        return _adopt(decision)

    def on_job(self, ref: JobRef, event: JobEvent, context: Context) -> Change:
        """Let one job meet one event; nothing happens to one that is gone."""
        decision = Decision(Draft(self), context)
        decision.on_job(ref, event)
        return _adopt(decision)

    def forget_job(self, ref: JobRef, context: Context) -> None:
        """Forget a job whose outcome is durable: for every `ref` of a durable group's `ended`, in order."""
        draft = Draft(self)
        forget_job(draft, ref, context)
        draft.adopt()

    def open_jobs(self, key: SubmissionKey) -> tuple[Job, ...]:
        """The jobs that are in a submission now and have not ended; none where it is gone."""
        submission = self.submissions.get(key)
        return () if submission is None else tuple(open_jobs(submission, self.jobs).values())

    def file_urls(self, submission: Submission) -> list[str]:
        """The URLs of its files, but for those of requests that have ended."""
        found = ((ref, self.requests.get(ref.origin)) for ref in submission.jobs)
        return [request.url(ref.file_index) for ref, request in found if request is not None]

    def sweep(self, now_ms: int) -> Change:
        """Tombstones for what has left the window, and for old submissions: the oldest, a bounded number."""
        gone: list[str] = []
        while len(gone) < SWEEP_RECORDS and (finished := self._first_outside(now_ms)):
            gone.append(str(finished.origin))
            self._forget(finished)
        gone += map(str, self.ended_submissions.take(now_ms, SWEEP_RECORDS - len(gone)))
        return Change(tuple(tombstones(gone)))

    def _first_outside(self, now_ms: int) -> FinishedRequest | None:
        """The oldest remembered request, if its time is over; not while its record may be read again."""
        finished = next(iter(self.finished.values()), None)
        if finished is None or not self.durable_cursor.is_past(finished.origin):
            return None
        oldest_ms = now_ms - round(1000 * self.window.seconds)
        is_inside = finished.finished_ms >= oldest_ms and self.finished_jobs <= self.window.jobs
        return None if is_inside else finished

    def _forget(self, finished: FinishedRequest) -> None:
        del self.finished[finished.origin]
        self.finished_jobs -= finished.job_count
        if self.by_id.get(finished.key) == finished.origin:
            del self.by_id[finished.key]
        for action in Action:
            self.answered_ms.pop((finished.origin, action), None)

    def rewrite(self, keys: Iterable[str]) -> Change:
        """The shard's own records for keys that a stranger wrote to behind its claim.

        Written behind everything that is pending. A key that is not known gets a tombstone; over a submission
        that is over a stranger's word on its task may stay.
        """
        return Change(tuple(group for key in keys if (group := self._own_group(key)) is not None))

    def _own_group(self, key: str) -> Group | None:
        if key.startswith(OWNER_PREFIX) or key in (cursor_key(self.epoch), spend_key(self.epoch)):
            # Its own: no stranger can write them away.
            return None
        record = self._own_record(key)
        return None if record is None else Group((record,))

    def _own_record(self, key: str) -> JournalRecord | None:
        try:
            identity = read_key(key)
        except ValueError:
            return JournalRecord(key, None)
        if isinstance(identity, Origin):
            return self._own_request(identity)
        if isinstance(identity, JobRef):
            return JournalRecord(key, self._own_job(identity))
        return self._own_submission(identity)

    def _own_request(self, origin: Origin) -> JournalRecord:
        progress = self.progress.get(origin)
        finished = progress.finished if progress is not None else self.finished.get(origin)
        if finished is not None:
            return finished_record(finished)
        request = self.requests.get(origin)
        return JournalRecord(str(origin), None if request is None else encode_request(request))

    def _own_job(self, ref: JobRef) -> bytes | None:
        """Of one whose outcome is on its way, that it is done: this is written behind that outcome."""
        progress = self.progress.get(ref.origin)
        if progress is None or progress.finished is not None:
            return None
        if ref.file_index in progress.written:
            return encode_done(progress.ends[ref.file_index])
        job = self.jobs.get(ref)
        return None if job is None else encode_job(job)

    def _own_submission(self, key: SubmissionKey) -> JournalRecord | None:
        submission = self.submissions.get(key)
        if submission is not None and key not in self.unwritten:
            return submission_record(submission)
        return None if self.ended_submissions.has(key) else JournalRecord(str(key), None)

    def load(self, restored: Restore, context: Context, boundary: Boundary = without_boundary) -> Change:
        """Become what the journal says; the change holds what is to be written and done next.

        For a new shard only, whose epoch is the claim's. The cursor stays as it was given: whether the
        journal's still holds is for the take-over to judge. `border` as for `on_submission`, and around each
        restored submission.
        """
        draft = Draft(self)
        change = load(draft, restored, context, boundary)
        draft.adopt()
        return together((change, self.rewrite(sorted(restored.overwritten))))

    def overdue(self, now_ms: int) -> list[JobRef]:
        """Open jobs whose deadline has passed."""
        return [ref for ref, job in self.jobs.items() if job.request.deadline_ms <= now_ms and job.is_open]

    def jobs_without_task(self, model: str | None = None) -> int:
        """How many open jobs, or those of a model, wait for a submit, or for its answer."""
        waiting = (each for each in self.submissions.values() if each.state is not SubmissionState.RUNNING)
        return sum(len(open_jobs(each, self.jobs)) for each in waiting if model in (None, each.model))

    def task_ids(self) -> set[str]:
        """The tasks of all submissions that are not over."""
        return {each.task_id for each in self.submissions.values() if each.task_id is not None}


def _adopt(decision: Decision) -> Change:
    change = decision.change()
    decision.draft.adopt()
    return change
