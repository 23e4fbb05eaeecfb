"""A worker that is killed, or frozen for longer than its session, at each step of a job's way.

What must hold then is in docs/guarantees.md; the oracle knows nothing of the step.
"""

import signal
from collections.abc import Sequence

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.load import make_requests, one_request
from tests.chaos.oracle import Rules, judge, judge_cursor
from tests.chaos.trap import Action, KillPoint

TAKE_OVER_SECONDS = 120.0
UNCERTAIN = {"accept.after", "intent.after", "submit.before", "submit.out", "submit.after", "running.before"}
"""Here an intent is durable and its answer is not (accept and intent share a batch): reconciling will end
this set."""

POINTS: Sequence[str] = (
    "take.before",
    "send.claim",
    "take.after",
    "accept.before",
    "send.cursor",
    "accept.after",
    "intent.before",
    "intent.after",
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
    "send.outcome",
    "send.done",
    "finish.after",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ["kill", "stop"])
@pytest.mark.parametrize("name", POINTS)
async def test_whatever_happens_to_a_worker_each_file_has_one_outcome_and_one_bill(
    chaos: Fleet, name: str, action: Action
) -> None:
    point = KillPoint(name, 1, action)
    rules = Rules(mode=chaos.setting.mode, may_be_uncertain=name in UNCERTAIN)
    first = await chaos.launch(point)
    await chaos.publish([one_request("before", files=2)])
    await chaos.until_reached(first, point)
    assert not list(judge_cursor(await chaos.evidence())), "the dead worker's cursor"

    await chaos.launch()
    await chaos.until_done(TAKE_OVER_SECONDS)
    if action == "stop":
        first.process.send_signal(signal.SIGCONT)
        await chaos.publish(make_requests("thawed", 4, run_seconds=(0.2,)))
        await chaos.until_done(TAKE_OVER_SECONDS)
    await chaos.end()
    verdict = judge(await chaos.evidence(), rules)
    assert not verdict.complaints, f"{verdict.complaints}\n{chaos.stack.logs()}"
