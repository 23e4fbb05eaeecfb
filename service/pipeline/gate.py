"""The gate: whether a submit may go now, and what its answer says about the next ones.

Five things may stand in the way: the quota, an account reason (hold, brake), results on a host that
is not allowed, the provider's outage and, for a repeated submit, the retry budget.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from service.clock import Clock
from service.core.account import SPENT, concerns_one_model
from service.core.outage import INTENT_TOO_OLD, TOO_MANY_REQUESTS, Outage
from service.core.retry_budget import RetryBudget
from service.core.task import Accepted, Answered, NotSent, Refused, SubmitAnswer, Trouble
from service.pipeline.brake import Brake
from service.pipeline.call_limiter import MAX_MODELS, Call, CallLimiter, Kind
from service.pipeline.hold import Hold
from service.pipeline.result_holds import ResultHolds


class Lane(NamedTuple):
    """Submits that wait for the same: those of one model, repeated ones apart from first ones."""

    model: str
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave for one submit: what it took of the retry budget, whether it is a probe, and its call."""

    model: str
    paid: float
    is_probe: bool
    call: Call
    """Entered by whoever posts, who gives its `depart` to the provider: the quota is paid there."""


@dataclass(slots=True)
class Health:
    """What the answers to a model's submits have come to; `since_ms` is when its outage began."""

    retries: RetryBudget
    outage: Outage
    hold: Hold
    """For reasons that concern this model alone."""
    since_ms: int | None = None
    throttle: Trouble | None = None
    """What the last submit met that was throttled, until one is taken."""


@dataclass(slots=True)
class Gate:
    """Where every submit passes."""

    clock: Clock
    limiter: CallLimiter
    hold: Hold
    brake: Brake
    on_outage: Callable[[str, Trouble | None], None]
    """Told of a model's outage: what its last failure was, None at its end."""
    results: ResultHolds
    health: OrderedDict[str, Health] = field(default_factory=OrderedDict)

    def wait_seconds(self, lane: Lane) -> float:
        """How long until a submit of the lane may go."""
        now = self.clock.boot_seconds()
        health = self._health(lane.model)
        return max(
            self.limiter.wait_seconds(Kind.SUBMIT, lane.model),
            self.hold.wait_seconds(),
            health.hold.wait_seconds(),
            self.brake.wait_seconds(),
            self.results.wait_seconds(lane.model),
            health.outage.wait_seconds(now),
            health.retries.wait_seconds(now) if lane.is_retry else 0.0,
        )

    def enter(self, lane: Lane) -> Leave:
        """Begin a submit; `wait_seconds` has said that it may go."""
        now = self.clock.boot_seconds()
        health = self._health(lane.model)
        is_probe = self.hold.is_active or health.hold.is_active
        paid = health.retries.take(now) if lane.is_retry else 0.0
        leave = Leave(lane.model, paid, is_probe, self.limiter.begin(Kind.SUBMIT, lane.model))
        self.hold.probe()
        health.hold.probe()
        health.outage.probe(now, self.clock.draw())
        return leave

    def may_post(self, leave: Leave) -> bool:
        """Whether no hold has begun since the leave was given."""
        health = self._health(leave.model)
        is_held = self.hold.is_active or health.hold.is_active
        return (leave.is_probe or not is_held) and not self.results.is_held(leave.model)

    def judge(self, answer: SubmitAnswer, leave: Leave) -> None:
        """Learn from the answer."""
        now = self.clock.boot_seconds()
        health = self._health(leave.model)
        self._judge_holds(answer, leave.model, health)
        health.outage.judge(answer, now, self.clock.draw())
        self._note(leave.model, health)
        match answer:
            case Accepted() | Answered():
                health.retries.succeed(leave.paid)
                health.throttle = None
            case NotSent(trouble) if trouble.code == INTENT_TOO_OLD:
                health.retries.refund(leave.paid)
            case Refused(trouble) if trouble.http_status == TOO_MANY_REQUESTS:
                self.limiter.penalise(Kind.SUBMIT, leave.model)
                health.throttle = trouble

    def reason(self, model: str) -> str:
        """Why submits of the model wait, in words; empty where nothing but the quota holds them up."""
        health = self._health(model)
        held = self.hold.held or health.hold.held
        if held is not None:
            return f"submits are held ({held.trouble.code}): {held.trouble.message}"
        last = health.outage.last or health.throttle
        if last is not None:
            return f"the last submit of the model failed: {last.message}"
        return f"{SPENT[self.brake.limit]} ({self.brake.code})" if self.brake.limit else ""

    def is_out(self, model: str) -> bool:
        """Whether the model's submits wait for a probe."""
        return self._health(model).outage.is_on

    def _judge_holds(self, answer: SubmitAnswer, model: str, health: Health) -> None:
        """What concerns a model alone neither begins nor ends the account's hold."""
        if isinstance(answer, Refused) and concerns_one_model(answer.trouble):
            health.hold.judge(answer, model)
            return
        self.hold.judge(answer, model)
        if not self.hold.is_active:
            health.hold.judge(answer, model)

    def _note(self, model: str, health: Health) -> None:
        if health.outage.is_on != (health.since_ms is not None):
            health.since_ms = self.clock.now_ms() if health.outage.is_on else None
            self.on_outage(model, health.outage.last)

    def _health(self, model: str) -> Health:
        """As with budgets, the model asked for longest ago is forgotten when there are too many."""
        if model not in self.health:
            self.health[model] = Health(
                RetryBudget(self.clock.boot_seconds()), Outage(), self.hold.for_model()
            )
        self.health.move_to_end(model)
        if len(self.health) > MAX_MODELS:
            self.health.popitem(last=False)
        return self.health[model]
