"""The spend guard: stops submits for the rest of a UTC day once a limit of seconds or cost is reached."""

from collections.abc import Callable, Iterable

from service.clock import Clock
from service.core.limits.spend_limit import SPEND_LIMIT, DaySpend, SpendLimit, SpendRules, limits_reached

CHECK_SECONDS = 1.0
"""How often a reached limit is checked again: midnight or a larger share ends it."""


class SpendGuard:
    """Whether the day's limit is reached.

    `update` begins and ends it like a hold, with our own code.
    """

    def __init__(
        self,
        clock: Clock,
        rules: SpendRules,
        shards: Callable[[], int],
        spends: Callable[[], Iterable[DaySpend]],
        on_change: Callable[[SpendLimit | None], None],
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._shards = shards
        """The number of all shards, which grows with the partitions of the request topic."""
        self._spends = spends
        self._on_change = on_change
        self.limit: SpendLimit | None = None
        """The reached limit while the spend guard is on; of two, the one reached first."""
        self.since_ms: int | None = None

    @property
    def code(self) -> str | None:
        """`spend_limit` while the spend guard is on."""
        return None if self.limit is None else SPEND_LIMIT

    def wait_seconds(self) -> float:
        """How long until a submit should ask again; zero while the day's limit has room."""
        return CHECK_SECONDS if self._reached() else 0.0

    def update(self) -> None:
        """Note the limit that is reached now, and report a change.

        The submit stage calls it each turn.
        """
        reached = self._reached()
        limit = self.limit if self.limit in reached else next(iter(reached), None)
        if limit is not self.limit:
            self.limit = limit
            self.since_ms = self._clock.now_ms() if limit else None
            self._on_change(limit)

    def _reached(self) -> list[SpendLimit]:
        return limits_reached(self._spends(), self._rules, self._shards(), self._clock.confirmed_ms())
