"""What this process may use of the account's time slots (N7), and whether it may call at all (N14).

Rules this module guarantees:

1. Without proof of membership nobody is called: a commit that the group accepted proves it for
   `PROOF_SECONDS`, counted from its sending.
2. The slots of a partition are used only between its claim and its suspension: from `HAND_OVER_SECONDS` after
   the claim, and from `PROOF_SECONDS` after it where the predecessor did not say that it had stopped. Who did
   not wait that long says nothing of itself either (`may_release`).
3. Another number of partitions counts from `PROOF_SECONDS` after the group told it: by then nobody uses the
   old one.
4. While the provider's answers do not come, nothing is sent: what waits on a broken path arrives at once.
5. A clock that jumps costs a pause, so that no second holds calls of before and after; who has all slots does
   not go by it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

PROOF_SECONDS = 10.0
"""Below the time after which the group gives a silent member's partitions away (25 s at the least)."""
HAND_OVER_SECONDS = 1.2
"""A second, by which the provider counts, and what the predecessor's last call may be late for."""
PAUSE_SECONDS = 1.3
"""A second, by which the provider counts, and what a call may be late for."""
JUMP_SECONDS = 0.5
"""A smaller correction of the vendor's clock lies within what it was known to be wrong by."""
WALL_ERROR_SECONDS = 0.5
"""What the machine's own clock is trusted with while the vendor's is not known."""
DISTRUST_SECONDS = 60.0
"""A vendor's clock that jumped is not used for so long: one that runs at another rate jumps again."""
SHORTEST_SILENCE_SECONDS = 0.5
LONGEST_SILENCE_SECONDS = 1.0
"""What is sent in this time may arrive at once, and is within the quota."""
USUAL_SECONDS = 0.25
"""How long an answer takes before one was seen."""
USUAL_WEIGHT = 0.1


class Predecessor(StrEnum):
    """What a journal says of the last owner before a claim."""

    NONE = "none"
    RELEASED = "released"
    """It has stopped calling, and has said so."""
    UNKNOWN = "unknown"
    """It may call for as long as its membership is proven."""


class Unused(StrEnum):
    """Why slots of partitions that are ours are not used."""

    MEMBERSHIP = "membership"
    """The group has not accepted a commit of ours for `PROOF_SECONDS`."""
    SILENCE = "silence"
    """The provider's answers do not come, or have just come again."""
    CLOCK = "clock"
    """The vendor's clock is known so badly that slots are left out."""
    PARTITIONS = "partitions"
    """Members that do not know of another number of partitions may still call."""
    PREDECESSOR = "predecessor"
    """The last owner of a partition may still call."""


class Instant(NamedTuple):
    """One moment by the two clocks of this machine."""

    boot_seconds: float
    wall_seconds: float


WAIT_SECONDS = {
    Predecessor.NONE: 0.0,
    Predecessor.RELEASED: HAND_OVER_SECONDS,
    Predecessor.UNKNOWN: PROOF_SECONDS,
}
"""How long after its claim a partition has no slots."""


class VendorTime(Protocol):
    """What is known of the vendor's clock."""

    def offset_seconds(self, boot_seconds: float) -> tuple[float, float] | None:
        """The bounds of vendor time minus boot time; None before the first answer."""
        ...


class Reading(NamedTuple):
    """The vendor's clock as it is known now: ahead of boot time by this, give or take the error."""

    offset_seconds: float
    error_seconds: float


