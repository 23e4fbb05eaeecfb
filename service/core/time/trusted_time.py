"""The time that decides what has ended and what is forgotten: boot time plus an offset.

Rules this module guarantees:

1. It follows the wall clock while that stays within `STEP_SECONDS` of the offset that was confirmed last.
2. A larger difference is a step. It is adopted only after the vendor's `Date` has agreed with it for
   `AGREED_SECONDS`, from one answer to a later one: a step that merely lasts is never adopted.
3. Until the vendor's `Date` has confirmed the offset, `confirmed_ms` is the earlier of our time and the
   vendor's, and 0 before the first `Date`: nothing has ended that either clock says is to come. For a vendor
   that answers without any `Date` the broker stands in; it confirms nothing.
4. Neither goes back, but for `now_ms` when the vendor first confirms that it was ahead. Where a step back is
   adopted both stand still until time has caught up.
"""

from dataclasses import dataclass
from enum import StrEnum

from service.core.time.vendor_clock import Bounds, VendorClock

STEP_SECONDS = 1.0
"""Smaller differences are followed at once: `Date` has whole seconds, and NTP corrects by less."""
AGREED_SECONDS = 60.0
"""How long the vendor must agree: a proxy that answers for it for a moment decides nothing."""


class TimeEvent(StrEnum):
    """What becomes of the offset."""

    CONFIRMED = "confirmed"
    """The vendor's `Date` agrees for the first time: from now on things end."""
    STEPPED = "stepped"
    """The wall clock has stepped away; our time has not."""
    RETURNED = "returned"
    """The wall clock is back."""
    ADOPTED = "adopted"
    """The vendor agreed for long enough: our time has stepped too."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The time in epoch milliseconds: for records, and for what ends or is forgotten."""

    now_ms: int
    confirmed_ms: int


class TrustedTime:
    """The offset, and what is known for and against it; it reads no clock itself."""

    def __init__(self, vendor: VendorClock) -> None:
        self._vendor = vendor
        self._has_begun = False
        self._offset = 0.0
        self._base = 0.0
        """The offset as it was confirmed last: small differences count from here, and cannot add up."""
        self._is_confirmed = False
        self._is_away = False
        self._candidate: tuple[float, float] | None = None
        """Another offset that the vendor agrees with, and since when, by the boot clock."""
        self._now_ms = self._confirmed_ms = 0
        self._broker: float | None = None
        """Broker time minus boot time, at the least."""

    def read(self, wall_ms: int, boot_seconds: float) -> tuple[Reading, TimeEvent | None]:
        """The time at these readings of the two clocks, and what has become of the offset."""
        wall = wall_ms / 1000 - boot_seconds
        if not self._has_begun:
            self._has_begun, self._offset, self._base = True, wall, wall
        said = self._vendor.offset_seconds(boot_seconds)
        event = None if said is None else self._judge(wall, said, boot_seconds)
        event = event or self._follow(wall)
        if event is TimeEvent.CONFIRMED:
            self._now_ms = self._confirmed_ms
        self._now_ms = max(self._now_ms, _time_ms(self._offset, boot_seconds))
        if self._is_confirmed:
            self._confirmed_ms = self._now_ms
        elif (witness := self._witness(said)) is not None:
            both = _time_ms(min(self._offset, witness), boot_seconds)
            self._confirmed_ms = max(self._confirmed_ms, both)
        return Reading(self._now_ms, self._confirmed_ms), event

    def not_before(self, time_ms: int, boot_seconds: float) -> None:
        """Let time, which has been read before, be no earlier than this, until `Date` confirms what it is."""
        offset = time_ms / 1000 - boot_seconds
        if not self._is_confirmed and offset > self._offset:
            self._offset = self._base = offset

    def witnessed(self, time_ms: int, boot_seconds: float) -> None:
        """The broker has given a record this time, at this boot second or before."""
        offset = time_ms / 1000 - boot_seconds
        self._broker = offset if self._broker is None else max(self._broker, offset)

    def _witness(self, said: Bounds | None) -> float | None:
        """Who has a say beside our clock before it is confirmed: an offset, at the least."""
        if said is not None:
            return said[0]
        return self._broker if self._vendor.is_dateless else None

    def _judge(self, wall: float, said: Bounds, boot_seconds: float) -> TimeEvent | None:
        """Hold the wall clock, before the first confirmation ours too, against what the vendor says."""
        if not self._is_confirmed:
            agreed = next((each for each in (wall, self._offset) if _agree(each, said)), None)
            if agreed is not None:
                return self._adopt(agreed)
            # Both are contradicted: in the end the vendor is believed.
            return self._weigh((said[0] + said[1]) / 2, said, boot_seconds)
        if abs(wall - self._base) >= STEP_SECONDS:
            return self._weigh(wall, said, boot_seconds)
        self._candidate = None
        if _agree(wall, said):
            self._base = wall
        return None

    def _weigh(self, offset: float, said: Bounds, boot_seconds: float) -> TimeEvent | None:
        """Adopt another offset once the vendor has agreed with it for long enough."""
        candidate, since = self._candidate or (offset, boot_seconds)
        if not _agree(offset, said) or abs(offset - candidate) >= STEP_SECONDS:
            self._candidate = None
            return None
        self._candidate = (candidate, since)
        observed = self._vendor.observed_boot or since
        return self._adopt(offset) if observed - since >= AGREED_SECONDS else None

    def _adopt(self, offset: float) -> TimeEvent:
        event = TimeEvent.ADOPTED if self._is_confirmed else TimeEvent.CONFIRMED
        self._offset = self._base = offset
        self._is_confirmed, self._is_away, self._candidate = True, False, None
        return event

    def _follow(self, wall: float) -> TimeEvent | None:
        """Follow a wall clock that is near, and notice when it leaves or comes back."""
        is_away = abs(wall - self._base) >= STEP_SECONDS
        if not is_away:
            self._offset = wall
        if is_away is self._is_away:
            return None
        self._is_away = is_away
        return TimeEvent.STEPPED if is_away else TimeEvent.RETURNED


def _agree(offset: float, said: Bounds) -> bool:
    return said[0] - STEP_SECONDS < offset < said[1] + STEP_SECONDS


def _time_ms(offset: float, boot_seconds: float) -> int:
    return round(1000 * (boot_seconds + offset))
