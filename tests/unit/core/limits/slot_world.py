"""Many processes that call one account in virtual time: the limiter's real classes, and a fake of all else.

Every process always wants to call. Its clock is wrong, the network takes its time, the group moves its
partitions about; the account writes down when each call arrives.
"""

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from service.core.limits.slot_share import Instant, Predecessor, SlotShare
from service.core.limits.time_slots import Grid, SlotSequence, grid_of
from service.core.time.vendor_clock import VendorClock

EPOCH = 1_760_000_000.0
QUERY, FAST, SLOW = "query", "submit at 600 a minute", "submit at 100 a minute"
LIST = "list"
QUOTAS = {QUERY: 20.0, FAST: 10.0, SLOW: 100 / 60}
LISTS = {LIST: 20.0}
PART = 0.75
COMMIT_SECONDS = 3.0
SESSION_SECONDS = 30.0
REBALANCE_SECONDS = 25.0
CALL_SECONDS = 10.0
ON_THE_WAY_SECONDS = 0.05
KEEPALIVE_SECONDS = 0.5
LEAD_SECONDS = 0.25
MOST_CALLS = 4_000


class Limiter(Protocol):
    """What a process asks before each call."""

    def opens_at(self, now: Instant) -> float: ...

    def take(self, now: Instant) -> bool: ...


@dataclass
class Machine(VendorClock):
    """A process's clocks: boot time begins anywhere, and the view of the vendor's clock is wrong."""

    origin: float
    error: float
    uncertainty: float = 0.1
    steps: list[tuple[float, float]] = field(default_factory=list)
    """From these moments on the view is wrong by another error."""

    def offset_seconds(self, boot_seconds: float) -> tuple[float, float] | None:
        error = next((each for at, each in reversed(self.steps) if boot_seconds >= at), self.error)
        middle = EPOCH - self.origin + error
        return middle - self.uncertainty, middle + self.uncertainty


@dataclass(eq=False)
class Member:
    """One process of the group."""

    machine: Machine
    share: SlotShare = field(init=False)
    limiters: dict[str, Limiter] = field(default_factory=dict)
    is_cut: bool = False
    """Whether it reaches the provider and not Kafka."""
    is_gone: bool = False
    answered_at: float = -1.0
    """When an answer came last: a connection that has been idle for longer is not used again."""

    def __post_init__(self) -> None:
        self.share = SlotShare(self.machine)


MakeLimiter = Callable[[Member, Grid], Limiter]


def slots_of(member: Member, grid: Grid) -> Limiter:
    """The limiter as it is."""
    return SlotSequence(grid, member.share, is_prompt=grid.most == QUOTAS[QUERY])


