"""Submissions whose POST may have made a task that nobody has written down, and when that can have been."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.core.job.file_matching import files_digest, urls_known
from service.core.job.identity import SubmissionKey
from service.core.job.submission import Intent, Submission, SubmissionState
from service.core.job.transition_context import INTENT_SECONDS, RECEIPT_SECONDS, Rules
from service.core.reconciliation.task_list import EVER, Span

UNANSWERED = (SubmissionState.INTENDED, SubmissionState.UNCERTAIN)


class Files(NamedTuple):
    """The files of a POST or of a task, as far as they can be compared."""

    number: int
    digest: str


def files_of(urls: Sequence[str]) -> Files:
    """The files with these URLs."""
    return Files(len(urls), files_digest(urls))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that no journal knows.

    `created` is when it was made, by the vendor's clock: one moment, or a span where the list does not tell.
    `files`, and their `urls` (`file_matching.urls_known`), are unknown while it has not ended.
    """

    task_id: str
    created: Span
    files: Files | None = None
    urls: frozenset[int] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A submission whose POST may have made a task that nobody has written down.

    `window` is when that can have been, by the vendor's clock. `is_awaited`: its answer may still come.
    `is_wanted`: an open job is in it, so that not finding its task costs another one. `urls` are those of
    its files that are known here (`file_matching.urls_known`): of others' submissions none.
    """

    partition: int
    key: SubmissionKey
    files: Files
    window: Span
    is_awaited: bool = False
    is_wanted: bool = True
    urls: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Gap:
    """What nobody can read of a journal partition: it may be about a submission of these `files`, or of any.

    `window` is when the task was made that it may name.
    """

    partition: int
    window: Span = EVER
    files: Files | None = None


def unanswered_of(
    partition: int, submission: Submission, offset_ms: int | None, rules: Rules, urls: Iterable[str] = ()
) -> Unanswered | None:
    """What of the submission takes part in reconciling; None for one that has made no task, or a known one.

    `offset_ms` is how far the vendor's clock is ahead of ours now, for an intent that does not say it. `urls`
    are those of its files, as far as they are known.
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


def window_of(intent: Intent, offset_ms: int | None, rules: Rules) -> Span:
    """When the intent's task can have been made, by the vendor's clock; any time where that is unknown."""
    known_ms, skew_seconds = intent.vendor_offset_ms, rules.skew_seconds
    if known_ms is None:
        known_ms, skew_seconds = offset_ms, rules.unknown_skew_seconds
    if known_ms is None:
        return EVER
    sealed_ms = intent.sealed_ms + known_ms
    return (sealed_ms - 1000 * skew_seconds, sealed_ms + 1000 * (made_seconds(rules) + skew_seconds))


def made_seconds(rules: Rules) -> float:
    """How long after its intent a POST's task may be made, and in the list."""
    return RECEIPT_SECONDS + INTENT_SECONDS + rules.submit_seconds + rules.settle_seconds


def witness_of(submission: Submission, now_ms: int, offset_ms: int | None, rules: Rules) -> Span | None:
    """When a running submission's task was made, for sure; None unless the list has to show it by now.

    Hours off are noticed, minutes not.
    """
    if submission.state is not SubmissionState.RUNNING or submission.intent is None:
        return None
    age_ms = now_ms - (submission.submitted_ms or 0)
    window = window_of(submission.intent, offset_ms, rules)
    is_listed = 1000 * rules.settle_seconds <= age_ms <= 1000 * rules.list_reach_seconds
    if not is_listed or window == EVER:
        return None
    slack_ms = 1000 * rules.unknown_skew_seconds
    return (window[0] - slack_ms, window[1] + slack_ms)
