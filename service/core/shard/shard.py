"""Decisions on the state of one shard: every event that changes it passes through here.

Rules this module guarantees:

1. An event changes the state at once; its effects wait until the change is durable. The steps of a group wait
   for its batch, `Change.steps` need not. A method that raises has changed nothing.
2. Records that must not be separated are one group: a task id for all jobs of its POST, the parts of a
   divided submission, a job's outcome and the record that says it is done.
3. Each job gets one outcome, built when its ending is decided (N1); the last ending decided in a request
   carries the `request_summary`. The request's short form is written with its last outcome, and the
   tombstones of its job records after that.
4. Remembered requests are bounded in age and number (N8), and are kept as long as their request record may
   be read again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from service.contract.request import Action
from service.core.job.accepted_request import FinishedRequest
from service.core.job.events import JobEvent, SubmissionEvent
from service.core.job.identity import JobRef, Origin, SubmissionKey, read_key
from service.core.job.job import Job, JobState
from service.core.job.request_record import Cursor
from service.core.job.submission import Submission
from service.core.job.transition_context import Boundary, Context, open_jobs, without_boundary
from service.core.journal.entries import encode_done, encode_job, encode_request
from service.core.journal.replay import Restore
from service.core.journal.stamp import OWNER_PREFIX, cursor_key, spend_key
from service.core.shard.batches import Change, Group, JournalRecord, together
from service.core.shard.decisions import Decision, submission_record
from service.core.shard.draft import Draft
from service.core.shard.finishing import finished_record, forget_job
from service.core.shard.loading import load, tombstones
from service.core.shard.state import ShardState

TOMBSTONES_AT_ONCE = 1_000
"""Tombstones of one sweep: a backlog of a day must not become one huge batch."""


@dataclass(slots=True)
class Shard(ShardState):
    """The state of one shard; methods only decide, none performs I/O."""

    def on_submission(
        self,
        key: SubmissionKey,
        event: SubmissionEvent,
        context: Context,
        boundary: Boundary = without_boundary,
    ) -> Change:
        """Apply one event to a submission, and the events that follow to its jobs.

        Nothing happens if the submission is gone. `boundary(ref, event)` surrounds each job's event. If it
        contains an exception, only that job is unchanged, and the caller may pass the same event to `on_job`
        later. An exception outside it leaves everything unchanged.
        """
        decision = Decision(Draft(self), context, boundary)
        decision.on_submission(key, event)
        return _adopt(decision)

    def on_job(self, ref: JobRef, event: JobEvent, context: Context) -> Change:
        """Apply one event to a job; nothing happens if the job is gone."""
        decision = Decision(Draft(self), context)
        decision.on_job(ref, event)
        return _adopt(decision)

    def mark_durable(self, cursor: Cursor) -> None:
        """Note that a batch with this cursor is in the journal."""
        self.durable_cursor = cursor

    def forget_job(self, ref: JobRef, context: Context) -> None:
        """Remove a job whose outcome is durable.

        Call it for each of a durable group's `ended`, in order.
        """
        draft = Draft(self)
        forget_job(draft, ref, context)
        draft.adopt()

    def open_jobs(self, key: SubmissionKey) -> tuple[Job, ...]:
        """The open jobs in a submission; none if it is gone."""
        submission = self.submissions.get(key)
        return () if submission is None else tuple(open_jobs(submission, self.jobs).values())

    def file_urls(self, submission: Submission) -> list[str]:
        """The URLs of the submission's files, without those of requests that have ended."""
        found = ((ref, self.requests.get(ref.origin)) for ref in submission.jobs)
        return [request.url(ref.file_index) for ref, request in found if request is not None]

    def expired_tombstones(self, now_ms: int) -> Change:
        """Tombstones for requests outside the window and for old submissions.

        The oldest first, a bounded number.
        """
        gone: list[str] = []
        while len(gone) < TOMBSTONES_AT_ONCE and (finished := self._first_outside(now_ms)):
            gone.append(str(finished.origin))
            self._forget(finished)
        gone += map(str, self.ended_submissions.take(now_ms, TOMBSTONES_AT_ONCE - len(gone)))
        return Change(tuple(tombstones(gone)))

    def _first_outside(self, now_ms: int) -> FinishedRequest | None:
        """The oldest remembered request, if it is outside the window and cannot be read again."""
        finished = next(iter(self.finished.values()), None)
        if finished is None or not self.durable_cursor.is_past(finished.origin):
            return None
        oldest_ms = now_ms - round(1000 * self.window.seconds)
        is_inside = finished.finished_ms >= oldest_ms and self.finished_jobs <= self.window.jobs
        return None if is_inside else finished

    def _forget(self, finished: FinishedRequest) -> None:
        del self.finished[finished.origin]
        self.finished_jobs -= finished.job_count
        if self.by_id.get(finished.key.compact) == finished.origin:
            del self.by_id[finished.key.compact]
        for action in Action:
            self.answered_ms.pop((finished.origin, action), None)

    def rewrite(self, keys: Iterable[str]) -> Change:
        """The shard's own records for keys that a stale owner wrote to after the shard's claim.

        They are written after everything that is pending. An unknown key gets a tombstone; the stale record
        of a submission that is over may stay.
        """
        return Change(tuple(group for key in keys if (group := self._own_group(key)) is not None))

    def _own_group(self, key: str) -> Group | None:
        if key.startswith(OWNER_PREFIX) or key in (cursor_key(self.epoch), spend_key(self.epoch)):
            # Keys of this epoch: a stale owner cannot overwrite them.
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
        """The job's record; with a queued outcome it says that the job is done, being written after it."""
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
        """Load the journal's state; the change holds what to write and do next.

        Call it only on a new shard with the claim's epoch. The cursor is not changed: the take-over decides
        whether the journal's cursor still holds. `boundary` as for `on_submission`; it also surrounds each
        restored submission. Takes the records out of `restored`.
        """
        draft = Draft(self)
        change = load(draft, restored, context, boundary)
        # Before what is kept of the records is made: both would be in memory.
        restored.clear()
        self.requests.records = restored.records
        draft.adopt()
        self.requests.records = {}
        return together((change, self.rewrite(sorted(restored.overwritten))))

    def overdue(self, now_ms: int) -> list[JobRef]:
        """Open jobs whose deadline has passed."""
        return self.jobs.overdue(now_ms)

    def jobs_without_task(self, model: str | None = None) -> int:
        """How many open jobs, of one model if given, are in a submission that is not RUNNING."""
        waiting = self.jobs.waiting.total() if model is None else self.jobs.waiting[model]
        unanswered = [each for each in self.submissions.unanswered() if model in (None, each.model)]
        posted = (job for each in unanswered for job in open_jobs(each, self.jobs).values())
        # A job that failed to hear of its POST counts as waiting.
        return waiting + sum(job.state is not JobState.WAITING for job in posted)

    def task_ids(self) -> set[str]:
        """The task ids of all submissions that are not over."""
        return {each.task_id for each in self.submissions.values() if each.task_id is not None}


def _adopt(decision: Decision) -> Change:
    change = decision.change()
    decision.draft.adopt()
    return change
