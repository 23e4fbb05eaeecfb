"""Which task, if any, an uncertain submit has made: by the files' URLs alone, one task for one submit.

Rules this module guarantees:

1. A task is adopted once, and only by a submit that can have made it: it was created within the submit's
   window, and its files are the submit's. Of equal submits and equal tasks as many as there are pairs.
2. A submit counts as lost only if two complete readings of the list, begun after it had settled, leave no
   task in its window that might be its own: one whose files nobody knows yet, or that an equal submit,
   whose answer is still awaited somewhere, may have made.
3. Everybody who sees the same comes to the same: submits of other processes take part.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from service.core.events import Adopted, NotFound, OutOfReach
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.listing import Span, is_within
from service.core.moment import INTENT_SECONDS, RECEIPT_SECONDS, Moment, Rules
from service.core.urgency import RETENTION_MS

EVER: Span = (float("-inf"), float("inf"))
Fit = Callable[[frozenset[str], "Submit"], bool]
Found = Adopted | NotFound | OutOfReach


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that no journal knows; `urls` are its files', percent escapes aside, None while nobody knows.

    One that jobs of a `request` have may still be that of their siblings, and of nobody else: the answer to a
    submit is written down job by job, and a crash may come between two.
    """

    task_id: str
    created_ms: int
    urls: frozenset[str] | None = None
    request: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Jobs that shared a POST: those that are still open of the `files` it was meant for.

    `window` is when its task can have been made, by the vendor's clock. `is_out`: its answer is awaited.
    `had` are earlier tasks of the jobs, which this submit cannot have made.
    """

    keys: tuple[JobKey, ...]
    urls: frozenset[str]
    files: int
    sealed_ms: int
    window: Span
    is_out: bool = False
    partition: int = 0
    had: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The complete readings: when the last began, and the one before, if it is far enough away.

    Times are of any clock that does not jump.
    """

    last_ms: int | None = None
    unseen_since_ms: int | None = None
    """What was there then has been looked for twice; None where the last reading does not count."""

    def after(self, begun_ms: int, *, is_complete: bool, apart_ms: int) -> "Evidence":
        """With one more reading."""
        if not is_complete:
            return Evidence(self.last_ms)
        if self.last_ms is None:
            return Evidence(begun_ms)
        is_apart = begun_ms - self.last_ms >= apart_ms
        return Evidence(begun_ms, self.last_ms) if is_apart else Evidence(self.last_ms)


def submits_of(jobs: Iterable[Job], offset_ms: int | None, rules: Rules) -> list[Submit]:
    """The submits behind jobs that are SUBMITTING or UNCERTAIN.

    `offset_ms` is how far the vendor's clock is ahead of ours now, for intents that do not say it. Calls of
    synchronous models make no task.
    """
    groups: dict[tuple[object, ...], list[Job]] = {}
    made = (job for job in jobs if not job.is_synchronous)
    for job in sorted(made, key=lambda job: job.key):
        place = (job.spec.origin.partition, job.key.request, job.group, job.sealed_ms)
        groups.setdefault(place, []).append(job)
    return [_submit(group, offset_ms, rules) for group in groups.values()]


def _submit(jobs: Sequence[Job], offset_ms: int | None, rules: Rules) -> Submit:
    return Submit(
        keys=tuple(job.key for job in jobs),
        urls=frozenset(unquote(job.file_url) for job in jobs),
        files=max(job.task_files for job in jobs),
        sealed_ms=jobs[0].sealed_ms or 0,
        window=window_of(jobs[0], offset_ms, rules),
        is_out=any(job.state is State.SUBMITTING for job in jobs),
        partition=jobs[0].spec.origin.partition,
        had=frozenset(task_id for job in jobs for task_id in job.task_ids),
    )


def witness_of(job: Job, offset_ms: int, rules: Rules) -> Span:
    """When the job's task was made, for sure, by the vendor's clock: hours off are noticed, minutes not."""
    made_ms = (job.submitted_ms or 0) + offset_ms
    slack_ms = 1000 * (rules.submit_seconds + rules.settle_seconds + rules.unknown_skew_seconds)
    return (made_ms - slack_ms, made_ms + slack_ms)


def window_of(job: Job, offset_ms: int | None, rules: Rules) -> Span:
    """When the job's task can have been made, by the vendor's clock; any time where that is unknown."""
    known_ms, skew_seconds = job.vendor_offset_ms, rules.skew_seconds
    if known_ms is None:
        known_ms, skew_seconds = offset_ms, rules.unknown_skew_seconds
    if known_ms is None:
        return EVER
    sealed_ms = (job.sealed_ms or 0) + known_ms
    made_seconds = RECEIPT_SECONDS + INTENT_SECONDS + rules.submit_seconds + rules.settle_seconds
    return (sealed_ms - 1000 * skew_seconds, sealed_ms + 1000 * (made_seconds + skew_seconds))


