"""What a journal partition, anybody's, says of tasks and of submits that nobody knows the end of.

A fold like `core.restore`, with its rules about epochs, that keeps next to nothing: which of the tasks asked
for are some job's, and the jobs whose submit may have made one of the others.
"""

from collections.abc import Set
from dataclasses import dataclass, field

from service.core.entry import Marker, Stamp, decode
from service.core.job import Job, State
from service.errors import RestoreError

IN_DOUBT = (State.SUBMITTING, State.UNCERTAIN)


@dataclass(slots=True)
class Survey:
    """The fold over one journal partition; `wanted` are the ids of the tasks that it is about."""

    partition: int
    wanted: Set[str]
    _epoch: int = 0
    _tasks: dict[str, Set[str]] = field(default_factory=dict)
    _jobs: dict[str, Job] = field(default_factory=dict)

    def add(self, offset: int, key: str, value: bytes | None, stamp: bytes | None) -> None:
        """Take the next record; raises `RestoreError` for one that is not ours."""
        try:
            epoch = Stamp.decode(stamp or b"").epoch
            entry = None if value is None else decode(key, value)
        except (ValueError, KeyError, TypeError) as error:
            told = f"the journal record at partition {self.partition}, offset {offset} cannot be read"
            raise RestoreError(told) from error
        if epoch < self._epoch:
            return
        self._epoch = epoch
        self._tasks.pop(key, None)
        self._jobs.pop(key, None)
        if isinstance(entry, Job | Marker) and (ours := self.wanted & set(entry.task_ids)):
            self._tasks[key] = ours
        if isinstance(entry, Job) and entry.state in IN_DOUBT:
            self._jobs[key] = entry

    def known(self) -> set[str]:
        """Those of the tasks that are some job's."""
        return {task_id for ids in self._tasks.values() for task_id in ids}

    def in_doubt(self) -> list[Job]:
        """Jobs with a submit that may have made a task."""
        return list(self._jobs.values())
