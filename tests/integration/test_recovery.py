"""The procedures of docs/operations.md ("Recover"), carried out as an operator would, on real Kafka."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from typer.testing import CliRunner

from sandbox.kafka import real_kafka
from service.cli.commands import app
from tests.brokers import TopicNames, admin
from tests.integration.stack import CHECK_SECONDS, ROLES, Scribe, Stack, standing
from tests.integration.test_main_job import HELLO, request

pytestmark = [
    pytest.mark.needs_java,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("broker_name", ["kafka"]),
]
SETTLE_SECONDS = 60.0
STATUS_SECONDS = 2.0
"""Twice the age of what /status shows."""
START_OVER = {"SCRIBE_KAFKA__ON_JOURNAL_MISMATCH": "start_over"}
LONG = HELLO.replace("run=0.2", "run=60")
"""Six seconds at the simulator's speed: its task runs while Kafka is moved."""


async def publish(stack: Stack, *names: str, script: str = HELLO) -> None:
    """Publish a request of one file of its own for each name."""
    await stack.publish_all([(request(name, url_of(name, script)), name, ()) for name in names])


def url_of(name: str, script: str = HELLO) -> str:
    return f"{script}&n={name}"


async def shards(scribe: Scribe) -> list[dict[str, str]]:
    found: list[dict[str, str]] = (await scribe.get("status")).json()["shards"]
    return found


