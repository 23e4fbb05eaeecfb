"""Tasks that are over and name only a part of their files: a provider may leave files out of its answer.

Rules this module guarantees:

1. A task that fits no submission exactly, and names a part of the files of one of ours, is that submission's,
   or the submission waits: it is never taken for one that made no task, which would cost another one.
2. Where several may have made it, the one whose window ends first decides first, and the others wait for it:
   who it is everybody can tell, and the first one waits for nobody.
"""

from collections.abc import Iterable, Sequence

from service.core.task_list import meets
from service.core.unanswered import Candidate, Gap, Unanswered


def match_parts(
    submissions: Iterable[Unanswered],
    asking: Iterable[Unanswered],
    tasks: Iterable[Candidate],
    gaps: Sequence[Gap],
) -> tuple[dict[Unanswered, Candidate], set[Unanswered]]:
    """The pairs, and those that have to wait.

    `submissions` are all that have no task yet, `asking` those of them that may have one now; `tasks` are
    nobody's so far.
    """
    left = sorted(submissions, key=_turn)
    able = {each for each in asking if each.urls}
    known = frozenset().union(*(each.urls for each in able))
    pairs: dict[Unanswered, Candidate] = {}
    held: set[Unanswered] = set()
    # Most are strangers' of other files.
    near = (task for task in tasks if task.files is not None and not known.isdisjoint(task.urls))
    for task in sorted(near, key=lambda task: (task.created, task.task_id)):
        makers = [each for each in left if each not in pairs and _may_have_made(each, task)]
        ours = [each for each in makers if each in able and not each.urls.isdisjoint(task.urls)]
        if ours and makers[0] is ours[0] and _is_clear(task, makers, gaps):
            pairs[ours[0]] = task
        else:
            held.update(ours)
    return pairs, held.difference(pairs)


def _turn(each: Unanswered) -> tuple[object, ...]:
    return (not each.is_wanted, each.window[1], each.partition, each.key)


def _may_have_made(submission: Unanswered, task: Candidate) -> bool:
    """Whether the task's files may be the submission's, or a part of them, as far as those are known."""
    if not meets(task.created, submission.window) or task.files is None:
        return False
    unknown = submission.files.number - len(submission.urls)
    is_part = task.files.number < submission.files.number and len(task.urls - submission.urls) <= unknown
    return is_part or task.files == submission.files


def _is_clear(task: Candidate, makers: Iterable[Unanswered], gaps: Iterable[Gap]) -> bool:
    """Whether nobody else may have made it: whose answer is awaited, or whose record cannot be read."""
    is_moment = task.created[0] == task.created[1]
    is_awaited = any(each.is_awaited for each in makers)
    return is_moment and not is_awaited and not any(meets(task.created, gap.window) for gap in gaps)
