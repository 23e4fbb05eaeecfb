"""Match uncertain submissions with tasks, one task per submission, by the URLs of their files alone.

Rules this module guarantees:

1. A task is adopted once, and only by a submission that can have created it: the task was created within the
   submission's window, it has ended, and it names exactly the submission's files, or a part of them
   (`core.reconciliation.incomplete_tasks`). Equal submissions and equal tasks form as many pairs as possible.
2. A submission counts as not found only if two complete task listings, begun after it had settled, leave no
   task in its window that may be its own. Such a task has files that are not known yet, or may belong to an
   equal submission whose answer is still awaited.
3. A gap in a journal delays only the submissions that it may concern.
4. Submissions of other processes take part, so all processes that see the same data decide the same.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence

from service.core.job.events import Adopted, NotFound, OutOfReach
from service.core.job.identity import SubmissionKey
from service.core.job.transition_context import Rules
from service.core.job.urgency import RETENTION_MS
from service.core.reconciliation.incomplete_tasks import match_parts, possible_parts
from service.core.reconciliation.task_listing import TimeSpan, is_within, meets
from service.core.reconciliation.unanswered import Candidate, Files, Gap, Unanswered
from service.frozen import dataclass

Found = Adopted | NotFound | OutOfReach


@dataclass(frozen=True, slots=True)
class Evidence:
    """The start times of the last complete task listing, and of the one before if it is far enough apart.

    Times are from any clock that does not jump.
    """

    last_ms: int | None = None
    unseen_since_ms: int | None = None
    """Two listings cover every task that existed then; None if the last listing does not count."""

    def after(self, begun_ms: int, *, is_complete: bool, apart_ms: int) -> "Evidence":
        """The evidence after one more listing."""
        if not is_complete:
            return Evidence(self.last_ms)
        if self.last_ms is None:
            return Evidence(begun_ms)
        is_apart = begun_ms - self.last_ms >= apart_ms
        return Evidence(begun_ms, self.last_ms) if is_apart else Evidence(self.last_ms)


def decide(
    submissions: Sequence[Unanswered],
    candidates: Sequence[Candidate],
    gaps: Sequence[Gap],
    proven: "Proven",
) -> dict[Unanswered, Found]:
    """The decisions that are certain by now; a submission without one must wait."""
    asking = [each for each in submissions if not each.is_awaited and not _is_in_a_gap(each, gaps)]
    unclear, clear = _sort_out(submissions, candidates, gaps)
    # Whole tasks first: one that names all files of a submission must not go to one that shares some.
    pairs = _match(asking, clear, [task.created for task in candidates if task.files is None])
    taken = {task.task_id for task in pairs.values()}
    parts, held = match_parts(
        [each for each in submissions if each not in pairs],
        [each for each in asking if each not in pairs],
        [task for task in candidates if task.task_id not in taken],
        gaps,
    )
    answers: dict[Unanswered, Found] = {
        each: Adopted(task.task_id) for each, task in (*pairs.items(), *parts.items())
    }
    able = {each for each in asking if each not in held}
    for each in (each for each in submissions if not each.is_awaited and each not in answers):
        if proven.is_out_of_reach(each):
            # Once the list no longer reaches back, the task cannot be found, whatever candidates remain.
            answers[each] = OutOfReach()
        elif each in able and proven.would_be_listed(each) and not unclear.may_be_of(each):
            answers[each] = NotFound()
    return answers


@dataclass(frozen=True, slots=True)
class Proven:
    """What the task listings prove at `vendor_now_ms`, the vendor's clock if known.

    `confirmed_ms` is the confirmed time: with it, one wrong `Date` cannot put a submission out of reach.
    `settled_ms` gives for each of our submissions, by partition and key, when its task must be in the list if
    there is one. It uses the clock of the evidence.
    """

    evidence: Evidence
    settled_ms: Mapping[tuple[int, SubmissionKey], int]
    vendor_now_ms: int | None
    confirmed_ms: int
    rules: Rules

    def is_out_of_reach(self, submission: Unanswered) -> bool:
        """Whether the list can no longer show the submission's task."""
        if self.vendor_now_ms is None:
            return False
        return min(self.vendor_now_ms, self.confirmed_ms) - submission.window[1] >= RETENTION_MS

    def would_be_listed(self, submission: Unanswered) -> bool:
        """Whether the listings would have shown the submission's task if it existed."""
        reach_ms = 1000 * self.rules.list_reach_seconds
        if self.vendor_now_ms is None or self.vendor_now_ms - submission.window[0] >= reach_ms:
            return False
        settled_ms = self.settled_ms.get((submission.partition, submission.key))
        since_ms = self.evidence.unseen_since_ms
        return settled_ms is not None and since_ms is not None and since_ms >= settled_ms


