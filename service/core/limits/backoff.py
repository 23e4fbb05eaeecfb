"""How long to wait before the next attempt.

Full jitter: the wait is drawn uniformly between zero and a ceiling that doubles with each attempt, so that
jobs which failed together do not retry together. The draw is an argument.
"""

from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A doubling ceiling between `first_seconds` and `longest_seconds`."""

    first_seconds: float
    longest_seconds: float

    def wait_ms(self, attempt: int, draw: float, retry_after_seconds: float | None = None) -> int:
        """The wait after attempt number `attempt` (from 1).

        Never shorter than the provider asked for.

        `draw` lies in [0, 1).
        """
        doubled: float = self.first_seconds * 2.0 ** min(attempt - 1, 32)
        ceiling = min(self.longest_seconds, doubled)
        asked = retry_after_seconds or 0.0
        return round(1000 * (asked + ceiling * draw))
