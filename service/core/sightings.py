"""What the readings of the list have shown of tasks that an uncertain submit may have made, and what else is
known of each. Rule: a task that was seen once is not forgotten while it may be somebody's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from service.core.listing import Reading, Span, is_within
from service.core.reconcile import Candidate
from service.core.task import ListedTask, TaskStatus, TaskView

OVER = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED})
"""UNKNOWN is not among them: what the list shows exists."""


@dataclass(slots=True)
class Sightings:
    """Bounded by the tasks that are created within the submits' windows."""

    tasks: dict[str, ListedTask] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    """Those that are some job's."""
    _shared: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Those that may be more jobs' of the same request."""
    _urls: dict[str, frozenset[str]] = field(default_factory=dict)
    """The files of those that are over, percent escapes aside."""

    def take(self, reading: Reading, spans: Sequence[Span]) -> None:
        """Add what a reading showed, and forget what is in no span any more."""
        seen = {**self.tasks, **reading.found}
        self.tasks = {each: task for each, task in seen.items() if is_within(task.created_ms, spans)}
        self._known &= self.tasks.keys()
        self._urls = {each: urls for each, urls in self._urls.items() if each in self.tasks}

    def note_known(self, task_ids: Iterable[str]) -> None:
        """These are some job's."""
        self._known.update(self.tasks.keys() & set(task_ids))

    def note_shared(self, requests: Mapping[str, tuple[str, int]]) -> None:
        """These are tasks of requests that have an uncertain job too."""
        self._shared = {each: request for each, request in requests.items() if each in self.tasks}

    def note_look(self, task: TaskView) -> None:
        """One that is over names its files, and nothing about it changes any more."""
        if task.status in OVER:
            self._urls[task.task_id] = frozenset(unquote(file.file_url) for file in task.files)

    def to_look_at(self) -> list[str]:
        """Tasks that are over, by the list's word, and nobody's as far as is known: what are their files?"""
        open_ids = (each.task_id for each in self.candidates() if each.urls is None)
        return [each for each in open_ids if self.tasks[each].status in OVER]

    def candidates(self) -> list[Candidate]:
        """Tasks that may be a submit's; one that is over without a file cannot succeed any more."""
        nobodys = [each for each in self.tasks if each not in self._known or each in self._shared]
        found = [self._candidate(self.tasks[each]) for each in sorted(nobodys)]
        return [each for each in found if each.urls != frozenset()]

    def _candidate(self, task: ListedTask) -> Candidate:
        urls, request = self._urls.get(task.task_id), self._shared.get(task.task_id)
        return Candidate(task.task_id, task.created_ms, urls, request)
