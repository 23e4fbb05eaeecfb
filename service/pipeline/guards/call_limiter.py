"""The call limiter: every call to the provider is sent in a time slot of ours (N7), or not at all (N14).

How a stage calls: `wait_seconds` returns the time until a call may begin; `begin` makes a `Call`; the stage
enters it and passes `call.depart` to the provider as the call's permit. The provider connects, awaits the
permit and writes at once, so the slot is used. If the permit is refused, nothing is sent.

    if not limiter.wait_seconds(CallKind.QUERY):
        with limiter.begin(CallKind.QUERY) as call:
            answer = await provider.query(task_id, call.depart)
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import field
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Self
from weakref import WeakSet

from service.clock import Clock
from service.contract.models import model_info
from service.core.limits.slot_share import Instant, Predecessor, SlotShare, Unused
from service.core.limits.time_slots import CLOCK_ERROR_SECONDS, SlotSequence, grid_of
from service.core.time.vendor_clock import VendorClock
from service.frozen import dataclass

SHORTEST_LEAD_SECONDS = 0.25
"""How long before its slot a call begins: time to journal an intent, or to connect."""
LONGEST_LEAD_SECONDS = 1.6
"""Shorter than an intent's validity."""
LEAD_DECAY = 0.95
"""Factor on the lead after a call in time: 14 of them undo what one late call doubled."""
PATIENCE_SECONDS = 2.0
"""A call that gets no slot within this time is returned to its stage."""
URGENT_IN_A_ROW = 3
"""After this many urgent calls, a waiting call that is not urgent goes next."""
CHECK_SECONDS = 0.1
"""Partitions, proofs and answers change the slots, so waiting calls check this often."""
SHORTEST_WAIT_SECONDS = 0.001
"""A wait rounded to zero would cause a busy loop."""
HOTWORDS_SHARE = 0.25
"""Share of the query quota: the vendor names no quota for hotword lists, and their calls are few."""
MAX_MODELS = 64
"""Requests may name any dated snapshot of a model; above this number unused ones are forgotten."""


class CallKind(StrEnum):
    """The kinds of calls with a quota of the account; submits have one for each model."""

    SUBMIT = "submit"
    QUERY = "query"
    LIST = "list"
    CANCEL = "cancel"
    HOTWORDS = "hotwords"


@dataclass(frozen=True, slots=True)
class Quota:
    """The account's quota and our part of it.

    `submits_per_minute` replaces the model table's numbers.
    """

    part: float
    calls_per_second: float
    submits_per_minute: float | None = None

    def per_second(self, kind: CallKind, model: str) -> float:
        """The account's quota; without `submits_per_minute`, zero for submits of an unknown model."""
        if kind is CallKind.HOTWORDS:
            return self.calls_per_second * HOTWORDS_SHARE
        if kind is not CallKind.SUBMIT:
            return self.calls_per_second
        info = model_info(model)
        return (self.submits_per_minute or (info.submits_per_minute if info else 0.0)) / 60


class Rate(NamedTuple):
    """The rates of one sequence of slots, in calls a second."""

    kind: CallKind
    model: str
    rate_per_second: float
    share_per_second: float


@dataclass(slots=True)
class _CallQueue:
    """The calls of one sequence that have begun and were not sent yet."""

    slots: SlotSequence
    lead_seconds: float = SHORTEST_LEAD_SECONDS
    begun: "WeakSet[Call]" = field(default_factory=WeakSet)
    """Without urgent calls, which no other call queues behind; a call that its stage dropped is not in it."""
    waiting: "list[Call]" = field(default_factory=list)
    urgent_in_a_row: int = 0

    def is_unused(self, now: float) -> bool:
        """Whether nothing would change if this sequence began anew."""
        return not self.begun and not self.waiting and self.slots.is_rested(now)

    def place(self, call: "Call") -> int:
        """How many of the waiting calls go before this one."""
        urgent = [each for each in self.waiting if each.is_urgent]
        others = [each for each in self.waiting if not each.is_urgent]
        in_a_row, place = self.urgent_in_a_row, 0
        while urgent or others:
            is_urgent = bool(urgent) and (not others or in_a_row < URGENT_IN_A_ROW)
            if (urgent if is_urgent else others).pop(0) is call:
                break
            in_a_row = in_a_row + 1 if is_urgent else 0
            place += 1
        return place

    def note_departure(self, call: "Call") -> None:
        """Count urgent calls in a row, so that other calls get their turns."""
        self.urgent_in_a_row = self.urgent_in_a_row + 1 if call.is_urgent else 0


