"""The hold: what begins it, what ends it, and how slowly it is probed."""

import pytest

from service.core.limits.hold_causes import hold_cause
from service.core.provider.answers import (
    Accepted,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
    TaskStatus,
    TaskView,
)
from service.core.provider.error_table import TABLE, Action
from service.core.provider.own_codes import OwnCode
from service.pipeline.guards.account_hold import KNOWN_SECONDS, PROBE_SECONDS, AccountHold
from tests.fakes.clock import FakeClock
from tests.fakes.provider import NO_CONNECTION, TIMEOUT
from tests.unit.pipeline.world import ARREARS

NO_KEY = Refused(ProviderError("InvalidApiKey", "Invalid API-key provided.", 401))
BAD_REQUEST = Refused(ProviderError("InvalidParameter", "x", 400))


class HoldCause:
    """A hold and what it says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.said: list[str | None] = []
        self.hold = AccountHold(
            clock, lambda held, is_on: self.said.append(held.provider_error.code if is_on else None)
        )


@pytest.fixture
def held(clock: FakeClock) -> HoldCause:
    return HoldCause(clock)


@pytest.mark.parametrize("answer", [Accepted("t"), BAD_REQUEST, Lost(TIMEOUT), NotSent(NO_CONNECTION)])
async def test_no_other_answer_begins_a_hold(held: HoldCause, answer: SubmitAnswer) -> None:
    held.hold.judge(answer)
    assert (held.hold.is_active, held.hold.wait_seconds(), held.said) == (False, 0.0, [])


async def test_an_account_refusal_begins_a_hold_and_says_since_when(held: HoldCause) -> None:
    began_ms = held.clock.now_ms()
    held.hold.judge(ARREARS)
    assert held.hold.is_active
    assert (held.hold.code, held.hold.since_ms, held.said) == ("Arrearage", began_ms, ["Arrearage"])
    assert held.hold.wait_seconds() == PROBE_SECONDS


async def test_a_hold_that_goes_on_keeps_its_beginning_and_is_said_once(held: HoldCause) -> None:
    held.hold.judge(ARREARS)
    since_ms = held.hold.since_ms
    await held.clock.sleep(40)
    assert held.hold.wait_seconds() == 0.0
    held.hold.judge(ARREARS)
    assert (held.hold.since_ms, held.said) == (since_ms, ["Arrearage"])
    assert held.hold.wait_seconds() == PROBE_SECONDS


async def test_another_reason_is_said(held: HoldCause) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge(NO_KEY)
    assert held.said == ["Arrearage", "InvalidApiKey"]


@pytest.mark.parametrize("answer", [Accepted("t"), BAD_REQUEST])
async def test_the_first_answer_that_is_no_hold_ends_it(held: HoldCause, answer: SubmitAnswer) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge(answer)
    assert (held.hold.is_active, held.hold.since_ms, held.said) == (False, None, ["Arrearage", None])
    assert held.hold.wait_seconds() == 0.0


@pytest.mark.parametrize("answer", [Lost(TIMEOUT), NotSent(NO_CONNECTION)])
async def test_what_never_arrived_says_nothing_about_the_account(
    held: HoldCause, answer: SubmitAnswer
) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge(answer)
    assert held.hold.is_active


async def test_after_a_probe_the_next_one_waits_whatever_became_of_it(held: HoldCause) -> None:
    held.hold.judge(ARREARS)
    await held.clock.sleep(PROBE_SECONDS)
    held.hold.probe()
    held.hold.judge(NotSent(NO_CONNECTION))
    assert held.hold.wait_seconds() == PROBE_SECONDS


async def test_under_a_new_key_the_next_submit_and_the_next_poll_probe_at_once(held: HoldCause) -> None:
    held.hold.judge(NO_KEY)
    held.hold.judge_poll(DEAD_KEY)
    held.hold.poll_leaves()
    assert min(held.hold.wait_seconds(), held.hold.poll_wait_seconds()) == PROBE_SECONDS
    held.hold.probe_now()
    assert (held.hold.wait_seconds(), held.hold.poll_wait_seconds()) == (0.0, 0.0)
    assert held.hold.is_active
    held.hold.probe()
    held.hold.poll_leaves()
    assert min(held.hold.wait_seconds(), held.hold.poll_wait_seconds()) == PROBE_SECONDS


async def test_under_a_new_key_no_submit_probes_while_the_tasks_are_unknown_to_the_account(
    held: HoldCause,
) -> None:
    """Another account would accept it, and end the hold by that."""
    foreign = ProviderError(OwnCode.FOREIGN_TASKS, "the account knows none of the tasks")
    held.hold.judge_poll(foreign)
    held.hold.poll_leaves()
    held.hold.probe_now()
    assert held.hold.poll_wait_seconds() == 0.0
    assert held.hold.wait_seconds() == KNOWN_SECONDS
    held.hold.judge_poll(SEEN)
    assert not held.hold.is_active


async def test_a_clock_that_is_set_neither_hastens_nor_delays_the_probe(held: HoldCause) -> None:
    held.hold.judge(ARREARS)
    held.clock.jump(3600)
    assert held.hold.wait_seconds() == PROBE_SECONDS


# Looks.

DEAD_KEY = ProviderError("InvalidApiKey", "Invalid API-key provided.", 401)
SEEN = TaskView("t", TaskStatus.RUNNING)


async def test_a_poll_refused_for_the_account_begins_a_hold_and_slows_polls(held: HoldCause) -> None:
    held.hold.poll_leaves()
    held.hold.judge_poll(DEAD_KEY)
    assert (held.hold.code, held.said) == ("InvalidApiKey", ["InvalidApiKey"])
    assert (held.hold.wait_seconds(), held.hold.poll_wait_seconds()) == (PROBE_SECONDS, PROBE_SECONDS)


@pytest.mark.parametrize(
    "answer",
    [SEEN, TIMEOUT, ProviderError("InternalError", "x", 500), ProviderError("AccessDenied", "x", 403)],
)
async def test_no_other_poll_error_begins_a_hold(held: HoldCause, answer: TaskView | ProviderError) -> None:
    held.hold.poll_leaves()
    held.hold.judge_poll(answer)
    assert (held.hold.is_active, held.hold.poll_wait_seconds(), held.said) == (False, 0.0, [])


async def test_a_poll_ends_a_hold_that_polls_began(held: HoldCause) -> None:
    held.hold.judge_poll(DEAD_KEY)
    held.hold.judge_poll(SEEN)
    assert (held.hold.is_active, held.hold.poll_wait_seconds()) == (False, 0.0)
    assert held.said == ["InvalidApiKey", None]


async def test_a_poll_does_not_end_a_hold_that_a_submit_began_or_confirmed(held: HoldCause) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge_poll(SEEN)
    assert held.hold.is_active
    held.hold.judge(Accepted("t"))
    held.hold.judge_poll(DEAD_KEY)
    held.hold.judge(NO_KEY)
    held.hold.judge_poll(SEEN)
    assert held.hold.is_active
    assert held.hold.poll_wait_seconds() == 0.0


async def test_a_poll_that_never_arrived_ends_no_hold(held: HoldCause) -> None:
    held.hold.poll_leaves()
    held.hold.judge_poll(DEAD_KEY)
    held.hold.judge_poll(TIMEOUT)
    assert held.hold.is_active
    assert held.hold.poll_wait_seconds() == PROBE_SECONDS


async def test_an_accepted_submit_resumes_polls(held: HoldCause) -> None:
    held.hold.poll_leaves()
    held.hold.judge_poll(DEAD_KEY)
    held.hold.judge(Accepted("t"))
    assert (held.hold.is_active, held.hold.poll_wait_seconds()) == (False, 0.0)


async def test_during_a_hold_by_submits_a_refused_poll_slows_polls_alone(held: HoldCause) -> None:
    held.hold.judge(ARREARS)
    held.hold.poll_leaves()
    held.hold.judge_poll(DEAD_KEY)
    assert held.said == ["Arrearage"]
    assert held.hold.poll_wait_seconds() == PROBE_SECONDS


# What is said, and what is known.

OPENAI_NO_KEY = Refused(ProviderError("invalid_api_key", "Incorrect API key provided.", 401))
FREE_TIER = Refused(
    ProviderError("AllocationQuota.FreeTierOnly", "The free tier of the model is used up.", 403)
)
SAME_REASON = [
    ("InvalidApiKey", "invalid_api_key"),
    ("invalid_api_key", "InvalidApiKey"),
    ("InvalidApiKey", "NOT AUTHORIZED"),
    ("Arrearage", "PostpaidBillOverdue"),
    ("PrepaidBillOverdue", "Arrearage"),
    ("WorkSpaceNotFound", "Workspace.AccessDenied"),
    ("AccessDenied.Unpurchased", "CommodityNotPurchased"),
    ("http_error", "AnotherCode"),
]


@pytest.mark.parametrize(("one", "other"), SAME_REASON)
async def test_two_shapes_of_api_that_say_the_same_are_one_hold_and_one_line(
    held: HoldCause, one: str, other: str
) -> None:
    for code in (one, other, one, other):
        held.hold.judge(Refused(ProviderError(code, "x", 401)))
        await held.clock.sleep(PROBE_SECONDS)
    assert (held.said, held.hold.code) == ([one], one)


async def test_a_poll_and_a_submit_with_the_same_error_make_one_log_line(held: HoldCause) -> None:
    held.hold.judge_poll(DEAD_KEY)
    held.hold.judge(OPENAI_NO_KEY)
    assert held.said == ["InvalidApiKey"]


async def test_two_reasons_that_take_turns_are_said_once_each(held: HoldCause) -> None:
    for answer in (ARREARS, NO_KEY) * 5:
        held.hold.judge(answer)
    assert held.said == ["Arrearage", "InvalidApiKey"]
    held.hold.judge(Accepted("t"))
    held.hold.judge(ARREARS)
    assert held.said[2:] == [None, "Arrearage"]


@pytest.mark.parametrize(
    "provider_error",
    [
        ProviderError("Throttling.RateQuota", "slow down", 429),
        ProviderError("InternalError", "oops", 500),
        ProviderError("ServiceUnavailable", "x", 503),
        ProviderError("http_error", "x", 502),
        ProviderError("http_error", "x", 404),
    ],
)
async def test_a_throttle_or_a_fault_between_two_probes_does_not_end_a_hold(
    held: HoldCause, provider_error: ProviderError
) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge(Refused(provider_error))
    held.hold.judge(ARREARS)
    assert held.said == ["Arrearage"]


async def test_only_what_concerns_one_model_names_it(held: HoldCause) -> None:
    held.hold.judge(ARREARS, "fun-asr")
    assert (held.hold.held and held.hold.held.model) is None
    held.hold.judge(FREE_TIER, "fun-asr")
    assert (held.hold.held and held.hold.held.model) == "fun-asr"
    held.hold.judge(FREE_TIER, "fun-asr-mtl")
    assert (held.hold.held and held.hold.held.model) == "fun-asr-mtl"
    assert held.said == ["Arrearage", "AllocationQuota.FreeTierOnly", "AllocationQuota.FreeTierOnly"]


async def test_whether_the_account_is_held_is_unknown_until_a_submit_was_answered_and_again_later(
    held: HoldCause,
) -> None:
    known: list[str] = [held.hold.knowledge]
    held.hold.judge(Lost(TIMEOUT))
    held.hold.judge_poll(SEEN)
    known.append(held.hold.knowledge)
    held.hold.judge(Accepted("t"))
    known.append(held.hold.knowledge)
    await held.clock.sleep(KNOWN_SECONDS + 1)
    known.append(held.hold.knowledge)
    held.hold.judge(ARREARS)
    await held.clock.sleep(KNOWN_SECONDS + 1)
    known.append(held.hold.knowledge)
    assert known == ["unknown", "unknown", "none", "unknown", "held"]


def test_every_code_that_holds_has_advice_that_names_what_to_do() -> None:
    holding = [code for code, row in TABLE.items() if row.on_submit.action is Action.HOLD]
    for code in (*holding, "http_error", "BudgetLimitExceeded"):
        assert len(hold_cause(ProviderError(code, "x", 401), "m").advice) > 100
