"""The hold: what begins it, what ends it, and how slowly it is probed."""

import pytest

from service.core.task import Accepted, Lost, NotSent, Refused, SubmitAnswer, Trouble
from service.pipeline.hold import PROBE_SECONDS, Hold
from tests.fakes.clock import FakeClock
from tests.fakes.provider import NO_CONNECTION, TIMEOUT
from tests.unit.pipeline.world import ARREARS

NO_KEY = Refused(Trouble("InvalidApiKey", "Invalid API-key provided.", 401))
BAD_REQUEST = Refused(Trouble("InvalidParameter", "x", 400))


class Held:
    """A hold and what it says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.said: list[str | None] = []
        self.hold = Hold(clock, self.said.append)


@pytest.fixture
def held(clock: FakeClock) -> Held:
    return Held(clock)


@pytest.mark.parametrize("answer", [Accepted("t"), BAD_REQUEST, Lost(TIMEOUT), NotSent(NO_CONNECTION)])
async def test_no_other_answer_begins_a_hold(held: Held, answer: SubmitAnswer) -> None:
    held.hold.judge(answer)
    assert (held.hold.is_active, held.hold.wait_seconds(), held.said) == (False, 0.0, [])


async def test_an_account_refusal_begins_a_hold_and_says_since_when(held: Held) -> None:
    began_ms = held.clock.now_ms()
    held.hold.judge(ARREARS)
    assert held.hold.is_active
    assert (held.hold.code, held.hold.since_ms, held.said) == ("Arrearage", began_ms, ["Arrearage"])
    assert held.hold.wait_seconds() == PROBE_SECONDS


async def test_a_hold_that_goes_on_keeps_its_beginning_and_is_said_once(held: Held) -> None:
    held.hold.judge(ARREARS)
    since_ms = held.hold.since_ms
    await held.clock.sleep(40)
    assert held.hold.wait_seconds() == 0.0
    held.hold.judge(ARREARS)
    assert (held.hold.since_ms, held.said) == (since_ms, ["Arrearage"])
    assert held.hold.wait_seconds() == PROBE_SECONDS


async def test_another_reason_is_said(held: Held) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge(NO_KEY)
    assert held.said == ["Arrearage", "InvalidApiKey"]


@pytest.mark.parametrize("answer", [Accepted("t"), BAD_REQUEST])
async def test_the_first_answer_that_is_no_hold_ends_it(held: Held, answer: SubmitAnswer) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge(answer)
    assert (held.hold.is_active, held.hold.since_ms, held.said) == (False, None, ["Arrearage", None])
    assert held.hold.wait_seconds() == 0.0


@pytest.mark.parametrize("answer", [Lost(TIMEOUT), NotSent(NO_CONNECTION)])
async def test_what_never_arrived_says_nothing_about_the_account(held: Held, answer: SubmitAnswer) -> None:
    held.hold.judge(ARREARS)
    held.hold.judge(answer)
    assert held.hold.is_active


async def test_after_a_probe_the_next_one_waits_whatever_became_of_it(held: Held) -> None:
    held.hold.judge(ARREARS)
    await held.clock.sleep(PROBE_SECONDS)
    held.hold.probe()
    held.hold.judge(NotSent(NO_CONNECTION))
    assert held.hold.wait_seconds() == PROBE_SECONDS


async def test_a_clock_that_is_set_neither_hastens_nor_delays_the_probe(held: Held) -> None:
    held.hold.judge(ARREARS)
    held.clock.jump(3600)
    assert held.hold.wait_seconds() == PROBE_SECONDS
