"""The guards of a submit: they decide whether it may go now, and learn from its answer.

Five things may stop a submit: the quota, an account reason (hold, spend guard), results on a host that is not
allowed, a provider outage and, for a repeated submit, the retry budget.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import field
from typing import NamedTuple

from service.clock import Clock
from service.core.limits.circuit_breaker import CircuitBreaker
from service.core.limits.hold_causes import SPENT, concerns_one_model
from service.core.limits.retry_budget import RetryBudget
from service.core.provider.answers import Accepted, Answered, NotSent, ProviderError, Refused, SubmitAnswer
from service.core.provider.own_codes import OwnCode
from service.frozen import dataclass
from service.pipeline.guards.account_hold import AccountHold
from service.pipeline.guards.call_limiter import MAX_MODELS, Call, CallKind, CallLimiter
from service.pipeline.guards.result_hold import ResultHolds
from service.pipeline.guards.spend_guard import SpendGuard
from service.pipeline.guards.wait_reasons import WaitReason


class SubmitKind(NamedTuple):
    """Submits with the same guards: those of one model, first and repeated submits apart."""

    model: str
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class SubmitPermit:
    """Permission for one submit: its cost in the retry budget, whether it is a probe, and its call."""

    model: str
    paid: float
    is_probe: bool
    call: Call
    """The sender enters it and passes its `depart` to the provider, which takes the quota's slot."""


@dataclass(slots=True)
class ModelHealth:
    """The guards that a model's answers have set; `since_ms` is when its outage began."""

    retries: RetryBudget
    circuit_breaker: CircuitBreaker
    hold: AccountHold
    """For reasons that concern this model alone."""
    since_ms: int | None = None
    throttle: ProviderError | None = None
    """The error of the last throttled submit; None once a submit is accepted."""


@dataclass(slots=True)
class SubmitGuards:
    """The guards that every submit passes before its POST."""

    clock: Clock
    limiter: CallLimiter
    hold: AccountHold
    spend_guard: SpendGuard
    on_outage: Callable[[str, ProviderError | None], None]
    """Called with the model when its outage begins, with its last failure, or ends, with None."""
    results: ResultHolds
    health: OrderedDict[str, ModelHealth] = field(default_factory=OrderedDict)

    def wait_seconds(self, kind: SubmitKind) -> float:
        """How long until a submit of the kind may go."""
        now = self.clock.boot_seconds()
        health = self._health(kind.model)
        return max(
            self.limiter.wait_seconds(CallKind.SUBMIT, kind.model),
            self.hold.wait_seconds(),
            health.hold.wait_seconds(),
            self.spend_guard.wait_seconds(),
            self.results.wait_seconds(kind.model),
            health.circuit_breaker.wait_seconds(now),
            health.retries.wait_seconds(now) if kind.is_retry else 0.0,
        )

    def acquire(self, kind: SubmitKind) -> SubmitPermit:
        """Begin a submit; call it only while `wait_seconds` returns zero."""
        now = self.clock.boot_seconds()
        health = self._health(kind.model)
        is_probe = self.hold.is_active or health.hold.is_active
        paid = health.retries.take(now) if kind.is_retry else 0.0
        permit = SubmitPermit(kind.model, paid, is_probe, self.limiter.begin(CallKind.SUBMIT, kind.model))
        self.hold.probe()
        health.hold.probe()
        health.circuit_breaker.probe(now, self.clock.draw())
        return permit

    def probe_now(self) -> None:
        """Let every hold probe at once: the account's key was replaced."""
        for hold in (self.hold, *(health.hold for health in self.health.values())):
            hold.probe_now()

    def may_post(self, permit: SubmitPermit) -> bool:
        """Whether no hold has begun since the permit was issued."""
        health = self.health.get(permit.model)
        is_held = self.hold.is_active or (health is not None and health.hold.is_active)
        return (permit.is_probe or not is_held) and not self.results.is_held(permit.model)

    def judge(self, answer: SubmitAnswer, permit: SubmitPermit) -> None:
        """Update the guards from the answer."""
        now = self.clock.boot_seconds()
        health = self._health(permit.model)
        self._judge_holds(answer, permit.model, health)
        health.circuit_breaker.judge(answer, now, self.clock.draw())
        self._note(permit.model, health)
        match answer:
            case Accepted() | Answered():
                health.retries.succeed(permit.paid)
                health.throttle = None
            case NotSent(provider_error) if provider_error.code == OwnCode.INTENT_TOO_OLD:
                health.retries.refund(permit.paid)
            case Refused(provider_error) if provider_error.is_throttled:
                self.limiter.penalise(CallKind.SUBMIT, permit.model)
                health.throttle = provider_error

    def reason(self, model: str) -> str:
        """Why submits of the model wait, as text; empty if only the quota delays them."""
        health = self.health.get(model)
        held = self.hold.held or (health.hold.held if health else None)
        if held is not None:
            return f"submits are held ({held.provider_error.code}): {held.provider_error.message}"
        last = (health.circuit_breaker.last or health.throttle) if health else None
        if last is not None:
            return f"the last submit of the model failed: {last.message}"
        return f"{SPENT[self.spend_guard.limit]} ({self.spend_guard.code})" if self.spend_guard.limit else ""

    def wait_reason(self, kind: SubmitKind, *, is_unused: bool) -> WaitReason:
        """Why a submit of the kind waits, if it does: the first in the table of docs/operations.md.

        `is_unused` says whether time slots are not used now, which does not depend on the kind.
        """
        now, health = self.clock.boot_seconds(), self.health.get(kind.model)
        waits = {
            WaitReason.HOLD: self.hold.is_active or (health is not None and health.hold.is_active),
            WaitReason.SPEND_LIMIT: self.spend_guard.wait_seconds() > 0,
            WaitReason.RESULT_HOST: self.results.is_held(kind.model),
            WaitReason.OUTAGE: self.is_circuit_open(kind.model),
            WaitReason.RETRY_BUDGET: kind.is_retry
            and health is not None
            and health.retries.wait_seconds(now) > 0,
            WaitReason.SLOTS: is_unused,
        }
        return next((reason for reason, is_so in waits.items() if is_so), WaitReason.QUOTA)

    def is_circuit_open(self, model: str) -> bool:
        """Whether the model's submits wait for a probe."""
        health = self.health.get(model)
        return health is not None and health.circuit_breaker.is_open

    def _judge_holds(self, answer: SubmitAnswer, model: str, health: ModelHealth) -> None:
        """Update the holds.

        A refusal for one model neither begins nor ends the account's hold.
        """
        if isinstance(answer, Refused) and concerns_one_model(answer.provider_error):
            health.hold.judge(answer, model)
            return
        self.hold.judge(answer, model)
        if not self.hold.is_active:
            health.hold.judge(answer, model)

    def _note(self, model: str, health: ModelHealth) -> None:
        if health.circuit_breaker.is_open != (health.since_ms is not None):
            health.since_ms = self.clock.now_ms() if health.circuit_breaker.is_open else None
            self.on_outage(model, health.circuit_breaker.last)

    def _health(self, model: str) -> ModelHealth:
        """The model's health.

        If there are too many models, the least recently used one is forgotten.
        """
        if model not in self.health:
            self.health[model] = ModelHealth(
                RetryBudget(self.clock.boot_seconds()), CircuitBreaker(), self.hold.for_model()
            )
        self.health.move_to_end(model)
        if len(self.health) > MAX_MODELS:
            self.health.popitem(last=False)
        return self.health[model]