@dataclass
class SlotWorld:
    """The account, the group and its members; times are real seconds from the world's beginning."""

    seed: int
    partitions: int = 48
    make: MakeLimiter = slots_of
    worst_error: float = 0.1
    uncertainty: float = 0.1
    now: float = 0.0
    members: list[Member] = field(default_factory=list)
    arrivals: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    broker_away: list[tuple[float, float]] = field(default_factory=list)
    path_away: list[tuple[float, float]] = field(default_factory=list)
    answer_seconds: tuple[float, float] = (0.06, 0.2)
    quotas: Mapping[str, float] = field(default_factory=lambda: QUOTAS)
    """The kinds of calls that every process makes."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._owners: dict[int, tuple[Member, bool]] = {}
        """Who claimed each partition last, and whether it has said since that it stopped."""
        self._busy_until = 0.0

    # What tests do.

    def start(self, replicas: int) -> None:
        """Begin with so many members."""
        for _ in range(replicas):
            self._admit()
        self.rebalance()

    def join(self) -> None:
        """One more member."""
        self._admit()
        self.rebalance()

    def leave(self, member: Member) -> None:
        """A member ends as it should."""
        self._revoke(member)
        member.is_gone = True
        self.members.remove(member)
        self.rebalance()

    def crash(self, member: Member) -> None:
        """A member ends at once; the group notices when its session is over."""
        member.is_gone = True
        self._expel_later(member)

    def cut(self, member: Member) -> None:
        """A member reaches the provider alone."""
        member.is_cut = True
        self._expel_later(member)

    def replace(self, member: Member) -> None:
        """A static member that is cut off gets a successor, who has its partitions at once."""
        member.is_cut = True
        self.members.remove(member)
        successor = self._admit()
        for partition in list(member.share.served):
            self._assign(successor, partition, self.partitions)

    def rebalance(self) -> None:
        """The group shares the partitions out among those that are there; one rebalance at a time."""
        begin = max(self.now, self._busy_until)
        self._busy_until = begin + 3.5
        self.at(begin, self._rebalance)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something then."""
        self._number += 1
        heapq.heappush(self._events, (max(self.now, when), self._number, what))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until

    def worst(self, kind: str) -> int:
        """The most calls of the kind that arrived in any second."""
        return max(self._windows(kind), default=0)

    def worst_over(self) -> dict[str, int]:
        """The kinds whose quota was exceeded, and by which second."""
        worst = {kind: self.worst(kind) for kind in self.quotas}
        return {kind: each for kind, each in worst.items() if each > math.ceil(self.quotas[kind])}

    def _windows(self, kind: str) -> Iterator[int]:
        arrivals = sorted(self.arrivals[kind])
        first = 0
        for last, arrival in enumerate(arrivals):
            while arrivals[first] <= arrival - 1:
                first += 1
            yield last - first + 1

    # The group.

    def _admit(self) -> Member:
        extreme = self.random.choice((-1.0, 1.0, self.random.uniform(-1, 1)))
        machine = Machine(self.random.uniform(10, 1e6), extreme * self.worst_error, self.uncertainty)
        member = Member(machine)
        for kind, quota in self.quotas.items():
            grid = grid_of(quota, PART)
            is_list = kind == LIST
            member.limiters[kind] = (
                SlotSequence(grid, member.share, is_counted=True) if is_list else self.make(member, grid)
            )
        self.members.append(member)
        self.at(self.now, partial(self._commit, member))
        for kind in self.quotas:
            self.at(self.now, partial(self._turn, member, kind))
        return member

    def _expel_later(self, member: Member) -> None:
        def expel() -> None:
            if member in self.members:
                self.members.remove(member)
                self.rebalance()

        self.at(self.now + SESSION_SECONDS, expel)

    def _rebalance(self) -> None:
        reachable = [each for each in self.members if not (each.is_cut or each.is_gone)]
        for member in reachable:
            self.at(self.now + self.random.uniform(0, 2.5), partial(self._revoke, member))
        waits = REBALANCE_SECONDS if len(reachable) < len(self.members) else 2.6
        self._busy_until = max(self._busy_until, self.now + waits + 0.9)
        self.at(self.now + waits, partial(self._share_out, self.partitions))

    def _share_out(self, partitions: int) -> None:
        members = self.members = [each for each in self.members if not (each.is_cut or each.is_gone)]
        for partition in range(partitions if members else 0):
            member = members[partition % len(members)]
            heard = self.now + self.random.uniform(0, 0.3)
            self.at(heard, partial(self._assign, member, partition, partitions))

    def _revoke(self, member: Member) -> None:
        for partition in list(member.share.served):
            member.share.stop(partition)
            self._owners[partition] = (member, member.share.may_release(partition, self._boot(member)))

    def _assign(self, member: Member, partition: int, partitions: int) -> None:
        boot = self._boot(member)
        member.share.set_partitions(partitions, boot)
        owner, is_released = self._owners.get(partition, (None, False))
        self._owners[partition] = (member, False)
        if owner is member:
            member.share.resume(partition, boot)
        else:
            released = Predecessor.RELEASED if is_released else Predecessor.UNKNOWN
            member.share.serve(partition, boot, released if owner else Predecessor.NONE)

    def _commit(self, member: Member) -> None:
        if member.is_cut or member.is_gone:
            return
        sent_at = self._boot(member)
        answered = next((end for begin, end in self.broker_away if begin <= self.now < end), self.now)
        self.at(answered + self.random.uniform(0, 0.05), partial(self._proved, member, sent_at))
        self.at(self.now + COMMIT_SECONDS, partial(self._commit, member))

    def _proved(self, member: Member, sent_at: float) -> None:
        if not member.is_cut:
            member.share.prove(sent_at)

    # The calls.

    def _turn(self, member: Member, kind: str) -> None:
        if member.is_gone:
            return
        limiter, now = member.limiters[kind], self._instant(member)
        opens_at = limiter.opens_at(now)
        if opens_at <= now.boot_seconds and self._is_connected(member, kind) and limiter.take(now):
            self._call(member, kind)
            opens_at = limiter.opens_at(now)
        wait = min(0.25, max(0.001, opens_at - now.boot_seconds))
        self.at(self.now + wait, partial(self._turn, member, kind))

    def _is_connected(self, member: Member, kind: str) -> bool:
        """A connection that was made for the call shows that the path was there a moment ago."""
        if kind in (QUERY, LIST) and self.now - member.answered_at < KEEPALIVE_SECONDS:
            return True
        made_at = self.now - self.random.uniform(0, LEAD_SECONDS)
        return not any(begin <= made_at < end for begin, end in self.path_away)

    def _call(self, member: Member, kind: str) -> None:
        arrival = self._passes_at(self.now) + ON_THE_WAY_SECONDS + self.random.uniform(0, 0.1)
        self.arrivals[kind].append(arrival)
        assert len(self.arrivals[kind]) < MOST_CALLS, "a limiter that lets everything through"
        if kind not in (QUERY, LIST):
            return
        limiter = member.limiters[kind]
        noted = limiter if isinstance(limiter, SlotSequence) else member.share
        call = noted.call(self._boot(member))
        answer = self._passes_at(arrival + self.random.uniform(*self.answer_seconds))
        is_answered = answer - self.now <= CALL_SECONDS
        self.at(min(answer, self.now + CALL_SECONDS), partial(self._end, member, noted, call, is_answered))

    def _passes_at(self, when: float) -> float:
        """When the path lets pass what is sent then."""
        return next((end for begin, end in self.path_away if begin <= when < end), when)

    def _end(self, member: Member, noted: SlotSequence | SlotShare, call: int, is_answered: bool) -> None:
        if is_answered:
            member.answered_at = self.now
        noted.end(call, self._boot(member))

    def _boot(self, member: Member) -> float:
        return self.now + member.machine.origin

    def _instant(self, member: Member) -> Instant:
        return Instant(self._boot(member), EPOCH + self.now)
