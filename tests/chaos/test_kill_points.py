"""A worker that is killed, or frozen for longer than its session, at each step of a job's way.

What must hold then is in docs/guarantees.md; the oracle knows nothing of the step. All steps run on real
Kafka, a few on the embedded broker, so that the mutants of a machine without Java meet them too.
"""

import signal
from collections.abc import Sequence

import pytest

from tests.chaos.evidence import Rules
from tests.chaos.fleet import Fleet
from tests.chaos.load import make_requests, one_request
from tests.chaos.oracle import judge, judge_cursor
from tests.chaos.trap import Action, KillPoint

DONE_SECONDS = 180.0
LATE_POST = KillPoint("submit.before", 1, "stop")
"""The one hole: frozen behind its last check, a worker posts when it thaws, whoever has posted meanwhile."""

STEPS: Sequence[str] = (
    "take.before",
    "send.claim",
    "take.after",
    "accept.before",
    "accept.after",
    "submit.before",
    "submit.out",
    "submit.after",
    "running.before",
    "running.after",
    "query.before",
    "query.after",
    "fetch.before",
    "fetch.after",
    "finish.before",
    "finish.after",
)
"""What a job passes in either mode."""
STAGES: Sequence[str] = (
    "send.request",
    "send.intent",
    "send.running",
    "send.cursor",
    "send.announcing",
    "send.outcome",
    "send.done",
    "send.finished",
    "send.tombstone",
)
"""Between the stages of a batch of `at_least_once`."""
TRANSACTION: Sequence[str] = (
    "commit.claim.out",
    "send.intent",
    "commit.intent.before",
    "commit.intent.out",
    "commit.intent.after",
    "commit.running.out",
    "send.outcome",
    "commit.outcome.before",
    "commit.outcome.out",
    "commit.outcome.after",
)
"""Within, and around the end of, a transaction."""

actions = pytest.mark.parametrize("action", ["kill", "stop"])
on_kafka = pytest.mark.parametrize("broker_name", [pytest.param("kafka", marks=pytest.mark.needs_java)])
on_the_embedded_broker = pytest.mark.parametrize("broker_name", ["embedded"])
exactly_once = pytest.mark.parametrize("mode", ["exactly_once"])
at_least_once = pytest.mark.parametrize("mode", ["at_least_once"])
bounded = pytest.mark.timeout(600)


@bounded
@on_kafka
@exactly_once
@actions
@pytest.mark.parametrize("name", [*STEPS, *TRANSACTION])
async def test_whatever_happens_to_a_worker_each_file_has_one_outcome_and_one_bill(
    chaos: Fleet, name: str, action: Action
) -> None:
    await crash_and_take_over(chaos, KillPoint(name, 1, action))


@bounded
@on_kafka
@at_least_once
@actions
@pytest.mark.parametrize("name", STAGES)
async def test_between_the_stages_of_a_batch_nothing_is_lost_and_a_repeat_has_the_same_id(
    chaos: Fleet, name: str, action: Action
) -> None:
    await crash_and_take_over(chaos, KillPoint(name, 1, action))


@bounded
@pytest.mark.needs_minutes
@on_the_embedded_broker
@at_least_once
@pytest.mark.parametrize(
    ("name", "action"), [("send.intent", "kill"), ("submit.out", "stop"), ("send.done", "kill")]
)
async def test_the_same_holds_on_a_broker_without_transactions(
    chaos: Fleet, name: str, action: Action
) -> None:
    await crash_and_take_over(chaos, KillPoint(name, 1, action))


async def crash_and_take_over(chaos: Fleet, point: KillPoint) -> None:
    """One worker comes to the point, another finishes its work; the frozen one thaws and works on."""
    rules = Rules(mode=chaos.setting.mode, resubmissions=2 if point == LATE_POST else 0)
    first = await chaos.launch(point)
    await chaos.publish([one_request("before", files=2)])
    await chaos.until_reached(first, point)
    assert not list(judge_cursor(await chaos.evidence())), "the cursor that the worker left"

    await chaos.launch()
    await chaos.until_done(DONE_SECONDS)
    if point.action == "stop":
        first.process.send_signal(signal.SIGCONT)
        await chaos.publish(make_requests("thawed", 4, run_seconds=(0.2,)))
        await chaos.until_done(DONE_SECONDS)
    await chaos.end()
    judgement = judge(await chaos.evidence(), rules)
    words = [str(complaint) for complaint in judgement.complaints]
    assert not words, f"{words}\n{chaos.stack.logs()}"
