"""Companions: waiting submissions whose jobs join one whose POST is about to be sent.

Rules this module guarantees:

1. Only submissions that were never tried take part. They have no records, so no job is named by two, and the
   emptied ones leave nothing behind.
2. The files fit into one POST, and no URL is in it twice, percent escapes aside.
"""

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote

from service.core.job.identity import SubmissionKey
from service.core.job.job import Job
from service.core.job.submission import Submission
from service.core.job.transition_context import open_jobs
from service.core.shard.draft import Draft


def take_along(
    draft: Draft, key: SubmissionKey, companions: Iterable[SubmissionKey], max_files: int | None
) -> None:
    """Move the jobs of the companions that fit into the submission; the emptied ones are gone.

    The caller names only companions of equal contents (`core.job.packing.content_of`), in the order of their
    turns. `max_files` as in `Intended`.
    """
    submission = _never_tried(draft, key)
    if submission is None:
        return
    most = draft.shard.most_files(submission.model)
    room = min(most, max_files or most) - len(submission.jobs)
    urls = {unquote(job.file_url) for job in open_jobs(submission, draft.jobs).values()}
    taken = list(submission.jobs)
    for each in companions:
        companion = _never_tried(draft, each)
        if room <= 0:
            break
        if companion is None or companion is submission or companion.model != submission.model:
            continue
        jobs = open_jobs(companion, draft.jobs)
        added = {unquote(job.file_url) for job in jobs.values()}
        if len(jobs) > room or added & urls:
            continue
        room -= len(jobs)
        urls |= added
        taken += jobs
        _move(draft, jobs.values(), key)
        draft.end_submission(companion)
    draft.submissions[key] = replace(submission, jobs=tuple(taken))


def _never_tried(draft: Draft, key: SubmissionKey) -> Submission | None:
    """The submission, if it waits for its first POST."""
    return draft.submissions.get(key) if key in draft.unwritten else None


def _move(draft: Draft, jobs: Iterable[Job], key: SubmissionKey) -> None:
    for job in jobs:
        draft.jobs[job.ref] = replace(job, submission=key)
