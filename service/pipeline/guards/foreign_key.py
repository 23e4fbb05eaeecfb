"""Tell lost tasks from a key of another account, which finds every task of ours UNKNOWN."""

from dataclasses import dataclass, field

from service.core.provider.answers import ProviderError, TaskStatus, TaskView
from service.core.provider.own_codes import OwnCode

TASKS = 5
"""This many unknown tasks in a row are no coincidence."""
WITHIN_SECONDS = 60.0
"""Older ones do not count: tasks that are lost one by one must not add up to a foreign key."""
FOREIGN = ProviderError(
    OwnCode.FOREIGN_TASKS,
    f"the provider knows none of the last {TASKS} tasks that were asked for: is the key another account's?",
)


@dataclass(slots=True)
class ForeignKeyDetector:
    """The tasks that were UNKNOWN within the last minute, with no known task between them."""

    is_foreign: bool = False
    """Whether `TASKS` tasks were UNKNOWN; reset once a task is known again."""
    _unknown: dict[str, float] = field(default_factory=dict)

    def note(self, task: TaskView, now: float) -> None:
        """The answer about one task that must still be known; `now` is the boot clock."""
        if task.status is not TaskStatus.UNKNOWN:
            self._unknown.clear()
            self.is_foreign = False
            return
        self._unknown = {each: at for each, at in self._unknown.items() if now - at < WITHIN_SECONDS}
        self._unknown[task.task_id] = now
        self.is_foreign = self.is_foreign or len(self._unknown) >= TASKS