def decide(
    submits: Sequence[Submit],
    candidates: Iterable[Candidate],
    evidence: Evidence,
    settled_ms: Mapping[JobKey, int],
    moment: Moment,
) -> dict[Submit, Found]:
    """What is certain by now; a submit that is not in the answer has to wait.

    `settled_ms` says of each job that is ours, by the clock of the evidence, from when on its task, if it has
    one, must be in the list.
    """
    asking = [submit for submit in submits if not submit.is_out]
    unclear, clear = _sort_out(submits, candidates)
    matched = _match(asking, clear)
    answers: dict[Submit, Found] = {
        # With fewer files than jobs a file is still found by its URL alone.
        submit: Adopted(task.task_id, max(len(task.urls or ()), len(submit.urls)))
        for submit, task in matched.items()
    }
    for submit in asking:
        is_open = any(_may_be_of(task, submit) for task in unclear)
        answer = _lost(submit, evidence, settled_ms, moment)
        # What the list does not reach any more nobody can find out, whatever else may be its task.
        if submit not in matched and answer and (not is_open or isinstance(answer, OutOfReach)):
            answers[submit] = answer
    return answers


def _lost(
    submit: Submit, evidence: Evidence, settled_ms: Mapping[JobKey, int], moment: Moment
) -> NotFound | OutOfReach | None:
    age_seconds = (moment.now_ms - submit.sealed_ms) / 1000
    if 1000 * age_seconds >= RETENTION_MS:
        return OutOfReach()
    is_reached = age_seconds < moment.rules.list_reach_seconds and submit.window != EVER
    settled = [settled_ms[key] for key in submit.keys if key in settled_ms]
    since_ms = evidence.unseen_since_ms
    is_looked_for = since_ms is not None and bool(settled) and since_ms >= max(settled)
    return NotFound() if is_reached and is_looked_for else None


def _sort_out(
    submits: Sequence[Submit], candidates: Iterable[Candidate]
) -> tuple[list[Candidate], list[Candidate]]:
    """Tasks that may be anybody's, and those of which the files tell whose they can be, the oldest first."""
    awaited = [submit for submit in submits if submit.is_out]
    unclear: list[Candidate] = []
    clear: list[Candidate] = []
    for task in sorted(candidates, key=lambda task: (task.created_ms, task.task_id)):
        is_unclear = task.urls is None or any(_may_be_of(task, submit) for submit in awaited)
        (unclear if is_unclear else clear).append(task)
    return unclear, clear


def _may_be_of(task: Candidate, submit: Submit) -> bool:
    return _can_be(task, submit, _shares)


def _is_whole(urls: frozenset[str], submit: Submit) -> bool:
    return urls == submit.urls and len(urls) == submit.files


def _has_ended_ones(urls: frozenset[str], submit: Submit) -> bool:
    """With the files of jobs that ended meanwhile."""
    return urls >= submit.urls and len(urls) == submit.files


def _has_fewer(urls: frozenset[str], submit: Submit) -> bool:
    """Without files that were intended, and then not posted any more."""
    return urls >= submit.urls and len(urls) <= submit.files


def _shares(urls: frozenset[str], submit: Submit) -> bool:
    """The task names only a part of its files."""
    return bool(urls & submit.urls) and len(urls) <= submit.files


FITS: tuple[Fit, ...] = (_is_whole, _has_ended_ones, _has_fewer, _shares)
"""The better ones first."""


def _match(submits: Sequence[Submit], tasks: Sequence[Candidate]) -> dict[Submit, Candidate]:
    """As many pairs as there can be: of those that can have made a task, the one whose window ends first."""
    pairs: dict[Submit, Candidate] = {}
    left = sorted(submits, key=lambda submit: (submit.window[1], submit.sealed_ms, submit.keys))
    for fit in FITS:
        taken = {task.task_id for task in pairs.values()}
        for task in (task for task in tasks if task.task_id not in taken):
            able = (submit for submit in left if _can_be(task, submit, fit))
            submit = next(able, None)
            if submit is not None:
                pairs[submit] = task
                left.remove(submit)
    return pairs


def _can_be(task: Candidate, submit: Submit, fit: Fit) -> bool:
    """Whether it was made in time, and its files, as far as they are known, fit."""
    if task.task_id in submit.had or task.request not in (None, submit.keys[0].request):
        return False
    return is_within(task.created_ms, (submit.window,)) and (task.urls is None or fit(task.urls, submit))
