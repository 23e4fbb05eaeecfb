"""The vendor's clock, learned from the `Date` of its answers.

Held against our boot clock, so that somebody who sets our wall clock changes nothing that was learned.
"""

from service.clock import Clock
from service.provider.answers import http_date

LONGEST_CALL_SECONDS = 2.0
"""An answer that took longer says too little about when it was made."""


class VendorClock:
    """What is known of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_of_boot_seconds: float | None = None

    def learn(self, date: str | None, asked_at: float) -> None:
        """Take an answer's `Date`; the call began at the boot clock's `asked_at`."""
        now = self._clock.boot_seconds()
        vendor_seconds = http_date(date)
        if vendor_seconds is not None and now - asked_at <= LONGEST_CALL_SECONDS:
            # The header leaves out the part of the second, and the answer was made somewhere on the way.
            self._ahead_of_boot_seconds = vendor_seconds + 0.5 - (asked_at + now) / 2

    def offset_ms(self) -> int | None:
        """How far it is ahead of our wall clock, as of now."""
        if self._ahead_of_boot_seconds is None:
            return None
        vendor_seconds = self._clock.boot_seconds() + self._ahead_of_boot_seconds
        return round(1000 * vendor_seconds) - self._clock.now_ms()
