"""The scheduler of the simulation: owners come and go, faults happen, step follows step from one seed."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

from tests.unit.core.simulation.chance import Drawn
from tests.unit.core.simulation.engine import ENGINE
from tests.unit.core.simulation.ledger import DAY_MS
from tests.unit.core.simulation.plan import Plan
from tests.unit.core.simulation.port import Engine, Owner, Settings, Violation
from tests.unit.core.simulation.producer import Producer
from tests.unit.core.simulation.shard import Shard, Stranger
from tests.unit.core.simulation.stage import Stage
from tests.unit.core.simulation.weather import Weather

DRAWN = Weather()
"""Stands for a weather that the seed decides."""
QUIET_STEPS = 20_000
"""After the last fault everything must come to its end within this many steps."""
Dice = Callable[[random.Random], Drawn]
STEPS_MS = (-3 * DAY_MS, -3_600_000, -40_000, -3_000, 3_000, 40_000, 3_600_000, 3 * DAY_MS)
"""By how much a machine's clock may step."""
WINDOWS = ((10**6, 1e9), (10**6, 1e9), (8, 1e9), (10**6, 1_200.0))
"""How many finished jobs are remembered, and for how long: for ever, by number, for a while."""
DAY_WINDOW = (10**6, 24 * 3600.0)
"""Where clocks step by days, and no day passes."""
WAITING, WAITING_IDLE = 0.98, 0.9
"""Of an owner's steps, where quota is short: no submit may begin, with other work at hand, and without."""
LONGEST_MS = 60_000
"""That time passes at once there."""


def settings_of(rng: random.Random, *, is_stepping: bool) -> Settings:
    """A run's settings."""
    remembered_jobs, window_seconds = DAY_WINDOW if is_stepping else rng.choice(WINDOWS)
    return Settings(
        files_per_task=rng.choice((1, 2, 100)),
        room=rng.choice((3, 12, 100)),
        remembered_jobs=remembered_jobs,
        # An engine may ask the vendor what time it is, where nobody else knows.
        ahead_ms=rng.choice((0, 400, -400)),
        window_seconds=window_seconds,
        partitions=rng.choice((1, 1, 2, 3)),
        delivery=rng.choice(("at_least_once", "exactly_once")),
        clock_slack_ms=2_000,
        is_quota_short=rng.random() < 0.4,
    )


