"""The hold: submitting stopped for an account reason, with one slow probe at a time until it ends.

A look that meets such a reason holds as well, and looks become probes then: each call with a dead key counts
against the quota and tells nothing.
"""

from collections.abc import Callable

from service.clock import Clock
from service.core import verdicts
from service.core.task import Lost, NotSent, Refused, SubmitAnswer, Trouble
from service.core.verdict import Action

PROBE_SECONDS = 30.0
"""How long after an account refusal, or after the last probe, the next call of its kind is tried."""


class Hold:
    """Whether submits may go; one for the account."""

    def __init__(self, clock: Clock, on_change: Callable[[str | None], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._probe_at = 0.0
        self._look_at = 0.0
        self._looks_held = False
        self._is_of_looks = False
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
        if isinstance(answer, Refused) and _is_for_account(answer.trouble):
            self._is_of_looks = False
            self._begin(answer.trouble.code)
        elif not isinstance(answer, Lost | NotSent):
            self._end()

    def look_wait_seconds(self) -> float:
        """How long until a task may be looked at: zero unless the last look was refused."""
        return max(0.0, self._look_at - self._clock.boot_seconds()) if self._looks_held else 0.0

    def look(self) -> None:
        """A look goes out; while looks are refused the next one waits."""
        self._look_at = self._clock.boot_seconds() + PROBE_SECONDS

    def judge_look(self, answer: object) -> None:
        """Begin, or end what a look began; whether a submit would be taken, a look cannot tell.

        A call about hotword lists counts as a look: it is free, and works for an account in arrears.
        """
        if isinstance(answer, Trouble) and _is_for_account(answer):
            self._looks_held = True
            if not self.is_active:
                self._is_of_looks = True
                self._begin(answer.code)
        elif not isinstance(answer, Trouble):
            self._looks_held = False
            if self._is_of_looks:
                self._end()

    def _begin(self, code: str) -> None:
        self._probe_at = self._clock.boot_seconds() + PROBE_SECONDS
        if code != self.code:
            self.code, self.since_ms = code, self._clock.now_ms()
            self._on_change(code)

    def _end(self) -> None:
        self._looks_held = self._is_of_looks = False
        if self.is_active:
            self.code, self.since_ms = None, None
            self._on_change(None)


def _is_for_account(trouble: Trouble) -> bool:
    return verdicts.on_submit(trouble).action is Action.HOLD
