"""The service's own clock on a machine whose wall clock the test sets, with a vendor that it lets answer."""

from dataclasses import dataclass, field

from service.clock import SAME_SECONDS, TrustedClock
from service.core.time.trusted_time import TimeEvent
from service.core.time.vendor_clock import VendorClock
from tests.fakes.clock import FakeClock


@dataclass
class SteppedClock(FakeClock):
    """`jump` sets the machine's wall clock; the vendor's is right as long as `vendor_off_seconds` is zero."""

    vendor_off_seconds: float = 0.0
    events: list[TimeEvent] = field(default_factory=list)
    vendor: VendorClock = field(default_factory=VendorClock)

    def __post_init__(self) -> None:
        self.trusted = TrustedClock(self, self.vendor, lambda event, _ahead: self.events.append(event))

    def now_ms(self) -> int:
        """The service's time."""
        return self.trusted.now_ms()

    def confirmed_ms(self) -> int:
        """The service's time as far as it is confirmed."""
        return self.trusted.confirmed_ms()

    def not_before(self, time_ms: int) -> None:
        """As the service does it."""
        self.trusted.not_before(time_ms)

    def witnessed(self, time_ms: int) -> None:
        """As the service does it."""
        self.trusted.witnessed(time_ms)

    def true_ms(self) -> int:
        """The time as it is."""
        return self.wall_ms() - round(1000 * self.wall_ahead_seconds)

    def jump(self, seconds: float) -> None:
        """Set the machine's wall clock; that takes two milliseconds."""
        super().jump(seconds)
        self.suspend(2 * SAME_SECONDS)

    def answer(self) -> None:
        """The vendor answers a call, with its `Date`, within two milliseconds."""
        self.suspend(2 * SAME_SECONDS)
        boot = self.boot_seconds()
        seconds = (self.true_ms() + round(1000 * self.vendor_off_seconds)) // 1000
        self.vendor.observe(boot - 0.02, boot, 1000 * seconds)

    def answer_without_date(self) -> None:
        """The vendor answers a call, and says nothing of the time."""
        self.vendor.observe_dateless(self.boot_seconds())

    async def answering(self, seconds: float) -> None:
        """Let time pass with an answer in each second."""
        for _ in range(round(seconds)):
            await self.sleep(1.0)
            self.answer()
