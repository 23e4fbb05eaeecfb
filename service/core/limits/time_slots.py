"""Time slots: when a call may leave, so that all replicas together keep the quota (N7).

Time by the vendor's clock is divided into numbered slots, one sequence per kind of call and model. A slot
belongs to a partition, and the process that serves the partition may make one call in it. This needs no
shared store, and a rebalance moves the slots with the partitions.

Rules this module guarantees:

1. Each slot is used once, and numbers never go back.
2. A call leaves only within the window at the beginning of its slot.
3. The spacing of slots ensures that quota + 1 calls take longer than a second, for all clock errors and
   network delays within the bounds below.
4. If the vendor's clock is more uncertain than that, slots are left out.
5. A process that has all slots needs no shared clock: its calls are as far apart as slots, and the first one
   does not wait.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from typing import NamedTuple

from service.core.limits.slot_share import (
    FASTER_WEIGHT,
    PAUSE_SECONDS,
    SHORTEST_SILENCE_SECONDS,
    SLOWER_WEIGHT,
    USUAL_SECONDS,
    Instant,
    SlotShare,
)

CLOCK_ERROR_SECONDS = 0.1
"""Error of the vendor's clock up to which all slots are used."""
JITTER_SECONDS = 0.1
"""How much longer than usual a call may be in transit."""
WINDOW_SECONDS = 0.05
"""How late in its slot a call may leave: a missed slot is lost, and each window makes all slots rarer."""
WIDE_WINDOW_SECONDS = 0.2
"""The window if slots are far apart: a missed slot then costs more than a wider window."""
FAR_APART_SECONDS = 0.5
"""From this distance on the wide window costs little of the rate."""
GOLDEN_FRACTION = 0.382
"""Consecutive slots belong to partitions this fraction of all partitions apart, so that a process with
neighbouring partitions gets evenly spread slots."""

PENALTY_FACTOR = 0.5
"""Factor on the rate after a throttling answer."""
LOWEST_FACTOR = 0.05
"""The rate never falls below this part of the share, so that some calls always get through."""
RECOVERY_SECONDS = 60.0
"""How long the rate takes from zero back to the full share."""


class Grid(NamedTuple):
    """The layout of one sequence's slots: at most `most` calls in any second."""

    most: int
    spacing_seconds: float
    window_seconds: float

    def every(self, error_seconds: float) -> int:
        """Use one in this many slots at this error of the vendor's clock."""
        if error_seconds <= CLOCK_ERROR_SECONDS:
            return 1
        return math.ceil(_span(self.window_seconds, error_seconds) / (self.most * self.spacing_seconds))


def grid_of(quota_per_second: float, part: float) -> Grid:
    """The grid for our part of a quota.

    The vendor allows the quota, rounded up, in any second.

    A quota of zero has no slots.
    """
    if not quota_per_second:
        return Grid(0, math.inf, WINDOW_SECONDS)
    most = max(1, math.ceil(quota_per_second - 1e-9))
    rate_seconds = 1 / (part * quota_per_second)
    near, far = (
        Grid(most, max(rate_seconds, _span(window, CLOCK_ERROR_SECONDS) / most), window)
        for window in (WINDOW_SECONDS, WIDE_WINDOW_SECONDS)
    )
    return near if near.spacing_seconds <= FAR_APART_SECONDS else far


def _span(window_seconds: float, error_seconds: float) -> float:
    """The time between the departures of calls, by our clocks, so that they arrive over a second apart."""
    return 1 + window_seconds + 2 * error_seconds + JITTER_SECONDS


@lru_cache(maxsize=8)
def stride_of(partitions: int) -> int:
    """Step to the next slot's partition: near `GOLDEN_FRACTION` of all, and coprime to their number."""
    wanted = GOLDEN_FRACTION * partitions
    coprime = [each for each in range(1, partitions + 1) if math.gcd(each, partitions) == 1]
    return min(coprime, key=lambda each: abs(each - wanted))


class Slot(NamedTuple):
    """One of our own slots: its number, and when it opens, in boot seconds."""

    number: int
    opens_at: float


