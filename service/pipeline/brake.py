"""The brake: submitting stops for the rest of the UTC day once a limit of it, seconds or cost, is reached."""

from collections.abc import Callable, Iterable

from service.clock import Clock
from service.core.spend import SPEND_LIMIT, DaySpend, SpendRules, is_spent

LOOK_SECONDS = 1.0
"""How often a brake that is on is looked at again: midnight and a larger share both end it."""


class Brake:
    """Whether the day's limit is reached; it begins and ends as a hold does, with a code of ours."""

    def __init__(
        self,
        clock: Clock,
        rules: SpendRules,
        spends: Callable[[], Iterable[DaySpend]],
        on_change: Callable[[str | None], None],
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._spends = spends
        self._on_change = on_change
        self.code: str | None = None
        """`spend_limit` while the brake is on."""
        self.since_ms: int | None = None

    def wait_seconds(self) -> float:
        """How long until a submit may be asked for again; zero while the day has room."""
        is_on = is_spent(self._spends(), self._rules, self._clock.now_ms())
        if is_on != (self.code is not None):
            self.code = SPEND_LIMIT if is_on else None
            self.since_ms = self._clock.now_ms() if is_on else None
            self._on_change(self.code)
        return LOOK_SECONDS if is_on else 0.0
