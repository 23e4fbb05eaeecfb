"""Match finished tasks that name only part of their files.

A provider may leave files out of its answer.

Rules this module guarantees:

1. If a task fits no submission exactly and names part of the files of one of ours, that submission adopts it
   or waits. It is never treated as having no task, which would cost another task.
2. If several submissions may have created it, the one whose window ends first decides first and the others
   wait. Every process computes the same order, and the first submission waits for no other.
3. A submission adopts the task that names the most of its files, once the files of all tasks in its window
   are known.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from service.core.reconciliation.task_listing import meets
from service.core.reconciliation.unanswered import Candidate, Gap, Unanswered


def match_parts(
    submissions: Iterable[Unanswered],
    asking: Iterable[Unanswered],
    tasks: Sequence[Candidate],
    gaps: Sequence[Gap],
) -> tuple[dict[Unanswered, Candidate], set[Unanswered]]:
    """The pairs, and the submissions that must wait.

    `submissions` are all without a task, and `asking` those of them that may get one now. `tasks` are the
    unmatched tasks, including those whose files are not known yet.
    """
    left = sorted(submissions, key=_turn)
    able = {each for each in asking if each.urls}
    known = frozenset().union(*(each.urls for each in able))
    unknown = [task.created for task in tasks if task.files is None]
    # Most tasks are of other files.
    near = [task for task in tasks if task.files is not None and not known.isdisjoint(task.urls)]
    pairs: dict[Unanswered, Candidate] = {}
    held: set[Unanswered] = set()
    for each in (each for each in left if each in able):
        own = [task for task in near if not each.urls.isdisjoint(task.urls) and _may_have_made(each, task)]
        if any(not _is_clear(each, task, left, gaps) for task in own) or (
            own and any(meets(created, each.window) for created in unknown)
        ):
            held.add(each)
        elif own:
            pairs[each] = max(
                own, key=lambda task: (len(task.urls & each.urls), -task.created[0], task.task_id)
            )
            near.remove(pairs[each])
            left = [other for other in left if other is not each]
    return pairs, held


def possible_parts(submissions: Iterable[Unanswered], tasks: Iterable[Candidate]) -> set[str]:
    """The ids of the tasks that may be a submission's with files left out."""
    naming: dict[int, list[Unanswered]] = defaultdict(list)
    for each in submissions:
        for url in each.urls if each.files.number > 1 else ():
            naming[url].append(each)
    return {
        task.task_id
        for task in tasks
        if any(may_be_a_part(each, task) for url in task.urls for each in naming.get(url, ()))
    }


def may_be_a_part(submission: Unanswered, task: Candidate) -> bool:
    """Whether the task may be the submission's with files left out, as far as its URLs are known here."""
    has_fewer = task.files is not None and task.files.number < submission.files.number
    return has_fewer and not submission.urls.isdisjoint(task.urls) and _may_have_made(submission, task)


def _turn(each: Unanswered) -> tuple[object, ...]:
    return (not each.is_wanted, each.window[1], each.partition, each.key)


def _may_have_made(submission: Unanswered, task: Candidate) -> bool:
    """Whether the task's files may be the submission's, or part of them, as far as its URLs are known."""
    if not meets(task.created, submission.window) or task.files is None:
        return False
    unknown = submission.files.number - len(submission.urls)
    is_part = task.files.number < submission.files.number and len(task.urls - submission.urls) <= unknown
    return is_part or task.files == submission.files


def _is_clear(
    submission: Unanswered, task: Candidate, left: Iterable[Unanswered], gaps: Iterable[Gap]
) -> bool:
    """Whether the submission decides first on the task, and no awaited answer or gap may concern it."""
    makers = [each for each in left if _may_have_made(each, task)]
    is_first = bool(makers) and makers[0] is submission
    is_awaited = any(each.is_awaited for each in makers)
    is_moment = task.created[0] == task.created[1]
    return (
        is_first and is_moment and not is_awaited and not any(meets(task.created, gap.window) for gap in gaps)
    )
