"""Trusted time, which decides deadlines and retention: boot time plus an offset.

Rules this module guarantees:

1. The offset follows the wall clock within `STEP_SECONDS` of the last confirmed offset.
2. A larger difference is a step. It is adopted only after the vendor's `Date` has agreed with it for
   `AGREED_SECONDS`, from one answer to a later one. A step that merely lasts is never adopted.
3. Before that, one `Date` that agrees with the wall clock, or with our time, confirms the offset; `Date`s
   that contradict both are adopted after `AGREED_SECONDS`. Until the offset is confirmed, `confirmed_ms` is
   the earlier of our time and the vendor's, and 0 before the first `Date`: nothing ends before both clocks
   say so. If the vendor answers without any `Date`, the broker's time replaces the vendor's; it confirms
   nothing.
4. `now_ms` and `confirmed_ms` never go back, except `now_ms` when the vendor first confirms that it was
   ahead. When a step back is adopted, both stand still until time has caught up.
"""

from enum import StrEnum

from service.core.time.vendor_clock import Bounds, VendorClock
from service.frozen import dataclass

STEP_SECONDS = 1.0
"""Smaller differences are followed at once: `Date` has whole seconds, and NTP corrects by less."""
AGREED_SECONDS = 60.0
"""How long the vendor must agree, so that a proxy answering for a moment decides nothing."""


class TimeEvent(StrEnum):
    """A change of the offset or of the wall clock."""

    CONFIRMED = "confirmed"
    """The vendor's `Date` confirms the offset for the first time: from now on deadlines take effect."""
    STEPPED = "stepped"
    """The wall clock has stepped away; trusted time has not."""
    RETURNED = "returned"
    """The wall clock has come back."""
    ADOPTED = "adopted"
    """The vendor agreed for long enough: trusted time has stepped too."""


@dataclass(frozen=True, slots=True)
class TrustedReading:
    """Epoch milliseconds: `now_ms` for records, `confirmed_ms` for deadlines and retention."""

    now_ms: int
    confirmed_ms: int


class TrustedTime:
    """The offset and the evidence for it; reads no clock itself."""

    def __init__(self, vendor: VendorClock) -> None:
        self._vendor = vendor
        self._has_begun = False
        self._offset = 0.0
        self._base = 0.0
        """The last confirmed offset: small differences are measured from it, so they cannot add up."""
        self._is_confirmed = False
        self._is_away = False
        self._candidate: tuple[float, float] | None = None
        """Another offset that the vendor agrees with, and since when by the boot clock."""
        self._now_ms = self._confirmed_ms = 0
        self._broker: float | None = None
        """Lower bound of broker time minus boot time."""

    def read(self, wall_ms: int, boot_seconds: float) -> tuple[TrustedReading, TimeEvent | None]:
        """The trusted time at these readings of the two clocks, and the event they caused, if any."""
        wall = wall_ms / 1000 - boot_seconds
        if not self._has_begun:
            self._has_begun, self._offset, self._base = True, wall, wall
        vendor_bounds = self._vendor.offset_seconds(boot_seconds)
        event = None if vendor_bounds is None else self._judge(wall, vendor_bounds, boot_seconds)
        event = event or self._follow(wall)
        if event is TimeEvent.CONFIRMED:
            self._now_ms = self._confirmed_ms
        self._now_ms = max(self._now_ms, _time_ms(self._offset, boot_seconds))
        if self._is_confirmed:
            self._confirmed_ms = self._now_ms
        elif (witness := self._witness(vendor_bounds)) is not None:
            both = _time_ms(min(self._offset, witness), boot_seconds)
            self._confirmed_ms = max(self._confirmed_ms, both)
        return TrustedReading(self._now_ms, self._confirmed_ms), event

    def not_before(self, time_ms: int, boot_seconds: float) -> None:
        """Move time forward to at least `time_ms`, unless `Date` has confirmed it.

        Call after a `read`.
        """
        offset = time_ms / 1000 - boot_seconds
        if not self._is_confirmed and offset > self._offset:
            self._offset = self._base = offset

    def witnessed(self, time_ms: int, boot_seconds: float) -> None:
        """Note a record timestamp set by the broker at this boot second or before."""
        offset = time_ms / 1000 - boot_seconds
        self._broker = offset if self._broker is None else max(self._broker, offset)

    def _witness(self, vendor_bounds: Bounds | None) -> float | None:
        """Lower bound of the offset from the vendor, or the broker, used until the offset is confirmed."""
        if vendor_bounds is not None:
            return vendor_bounds[0]
        return self._broker if self._vendor.is_dateless else None

    def _judge(self, wall: float, vendor_bounds: Bounds, boot_seconds: float) -> TimeEvent | None:
        """Compare the wall clock, and before the first confirmation our offset, with the vendor's clock."""
        if not self._is_confirmed:
            agreed = next((each for each in (wall, self._offset) if _agree(each, vendor_bounds)), None)
            if agreed is not None:
                return self._adopt(agreed)
            # The vendor contradicts both: if it persists, its offset is adopted.
            return self._weigh((vendor_bounds[0] + vendor_bounds[1]) / 2, vendor_bounds, boot_seconds)
        if abs(wall - self._base) >= STEP_SECONDS:
            return self._weigh(wall, vendor_bounds, boot_seconds)
        self._candidate = None
        if _agree(wall, vendor_bounds):
            self._base = wall
        return None

    def _weigh(self, offset: float, vendor_bounds: Bounds, boot_seconds: float) -> TimeEvent | None:
        """Adopt another offset once the vendor has agreed with it for long enough."""
        candidate, since = self._candidate or (offset, boot_seconds)
        if not _agree(offset, vendor_bounds) or abs(offset - candidate) >= STEP_SECONDS:
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
        """Follow the wall clock while it is near, and report when it steps away or returns."""
        is_away = abs(wall - self._base) >= STEP_SECONDS
        if not is_away:
            self._offset = wall
        if is_away is self._is_away:
            return None
        self._is_away = is_away
        return TimeEvent.STEPPED if is_away else TimeEvent.RETURNED


def _agree(offset: float, vendor_bounds: Bounds) -> bool:
    return vendor_bounds[0] - STEP_SECONDS < offset < vendor_bounds[1] + STEP_SECONDS


def _time_ms(offset: float, boot_seconds: float) -> int:
    return round(1000 * (boot_seconds + offset))
