"""The two tables put together as `core.job.transition_context` says, without a shard around them."""

from dataclasses import dataclass, field, replace

from service.core.job import job_table, submission_table
from service.core.job.events import JobEvent, JobsLeft, QueueSubmit, Step, SubmissionEvent
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.job import Job
from service.core.job.job_table import advance_job
from service.core.job.submission import Submission
from service.core.job.submission_table import advance_submission
from service.core.job.transition_context import Context, SubmissionTransition, Successor
from service.core.job.uncertainty import UncertainOutcome


@dataclass
class Tables:
    """Jobs and submissions, what they want done, and what is known of ones that are over."""

    jobs: dict[JobRef, Job]
    submissions: dict[SubmissionKey, Submission]
    over: dict[SubmissionKey, Submission] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    uncertain_outcomes: list[UncertainOutcome] = field(default_factory=list)
    bills: list[SubmissionKey] = field(default_factory=list)
    left: dict[SubmissionKey, bool] = field(default_factory=dict)

    def on_submission(self, key: SubmissionKey, event: SubmissionEvent, context: Context) -> None:
        """Let a submission meet an event, its jobs what follows, and it what follows from that."""
        self._meet(key, event, context)
        self._leave(context)

    def on_job(self, ref: JobRef, event: JobEvent, context: Context) -> None:
        """Let a job meet an event, and its submission what follows."""
        self._meet_job(ref, event, context)
        self._leave(context)

    def open_jobs(self, key: SubmissionKey) -> dict[JobRef, Job]:
        """The jobs that are in the submission."""
        return {ref: job for ref, job in self.jobs.items() if job.is_open and job.submission == key}

    def _meet(self, key: SubmissionKey, event: SubmissionEvent, context: Context) -> None:
        before = self.submissions[key].state
        answer = advance_submission(self.submissions[key], event, self.open_jobs(key), context)
        end = None if answer.is_over else answer.submission.state
        assert end in (before, *submission_table.TRANSITIONS[before, type(event)].to), (
            "no arrow of docs/states.md"
        )
        self.submissions[key] = answer.submission
        self._take(answer, context)

    def _take(self, answer: SubmissionTransition, context: Context) -> None:
        key = answer.submission.key
        self.steps += answer.steps
        self.uncertain_outcomes += answer.uncertain_outcomes
        if answer.bill is not None:
            self.bills.append(key)
        for ref, event in answer.to_jobs:
            self._meet_job(ref, event, context)
        for successor in answer.successors:
            self._succeed(successor, context)
        if answer.is_over:
            self.left.pop(key, None)
            self.over[key] = self.submissions.pop(key)

    def _meet_job(self, ref: JobRef, event: JobEvent, context: Context) -> None:
        job = self.jobs[ref]
        home = self.submissions.get(job.submission) or self.over.get(job.submission)
        answer = advance_job(job, event, home, context)
        ends = (job.state, *job_table.TRANSITIONS[job.state, type(event)].to)
        assert answer.job.state in ends, "no arrow of docs/states.md"
        self.jobs[ref] = answer.job
        self.steps += answer.steps
        self.uncertain_outcomes += answer.uncertain_outcomes
        if answer.resubmit is not None:
            self._succeed(answer.resubmit, context)
        if answer.leaves and job.submission in self.submissions:
            self.left[job.submission] = self.left.get(job.submission, False) or answer.is_unwanted

    def _succeed(self, successor: Successor, context: Context) -> None:
        number = max(key.number for key in (*self.submissions, *self.over)) + 1
        made = successor.submission(SubmissionKey(5, number), context.now_ms)
        self.submissions[made.key] = made
        self.steps.append(QueueSubmit(made.key, made.due_ms))
        for ref in made.jobs:
            self.jobs[ref] = replace(self.jobs[ref], submission=made.key)

    def _leave(self, context: Context) -> None:
        while self.left:
            key, is_unwanted = self.left.popitem()
            self._meet(key, JobsLeft(is_unwanted), context)
