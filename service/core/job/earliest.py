"""The earliest of many times, known without a walk: they are counted as they change, in slots of 10 s."""

import heapq
from dataclasses import dataclass, field

SLOT_MS = 10_000
"""An age may be shown so much too high: alerts ask for minutes or hours."""
SPARE = 1_000
"""Slots in the heap, beyond twice those in use, before it is made anew."""


@dataclass(slots=True)
class EarliestTime:
    """How many things have a time in each slot; a slot in which there is none takes no memory."""

    _counts: dict[int, int] = field(default_factory=dict)
    _heap: list[int] = field(default_factory=list)
    """The slots in use, perhaps twice, and some that are no longer in use."""

    def change(self, time_ms: int, number: int) -> None:
        """Add `number` things with this time; a negative number removes them."""
        slot = time_ms // SLOT_MS
        before = self._counts.get(slot, 0)
        after = before + number
        if after > 0:
            self._counts[slot] = after
        else:
            self._counts.pop(slot, None)
        if before == 0 < after:
            heapq.heappush(self._heap, slot)
            if len(self._heap) > 2 * len(self._counts) + SPARE:
                self._heap = sorted(self._counts)

    def earliest_ms(self) -> int | None:
        """The beginning of the earliest slot in use; None if nothing is counted."""
        while self._heap and self._heap[0] not in self._counts:
            heapq.heappop(self._heap)
        return self._heap[0] * SLOT_MS if self._heap else None
