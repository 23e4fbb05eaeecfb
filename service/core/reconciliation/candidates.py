"""Tasks seen in the listings that an uncertain submission may have created, and what is known of each.

Rule this module guarantees: a task that was seen is kept as long as it may belong to a submission.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.core.job.file_matching import urls_known
from service.core.provider.answers import ListedTask, TaskStatus, TaskView
from service.core.reconciliation.task_listing import TaskListing, TimeSpan, UnknownTask, is_within, meets
from service.core.reconciliation.unanswered import Candidate, Files, files_of

OVER = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED})
"""UNKNOWN is not included: a task in the list exists."""
MAX_UNREADABLE_TASKS = 5
"""Unreadable answers after which a task is no longer polled: its files stay unknown."""


@dataclass(slots=True)
class Candidates:
    """The candidate tasks, bounded by the tasks created within the submissions' windows."""

    tasks: dict[str, ListedTask] = field(default_factory=dict)
    _unread: dict[str, TimeSpan] = field(default_factory=dict)
    """Creation times of unreadable rows that have an id."""
    _nameless: list[UnknownTask] = field(default_factory=list)
    """Rows of the last listing that have no id."""
    _known: set[str] = field(default_factory=set)
    """Tasks that belong to some submission."""
    _files: dict[str, tuple[Files, frozenset[int]]] = field(default_factory=dict)
    """The files and URLs of tasks that are over."""
    _polls: Counter[str] = field(default_factory=Counter)
    """Polls of each task that gave no files."""
    _unreadable: Counter[str] = field(default_factory=Counter)

    def add_listing(self, listing: TaskListing, spans: Sequence[TimeSpan]) -> None:
        """Add a listing's tasks, and drop tasks outside all spans."""
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
        """Note tasks that belong to some submission."""
        self._known.update(each for each in task_ids if self._is_there(each))

    def note_polled(self, task: TaskView) -> None:
        """Note a poll's answer: a task that is over names its files, which never change."""
        if task.status in OVER:
            urls = [file.file_url for file in task.files]
            self._files[task.task_id] = (files_of(urls), urls_known(urls))
        else:
            self.note_no_answer(task.task_id)

    def note_no_answer(self, task_id: str) -> None:
        """Note a poll that gave no files: other tasks go first next time."""
        self._polls[task_id] += 1

    def note_unreadable(self, task_id: str) -> None:
        """Note a poll whose answer could not be read."""
        self.note_no_answer(task_id)
        self._unreadable[task_id] += 1

    def to_poll(self) -> list[str]:
        """Tasks to poll for their files: possibly over, and of no known submission.

        Tasks polled least often come first.
        """
        ended = (each for each, task in self.tasks.items() if task.status in OVER)
        asked = [each for each in (*ended, *self._unread) if self._is_open(each)]
        return sorted(asked, key=lambda each: (self._polls[each], each))

    def candidates(self) -> list[Candidate]:
        """Tasks that may belong to a submission.

        Tasks that are over and name no file are left out.
        """
        spans: dict[str, TimeSpan] = {
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
        """The ids of tasks that no journal names so far."""
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
