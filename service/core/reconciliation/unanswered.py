"""Submissions whose POST may have created a task that no journal names, and when that may have been."""

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import NamedTuple

from service.core.job.file_matching import files_digest, urls_known
from service.core.job.identity import SubmissionKey
from service.core.job.submission import UNANSWERED, Intent, Submission, SubmissionState
from service.core.job.transition_context import COMMIT_WAIT_SECONDS, INTENT_SECONDS, Rules
from service.core.reconciliation.task_listing import EVER, TimeSpan
from service.frozen import dataclass


class Files(NamedTuple):
    """The files of a POST or a task, in a form that can be compared."""

    number: int
    digest: str


def files_of(urls: Sequence[str]) -> Files:
    """The comparable form of the files with these URLs."""
    return Files(len(urls), files_digest(urls))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that no journal names.

    `created` is its creation time by the vendor's clock: one instant, or a span if the list does not give it.
    `files`, and their `urls` (`file_matching.urls_known`), are unknown until the task has ended.
    """

    task_id: str
    created: TimeSpan
    files: Files | None = None
    urls: frozenset[int] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A submission whose POST may have created a task that no journal names.

    `window` is when the task may have been created, by the vendor's clock. `is_awaited`: the answer may still
    come. `is_wanted`: it has an open job, so that missing its task costs another task. `urls` are the URLs of
    its files that this process knows (`file_matching.urls_known`): none for other processes' submissions.
    """

    partition: int
    key: SubmissionKey
    files: Files
    window: TimeSpan
    is_awaited: bool = False
    is_wanted: bool = True
    urls: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Gap:
    """An unreadable part of a journal partition: it may concern a submission of these `files`, or of any.

    `window` is when the task that it may name was created.
    """

    partition: int
    window: TimeSpan = EVER
    files: Files | None = None


def unanswered_of(
    partition: int, submission: Submission, offset_ms: int | None, rules: Rules, urls: Iterable[str] = ()
) -> Unanswered | None:
    """The submission as reconciling sees it.

    None if it has created no task, or a known one.

    `offset_ms` is how far the vendor's clock is ahead of ours now; it is used if the intent has no offset.
    `urls` are the known URLs of its files.
    """
    intent = submission.intent
    if submission.is_synchronous or submission.state not in UNANSWERED or intent is None:
        return None
    return Unanswered(
        partition,
        submission.key,
        Files(intent.files, intent.files_digest),
        window_of(intent, offset_ms, rules),
        is_awaited=submission.state is SubmissionState.INTENDED,
        is_wanted=not submission.is_followed,
        urls=urls_known(urls),
    )


def window_of(intent: Intent, offset_ms: int | None, rules: Rules) -> TimeSpan:
    """When the intent's task may have been created, by the vendor's clock.

    `EVER` if no offset is known.
    """
    known_ms, skew_seconds = intent.vendor_offset_ms, rules.skew_seconds
    if known_ms is None:
        known_ms, skew_seconds = offset_ms, rules.unknown_skew_seconds
    if known_ms is None:
        return EVER
    intended_ms = intent.intended_ms + known_ms
    return (intended_ms - 1000 * skew_seconds, intended_ms + 1000 * (made_seconds(rules) + skew_seconds))


def made_seconds(rules: Rules) -> float:
    """How long after its intent a POST's task may be created and listed."""
    return COMMIT_WAIT_SECONDS + INTENT_SECONDS + rules.submit_seconds + rules.settle_seconds


def witness_of(submission: Submission, now_ms: int, offset_ms: int | None, rules: Rules) -> TimeSpan | None:
    """The window in which a running submission's task was created.

    None unless the list must show the task.

    The window has slack of `unknown_skew_seconds`: it reveals errors of hours, not of minutes.
    """
    if submission.state is not SubmissionState.RUNNING or submission.intent is None:
        return None
    # From the intent on: a task that is not listed yet only delays; one that is left out may be billed twice.
    age_ms = now_ms - (submission.submitted_ms or 0)
    window = window_of(submission.intent, offset_ms, rules)
    is_listed = 1000 * rules.settle_seconds <= age_ms <= 1000 * rules.list_reach_seconds
    if not is_listed or window == EVER:
        return None
    slack_ms = 1000 * rules.unknown_skew_seconds
    return (window[0] - slack_ms, window[1] + slack_ms)
