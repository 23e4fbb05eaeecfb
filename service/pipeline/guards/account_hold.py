"""The account hold: stops submits for an account reason.

Slow single probes find out when it ends.

A poll that fails for such a reason also begins a hold, and polls become probes too: each call with a dead key
uses quota and returns nothing.
"""

from collections.abc import Callable
from typing import Literal

from service.clock import Clock
from service.core.limits.hold_causes import HoldCause, HoldReason, hold_cause
from service.core.provider import error_table
from service.core.provider.answers import Lost, NotSent, ProviderError, Refused, SubmitAnswer
from service.core.provider.error_table import Action
from service.core.provider.own_codes import OwnCode

PROBE_SECONDS = 30.0
"""The delay from an account refusal, or from the last probe, to the next call of its kind."""
KNOWN_SECONDS = 600.0
"""How long the last answer about the account is valid: another process may have met a hold since."""
HoldKnowledge = Literal["held", "none", "unknown"]
"""What this process knows of a hold of the account."""


class AccountHold:
    """Whether submits may go.

    One for the account, and one for each model with reasons of its own.
    """

    def __init__(self, clock: Clock, on_change: Callable[[HoldCause, bool], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._probe_at = 0.0
        self._poll_at = 0.0
        self._are_polls_held = False
        self._is_from_polls = False
        self._said: set[tuple[HoldReason, str | None]] = set()
        """Reasons of this hold already reported: each is reported once, even if reasons alternate."""
        self._known_at: float | None = None
        self.held: HoldCause | None = None
        """The reason, None while there is no hold."""
        self.since_ms: int | None = None

    @property
    def code(self) -> str | None:
        """The provider's code for the reason, None while there is no hold."""
        return None if self.held is None else self.held.provider_error.code

    @property
    def is_active(self) -> bool:
        """Whether submitting is stopped."""
        return self.held is not None

    @property
    def knowledge(self) -> HoldKnowledge:
        """Whether this process knows the account to be held.

        Only a submit's answer proves that it is not.
        """
        if self.is_active:
            return "held"
        if self._known_at is None or self._clock.boot_seconds() - self._known_at > KNOWN_SECONDS:
            return "unknown"
        return "none"

    def for_model(self) -> "AccountHold":
        """A hold for one model, beside the account's, with the same callback."""
        return AccountHold(self._clock, self._on_change)

    def wait_seconds(self) -> float:
        """How long until a submit may go: zero without a hold, else until the probe is due."""
        return max(0.0, self._probe_at - self._clock.boot_seconds()) if self.is_active else 0.0

    def probe(self) -> None:
        """A submit is sent; during a hold the next one waits, whatever this one's outcome."""
        self._probe_at = self._clock.boot_seconds() + PROBE_SECONDS

    def probe_now(self) -> None:
        """Let the next poll probe at once, and the next submit: the account's key was replaced.

        While polls find foreign tasks, a poll alone tells whether the key is right: another account accepts
        submits.
        """
        self._poll_at = 0.0
        if self.code != OwnCode.FOREIGN_TASKS:
            self._probe_at = 0.0

    def judge(self, answer: SubmitAnswer, model: str | None = None) -> None:
        """Begin, continue or end the hold by the answer to a submit of the model.

        A submit that was lost or not sent proves nothing about the account, nor does a fault or a throttle.
        """
        action = error_table.on_submit(answer.provider_error).action if isinstance(answer, Refused) else None
        if isinstance(answer, Refused) and action is Action.HOLD:
            self._is_from_polls = False
            self._begin(hold_cause(answer.provider_error, model))
        elif not isinstance(answer, Lost | NotSent) and action is not Action.RETRY:
            self._known_at = self._clock.boot_seconds()
            self._end()

    def poll_wait_seconds(self) -> float:
        """How long until a task may be polled; zero unless the last poll was refused."""
        return max(0.0, self._poll_at - self._clock.boot_seconds()) if self._are_polls_held else 0.0

    def poll_leaves(self) -> None:
        """A poll is sent; while polls are refused, the next one waits."""
        self._poll_at = self._clock.boot_seconds() + PROBE_SECONDS

    def judge_poll(self, answer: object) -> None:
        """Begin a hold, or end one that a poll began.

        A poll cannot prove that submits are accepted.

        A call about hotword lists counts as a poll: it is free, and works for an account in arrears.
        """
        if isinstance(answer, ProviderError) and _is_for_account(answer):
            self._are_polls_held = True
            if not self.is_active:
                self._is_from_polls = True
                self._begin(hold_cause(answer, None))
            if answer.code == OwnCode.FOREIGN_TASKS:
                # The other account would accept a submit, so no submit probes while polls find foreign tasks.
                self._probe_at = self._clock.boot_seconds() + KNOWN_SECONDS
        elif not isinstance(answer, ProviderError):
            self._are_polls_held = False
            if self._is_from_polls:
                self._end()

    def _begin(self, held: HoldCause) -> None:
        self._probe_at = self._clock.boot_seconds() + PROBE_SECONDS
        reason = (held.reason, held.model)
        if self.held is None or (self.held.reason, self.held.model) != reason:
            self.held, self.since_ms = held, self._clock.now_ms()
        if reason not in self._said:
            self._said.add(reason)
            self._on_change(held, True)

    def _end(self) -> None:
        self._are_polls_held = self._is_from_polls = False
        if self.held is not None:
            ended, self.held, self.since_ms = self.held, None, None
            self._said.clear()
            self._on_change(ended, False)


def _is_for_account(provider_error: ProviderError) -> bool:
    return error_table.on_submit(provider_error).action is Action.HOLD
