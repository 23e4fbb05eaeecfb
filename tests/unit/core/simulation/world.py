"""The scheduler of the simulation: owners come and go, faults happen, step follows step from one seed."""

import random
from collections.abc import Callable

from tests.unit.core.simulation.chance import Drawn
from tests.unit.core.simulation.engine import Taking
from tests.unit.core.simulation.journal import Violation
from tests.unit.core.simulation.owner import Owner
from tests.unit.core.simulation.plan import Plan, Producer
from tests.unit.core.simulation.provider import DAY_MS
from tests.unit.core.simulation.stage import Settings, Stage
from tests.unit.core.simulation.weather import Weather

DRAWN = Weather()
"""Stands for a weather that the seed decides."""
QUIET_STEPS = 6_000
"""After the last fault everything must come to its end within this many steps."""
Dice = Callable[[random.Random], Drawn]


class World(Stage):
    """One run: `size` requests from `seed`. All randomness is drawn from it."""

    def __init__(self, seed: int, weather: Weather = DRAWN, size: int = 40, dice: Dice = Drawn) -> None:
        self.rng = rng = random.Random(seed)
        repeats = seed % 2 == 0
        if weather is DRAWN:
            weather = Weather(disturbed=rng.choice((0.005, 0.02, 0.06)))
        ahead_ms = rng.choice((0, 420_000, -90_000))
        settings = Settings(
            files_per_task=rng.choice((1, 2, 100)),
            room=rng.choice((3, 12, 100)),
            remembered_jobs=10**6 if repeats else 30,
            ahead_ms=ahead_ms,
        )
        super().__init__(settings, dice(rng), Plan(), weather)
        self.producer = Producer(rng, self.plan, size, repeats, weather.hurried)
        self.steps = 0
        self.doom: Callable[[Owner], bool] | None = None
        """A crash is to come at such a moment."""

    def run(self) -> None:
        """Publish everything amid faults, then let it come to rest, then judge."""
        while not self.producer.is_done or self.rng.random() > 0.01:
            self.step()
        self.compact()
        self.judge_end(self._come_to_rest())

    def step(self) -> None:
        """One thing happens."""
        self.steps += 1
        if self.rng.random() < self.weather.disturbed:
            self._disturb()
        elif self.strangers and self.rng.random() < self.weather.strange:
            self._stranger_acts()
        elif not self.producer.is_done and self.rng.random() < 0.04:
            self.publish(*self.producer.draw())
        elif self.owner is None:
            self._take_over()
        elif not self._owner_acts(self.owner):
            self._pass_time(self.owner)

    def _disturb(self) -> None:
        draw = self.rng.random()
        if draw < 0.12:
            self._crash()
        elif draw < 0.30:
            self.doom = self.rng.choice((_writes, _writes_a_result, _writes_a_result))
        elif draw < 0.45:
            self.freeze()
        elif draw < 0.55:
            self.kill_stranger()
        elif draw < 0.75:
            self.compact()
        elif draw < 0.77:
            self.now_ms += self.rng.choice((3_600_000, DAY_MS, 2 * DAY_MS))
        else:
            self.now_ms += self.rng.choice((100, 1_000, 30_000))

    def _crash(self) -> None:
        """And for a while nobody may own the shard."""
        self.crash()
        self.doom = None
        self.now_ms += self.rng.choice((0, 0, 0, 5_000, 60_000, 3_600_000))

    def _possible(self, owner: Owner) -> list[str]:
        """What the owner could do, the likelier the more often."""
        names = owner.actions()
        if owner.may_expire and self.rng.random() < 0.1:
            names.append("expire")
        if owner.may_follow and self.rng.random() < (0.3 if owner.is_rightful else 0.05):
            names.append("follow")
        return names

    def _owner_acts(self, owner: Owner) -> bool:
        names = self._possible(owner)
        if not names:
            return False
        self.now_ms += self.rng.choice((0, 1, 5, 40))
        self.act(owner, self.rng.choice(names))
        if self.rng.random() < 0.05:
            owner.check_awake()
        if owner.is_open and self.doom is not None and self.doom(owner) and self.rng.random() < 0.3:
            self._crash()
        return True

    def _stranger_acts(self) -> None:
        stranger = self.rng.choice(self.strangers)
        if isinstance(stranger, Taking):
            self.claim(stranger)
            return
        names = self._possible(stranger)
        if names:
            self.act(stranger, self.rng.choice(names))

    def _pass_time(self, owner: Owner) -> None:
        owner.check_awake()
        due_ms = owner.next_due_ms()
        self.now_ms = max(self.now_ms + 1, due_ms) if due_ms is not None else self.now_ms + 1_000

    def _take_over(self) -> None:
        """One half of a take-over: reading, or claiming and opening."""
        if self.taking is None:
            self.read()
        elif self.rng.random() < 0.1:
            self.freeze()
        else:
            self.claim(self.taking)

    def _come_to_rest(self) -> Owner:
        self.doom = None
        last = self.begin_to_rest()
        for _ in range(QUIET_STEPS):
            self.steps += 1
            if self.is_at_rest(last):
                return last
            if not self._owner_acts(last):
                self._pass_time(last)
        raise Violation(f"N1: still open after {QUIET_STEPS} quiet steps: {last.told_states()}")


def _writes(owner: Owner) -> bool:
    """A batch is on its way."""
    return owner.flight is not None


def _writes_a_result(owner: Owner) -> bool:
    """A batch with a result is on its way."""
    moves = owner.flight.batch.moves if owner.flight else ()
    return any(move.outcome is not None and move.outcome.is_result for move in moves)
