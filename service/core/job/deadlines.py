"""The deadlines of open jobs by minute: a sweep visits only those whose minute has begun."""

from bisect import bisect, insort
from collections.abc import Container
from dataclasses import dataclass, field

from service.core.job.identity import JobRef

MINUTE_MS = 60_000


@dataclass(slots=True)
class Deadlines:
    """The jobs in lists by the minute of their deadline: a pointer each.

    A job that is gone stays in its list until its minute is visited, or until all lists are made anew.
    """

    size: int = 0
    """Entries in all lists, those of jobs that are gone included."""
    _minutes: dict[int, list[JobRef]] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)
    """The keys of `_minutes`, in order."""

    def add(self, deadline_ms: int, ref: JobRef) -> None:
        """Add a job."""
        minute = deadline_ms // MINUTE_MS
        refs = self._minutes.get(minute)
        if refs is None:
            refs = self._minutes[minute] = []
            insort(self._order, minute)
        refs.append(ref)
        self.size += 1

    def near(self, now_ms: int, there: Container[JobRef]) -> list[JobRef]:
        """The jobs whose minute has begun, once each; forgets those that are not there."""
        found: dict[JobRef, None] = {}
        for minute in self._order[: bisect(self._order, now_ms // MINUTE_MS)]:
            before = self._minutes[minute]
            refs = dict.fromkeys(ref for ref in before if ref in there)
            self.size -= len(before) - len(refs)
            self._minutes[minute] = list(refs)
            found |= refs
            if not refs:
                del self._minutes[minute]
                self._order.remove(minute)
        return list(found)