async def until_idle(stack: Stack, scribe: Scribe) -> None:
    """Wait as the page says: no lag, and then no job and no submission."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while await lag(stack):
            await asyncio.sleep(CHECK_SECONDS)
        await asyncio.sleep(STATUS_SECONDS)
        while any((await work(scribe)).values()):
            await asyncio.sleep(CHECK_SECONDS)


async def work(scribe: Scribe) -> dict[str, int]:
    status = (await scribe.get("status")).json()
    return {**status["jobs"], **status["submissions"]}


async def group_offsets(stack: Stack) -> dict[TopicPartition, int]:
    """What `kafka-consumer-groups.sh --describe` shows as CURRENT-OFFSET."""
    async with admin(stack.bootstrap) as client:
        offsets = await client.list_consumer_group_offsets(stack.settings["SCRIBE_KAFKA__GROUP_ID"])
        return {each: committed.offset for each, committed in offsets.items()}


async def lag(stack: Stack) -> int:
    offsets = await group_offsets(stack)
    async with AIOKafkaConsumer(bootstrap_servers=stack.bootstrap) as consumer:
        ends = await consumer.end_offsets([TopicPartition(stack.topics["requests"], p) for p in range(3)])
    return sum(end - offsets.get(each, 0) for each, end in ends.items())


async def delete_journal(stack: Stack) -> None:
    async with admin(stack.bootstrap) as client:
        await client.delete_topics([stack.topics["journal"]])
        async with asyncio.timeout(SETTLE_SECONDS):
            while stack.topics["journal"] in await client.list_topics():
                await asyncio.sleep(CHECK_SECONDS)


async def make_topics(settings: Mapping[str, str]) -> None:
    """`scribe topics`, on the cluster and with the names of these settings."""
    told = await asyncio.to_thread(CliRunner().invoke, app, ["topics"], env=settings)
    assert told.exit_code == 0, told.output


def submits(stack: Stack) -> Mapping[str, int]:
    """How often each file was submitted, and billed."""
    return stack.sim.ledger().submitted_urls()


OLD = [f"old-{number}" for number in range(6)]


async def lose_the_journal(stack: Stack) -> None:
    """Six requests have ended and one is open; the journal goes, and shards with a past are refused."""
    scribe = await stack.start()
    await publish(stack, *OLD)
    await stack.outcomes(6)
    await until_idle(stack, scribe)
    await publish(stack, "open", script=LONG)
    await stack.until(lambda: url_of("open", LONG) in submits(stack))
    assert await scribe.end() == 0
    await delete_journal(stack)
    scribe = await stack.start()
    await publish(stack, "new")
    refused = [each["detail"] for each in await shards(scribe) if each["state"] == "refused"]
    assert refused
    assert all("knows nothing of" in each and "start_over" in each for each in refused)
    assert await scribe.end() == 0
    assert len(await stack.all_outcomes()) == 6


async def start_over(stack: Stack, outcomes: int) -> None:
    """Until so many outcomes are there, and then once more without the setting."""
    scribe = await stack.start(**START_OVER)
    assert len(await stack.outcomes(outcomes)) == outcomes
    assert {each["state"] for each in await shards(scribe)} == {"ready"}
    assert await scribe.end() == 0
    await stack.start()
    await publish(stack, "last")
    assert len(await stack.outcomes(outcomes + 1)) == outcomes + 1


async def test_starting_over_without_a_journal_bills_all_that_the_topic_holds_again(stack: Stack) -> None:
    await lose_the_journal(stack)
    await start_over(stack, 6 + 6 + len(["new", "open"]))
    once, twice = ("new", "last"), (*map(url_of, OLD), url_of("open", LONG))
    assert submits(stack) == {**dict.fromkeys(map(url_of, once), 1), **dict.fromkeys(twice, 2)}


async def test_what_was_deleted_before_starting_over_is_not_billed_and_what_was_open_gets_no_outcome(
    stack: Stack,
) -> None:
    await lose_the_journal(stack)
    ends = {each: RecordsToDelete(offset) for each, offset in (await group_offsets(stack)).items()}
    async with admin(stack.bootstrap) as client:
        await client.delete_records(ends)
    await start_over(stack, 6 + len(["new"]))
    assert "open" not in {each.key for each in await stack.all_outcomes()}
    await publish(stack, "open", script=LONG)
    assert "open" in {each.key for each in await stack.outcomes(6 + len(["new", "last", "open"]))}
    once = map(url_of, (*OLD, "new", "last"))
    assert submits(stack) == {**dict.fromkeys(once, 1), url_of("open", LONG): 2}


@pytest.mark.computes  # a Kafka of its own
async def test_an_empty_move_to_another_cluster_bills_nothing_again(
    stack: Stack, topic_names: TopicNames, tmp_path: Path
) -> None:
    names = [f"old-{number}" for number in range(6)]
    scribe = await stack.start()
    await publish(stack, *names)
    await until_idle(stack, scribe)
    assert await scribe.end() == 0
    folder = tmp_path / "new"
    folder.mkdir()
    with real_kafka() as cluster:
        settings = {**stack.settings, "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": cluster.bootstrap}
        moved = Stack(cluster.bootstrap, stack.topics, stack.sim, folder, settings)
        async with standing(moved):
            await make_topics(settings)
            await moved.start()
            await publish(moved, "new", names[0])
            assert {each.id for each in await moved.outcomes(2)} == {"new/0/0", f"{names[0]}/0/0"}
    # The new journal remembers no request of the old one: what is published again is done again.
    assert submits(stack) == {**dict.fromkeys(map(url_of, names), 1), url_of("new"): 1, url_of(names[0]): 2}


async def mirror(stack: Stack, topic_names: TopicNames, skipped: int) -> Stack:
    """Requests and journal copied into new topics, as mirroring tools do: offsets are counted anew.

    The first records of each partition of the requests are left out, as if Kafka had deleted them before.
    """
    topics = dict(zip(ROLES, topic_names(*(f"new-{role}" for role in ROLES)), strict=True))
    names = {f"SCRIBE_TOPICS__{role.upper()}": name for role, name in topics.items()}
    settings = {**stack.settings, **names, "SCRIBE_KAFKA__GROUP_ID": topics["requests"]}
    await make_topics(settings)
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
        for role in ("requests", "journal"):
            for record in await stack.records(role):
                if role == "journal" or record.offset >= skipped:
                    await producer.send_and_wait(
                        topics[role],
                        record.value,
                        record.key,
                        record.partition,
                        timestamp_ms=record.timestamp,
                        headers=list(record.headers),
                    )
    return replace(stack, topics=topics, settings=settings, scribes=[])


async def test_a_whole_mirror_goes_on_where_the_old_cluster_stopped(
    stack: Stack, topic_names: TopicNames
) -> None:
    scribe = await stack.start()
    await publish(stack, "done-0", "done-1", "done-2")
    await stack.outcomes(3)
    await publish(stack, "open-0", "open-1", "open-2", script=LONG)
    await stack.until(lambda: len(submits(stack)) == 6)
    assert await scribe.end() == 0
    moved = await mirror(stack, topic_names, skipped=0)
    async with standing(moved):
        scribe = await moved.start()
        await publish(moved, "new", "done-0")
        ids = {each.id: each for each in await moved.outcomes(5)}
        assert ids.keys() >= {"new/0/0", "open-0/0/0", "open-1/0/0", "open-2/0/0"}
        assert [each.body["code"] for each in ids.values() if each.kind == "failure"] == ["already_finished"]
        assert {each["state"] for each in await shards(scribe)} == {"ready"}
    assert len(submits(stack)) == 7
    assert set(submits(stack).values()) == {1}


@pytest.mark.parametrize(
    ("published", "words"), [(0, "but it ends at"), (24, "is not the one")], ids=["shorter", "grown"]
)
async def test_a_mirror_of_the_end_of_the_requests_is_refused(
    stack: Stack, topic_names: TopicNames, published: int, words: str
) -> None:
    scribe = await stack.start()
    await publish(stack, *(f"old-{number}" for number in range(12)))
    await until_idle(stack, scribe)
    assert await scribe.end() == 0
    moved = await mirror(stack, topic_names, skipped=2)
    async with standing(moved):
        await publish(moved, *(f"new-{number}" for number in range(published)))
        scribe = await moved.start()
        found = await shards(scribe)
        assert {each["state"] for each in found} == {"refused"}, found
        assert [each["detail"] for each in found if words not in each["detail"]] == []
        assert await moved.all_outcomes() == []
    assert len(submits(stack)) == 12
