"""The deadlines of open jobs by minute: a sweep visits only those whose minute has begun."""

from array import array
from bisect import bisect, insort
from collections.abc import Container
from dataclasses import dataclass, field

from service.core.job.identity import JobRef

MINUTE_MS = 60_000


@dataclass(slots=True)
class Minute:
    """The jobs whose deadline is in one minute: a pointer each, and the millisecond of that minute."""

    refs: list[JobRef] = field(default_factory=list)
    after_ms: "array[int]" = field(default_factory=lambda: array("H"))

    def add(self, ref: JobRef, after_ms: int) -> None:
        """Add a job."""
        self.refs.append(ref)
        self.after_ms.append(after_ms)

    def only(self, there: Container[JobRef]) -> "Minute":
        """A copy without duplicates, and without the jobs that are not in `there`."""
        kept = Minute()
        for ref, after_ms in dict(zip(self.refs, self.after_ms, strict=True)).items():
            if ref in there:
                kept.add(ref, after_ms)
        return kept


@dataclass(slots=True)
class Deadlines:
    """The jobs in lists by the minute of their deadline.

    A job that is gone stays in its list until its minute is visited, or until `forget_gone`.
    """

    size: int = 0
    """Entries in all lists, those of jobs that are gone included."""
    _minutes: dict[int, Minute] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)
    """The keys of `_minutes`, in order."""

    def add(self, deadline_ms: int, ref: JobRef) -> None:
        """Add a job."""
        number, after_ms = divmod(deadline_ms, MINUTE_MS)
        minute = self._minutes.get(number)
        if minute is None:
            minute = self._minutes[number] = Minute()
            insort(self._order, number)
        minute.add(ref, after_ms)
        self.size += 1

    def passed(self, now_ms: int, there: Container[JobRef]) -> list[JobRef]:
        """The jobs whose deadline has passed, once each; forgets those that are not there."""
        found: dict[JobRef, None] = {}
        for number in self._order[: bisect(self._order, now_ms // MINUTE_MS)]:
            minute = self._only(number, there)
            begin_ms = number * MINUTE_MS
            times = zip(minute.refs, minute.after_ms, strict=True)
            found |= dict.fromkeys(ref for ref, after_ms in times if begin_ms + after_ms <= now_ms)
        return list(found)

    def forget_gone(self, there: Container[JobRef]) -> None:
        """Forget the jobs that are not there."""
        for number in list(self._order):
            self._only(number, there)

    def _only(self, number: int, there: Container[JobRef]) -> Minute:
        before = self._minutes[number]
        minute = self._minutes[number] = before.only(there)
        self.size -= len(before.refs) - len(minute.refs)
        if not minute.refs:
            del self._minutes[number]
            self._order.remove(number)
        return minute
