"""This process's share of the account's time slots (N7), and whether it may call at all (N14).

Rules this module guarantees:

1. Without proof of membership no call is made: a commit that the group accepted is proof for `PROOF_SECONDS`
   from when it was sent.
2. The slots of a partition are used only between its claim and its suspension: at once if the journal names
   no predecessor, from `HAND_OVER_SECONDS` after the claim if the predecessor's claim says that it stopped,
   else from `PROOF_SECONDS` after it. In this last case, an owner that did not wait that long must not mark
   its own claim as released (`may_release`).
3. A changed number of partitions counts from `PROOF_SECONDS` after the group announced it: by then no member
   uses the old number.
4. While the provider's answers do not arrive, nothing is sent: calls held up on a broken path would all
   arrive at once. Polls tell: their answers come at once. If the provider usually answers later than the
   quota's second, polls are limited by their number instead: as many as the quota allows in a second may be
   unanswered. List calls always are, and say nothing of the path to other calls: a long list is slow on a
   good one. After one that took far longer than usual, list calls pause, since the path may have held others.
5. A clock jump causes a pause, so that no second holds calls from before and after it; a process that has
   all slots does not use that clock.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from service.core.time.vendor_clock import VendorClock

PROOF_SECONDS = 10.0
"""How long a proof of membership counts. A new owner whose predecessor is unknown waits as long."""
HAND_OVER_SECONDS = 1.2
"""One second, the provider's counting interval, plus the delay of the predecessor's last call."""
PAUSE_SECONDS = 1.3
"""One second, the provider's counting interval, plus the delay of a call."""
JUMP_SECONDS = 0.5
"""Smaller corrections of the vendor's clock are within its known error."""
TRUSTED_ERROR_SECONDS = 0.5
"""Assumed error of trusted time while the vendor's clock is unknown."""
DISTRUST_SECONDS = 60.0
"""How long a vendor's clock is not used after a jump: a clock at another rate jumps again."""
SHORTEST_SILENCE_SECONDS = 0.5
"""An answer is never overdue earlier, however fast answers usually are: a packet may be lost."""
LONGEST_SILENCE_SECONDS = 1.0
"""Calls sent within this time may arrive at once without exceeding the quota."""
USUAL_SECONDS = 0.25
"""Assumed response time before the first answer."""
SLOWER_WEIGHT = 0.1
FASTER_WEIGHT = 0.2
"""Weights of an answer that was slower or faster than usual. The second is larger: a provider that is taken
for slower than it is would be called too often after a silence."""
HELD_SECONDS = 0.5
"""For this long after a silence, answers may be late because the path held their calls."""


class Predecessor(StrEnum):
    """What the journal says about the last owner before a claim."""

    NONE = "none"
    RELEASED = "released"
    """Its claim says that it has stopped calling."""
    UNKNOWN = "unknown"
    """It may call as long as its membership is proven."""


class Unused(StrEnum):
    """Why slots of our partitions are not used."""

    MEMBERSHIP = "membership"
    """The group has not accepted a commit of ours for `PROOF_SECONDS`."""
    SILENCE = "silence"
    """The provider's answers do not arrive, or have only just resumed."""
    CLOCK = "clock"
    """The vendor's clock is so uncertain that slots are left out."""
    PARTITIONS = "partitions"
    """Members that still use the old number of partitions may call."""
    PREDECESSOR = "predecessor"
    """The last owner of a partition may still call."""


class Instant(NamedTuple):
    """One instant by the boot clock and by trusted time."""

    boot_seconds: float
    trusted_seconds: float


WAIT_SECONDS = {
    Predecessor.NONE: 0.0,
    Predecessor.RELEASED: HAND_OVER_SECONDS,
    Predecessor.UNKNOWN: PROOF_SECONDS,
}
"""How long after its claim a partition's slots are not used."""


class VendorClockReading(NamedTuple):
    """The vendor's clock now: its offset from boot time, give or take the error."""

    offset_seconds: float
    error_seconds: float


