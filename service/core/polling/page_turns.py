"""Which page of the list is read next, where several replicas read one list and share what they read.

Rules this module guarantees:

1. The turn follows the number of the time slot, which all replicas count alike: replicas that call one after
   the other read one page after the other, without a word between them.
2. A page that anyone has just read is left out. If another one waits for far longer, as some replicas do not
   call, that one is read instead.
3. How long the list is counts only from our own answers, and while they are recent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_PAGES = 20_000
"""Two million running tasks: a list with more pages is taken to be endless."""
SHARING_SECONDS = 5.0
"""Without a page of another replica for this long, the list is read alone."""
EXTENT_SECONDS = 10.0
"""How long our own answer tells how long the list is."""
SHORTEST_AGE_SECONDS = 0.5
"""A page is not read again so soon."""
LONGEST_AGE_SECONDS = 1.0
"""From this age on a page may be read out of turn."""
FRESH_PART = 0.25
"""The turn passes to the oldest page if its own page has less than this part of that one's age."""
TIE_SECONDS = 0.1
"""Among pages read within this time of the oldest one chance decides: replicas must not choose alike."""


class Extent(NamedTuple):
    """How long the list is: rows of a full page, and of all pages."""

    size: int
    total: int


def pages_of(extent: Extent) -> int:
    """The number of pages, at least one."""
    return 1 if not extent.size else max(1, min(MAX_PAGES, -(-extent.total // extent.size)))


@dataclass(slots=True)
class PageTurns:
    """When each page of the list of one status was read, by anyone; times are boot seconds."""

    _extent: Extent | None = None
    _extent_at: float = -math.inf
    _shared_at: float = -math.inf
    _asked_at: dict[int, float] = field(default_factory=dict)
    _shown: dict[int, int] = field(default_factory=dict)
    """How many tasks of ours each page showed."""

    def note_own_answer(self, page_no: int, rows: int, total: int | None, at: float) -> None:
        """An answer of our own tells how long the list is."""
        if page_no == 1 and total is not None:
            self._extent = Extent(rows, total)
        elif self._extent is not None:
            self._extent = None if total is None else Extent(self._extent.size, total)
        self._extent_at = at

    def note_shared_page(self, at: float) -> None:
        """Another replica reads the list."""
        self._shared_at = max(self._shared_at, at)

    def read(self, page_no: int, asked_at: float, shown: int) -> None:
        """Somebody has read a page, which showed so many tasks of ours."""
        if page_no <= MAX_PAGES:
            self._asked_at[page_no] = max(asked_at, self._asked_at.get(page_no, asked_at))
            self._shown[page_no] = shown

    def shown_since(self, since: float) -> Mapping[int, int]:
        """The pages that were read since then, with the number of tasks of ours that each showed."""
        return {number: self._shown.get(number, 0) for number, at in self._asked_at.items() if at >= since}

    def extent(self, now: float) -> Extent | None:
        """How long the list is; None if the list is to be read alone, or from its first page on."""
        if now - self._shared_at > SHARING_SECONDS or now - self._extent_at > EXTENT_SECONDS:
            return None
        return self._extent

    def next_page(self, slot: int, pages: int, now: float, chance: float) -> int | None:
        """The page whose turn it is in a slot; None if all were just read. `chance` is below 1."""
        # The turns shift after each round: else a partition that nobody serves would leave out the same page.
        turn = (slot + slot // pages) % pages + 1
        ages = {number: now - self._asked_at.get(number, -math.inf) for number in range(1, pages + 1)}
        oldest = max(ages.values())
        if ages[turn] < max(SHORTEST_AGE_SECONDS, FRESH_PART * oldest):
            if oldest < LONGEST_AGE_SECONDS:
                return None
            old = [number for number, age in ages.items() if age >= oldest - TIE_SECONDS]
            turn = old[int(chance * len(old))]
        return turn
