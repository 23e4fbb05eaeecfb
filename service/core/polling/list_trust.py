"""Whether the account's list of tasks is believed: judged by what the tasks' own queries say.

Each hint of the list is confirmed or refuted by the query of its task. A list that misleads is not used for a
while, and for longer each time: polling by schedule goes on without it.
"""

from dataclasses import dataclass
from enum import StrEnum

START = 5
"""The credit of a list that was not tried yet: three wrong hints at its beginning end the trust."""
MOST = 20
"""The most credit: after it, `MOST / COST` wrong hints in a row end the trust."""
COST = 2
"""What a wrong hint takes from the credit that a right one gives: a list half of whose hints are wrong is no
help."""
SHORTEST_SECONDS = 60.0
LONGEST_SECONDS = 3_600.0
"""The pause after the trust has ended: the first time, and at most, since it doubles each time."""


class PageSource(StrEnum):
    """Who has read a page of the list."""

    OWN = "own"
    SHARED = "shared"
    """Another replica, which told us."""


@dataclass(slots=True)
class ListTrust:
    """The credit of the list, or of what others tell of it; seconds are of the boot clock."""

    credit: int = START
    _until: float = 0.0
    _seconds: float = SHORTEST_SECONDS

    def is_trusted(self, now: float) -> bool:
        """Whether the list is used."""
        return now >= self._until

    def helped(self) -> None:
        """A hint was right, and in time."""
        self.credit = min(MOST, self.credit + 1)
        if self.credit == MOST:
            self._seconds = SHORTEST_SECONDS

    def seconds_left(self, now: float) -> float:
        """How long the list is not used yet."""
        return max(0.0, self._until - now)

    def misled(self, now: float) -> None:
        """A hint was wrong, or an ended task was listed as running; without effect while not trusted."""
        if not self.is_trusted(now):
            return
        self.credit -= COST
        if self.credit <= 0:
            self._until = now + self._seconds
            self._seconds = min(LONGEST_SECONDS, 2 * self._seconds)
            self.credit = START