class Call:
    """One call from start to end; a context manager, entered once."""

    def __init__(self, limiter: "CallLimiter", queue: _CallQueue, *, is_urgent: bool) -> None:
        self.is_urgent = is_urgent
        self._limiter = limiter
        self._queue = queue
        self._slot_at = queue.slots.opens_at(limiter.now(), 0 if is_urgent else len(queue.begun))
        self._unanswered: int | None = None
        self.has_left = False
        if not is_urgent:
            queue.begun.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._queue.begun.discard(self)
        if self._unanswered is not None:
            self._queue.slots.end(self._unanswered, self._limiter.now().boot_seconds)

    async def depart(self, may_go: Callable[[], bool] = lambda: True) -> bool:
        """Wait for a slot of ours and use it.

        The caller must write the call's first byte at once.

        False means that nothing may be sent: no slot came in time, or `may_go`, checked last, returned False.
        """
        queue, limiter = self._queue, self._limiter
        queue.waiting.append(self)
        latest = limiter.now().boot_seconds + PATIENCE_SECONDS
        self._adapt_lead()
        try:
            while may_go():
                now = limiter.now()
                place = queue.place(self)
                if place == 0 and queue.slots.take(now):
                    self._departed(now)
                    return True
                opens_at = queue.slots.opens_at(now, place)
                if now.boot_seconds > latest:
                    break
                if latest < opens_at < math.inf:
                    # Others go first. The caller begins anew, and must not do so at once.
                    await limiter.clock.sleep(CHECK_SECONDS)
                    break
                wait_seconds = max(SHORTEST_WAIT_SECONDS, opens_at - now.boot_seconds)
                await limiter.clock.sleep(min(CHECK_SECONDS, wait_seconds))
            return False
        finally:
            queue.waiting.remove(self)

    def _departed(self, now: Instant) -> None:
        self.has_left = True
        self._queue.note_departure(self)
        self._queue.begun.discard(self)
        if self._queue.slots.is_prompt or self._queue.slots.is_counted:
            self._unanswered = self._queue.slots.call(now.boot_seconds)

    def _adapt_lead(self) -> None:
        """Lengthen the lead after a call that was too late for its slot; else shorten it."""
        queue = self._queue
        is_late = self._limiter.now().boot_seconds > self._slot_at + queue.slots.grid.window_seconds
        lead_seconds = queue.lead_seconds * (2 if is_late else LEAD_DECAY)
        queue.lead_seconds = min(LONGEST_LEAD_SECONDS, max(SHORTEST_LEAD_SECONDS, lead_seconds))


