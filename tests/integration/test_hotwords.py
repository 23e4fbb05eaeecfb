"""Hotwords through Kafka: a list is made once for the account, and what it does is heard."""

import asyncio

import pytest

from tests.integration.stack import Stack

SAID = "http://media.test/said.wav?text=We+run+etcd+here.&misheard=etcd:etsy&run=0.2"
HOTWORDS = [{"text": "etcd", "language": "en"}, {"text": "Kafka"}]
RIGHT, WRONG = "We run etcd here.", "We run etsy here."

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])


def request(request_id: str, model: str = "fun-asr", **options: object) -> dict[str, object]:
    return {"request_id": request_id, "file_urls": [SAID], "model": model, "options": options}


def created(stack: Stack) -> int:
    calls = stack.sim.ledger().calls_of("hotwords")
    return sum(call.action == "create_vocabulary" and call.status == 200 for call in calls)


async def texts(stack: Stack, count: int) -> dict[str, str]:
    outcomes = await stack.outcomes(count)
    assert [each.body for each in outcomes if each.kind == "failure"] == []
    return {each.body["request_id"]: each.body["transcript"]["channels"][0]["text"] for each in outcomes}


async def test_a_hotword_list_is_created_once_and_used_by_every_request_with_its_words(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("plain"))
    for number in range(4):
        words = HOTWORDS if number % 2 else HOTWORDS[::-1]
        await stack.publish(request(f"list-{number}", hotwords=words))
    heard = await texts(stack, 5)
    assert heard == {"plain": WRONG} | {f"list-{number}": RIGHT for number in range(4)}
    assert created(stack) == 1
    sent = [each.task.submission.parameters or {} for each in stack.sim.ledger().submits]
    assert all("hotwords" not in parameters for parameters in sent)
    assert len({parameters["vocabulary_id"] for parameters in sent if parameters}) == 1


async def test_the_list_of_another_model_is_never_used(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("a", hotwords=HOTWORDS))
    await stack.publish(request("b", "fun-asr-mtl", hotwords=HOTWORDS))
    await stack.publish(request("c", "fun-asr-flash", hotwords=HOTWORDS))
    assert await texts(stack, 3) == {"a": RIGHT, "b": RIGHT, "c": RIGHT}
    assert created(stack) == 3
    lists = {
        each.task.submission.model: (each.task.submission.parameters or {})["vocabulary_id"]
        for each in stack.sim.ledger().submits
    }
    await stack.publish(request("d", "fun-asr-mtl", vocabulary_id=lists["fun-asr"]))
    [failure] = [each for each in await stack.outcomes(4) if each.kind == "failure"]
    assert failure.body["code"] == "vocabulary_unusable"
    assert "was made for fun-asr, not for fun-asr-mtl" in failure.body["message"]
    assert len(stack.sim.ledger().submits) == 3


@pytest.mark.computes
async def test_two_members_and_a_third_that_comes_later_share_one_list(stack: Stack) -> None:
    await asyncio.gather(stack.start(), stack.start())
    for number in range(12):
        await stack.publish(request(f"r-{number}", hotwords=HOTWORDS))
    assert set((await texts(stack, 12)).values()) == {RIGHT}
    for scribe in stack.scribes:
        assert await scribe.end() == 0
    await stack.start()
    await stack.publish(request("later", hotwords=HOTWORDS))
    assert (await texts(stack, 13))["later"] == RIGHT
    left = [call for call in stack.sim.ledger().calls_of("hotwords") if call.action == "delete_vocabulary"]
    assert created(stack) - len(left) == 1