@dataclass(slots=True)
class SlotShare:
    """The partitions that this process serves, and why it may not call.

    All times are boot seconds.
    """

    vendor: VendorClock
    """Bounds on the vendor's clock, by which all replicas count the same slots."""
    partitions: int = 0
    """Partitions of the request topic in the group's assignment: the same for all members of a generation."""
    served: dict[int, float] = field(default_factory=dict)
    """For each served partition, when its slots may first be used."""
    era: int = 0
    """Incremented when the clock jumps: slot numbers of different eras cannot be compared."""
    _free_from: dict[int, float] = field(default_factory=dict)
    """For each claimed partition, when no other process uses its slots any more."""
    _stopped_from: dict[int, float] = field(default_factory=dict)
    """For each claimed partition, when its former owners have certainly stopped calling."""
    _shared_from: float = -math.inf
    """When slots may first be used while other processes have slots too."""
    _proved_at: float = -math.inf
    """When the last commit was sent that the group accepted."""
    _counts_from: float = -math.inf
    """When no member uses the former number of partitions any more."""
    _paused_until: float = -math.inf
    """The end of the pause after a silence."""
    _offset_seconds: float | None = None
    """The offset of the last reading, whichever clock it came from; None before the first."""
    _vendor_seconds: float | None = None
    """The last offset of the vendor's clock, also while it is distrusted."""
    _distrusted_until: float = -math.inf
    """Until then trusted time is read in place of the vendor's clock, which has jumped."""
    _unanswered: dict[int, float] = field(default_factory=dict)
    """When each poll left that has not ended; the oldest first."""
    _calls: int = 0
    """The number of the last such call."""
    _answered_at: float = -math.inf
    """When the last one ended."""
    _silent_until: float = -math.inf
    """When the last silence ended."""
    _late_until: float = -math.inf
    """The end of the pause after a call that took far longer than usual."""
    _usual_seconds: float = USUAL_SECONDS
    """How long an answer usually takes: a moving average."""

    def prove(self, sent_at: float) -> None:
        """Note that the group accepted a commit sent at `sent_at`."""
        self._proved_at = max(self._proved_at, sent_at)

    def is_proven(self, now: float) -> bool:
        """Whether this process's membership is proven."""
        return now - self._proved_at < PROOF_SECONDS

    def set_partitions(self, count: int, now: float) -> None:
        """Set the number of partitions from the group's assignment."""
        if not self.partitions:
            self._shared_from = now + HAND_OVER_SECONDS
        elif self.partitions != count:
            self._counts_from = now + PROOF_SECONDS
        self.partitions = count

    def serve(self, partition: int, now: float, predecessor: Predecessor) -> None:
        """Use the slots of a partition claimed at `now`, once its predecessor's calls are over."""
        self._free_from[partition] = now + WAIT_SECONDS[predecessor]
        self._stopped_from[partition] = now + (PROOF_SECONDS if predecessor is Predecessor.UNKNOWN else 0.0)
        self.resume(partition, now)

    def resume(self, partition: int, now: float) -> None:
        """Use a suspended partition's slots again.

        No other process has claimed it meanwhile.
        """
        self.served[partition] = max(now, self._free_from.get(partition, now))

    def may_release(self, partition: int, now: float) -> bool:
        """Whether former owners of the partition certainly call no more."""
        return now >= max(self._counts_from, self._stopped_from.get(partition, now))

    def is_alone(self, now: float) -> bool:
        """Whether this process has all slots, so that no other process calls."""
        has_all = 0 < self.partitions == len(self.served) and max(self.served) < self.partitions
        return has_all and max(self.served.values()) <= now

    def stop(self, partition: int) -> None:
        """Stop using a partition's slots."""
        self.served.pop(partition, None)

    def unused(self, now: float) -> Iterator[Unused]:
        """Why slots are not used now; never `CLOCK`, which `SlotSequence` decides."""
        if not self.is_proven(now):
            yield Unused.MEMBERSHIP
        if self._is_silent(now) or now < self._paused_until:
            yield Unused.SILENCE
        if now < self._counts_from:
            yield Unused.PARTITIONS
        if any(since > now for since in self.served.values()):
            yield Unused.PREDECESSOR

    def opens_at(self, now: float) -> float:
        """When calls may first leave.

        Infinite while that depends on an answer or on proof of membership.
        """
        return math.inf if self._is_silent(now) else self._opens_at(now, self._paused_until)

    def opens_for(self, unanswered: int, most: int, now: float) -> float:
        """`opens_at` for calls answered at once.

        The account allows `most` of them in a second.
        """
        ours = self.part_of(most)
        if self._usual_seconds <= LONGEST_SILENCE_SECONDS or ours < 2:
            return self.opens_at(now)
        is_full = unanswered >= ours or self._silent_seconds(now) > 2 * self._usual_seconds
        return math.inf if is_full else self._opens_at(now, self._late_until)

    def part_of(self, most: int) -> int:
        """Our part of so many calls, rounded down."""
        return most * len(self.served) // max(1, self.partitions)

    def _opens_at(self, now: float, paused_until: float) -> float:
        if not self.is_proven(now):
            return math.inf
        shared_from = now if self.is_alone(now) else self._shared_from
        return max(now, paused_until, self._counts_from, shared_from)

    def call(self, now: float) -> int:
        """Note that a poll leaves; returns the number to pass to `end`."""
        self._calls += 1
        self._unanswered[self._calls] = now
        return self._calls

    def end(self, call: int, now: float) -> None:
        """Note that a call ended.

        After a silence a pause lets the path deliver what it holds.
        """
        if self._is_silent(now):
            self._silent_until, self._paused_until = now, now + PAUSE_SECONDS
        took_seconds = now - self._unanswered.pop(call)
        if took_seconds > 2 * self._usual_seconds:
            # A call that was given up may still arrive.
            self._late_until = now + PAUSE_SECONDS
        if now - self._silent_until < HELD_SECONDS:
            took_seconds = min(LONGEST_SILENCE_SECONDS, took_seconds)
        self._answered_at = now
        weight = SLOWER_WEIGHT if took_seconds > self._usual_seconds else FASTER_WEIGHT
        self._usual_seconds += weight * (took_seconds - self._usual_seconds)

    def read(self, now: Instant) -> VendorClockReading:
        """The vendor's clock, or our wall clock while the vendor's is unknown or distrusted."""
        vendor = self._read_vendor(now.boot_seconds)
        reading = vendor or VendorClockReading(now.trusted_seconds - now.boot_seconds, TRUSTED_ERROR_SECONDS)
        before, self._offset_seconds = self._offset_seconds, reading.offset_seconds
        if _is_jump(before, reading.offset_seconds):
            self.era += 1
            self._shared_from = max(self._shared_from, now.boot_seconds + PAUSE_SECONDS)
        return reading

    def _read_vendor(self, now: float) -> VendorClockReading | None:
        bounds = self.vendor.offset_seconds(now)
        if bounds is None:
            return None
        low, high = bounds
        reading = VendorClockReading((low + high) / 2, (high - low) / 2)
        before, self._vendor_seconds = self._vendor_seconds, reading.offset_seconds
        if _is_jump(before, reading.offset_seconds):
            self._distrusted_until = now + DISTRUST_SECONDS
        return None if now < self._distrusted_until else reading

    def _is_silent(self, now: float) -> bool:
        """Whether answers are overdue: later than twice the usual response time, within the bounds."""
        usual = max(SHORTEST_SILENCE_SECONDS, 2 * self._usual_seconds)
        return self._silent_seconds(now) > min(usual, LONGEST_SILENCE_SECONDS)

    def _silent_seconds(self, now: float) -> float:
        """How long calls have been without any answer."""
        if not self._unanswered:
            return 0.0
        oldest = next(iter(self._unanswered.values()))
        return now - max(oldest, self._answered_at, self._paused_until)


def _is_jump(before: float | None, after: float) -> bool:
    return before is not None and abs(after - before) > JUMP_SECONDS
