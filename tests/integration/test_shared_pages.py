"""Two services on real Kafka tell each other what a page of the provider's list showed."""

import asyncio

import pytest

from tests.contract.cluster import records_of
from tests.integration.stack import CHECK_SECONDS, Scribe, Stack
from tests.integration.test_main_job import HELLO, request

pytestmark = [
    pytest.mark.needs_java,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("broker_name", ["kafka"]),
]

REQUESTS = 24
LONG = HELLO.replace("run=0.2", "run=200")
"""Twenty seconds at the simulator's tenfold speed."""
SHARED_SECONDS = 60.0
FOUR = {"SCRIBE_TOPICS__PARTITIONS": "4"}


async def pages(scribe: Scribe) -> dict[str, int]:
    return await scribe.counted("scribe_list_pages_total")


async def test_two_services_use_the_pages_that_the_other_one_has_read(stack: Stack) -> None:
    both = await asyncio.gather(stack.start(**FOUR), stack.start(**FOUR))
    await stack.publish_all([(request(f"p-{n}", f"{LONG}&n={n}"), f"p-{n}", ()) for n in range(REQUESTS)])
    async with asyncio.timeout(SHARED_SECONDS):
        while not all([(await pages(each)).get("shared", 0) > 10 for each in both]):
            await asyncio.sleep(CHECK_SECONDS)
    outcomes = await stack.outcomes(REQUESTS)
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert len(stack.sim.ledger().submits) == REQUESTS
    for scribe in both:
        counts, hints = await pages(scribe), await scribe.counted("scribe_list_hints_total")
        assert counts["own"] > 0
        assert counts["shared"] > 10
        # One that was written just before the reader stood still for a moment.
        assert counts.get("unused", 0) <= counts["shared"] / 2
        assert hints["right"] > 0
        assert "list_sharing" not in scribe.log_path.read_text()


async def test_one_service_alone_shares_nothing(stack: Stack) -> None:
    scribe = await stack.start(**FOUR)
    await stack.publish_all([(request(f"o-{n}", f"{LONG}&n={n}"), f"o-{n}", ()) for n in range(REQUESTS)])
    outcomes = await stack.outcomes(REQUESTS)
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert set(await pages(scribe)) == {"own"}
    assert await records_of(stack.bootstrap, f"{stack.topics['journal']}.pages") == []
