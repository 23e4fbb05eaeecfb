"""A draft of a shard: changes are collected here and adopted whole or not at all.

A draft reads through to its shard and keeps the changes to itself. An exception during a decision leaves the
shard unchanged; `adopt` consists of assignments only, none of which can fail.
"""

from collections.abc import Iterable, MutableMapping
from dataclasses import replace
from typing import Generic, TypeVar

from service.core.job.accepted_request import AcceptedRequest, FinishedRequest
from service.core.job.events import Poll, QueueSubmit, Reconcile, Step
from service.core.job.identity import CompactKey, JobRef, Origin, RequestKey, SubmissionKey
from service.core.job.job import Job
from service.core.job.request_progress import RequestProgress
from service.core.job.submission import Submission
from service.core.job.transition_context import Successor
from service.core.shard.state import ShardState

K = TypeVar("K")
V = TypeVar("V")


class Overlay(Generic[K, V]):
    """A mapping with changes that are not adopted yet; a value of the base is read once."""

    __slots__ = ("_base", "_changed", "_read")

    def __init__(self, base: MutableMapping[K, V]) -> None:
        self._base = base
        self._changed: dict[K, V | None] = {}
        self._read: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, or None if there is none."""
        if key in self._changed:
            return self._changed[key]
        value = self._read.get(key)
        if value is None and (value := self._base.get(key)) is not None:
            self._read[key] = value
        return value

    def __getitem__(self, key: K) -> V:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        self._changed[key] = value

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def pop(self, key: K) -> None:
        """Mark the key as removed."""
        self._changed[key] = None

    def changed(self) -> list[K]:
        """The keys with a new value."""
        return [key for key, value in self._changed.items() if value is not None]

    def adopt(self) -> None:
        """Write the changes to the base mapping, and let go of each: a restore's would be there twice."""
        for key in list(self._changed):
            value = self._changed.pop(key)
            if value is not None:
                self._base[key] = value
            elif key in self._base:
                del self._base[key]


class Draft:
    """The changes to a shard that a decision collects."""

    def __init__(self, shard: ShardState) -> None:
        self.shard = shard
        self.cursor = shard.cursor
        self.spend = shard.spend
        self.requests: Overlay[Origin, AcceptedRequest] = Overlay(shard.requests)
        self.progress: Overlay[Origin, RequestProgress] = Overlay(shard.progress)
        self.jobs: Overlay[JobRef, Job] = Overlay(shard.jobs)
        self.submissions: Overlay[SubmissionKey, Submission] = Overlay(shard.submissions)
        self.finished: Overlay[Origin, FinishedRequest] = Overlay(shard.finished)
        self.by_id: Overlay[CompactKey, Origin] = Overlay(shard.by_id)
        self.unwritten: Overlay[SubmissionKey, bool] = Overlay(shard.unwritten)
        self.answered_ms: Overlay[tuple[Origin, str], int] = Overlay(shard.answered_ms)
        self.finished_jobs = shard.finished_jobs
        self._number = shard.last_number
        self._over: dict[SubmissionKey, Submission] = {}

    def known(self, key: RequestKey) -> AcceptedRequest | FinishedRequest | None:
        """The latest request of an id, open or remembered."""
        origin = self.by_id.get(key.compact)
        return None if origin is None else self.requests.get(origin) or self.finished.get(origin)

    def new_submission(self, successor: Successor, created_ms: int) -> Submission:
        """Create a submission with the next number and move its jobs into it; it is marked as unwritten."""
        self._number += 1
        key = SubmissionKey(self.shard.epoch, self._number)
        submission = self.submissions[key] = successor.submission(key, created_ms)
        self.unwritten[key] = True
        for ref in submission.jobs:
            if (job := self.jobs.get(ref)) is not None:
                self.jobs[ref] = replace(job, submission=key)
        return submission

    def end_submission(self, submission: Submission) -> None:
        """Remove a submission that is over; its record, if any, stays until its tombstone."""
        self.submissions.pop(submission.key)
        if submission.key in self.unwritten:
            self.unwritten.pop(submission.key)
        else:
            self._over[submission.key] = submission

    def last_known(self, key: SubmissionKey) -> Submission:
        """The current state of a submission, or its last state if it is over."""
        return self._over.get(key) or self.submissions[key]

    def still_wanted(self, steps: Iterable[Step]) -> tuple[Step, ...]:
        """The steps, without those for submissions that are over by now."""
        return tuple(
            step
            for step in steps
            if not isinstance(step, QueueSubmit | Reconcile | Poll) or step.key in self.submissions
        )

    def remember(self, finished: FinishedRequest) -> None:
        """Add a finished request to the window."""
        self.finished[finished.origin] = finished
        self.finished_jobs += finished.job_count

    def adopt(self) -> None:
        """Write the changes to the shard."""
        for overlay in (
            self.requests,
            self.progress,
            # Before the jobs: what is kept of a job depends on its submission.
            self.submissions,
            self.jobs,
            self.finished,
            self.by_id,
            self.unwritten,
            self.answered_ms,
        ):
            overlay.adopt()
        shard = self.shard
        shard.cursor, shard.spend = self.cursor, self.spend
        shard.finished_jobs, shard.last_number = self.finished_jobs, self._number
        for submission in self._over.values():
            shard.ended_submissions.add(submission.made_ms, submission.key)
