"""Estimate the vendor's clock from the `Date` headers of its answers.

The estimate is relative to our boot clock.

`Date` has whole seconds and is written between the sending of the call and the receipt of its answer, so one
answer bounds vendor time minus boot time to [date - received, date + 1 s - sent]. Many answers together bound
it to some 60 ms.

Rules this module guarantees:

1. The wall clock is not used: setting it changes nothing here.
2. A wrong `Date` does not count once the other seconds with an answer outvote it. Each second has one vote
   for each distinct bound in it, however many answers gave that bound.
3. A bound widens with age, since the two clocks drift apart. Nothing is known before the first answer.
4. Memory is bounded: `MAX_SECONDS` seconds, `MAX_VERSIONS` contradicting bounds in each.
"""

from dataclasses import dataclass, field

Bounds = tuple[float, float]
"""The lowest and the highest value, in seconds, of vendor time minus boot time."""

DATE_SECONDS = 1.0
"""Resolution of `Date`."""
WINDOW_SECONDS = 60.0
"""Older answers count only if there are too few younger ones."""
MIN_SECONDS = 8
"""Seconds with an answer kept whatever their age: they outvote one wrong `Date` after an idle hour."""
MAX_SECONDS = 64
"""A window's seconds, and a few."""
MAX_VERSIONS = 4
"""Hosts and proxies that contradict each other within one second; more tell nothing new."""
DATELESS_SECONDS = 60.0
"""How long all answers must lack a `Date`: one page from a proxy proves nothing about the vendor."""
DRIFT = 1e-4
"""Seconds that two clocks may drift apart in a second: more than a quartz, or a clock kept by NTP."""


@dataclass(slots=True)
class _Second:
    """The bounds from one second of the boot clock that contradict each other."""

    at_boot: int
    versions: list[Bounds] = field(default_factory=list)

    def add(self, bounds: Bounds) -> bool:
        """Narrow a bound that agrees with these, or add them.

        False if they add no information.
        """
        for number, known in enumerate(self.versions):
            both = _intersection(known, bounds)
            if both is not None:
                self.versions[number] = both
                return both != known
        if len(self.versions) == MAX_VERSIONS:
            return False
        self.versions.append(bounds)
        return True


class VendorClock:
    """The estimate of the vendor's clock."""

    def __init__(self) -> None:
        self._seconds: list[_Second] = []
        self._known: Bounds | None = None
        self._known_at = 0.0
        self.observed_boot: float | None = None
        """When the newest answer with a `Date` came, by the boot clock."""
        self._dateless: Bounds | None = None
        """When the first and the last answer without a `Date` came."""

    @property
    def is_dateless(self) -> bool:
        """Whether answers have come for `DATELESS_SECONDS`, none of them with a `Date`."""
        first, last = self._dateless or (0.0, 0.0)
        return self._known is None and last - first >= DATELESS_SECONDS

    def observe_dateless(self, received_boot: float) -> None:
        """Note an answer without a `Date`."""
        first, _ = self._dateless or (received_boot, received_boot)
        self._dateless = (first, received_boot)

    def observe(self, sent_boot: float, received_boot: float, date_ms: int) -> None:
        """Add the `Date` of an answer whose call was sent, and which was received, at these boot seconds."""
        if received_boot < sent_boot:
            return
        date_seconds = date_ms / 1000
        bounds = (date_seconds - received_boot, date_seconds + DATE_SECONDS - sent_boot)
        self.observed_boot = max(received_boot, self.observed_boot or received_boot)
        at_boot = int(received_boot)
        if not self._seconds or self._seconds[-1].at_boot < at_boot:
            self._seconds.append(_Second(at_boot))
            self._forget(received_boot)
        if self._seconds[-1].add(bounds):
            self._known, self._known_at = self._agreed(received_boot), received_boot

    def offset_seconds(self, boot_seconds: float) -> Bounds | None:
        """The bounds [low, high] of vendor time minus boot time.

        None before the first answer.

        If most seconds with an answer agree, the bounds are what they agree on, else those of the newest one.
        """
        if self._known is None:
            return None
        return _widened(self._known, boot_seconds - self._known_at)

    def _forget(self, now_boot: float) -> None:
        oldest = now_boot - WINDOW_SECONDS
        while len(self._seconds) > MAX_SECONDS or (
            len(self._seconds) > MIN_SECONDS and self._seconds[0].at_boot < oldest
        ):
            del self._seconds[0]

    def _agreed(self, now_boot: float) -> Bounds:
        """The bounds that the most seconds agree on, by Marzullo's algorithm."""
        bounds = [
            _widened(each, now_boot - second.at_boot) for second in self._seconds for each in second.versions
        ]
        edges = sorted([(low, 0) for low, _ in bounds] + [(high, 1) for _, high in bounds])
        votes = most = 0
        best = bounds[-1]
        for number, (value, is_end) in enumerate(edges):
            votes += -1 if is_end else 1
            if votes > most:
                most, best = votes, (value, edges[number + 1][0])
        return best if 2 * most > len(self._seconds) else bounds[-1]


def _widened(bounds: Bounds, age_seconds: float) -> Bounds:
    slack = DRIFT * max(0.0, age_seconds)
    return (bounds[0] - slack, bounds[1] + slack)


def _intersection(one: Bounds, other: Bounds) -> Bounds | None:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None