@dataclass(slots=True)
class SlotShare:
    """The partitions that this process serves, and what keeps it from calling; all times are boot seconds."""

    vendor: VendorTime
    partitions: int = 0
    """How many the request topic has by the group's word; all members of a generation have the same."""
    served: dict[int, float] = field(default_factory=dict)
    """From when on the slots of each partition that is served may be used."""
    era: int = 0
    """Raised when the clock jumps: slot numbers of different eras say nothing of each other."""
    _free_from: dict[int, float] = field(default_factory=dict)
    """From when on nobody else uses the slots of a partition that we have claimed."""
    _shared_from: float = -math.inf
    """From when on slots may be used that are not all ours."""
    _proved_at: float = -math.inf
    _counts_from: float = -math.inf
    _paused_until: float = -math.inf
    _offset_seconds: float | None = None
    _vendor_seconds: float | None = None
    _distrusted_until: float = -math.inf
    _unanswered: dict[int, float] = field(default_factory=dict)
    _calls: int = 0
    _answered_at: float = -math.inf
    _usual_seconds: float = USUAL_SECONDS

    def prove(self, sent_at: float) -> None:
        """The group has accepted a commit that was sent then."""
        self._proved_at = max(self._proved_at, sent_at)

    def is_proven(self, now: float) -> bool:
        """Whether the group still counts us in."""
        return now - self._proved_at < PROOF_SECONDS

    def set_partitions(self, count: int, now: float) -> None:
        """Take the number that the group's assignment has told."""
        if not self.partitions:
            self._shared_from = now + HAND_OVER_SECONDS
        elif self.partitions != count:
            self._counts_from = now + PROOF_SECONDS
        self.partitions = count

    def serve(self, partition: int, now: float, predecessor: Predecessor) -> None:
        """Use the slots of a partition that was claimed now, once its predecessor's calls are over."""
        self._free_from[partition] = now + WAIT_SECONDS[predecessor]
        self.resume(partition, now)

    def resume(self, partition: int, now: float) -> None:
        """Use its slots again: it was suspended, and nobody else has claimed it meanwhile."""
        self.served[partition] = max(now, self._free_from.get(partition, now))

    def may_release(self, partition: int, now: float) -> bool:
        """Whether it is sure that nobody before us calls any more in the slots of a partition of ours."""
        return now >= max(self._counts_from, self._free_from.get(partition, now))

    def is_alone(self, now: float) -> bool:
        """Whether all slots are ours, so that nobody but this process calls."""
        return 0 < self.partitions == len(self.served) and all(
            each < self.partitions and since <= now for each, since in self.served.items()
        )

    def stop(self, partition: int) -> None:
        """Use its slots no more."""
        self.served.pop(partition, None)

    def unused(self, now: float) -> Iterator[Unused]:
        """Why slots are not used now; of the clock the slots themselves know."""
        if self.partitions and not self.is_proven(now):
            yield Unused.MEMBERSHIP
        if self._is_silent(now) or now < self._paused_until:
            yield Unused.SILENCE
        if now < self._counts_from:
            yield Unused.PARTITIONS
        if any(since > now for since in self.served.values()):
            yield Unused.PREDECESSOR

    def opens_at(self, now: float) -> float:
        """From when on calls may leave; infinite where only an answer or a proof can tell."""
        if not self.is_proven(now) or self._is_silent(now):
            return math.inf
        shared_from = now if self.is_alone(now) else self._shared_from
        return max(now, self._paused_until, self._counts_from, shared_from)

    def call(self, now: float) -> int:
        """A query or a list leaves; returns what `end` is to be told."""
        self._calls += 1
        self._unanswered[self._calls] = now
        return self._calls

    def end(self, call: int, now: float) -> None:
        """A call was answered, or given up: a silent path then has a second to deliver what it holds."""
        if self._is_silent(now):
            self._paused_until = now + PAUSE_SECONDS
        took_seconds = min(LONGEST_SILENCE_SECONDS, now - self._unanswered.pop(call))
        self._answered_at = now
        self._usual_seconds += USUAL_WEIGHT * (took_seconds - self._usual_seconds)

    def read(self, now: Instant) -> Reading:
        """The vendor's clock; our wall clock stands in for it while it is unknown, or not to be trusted."""
        vendor = self._read_vendor(now.boot_seconds)
        reading = vendor or Reading(now.wall_seconds - now.boot_seconds, WALL_ERROR_SECONDS)
        before, self._offset_seconds = self._offset_seconds, reading.offset_seconds
        if _is_jump(before, reading.offset_seconds):
            self.era += 1
            self._shared_from = max(self._shared_from, now.boot_seconds + PAUSE_SECONDS)
        return reading

    def _read_vendor(self, now: float) -> Reading | None:
        bounds = self.vendor.offset_seconds(now)
        if bounds is None:
            return None
        low, high = bounds
        reading = Reading((low + high) / 2, (high - low) / 2)
        before, self._vendor_seconds = self._vendor_seconds, reading.offset_seconds
        if _is_jump(before, reading.offset_seconds):
            self._distrusted_until = now + DISTRUST_SECONDS
        return None if now < self._distrusted_until else reading

    def _is_silent(self, now: float) -> bool:
        """Whether answers that are waited for have not come for longer than they take."""
        if not self._unanswered:
            return False
        oldest = next(iter(self._unanswered.values()))
        since = max(oldest, self._answered_at, self._paused_until)
        usual = max(SHORTEST_SILENCE_SECONDS, 2 * self._usual_seconds)
        return now - since > min(usual, LONGEST_SILENCE_SECONDS)


def _is_jump(before: float | None, after: float) -> bool:
    return before is not None and abs(after - before) > JUMP_SECONDS