@dataclass(slots=True)
class SlotSequence:
    """The slots of one kind of call, per model if the quota is per model."""

    grid: Grid
    share: SlotShare
    is_prompt: bool = False
    """Whether the provider answers this kind at once, so that silence points to a broken network path."""
    is_counted: bool = False
    """Whether only as many calls may be unanswered as the quota allows us in a second, at least one."""
    _unanswered: dict[int, float] = field(default_factory=dict)
    """When each call left that has no answer."""
    _calls: int = 0
    """Calls so far, which number those of a kind that is not prompt."""
    _usual_seconds: float = USUAL_SECONDS
    """How long an answer usually takes, if calls are counted: a moving average."""
    _late_until: float = -math.inf
    """The end of the pause after a counted call that took far longer than usual."""
    _last: int = -1
    """The number of our last slot; numbers never go back (rule 1)."""
    _last_at: float = -math.inf
    """When our last slot opened if all slots are ours, else when we called in it."""
    _was_alone: bool = False
    """Whether all slots were ours at our last call."""
    _era: int = 0
    """The era of the share in which `_last` was counted: in another, numbers begin anew."""
    _factor: float = 1.0
    """The rate after the last throttling answer, as a part of the share."""
    _factor_at: float = 0.0
    """When it was set: from then on it recovers."""
    _not_before: float = -math.inf
    """Earlier slots are left out, so that the rate is the reduced one."""

    @property
    def share_per_second(self) -> float:
        """Calls per second in our slots."""
        share = self.share
        return len(share.served) / share.partitions / self.grid.spacing_seconds if share.partitions else 0.0

    def rate_per_second(self, now: float) -> float:
        """The rate in force: less than the share for a while after a throttling answer."""
        return self.share_per_second * self._factor_now(now)

    def opens_at(self, now: Instant, behind: int = 0) -> float:
        """When our next slot opens, or the one `behind` slots later, in boot seconds.

        Infinite if that is unknown: without partitions, without proof of membership, on a silent path.
        """
        slot = self.next_slot(now, behind)
        return math.inf if slot is None else max(now.boot_seconds, slot.opens_at)

    def next_slot(self, now: Instant, behind: int = 0) -> Slot | None:
        """Our next slot, or the one `behind` slots later; None if that is unknown."""
        return next(islice(self._own(now), behind, None), None)

    def take(self, now: Instant) -> bool:
        """Use the slot that is open now.

        False if there is none. The call must leave at once.
        """
        slot = next(self._own(now), None)
        if slot is None or slot.opens_at > now.boot_seconds:
            return False
        self._was_alone = self.share.is_alone(now.boot_seconds)
        self._last, self._last_at = slot.number, slot.opens_at if self._was_alone else now.boot_seconds
        self._hold_back(now.boot_seconds)
        return True

    def call(self, now: float) -> int:
        """Note that a call leaves; returns the number to pass to `end`."""
        self._calls += 1
        number = self.share.call(now) if self.is_prompt else self._calls
        self._unanswered[number] = now
        return number

    def end(self, number: int, now: float) -> None:
        """Note that the call ended."""
        took_seconds = now - self._unanswered.pop(number)
        if self.is_prompt:
            self.share.end(number, now)
            return
        if took_seconds > max(2 * self._usual_seconds, SHORTEST_SILENCE_SECONDS):
            # The path may have held this call and others, which may all arrive now.
            self._late_until = now + PAUSE_SECONDS
        weight = SLOWER_WEIGHT if took_seconds > self._usual_seconds else FASTER_WEIGHT
        change = min(took_seconds, 4 * self._usual_seconds) - self._usual_seconds
        self._usual_seconds += weight * change

    def is_rested(self, now: float) -> bool:
        """Whether neither the last call nor a throttling answer delays the next one."""
        is_over = self._last_at <= now - PAUSE_SECONDS - self.grid.spacing_seconds
        return is_over and self._not_before <= now and self._factor_now(now) >= 1

    def penalise(self, now: float) -> None:
        """Halve the rate after a throttling answer; it recovers linearly."""
        self._factor = max(LOWEST_FACTOR, self._factor_now(now) * PENALTY_FACTOR)
        self._factor_at = now
        self._hold_back(now)

    def _own(self, now: Instant) -> Iterator[Slot]:
        """Our slots from now on, in order and without end."""
        share, grid = self.share, self.grid
        clock = share.read(now)
        if share.era != self._era:
            self._era, self._last = share.era, -1
        usable = [since for each, since in share.served.items() if each < share.partitions]
        # Without a usable partition the search would never end.
        first = min(usable, default=math.inf)
        is_alone = share.is_alone(now.boot_seconds)
        earliest = max(self._share_opens_at(now.boot_seconds), self._not_before, first)
        rested_at = self._last_at + grid.spacing_seconds if is_alone or self._was_alone else -math.inf
        if is_alone and earliest <= now.boot_seconds:
            earliest -= grid.window_seconds  # a late call may still use a slot that opened this long ago
        earliest = max(earliest, rested_at)
        if math.isinf(earliest) or math.isinf(grid.spacing_seconds):
            return
        if is_alone:
            number = math.floor((earliest + clock.offset_seconds) / grid.spacing_seconds)
            yield from (Slot(number + each, earliest + each * grid.spacing_seconds) for each in count())
        oldest = (earliest + clock.offset_seconds - grid.window_seconds) / grid.spacing_seconds
        every, stride = grid.every(clock.error_seconds), stride_of(share.partitions)
        number = max(self._last, math.ceil(oldest) - 1)
        while True:
            number += 1
            # Slots go round the partitions; the stride spreads those of one process over the turn. With an
            # uncertain clock one in `every` slots is used, so that all processes keep within the quota.
            turn, place = divmod(number, share.partitions)
            usable_from = share.served.get(place * stride % share.partitions)
            # The place within the turn shifts each turn, or some partitions would have no slot at all.
            if usable_from is None or (turn + place) % every:
                continue
            begins_at = number * grid.spacing_seconds - clock.offset_seconds
            opens_at = max(begins_at, earliest, usable_from)
            if opens_at <= begins_at + grid.window_seconds:
                yield Slot(number, opens_at)

    def _share_opens_at(self, now: float) -> float:
        if self.is_prompt:
            return self.share.opens_for(len(self._unanswered), self.grid.most, now)
        if self.is_counted and len(self._unanswered) >= max(1, self.share.part_of(self.grid.most)):
            return math.inf
        return max(self._late_until, self.share.opens_at(now))

    def _hold_back(self, now: float) -> None:
        """Skip own slots according to the penalty, rounded to whole slots."""
        factor = self._factor_now(now)
        if factor < 1 and self.share_per_second:
            between_slots = 0.0 if self._was_alone else 0.5
            self._not_before = now + (1 / factor - between_slots) / self.share_per_second

    def _factor_now(self, now: float) -> float:
        return min(1.0, self._factor + max(0.0, now - self._factor_at) / RECOVERY_SECONDS)