def _is_in_a_gap(submission: Unanswered, gaps: Iterable[Gap]) -> bool:
    """Whether a gap in its own journal partition may concern the submission."""
    return any(
        gap.partition == submission.partition
        and meets(gap.window, submission.window)
        and gap.files in (None, submission.files)
        for gap in gaps
    )


def _sort_out(
    submissions: Iterable[Unanswered], candidates: Iterable[Candidate], gaps: Sequence[Gap]
) -> tuple["_Unclear", list[Candidate]]:
    """Split the tasks: unclear ones, which may belong to an unknown maker, and clear ones, oldest first."""
    awaited: dict[Files | None, list[Unanswered]] = defaultdict(list)
    asked: set[Files | None] = {None}
    for each in submissions:
        asked.add(each.files)
        if each.is_awaited:
            awaited[each.files].append(each)
    unclear, clear = _Unclear(), list[Candidate]()
    # Most tasks are of other files.
    near = (task for task in candidates if task.files in asked)
    for task in sorted(near, key=lambda task: (task.created, task.task_id)):
        is_clear = (
            task.files is not None
            and task.created[0] == task.created[1]
            and not any(meets(task.created, each.window) for each in awaited.get(task.files, ()))
            and not any(_may_be_behind(task, gap) for gap in gaps)
        )
        if is_clear:
            clear.append(task)
        else:
            unclear.add(task)
    return unclear, clear


class _Unclear:
    """Tasks that cannot be matched yet, added oldest first; both tasks and look-ups may be many."""

    def __init__(self) -> None:
        self._moments: dict[Files | None, list[float]] = defaultdict(list)
        self._spans: list[Candidate] = []

    def add(self, task: Candidate) -> None:
        if task.created[0] == task.created[1]:
            self._moments[task.files].append(task.created[0])
        else:
            self._spans.append(task)

    def may_be_of(self, submission: Unanswered) -> bool:
        """Whether one of them may be the submission's task."""
        first_ms, last_ms = submission.window
        for files in (None, submission.files):
            moments = self._moments.get(files, [])
            at = bisect_left(moments, first_ms)
            if at < len(moments) and moments[at] <= last_ms:
                return True
        return any(
            meets(task.created, submission.window) and task.files in (None, submission.files)
            for task in self._spans
        )


def _may_be_behind(task: Candidate, gap: Gap) -> bool:
    """Whether the task may belong to an unreadable record."""
    return meets(task.created, gap.window) and gap.files in (None, task.files)


def _match(
    submissions: Sequence[Unanswered], tasks: Sequence[Candidate], unknown: Sequence[TimeSpan]
) -> dict[Unanswered, Candidate]:
    """Form as many pairs as possible.

    A task goes to the possible submission whose window ends first.

    Submissions without jobs choose last. A task that may be part of another submission's is matched only if
    no task with `unknown` files, created at these times, may be the right one.
    """
    pairs: dict[Unanswered, Candidate] = {}
    doubtful = possible_parts(submissions, tasks)
    left_of: dict[Files | None, list[Candidate]] = defaultdict(list)
    for task in tasks:
        left_of[task.files].append(task)
    for is_wanted in (True, False):
        asking_of: dict[Files, list[Unanswered]] = defaultdict(list)
        for each in submissions:
            if each.is_wanted is is_wanted:
                asking_of[each.files].append(each)
        for files, equal in asking_of.items():
            found = {
                each: task
                for each, task in _match_equal(equal, left_of[files], doubtful).items()
                if not (task.task_id in doubtful and any(meets(each.window, at) for at in unknown))
            }
            pairs |= found
            taken = {task.task_id for task in found.values()}
            left_of[files] = [task for task in left_of[files] if task.task_id not in taken]
    return pairs


def _match_equal(
    equal: Sequence[Unanswered], tasks: Sequence[Candidate], doubtful: Container[str]
) -> dict[Unanswered, Candidate]:
    """Pair submissions and tasks of the same files; the tasks come oldest first.

    If possible, `doubtful` tasks, which may be incomplete tasks of other submissions, are left over.
    """
    plain = _oldest_first(equal, tasks)
    last = [task for task in tasks if task.task_id in doubtful]
    if not last or len(last) == len(tasks):
        return plain
    pairs = _oldest_first(equal, [task for task in tasks if task.task_id not in doubtful])
    pairs |= _oldest_first([each for each in equal if each not in pairs], last)
    return pairs if len(pairs) == len(plain) else plain


def _oldest_first(equal: Iterable[Unanswered], tasks: Iterable[Candidate]) -> dict[Unanswered, Candidate]:
    """Form as many pairs as possible: each task goes to the submission whose window ends first."""
    pairs: dict[Unanswered, Candidate] = {}
    left = sorted(equal, key=lambda each: (each.window[1], each.partition, each.key))
    for task in tasks:
        able = (each for each in left if is_within(task.created[0], (each.window,)))
        submission = next(able, None)
        if submission is not None:
            pairs[submission] = task
            left.remove(submission)
    return pairs
