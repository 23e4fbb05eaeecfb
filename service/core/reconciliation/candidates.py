"""What the readings of the list have shown of tasks that an uncertain submission may have made, and what else
is known of each. Rule: a task that was seen once is not forgotten while it may be somebody's.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.core.job.file_matching import urls_known
from service.core.provider.answers import ListedTask, TaskStatus, TaskView
from service.core.reconciliation.task_list import Span, TaskListing, UnknownTask, is_within, meets
from service.core.reconciliation.unanswered import Candidate, Files, files_of

OVER = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED})
"""UNKNOWN is not among them: what the list shows exists."""
MAX_UNREADABLE_TASKS = 5
"""A task whose answer cannot be read so often is not polled any more: nobody will know its files."""


@dataclass(slots=True)
class Candidates:
    """Bounded by the tasks that are created within the submissions' windows."""

    tasks: dict[str, ListedTask] = field(default_factory=dict)
    _unread: dict[str, Span] = field(default_factory=dict)
    """Of rows that tell an id, and otherwise cannot be read."""
    _nameless: list[UnknownTask] = field(default_factory=list)
    """Rows of the last reading that do not tell an id."""
    _known: set[str] = field(default_factory=set)
    """Those that are some submission's."""
    _files: dict[str, tuple[Files, frozenset[int]]] = field(default_factory=dict)
    """The files of those that are over, and their URLs."""
    _polls: Counter[str] = field(default_factory=Counter)
    """How often each was polled in vain."""
    _unreadable: Counter[str] = field(default_factory=Counter)

    def take(self, listing: TaskListing, spans: Sequence[Span]) -> None:
        """Add what a reading showed, and forget what is in no span any more."""
        seen = {**self.tasks, **listing.found}
        self.tasks = {each: task for each, task in seen.items() if is_within(task.created_ms, spans)}
        unread = {**self._unread, **{row.task_id: row.created for row in listing.unknown if row.task_id}}
        self._unread = {
            each: span
            for each, span in unread.items()
            if each not in self.tasks and any(meets(span, other) for other in spans)
        }
        self._nameless = [row for row in listing.unknown if not row.task_id]
        self._forget_gone()

    def note_known(self, task_ids: Iterable[str]) -> None:
        """These are some submission's."""
        self._known.update(each for each in task_ids if self._is_there(each))

    def note_polled(self, task: TaskView) -> None:
        """One that is over names its files, and nothing about it changes any more."""
        if task.status in OVER:
            urls = [file.file_url for file in task.files]
            self._files[task.task_id] = (files_of(urls), urls_known(urls))
        else:
            self.note_in_vain(task.task_id)

    def note_in_vain(self, task_id: str) -> None:
        """A poll of it has told nothing: others go first next time."""
        self._polls[task_id] += 1

    def note_unreadable(self, task_id: str) -> None:
        """An answer about it came, and nobody could read it."""
        self.note_in_vain(task_id)
        self._unreadable[task_id] += 1

    def to_poll(self) -> list[str]:
        """Tasks that may be over, and nobody's as far as is known: what are their files?

        Those that were polled least often come first.
        """
        ended = (each for each, task in self.tasks.items() if task.status in OVER)
        asked = [each for each in (*ended, *self._unread) if self._is_open(each)]
        return sorted(asked, key=lambda each: (self._polls[each], each))

    def candidates(self) -> list[Candidate]:
        """Tasks that may be a submission's; one that is over without a file cannot succeed any more."""
        spans: dict[str, Span] = {
            each: (task.created_ms, task.created_ms) for each, task in self.tasks.items()
        }
        spans |= self._unread
        found = [
            Candidate(each, span, *self._files.get(each, ()))
            for each, span in sorted(spans.items())
            if each not in self._known
        ]
        nameless = [Candidate(f"?{number}", row.created) for number, row in enumerate(self._nameless)]
        return [each for each in found if each.files is None or each.files.number] + nameless

    def wanted(self) -> set[str]:
        """The ids of those that no journal knows so far."""
        return (self.tasks.keys() | self._unread.keys()) - self._known

    def _is_open(self, task_id: str) -> bool:
        cannot_be_read = self._unreadable[task_id] >= MAX_UNREADABLE_TASKS
        return task_id not in self._known and task_id not in self._files and not cannot_be_read

    def _is_there(self, task_id: str) -> bool:
        return task_id in self.tasks or task_id in self._unread

    def _forget_gone(self) -> None:
        self._known = set(filter(self._is_there, self._known))
        self._files = {each: files for each, files in self._files.items() if self._is_there(each)}
        for counts in (self._polls, self._unreadable):
            for each in [each for each in counts if not self._is_there(each)]:
                del counts[each]