class CallLimiter:
    """This process's part of the account's quota.

    The group consumer and the shards report what is ours.
    """

    def __init__(self, clock: Clock, quota: Quota, vendor: VendorClock) -> None:
        self.clock = clock
        self.share = SlotShare(vendor)
        self._quota = quota
        self._queues: OrderedDict[tuple[CallKind, str], _CallQueue] = OrderedDict()
        for kind in (CallKind.QUERY, CallKind.LIST, CallKind.CANCEL):
            self._queue_of(kind, "")

    def now(self) -> Instant:
        """This instant by the boot clock and by trusted time."""
        return Instant(self.clock.boot_seconds(), self.clock.now_ms() / 1000)

    # For the stages.

    def wait_seconds(self, kind: CallKind, model: str = "", *, is_urgent: bool = False) -> float:
        """How long until a call may begin: one lead before our first slot that no call waits for."""
        queue, now = self._queue_of(kind, model), self.now()
        opens_at = queue.slots.opens_at(now, 0 if is_urgent else len(queue.begun))
        return max(0.0, opens_at - queue.lead_seconds - now.boot_seconds)

    def begin(self, kind: CallKind, model: str = "", *, is_urgent: bool = False) -> Call:
        """Begin a call; urgent calls go first, but every fourth turn goes to another call."""
        return Call(self, self._queue_of(kind, model), is_urgent=is_urgent)

    def penalise(self, kind: CallKind, model: str = "") -> None:
        """The provider throttled a call: halve the rate for a while."""
        self._queue_of(kind, model).slots.penalise(self.clock.boot_seconds())

    def slot_number(self, kind: CallKind) -> int:
        """The number of the slot that the call begun last will use; 0 if none is known."""
        queue = self._queue_of(kind, "")
        slot = queue.slots.next_slot(self.now(), max(0, len(queue.begun) - 1))
        return slot.number if slot else 0

    def share_per_second(self, kind: CallKind, model: str = "") -> float:
        """Our slots of this kind, in calls a second."""
        return self._queue_of(kind, model).slots.share_per_second

    def rates(self) -> Iterator[Rate]:
        """The current rates of each sequence."""
        now = self.clock.boot_seconds()
        for (kind, model), queue in self._queues.items():
            yield Rate(kind, model, queue.slots.rate_per_second(now), queue.slots.share_per_second)

    def unused(self) -> Iterator[Unused]:
        """Why slots of ours are unused now."""
        now = self.now()
        yield from self.share.unused(now.boot_seconds)
        is_alone = self.share.is_alone(now.boot_seconds)
        if self.share.served and not is_alone and self.share.read(now).error_seconds > CLOCK_ERROR_SECONDS:
            yield Unused.CLOCK

    # For the group and the shards.

    def proved(self, sent_at: float) -> None:
        """The group accepted a commit that was sent at this time of the boot clock."""
        self.share.prove(sent_at)

    def partitioned(self, count: int) -> None:
        """The group's assignment covers `count` partitions."""
        self.share.set_partitions(count, self.clock.boot_seconds())

    def taken(self, partition: int, predecessor: Predecessor, claimed_at: float) -> None:
        """The partition was claimed then.

        `predecessor` is what its journal says of the last owner.
        """
        self.share.serve(partition, claimed_at, predecessor)

    def resumed(self, partition: int) -> None:
        """The suspended partition is resumed; nobody else has claimed it meanwhile."""
        self.share.resume(partition, self.clock.boot_seconds())

    def stopped(self, partition: int) -> None:
        """The partition is no longer served: no call may be sent in its slots."""
        self.share.stop(partition)

    def may_release(self, partition: int) -> bool:
        """Whether the partition's journal may record that nobody calls in its slots."""
        return self.share.may_release(partition, self.clock.boot_seconds())

    def _queue_of(self, kind: CallKind, model: str) -> _CallQueue:
        key = (kind, model)
        if key not in self._queues:
            self._forget_unused()
            grid = grid_of(self._quota.per_second(kind, model), self._quota.part)
            self._queues[key] = _CallQueue(
                SlotSequence(
                    grid, self.share, is_prompt=kind is CallKind.QUERY, is_counted=kind is CallKind.LIST
                )
            )
        if kind is CallKind.SUBMIT:
            self._queues.move_to_end(key)
        return self._queues[key]

    def _forget_unused(self) -> None:
        """Make room for one more model.

        No model is forgotten whose last calls still count.
        """
        surplus = len(self._queues) + 1 - MAX_MODELS
        if surplus <= 0:
            return
        now = self.clock.boot_seconds()
        models = [
            key for key in self._queues if key[0] is CallKind.SUBMIT and self._queues[key].is_unused(now)
        ]
        for key in models[:surplus]:
            del self._queues[key]
