"""The hold: submitting stopped for an account reason, with one slow probe at a time until it ends."""

from collections.abc import Callable

from service.clock import Clock
from service.core import verdicts
from service.core.task import Lost, NotSent, Refused, SubmitAnswer
from service.core.verdicts import Action

PROBE_SECONDS = 30.0
"""How long after an account refusal, or after the last probe, the next submit is tried."""


class Hold:
    """Whether submits may go; one for the account."""

    def __init__(self, clock: Clock, on_change: Callable[[str | None], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._probe_at = 0.0
        self.code: str | None = None
        """The provider's code for the reason, None while there is no hold."""
        self.since_ms: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether submitting is stopped."""
        return self.code is not None

    def wait_seconds(self) -> float:
        """How long until a submit may go: zero without a hold, else until the probe is due."""
        return max(0.0, self._probe_at - self._clock.boot_seconds()) if self.is_active else 0.0

    def probe(self) -> None:
        """A submit goes out; during a hold the next one waits, whatever becomes of this one."""
        self._probe_at = self._clock.boot_seconds() + PROBE_SECONDS

    def judge(self, answer: SubmitAnswer) -> None:
        """Begin, go on or end, as the answer to a submit says; one that never arrived says nothing."""
        if isinstance(answer, Refused) and verdicts.on_submit(answer.trouble).action is Action.HOLD:
            self._begin(answer.trouble.code)
        elif self.is_active and not isinstance(answer, Lost | NotSent):
            self.code, self.since_ms = None, None
            self._on_change(None)

    def _begin(self, code: str) -> None:
        self._probe_at = self._clock.boot_seconds() + PROBE_SECONDS
        if code != self.code:
            self.code, self.since_ms = code, self._clock.now_ms()
            self._on_change(code)
