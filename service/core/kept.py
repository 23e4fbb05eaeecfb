"""Submissions that are over, in little memory, until their records may go.

A provider can be asked for a task for 24 hours; until then everybody has to know whose it was.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.identity import SubmissionKey
from service.core.urgency import RETENTION_MS

KEPT_MS = RETENTION_MS
"""How long a submission's record stays after its task was made: the provider knows the task as long."""
SLOT_MS = 600_000
"""Records go up to so much later: those of one slot go together."""


@dataclass(slots=True)
class KeptSubmissions:
    """The keys of submissions that are over, by when they were made: 16 bytes each."""

    _slots: "dict[int, array[int]]" = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values()) // 2

    def __iter__(self) -> Iterator[SubmissionKey]:
        for slot in self._slots.values():
            yield from (SubmissionKey(*pair) for pair in zip(slot[::2], slot[1::2], strict=True))

    def add(self, made_ms: int, key: SubmissionKey) -> None:
        """Keep one."""
        slot = self._slots.get(made_ms // SLOT_MS)
        if slot is None:
            slot = self._slots[made_ms // SLOT_MS] = array("q")
        slot.extend(key)

    def has(self, key: SubmissionKey) -> bool:
        """Whether it is kept; reads all of them."""
        wanted = array("q", key).tobytes()
        return any(_is_in(wanted, slot.tobytes()) for slot in self._slots.values())

    def take(self, now_ms: int, limit: int) -> list[SubmissionKey]:
        """Forget the oldest of those whose time is over, at most `limit`, and say which."""
        taken: list[SubmissionKey] = []
        for number in sorted(self._slots):
            if (number + 1) * SLOT_MS + KEPT_MS > now_ms or len(taken) >= limit:
                break
            slot = self._slots[number]
            while slot and len(taken) < limit:
                second, first = slot.pop(), slot.pop()
                taken.append(SubmissionKey(first, second))
            if not slot:
                del self._slots[number]
        return taken


def _is_in(wanted: bytes, kept: bytes) -> bool:
    at = kept.find(wanted)
    while at % len(wanted) and at >= 0:
        at = kept.find(wanted, at + 1)
    return at >= 0
