"""Apply an event to a shard: run the two tables in turn and turn their transitions into groups of records.

All changes are made on a draft. A submission and its jobs are decided together, so that records which must be
durable together are in one group. That group comes first, then one group for each job that ended.
"""

from dataclasses import dataclass, field, replace

from service.core.job.events import Intended, JobEvent, JobsLeft, QueueSubmit, Step, SubmissionEvent
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.job import JobState
from service.core.job.job_table import advance_job
from service.core.job.submission import Submission
from service.core.job.submission_table import advance_submission
from service.core.job.transition_context import (
    Boundary,
    Context,
    JobTransition,
    SubmissionTransition,
    Successor,
    open_jobs,
    without_boundary,
)
from service.core.job.uncertainty import UncertainOutcome
from service.core.journal.entries import encode_job, encode_submission
from service.core.shard.batches import Change, Group, JournalRecord
from service.core.shard.companions import take_along
from service.core.shard.draft import Draft
from service.core.shard.finishing import correct, finish, spend_record


def submission_record(submission: Submission) -> JournalRecord:
    """The journal record of the submission's current state."""
    return JournalRecord(str(submission.key), encode_submission(submission))


@dataclass(slots=True)
class Decision:
    """Applies one event to a draft; `change` gives the result."""

    draft: Draft
    context: Context
    boundary: Boundary = without_boundary
    _new: list[JournalRecord] = field(default_factory=list)
    """New submissions."""
    _written: dict[SubmissionKey, None] = field(default_factory=dict)
    """Submissions whose record must be written, in the order of their first change."""
    _jobs: list[JournalRecord] = field(default_factory=list)
    """Records of open jobs."""
    _corrected: list[JournalRecord] = field(default_factory=list)
    """Records of requests, open or finished, whose cost is known only now."""
    _spend: JournalRecord | None = None
    """The day's spending, if it has changed."""
    _steps: list[Step] = field(default_factory=list)
    """Steps that follow once their group is durable."""
    _last_steps: list[Step] = field(default_factory=list)
    """Steps that follow once every group is durable."""
    _endings: list[Group] = field(default_factory=list)
    """A group for each job that has ended: its outcome and its last records."""
    _uncertain_outcomes: list[UncertainOutcome] = field(default_factory=list)
    """For the metric of uncertain submits."""
    _left: dict[SubmissionKey, bool] = field(default_factory=dict)
    """Submissions that jobs have left, and whether a job left because of a cancel or its deadline."""

    def on_submission(self, key: SubmissionKey, event: SubmissionEvent) -> None:
        """Apply an event to a submission and its jobs; nothing happens if the submission is gone."""
        if isinstance(event, Intended) and event.companions:
            take_along(self.draft, key, event.companions, event.max_files)
        self._apply(key, event)
        self._report_left_jobs()

    def on_job(self, ref: JobRef, event: JobEvent) -> None:
        """Apply an event to a job; nothing happens if the job is gone."""
        self._meet_job(ref, event)
        self._report_left_jobs()

    def change(self) -> Change:
        """The result: first the group of records that belong together, then the endings."""
        draft = self.draft
        subs = [submission_record(draft.last_known(key)) for key in self._written]
        steps, last_steps = draft.still_wanted(self._steps), draft.still_wanted(self._last_steps)
        # New submissions precede the one they come from. A job is in the highest-numbered submission that
        # lists it, so a crash between the two records leaves every job in a submission.
        records = (*self._new, *subs, *self._jobs, *self._corrected)
        has_main = bool(records or self._spend)
        groups = [Group(records, steps=steps, spend=self._spend)] if has_main else []
        groups += self._endings
        if groups:
            groups[-1] = replace(groups[-1], steps=(*groups[-1].steps, *last_steps))
            last_steps = ()
        loose = () if has_main else steps
        return Change(tuple(groups), (*loose, *last_steps), tuple(self._uncertain_outcomes))

    def _apply(self, key: SubmissionKey, event: SubmissionEvent) -> None:
        draft = self.draft
        before = draft.submissions.get(key)
        if before is None:
            return
        transition = advance_submission(before, event, draft.jobs, self.context)
        if transition.bill is not None:
            spend = draft.spend
            self._corrected += correct(draft, before, transition.bill, self.context.ending_ms)
            self._spend = spend_record(draft) if draft.spend != spend else self._spend
        draft.submissions[key] = transition.submission
        self._uncertain_outcomes += transition.uncertain_outcomes
        (self._last_steps if isinstance(event, JobsLeft) else self._steps).extend(transition.steps)
        self._follow(transition)

    def _follow(self, transition: SubmissionTransition) -> None:
        """Apply a transition's effects on jobs, successors and the submission's record."""
        submission = transition.submission
        for ref, event in transition.to_jobs:
            with self.boundary(ref, event):
                self._meet_job(ref, event)
        for successor in transition.successors:
            self._succeed(successor)
        if transition.durable:
            self._write(submission.key)
        # A job that failed to handle its event is still in the submission and will get the event again.
        if transition.is_over and not open_jobs(submission, self.draft.jobs):
            self._left.pop(submission.key, None)
            self.draft.end_submission(submission)

    def _meet_job(self, ref: JobRef, event: JobEvent) -> None:
        job = self.draft.jobs.get(ref)
        if job is None:
            return
        submission = self.draft.submissions.get(job.submission)
        transition = advance_job(job, event, submission, self.context)
        self._take(transition)
        self._uncertain_outcomes += transition.uncertain_outcomes
        if transition.resubmit is not None:
            self._succeed(transition.resubmit)
        if transition.leaves and submission is not None:
            is_unwanted = self._left.get(submission.key, False) or transition.is_unwanted
            self._left[submission.key] = is_unwanted

    def _take(self, transition: JobTransition) -> None:
        """Store the changed job; if this raises, nothing has changed."""
        job = transition.job
        if transition.durable and job.state is JobState.FINISHING:
            self._endings.append(finish(self.draft, job, transition.steps, self.context))
            return
        if transition.durable:
            self._jobs.append(JournalRecord(str(job.ref), encode_job(job)))
            progress = self.draft.progress[job.ref.origin]
            self.draft.progress[job.ref.origin] = progress.with_record(job.ref.file_index)
        self._steps += transition.steps
        self.draft.jobs[job.ref] = job

    def _succeed(self, successor: Successor) -> None:
        """Create the submission with its record; the jobs are in it from now on."""
        draft = self.draft
        submission = draft.new_submission(successor, self.context.now_ms)
        draft.unwritten.pop(submission.key)
        self._new.append(submission_record(submission))
        self._steps.append(QueueSubmit(submission.key, submission.due_ms))

    def _write(self, key: SubmissionKey) -> None:
        self._written[key] = None
        self.draft.unwritten.pop(key)

    def _report_left_jobs(self) -> None:
        """Send `JobsLeft` to the submissions that jobs have left."""
        while self._left:
            self._apply(*self._next_left())

    def _next_left(self) -> tuple[SubmissionKey, JobsLeft]:
        key, is_unwanted = self._left.popitem()
        return key, JobsLeft(is_unwanted)