class World(Stage):
    """One run: `size` requests from `seed`. All randomness is drawn from it."""

    def __init__(
        self,
        seed: int,
        weather: Weather = DRAWN,
        size: int = 40,
        dice: Dice = Drawn,
        settings: Settings | None = None,
        engine: Engine = ENGINE,
    ) -> None:
        self.rng = rng = random.Random(seed)
        if weather is DRAWN:
            weather = Weather(disturbed=rng.choice((0.005, 0.02, 0.06)), stepping=rng.choice((0, 0, 0, 0.1)))
        settings = settings or settings_of(rng, is_stepping=weather.stepping > 0)
        super().__init__(settings, dice(rng), Plan(), weather, engine)
        self.producer = Producer(
            rng, self.plan, size, weather, lambda: self.now_ms, self.phase_of, self.is_forgotten
        )
        self.steps = 0
        self.doom: str | None = None
        """A crash is to come while an owner writes this."""

    @property
    def is_stepped(self) -> bool:
        """Whether clocks may step."""
        return self.weather.stepping > 0

    @property
    def is_staged(self) -> bool:
        """Whether the writer has no transactions."""
        return self.settings.delivery == "at_least_once"

    def features(self) -> Counter[str]:
        """What it met, and what it is."""
        settings = self.settings
        named = {
            f"is {settings.delivery}": True,
            f"has {settings.partitions} partitions": True,
            "forgets nothing": settings.remembers,
            "forgets by number": settings.remembered_jobs < 10**6,
            "forgets after a while": settings.window_seconds < 86_400,
            "has clocks that may step": self.weather.stepping > 0,
            "is short of quota": settings.is_quota_short,
        }
        return self.seen + Counter([name for name, is_so in named.items() if is_so])

    def run(self) -> None:
        """Publish everything amid faults, then let it come to rest, then judge."""
        while not self.producer.is_done or self.rng.random() > 0.01:
            self.step()
        for shard in self.shards:
            self.compact(shard)
        self._come_to_rest()
        self.judge_end()

    def step(self) -> None:
        """One thing happens."""
        self.steps += 1
        shard = self.rng.choice(self.shards)
        if self.rng.random() < self.weather.disturbed:
            self._disturb(shard)
        elif shard.strangers and self.rng.random() < self.weather.strange:
            self._stranger_acts(shard, self.rng.choice(shard.strangers))
        elif not self.producer.is_done and self.rng.random() < 0.04:
            self._publish()
        elif not self._goes_on(shard) and not any(map(self._goes_on, self._others(shard))):
            self._pass_time([shard.owner for shard in self.shards if shard.owner is not None])

    def _others(self, shard: Shard) -> list[Shard]:
        return [each for each in self.shards if each is not shard]

    def _publish(self) -> None:
        """One record, or several at once."""
        for _ in range(self.rng.choice((1, 1, 1, 4))):
            if not self.producer.is_done:
                drawn = self.producer.draw()
                self.count(drawn.about)
                self.publish(drawn.value, drawn.key, drawn.meaning, drawn.headers, drawn.partition)

    def _disturb(self, shard: Shard) -> None:
        if self.rng.random() < self.weather.stepping:
            is_back = shard.spot is not None and shard.spot.skew_ms != 0
            self.step_clock(shard, 0 if is_back else self.rng.choice(STEPS_MS))
            return
        draw = self.rng.random()
        if draw < 0.12:
            self._crash(shard)
        elif draw < 0.17:
            self.drain(shard)
        elif draw < 0.30:
            self.doom = self.rng.choice(("records", "result", "result"))
        elif draw < 0.45:
            self.freeze(shard)
        elif draw < 0.55:
            self.kill_stranger(shard)
        elif draw < 0.75:
            self.compact(shard)
        elif draw < 0.77:
            self._jump()
        else:
            self.now_ms += self.rng.choice((100, 1_000, 30_000))

    def _jump(self) -> None:
        """A long time passes; not where a clock may be believed to have stepped."""
        if not self.weather.stepping:
            self.count("jump")
            self.now_ms += self.rng.choice((3_600_000, DAY_MS, 2 * DAY_MS))

    def _crash(self, shard: Shard) -> None:
        """And for a while nobody may own the shard."""
        self.crash(shard)
        self.doom = None
        wait_ms = self.rng.choice((0, 0, 0, 5_000, 60_000, 3_600_000))
        self.now_ms += min(wait_ms, LONGEST_MS) if self.weather.stepping else wait_ms

    def _possible(self, shard: Shard, owner: Owner) -> list[str]:
        """What the owner could do, the likelier the more often."""
        names = owner.actions()
        if self.settings.is_quota_short and not self.calm:
            others = [name for name in names if name != "take_submit"]
            names = others if self.rng.random() < (WAITING if others else WAITING_IDLE) else names
        is_rightful = owner.epoch == shard.journal.highest
        for chore in owner.chores():
            if self.rng.random() < (0.1 if is_rightful else 0.05):
                names.append(chore)
        return names

    def _goes_on(self, shard: Shard) -> bool:
        """Whether there was anything to do."""
        if shard.owner is None:
            self._take_over(shard)
            return True
        return self._owner_acts(shard, shard.owner)

    def _owner_acts(self, shard: Shard, owner: Owner) -> bool:
        names = self._possible(shard, owner)
        if not names:
            return False
        self.now_ms += self.rng.choice((0, 1, 5, 40))
        self.act(shard, owner, self.rng.choice(names))
        if owner is not shard.owner:
            return True
        if self.rng.random() < 0.05:
            owner.check_awake()
        if self._is_doomed(owner) and self.rng.random() < 0.3:
            self._crash(shard)
        return True

    def _is_doomed(self, owner: Owner) -> bool:
        return owner.writes == "result" if self.doom == "result" else bool(self.doom and owner.writes)

    def _stranger_acts(self, shard: Shard, stranger: Stranger) -> None:
        if stranger.owner is None:
            assert stranger.taking is not None
            self.claim(shard, stranger.taking)
            return
        names = self._possible(shard, stranger.owner)
        if names:
            self.act(shard, stranger.owner, self.rng.choice(names))

    def _pass_time(self, owners: Sequence[Owner]) -> None:
        for owner in owners:
            owner.check_awake()
        times = [due_ms for owner in owners if (due_ms := owner.next_due_ms()) is not None]
        due_ms = min(times, default=self.now_ms + 1_000)
        if self.weather.stepping and not self.calm:
            due_ms = min(due_ms, self.now_ms + LONGEST_MS)
        self.now_ms = max(self.now_ms + 1, due_ms)

    def _take_over(self, shard: Shard) -> None:
        """One half of a take-over: reading, or claiming and opening."""
        if shard.taking is None:
            is_off = self.rng.random() < self.weather.stepping
            self.read(shard, self.rng.choice(STEPS_MS) if is_off else 0)
        elif self.rng.random() < 0.1:
            self.freeze(shard)
        else:
            self.claim(shard, shard.taking)

    def _come_to_rest(self) -> None:
        self.doom = None
        last = self.begin_to_rest()
        for _ in range(QUIET_STEPS):
            self.steps += 1
            left = [(shard, owner) for shard, owner in last if not owner.is_done]
            if not left:
                return
            shard, owner = self.rng.choice(left)
            if not self._owner_acts(shard, owner) and not any(owner.actions() for _, owner in left):
                self._pass_time([owner for _, owner in left])
        told = {key: state for _, owner in last for key, state in owner.told_states().items()}
        raise Violation(f"N1: still open after {QUIET_STEPS} quiet steps: {told}")
