"""`scribe replay` beside a service: failures become results, once, and a second replay bills nothing."""

import asyncio
import json
from typing import Any

import pytest
import typer.testing
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from service.cli.commands import app
from tests.brokers import admin
from tests.contract.cluster import records_of
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, MISSING, OTHER, request
from tests.plugins.environment import NO_TRUST

# The embedded broker sometimes tells an end of a topic before records that it delivers, and keeps to it.
pytestmark = [pytest.mark.needs_java, pytest.mark.parametrize("broker_name", ["kafka"])]
SIGNED = "&Signature=urlcanary"
FIX = ("--replace-url", "fail=FILE_404_NOT_FOUND", "fixed=1")
CODE = ("--code", "audio_not_found")
PARTITIONS = 3


def missing(number: int) -> str:
    """A signed URL that the provider cannot download, until it is edited."""
    return f"{MISSING}&n={number}{SIGNED}"


async def scribe(stack: Stack, *arguments: str, **settings: str) -> typer.testing.Result:
    """`scribe replay` in this process, from its first word to its exit code."""
    run = typer.testing.CliRunner().invoke
    environ = {**NO_TRUST, **stack.settings, **settings}
    done = await asyncio.to_thread(run, app, ["replay", *arguments], env=environ)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "canary" not in done.output
    return done


async def document(stack: Stack, *arguments: str) -> dict[str, Any]:
    done = await scribe(stack, *arguments, "--output", "json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def requests_of(stack: Stack) -> list[dict[str, Any]]:
    """Every record of the request topic."""
    records = await records_of(stack.bootstrap, stack.topics["requests"], PARTITIONS)
    return [json.loads(record.value) for record in records]


async def until_shown(stack: Stack, count: int, *arguments: str) -> dict[str, Any]:
    """The document, once it has so many failures."""
    async with asyncio.timeout(60):
        while True:
            found = await document(stack, *arguments)
            if sum(each["failures"] for each in found["codes"]) >= count:
                return found
            await asyncio.sleep(0.1)


async def settled(stack: Stack, count: int) -> None:
    """Wait until so many failures are there, and the journal has every request as ended."""
    async with asyncio.timeout(60):
        while (
            "its request, or a replay of it, is still open"
            in (await until_shown(stack, count, *CODE))["left_out"]
        ):
            await asyncio.sleep(0.1)


async def failing(stack: Stack, **settings: str) -> None:
    """A service with two requests that have ended, of whose files three have failed."""
    await stack.start(**settings)
    value = json.dumps(request("r-1", HELLO, missing(1), missing(2), metadata={"case": 7}))
    await stack.publish(value.encode(), "r-1", [("traceparent", b"00-aa-bb-01")])
    await stack.publish(request("r-2", missing(3)))
    await stack.outcomes(4)
    await settled(stack, 3)


async def test_a_dry_run_shows_reasons_and_what_it_would_publish_and_publishes_nothing(stack: Stack) -> None:
    await failing(stack)
    dry = await scribe(stack, *CODE, *FIX)
    assert dry.exit_code == 0
    assert [line.split() for line in dry.stdout.splitlines()[:2]] == [
        ["CODE", "FAILURES", "REQUESTS", "RETRYABLE", "SELECTED"],
        ["audio_not_found", "3", "2", "0", "3"],
    ]
    assert "r-1  replay 1  fun-asr  file 1, 2" in dry.stdout
    assert "3 URLs have a query" in dry.stdout
    assert dry.stdout.splitlines()[-1].startswith("dry run: 3 files of 2 requests; --publish publishes them")
    assert len(await requests_of(stack)) == 2


async def test_failed_files_become_results_once_and_a_second_replay_is_answered_not_billed(
    stack: Stack,
) -> None:
    await failing(stack)
    submits = len(stack.sim.ledger().submits)
    done = await scribe(stack, *CODE, *FIX, "--publish")
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("published")) == [
        "published r-1, replay 1",
        "published r-2, replay 1",
    ]
    outcomes = {outcome.id: outcome for outcome in await stack.outcomes(7)}
    made = [outcomes[name] for name in ("r-1/1/1", "r-1/1/2", "r-2/1/0")]
    assert {outcome.kind for outcome in made} == {"result"}
    assert (made[1].body["metadata"], made[1].body["file_count"]) == ({"case": 7}, 3)
    assert made[1].headers["traceparent"] == "00-aa-bb-01"
    billed = len(stack.sim.ledger().submits)
    assert billed > submits

    await settled(stack, 3)
    again = await document(stack, *CODE, *FIX, "--publish")
    assert (again["replays"], again["left_out"]) == ([], {"done again already": 3})

    # Whoever has not seen the first replay makes the same record again.
    [record] = [
        each for each in await requests_of(stack) if each["request_id"] == "r-2" and each.get("replay")
    ]
    await stack.publish(record)
    [answer] = [each for each in await stack.outcomes(8) if each.body.get("code") == "already_finished"]
    assert answer.key == "r-2"
    assert len(stack.sim.ledger().submits) == billed
    final = await document(stack, *CODE, *FIX, "--publish")
    assert final["replays"] == []
    assert len(await requests_of(stack)) == 5


async def delete_results(stack: Stack) -> None:
    partitions = [TopicPartition(stack.topics["results"], number) for number in range(PARTITIONS)]
    async with admin(stack.bootstrap) as client:
        await client.delete_records(dict.fromkeys(partitions, RecordsToDelete(-1)))


async def test_without_results_the_journal_alone_shows_that_nothing_was_done_again(stack: Stack) -> None:
    await failing(stack)
    await delete_results(stack)
    first = await document(stack, *CODE, *FIX, "--publish")
    assert {each["request_id"] for each in first["replays"]} == {"r-1", "r-2"}
    await stack.outcomes(6)
    await settled(stack, 3)
    await delete_results(stack)
    again = await document(stack, *CODE, *FIX, "--publish")
    assert (again["replays"], again["left_out"]) == ([], {"done again already": 3})


async def remembered(stack: Stack) -> set[str]:
    """The ids of ended requests in the journal."""
    latest = {(each.partition, each.key): each.value for each in await stack.journal()}
    return {json.loads(value)["id"] for value in latest.values() if value and value.startswith(b'{"ended"')}


async def test_what_the_journal_has_forgotten_is_known_by_its_results(stack: Stack) -> None:
    await failing(stack, SCRIBE_DEDUPLICATION__JOBS="0")
    await document(stack, *CODE, *FIX, "--publish")
    await stack.outcomes(7)
    await settled(stack, 3)
    # A shard forgets when it accepts the next request.
    for number in range(4 * PARTITIONS):
        await stack.publish(request(f"other-{number}", f"{HELLO}&n={number}"))
    await stack.outcomes(7 + 4 * PARTITIONS)
    async with asyncio.timeout(60):
        while await remembered(stack) & {"r-1", "r-2"}:
            await asyncio.sleep(0.1)
    again = await document(stack, *CODE, *FIX, "--publish")
    assert (again["replays"], again["left_out"]) == ([], {"done again already": 3})

    # Kafka deletes whole segments: these failures outlive the results of their replays.
    await delete_results(stack)
    unknown = await document(stack, *CODE, *FIX, "--publish")
    words = "older than the results that Kafka has: they may have been done again"
    assert (unknown["replays"], unknown["left_out"]) == ([], {words: 3})


async def test_a_run_goes_on_where_it_stopped_and_waits_for_what_is_not_accepted_yet(stack: Stack) -> None:
    replica = await stack.start()
    for number in range(3):
        await stack.publish(request(f"r-{number}", missing(number)))
    await stack.outcomes(3)
    await settled(stack, 3)
    assert await replica.end() == 0
    first = await document(stack, *CODE, *FIX, "--publish", "--max", "2")
    assert (len(first["replays"]), first["more"]) == (2, 1)
    second = await document(stack, *CODE, *FIX, "--publish")
    assert len(second["replays"]) == 1
    assert second["left_out"] == {"its request, or a replay of it, is still open": 2}
    third = await document(stack, *CODE, *FIX, "--publish")
    assert third["replays"] == []
    published = [each for each in await requests_of(stack) if each.get("replay")]
    assert sorted(each["request_id"] for each in published) == ["r-0", "r-1", "r-2"]
    await stack.start()
    outcomes = [outcome for outcome in await stack.outcomes(6) if outcome.kind == "result"]
    assert sorted(outcome.id for outcome in outcomes) == ["r-0/1/0", "r-1/1/0", "r-2/1/0"]


async def test_answers_cancelled_work_and_open_requests_are_left_out(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("open", missing(1), f"{OTHER}&status=RUNNING_FOREVER"))
    await stack.publish(request("ends", HELLO))
    await stack.outcomes(2)
    await stack.publish(request("ends", HELLO))
    await stack.publish(request("ends", OTHER))
    await stack.publish(request("gone", f"{OTHER}&n=1&status=RUNNING_FOREVER"))
    await stack.publish({"request_id": "gone", "action": "cancel"})
    await stack.publish(b"no json", "odd")
    await stack.outcomes(6)
    codes = ("audio_not_found", "already_finished", "request_id_conflict", "cancelled", "invalid_json")
    found = await until_shown(stack, 4, *(word for code in codes for word in ("--code", code)))
    assert found["replays"] == []
    assert found["left_out"] == {"its request, or a replay of it, is still open": 1}
    assert {each["code"]: each["selected"] for each in found["codes"]} == {
        "audio_not_found": 1,
        "already_finished": 0,
        "request_id_conflict": 0,
        "cancelled": 0,
    }


async def test_filters_take_a_part_and_failures_without_signatures_need_new_ones(stack: Stack) -> None:
    await stack.start(SCRIBE_OUTCOMES__ORIGINAL_REQUEST="no_query")
    await stack.publish(request("a-1", missing(1)))
    await stack.publish(request("b-1", missing(2), model="fun-asr-2025-11-07"))
    await stack.outcomes(2)
    await settled(stack, 2)

    async def ids(*arguments: str) -> set[str]:
        return {each["request_id"] for each in (await document(stack, *CODE, *arguments))["replays"]}

    assert await ids() == {"a-1", "b-1"}
    assert await ids("--id", "a-*") == {"a-1"}
    assert await ids("--model", "fun-asr-2025-11-07") == {"b-1"}
    assert await ids("--since", "3600") == {"a-1", "b-1"}
    assert await ids("--until", "3600") == set()
    assert await ids("--since", "2100-01-01T00:00:00Z") == set()
    none = await document(stack, "--id", "a-1")
    assert none["replays"] == [], "it is not retryable, and was not named"

    lost = {"SCRIBE_OUTCOMES__ORIGINAL_REQUEST": "no_query"}
    refused = await scribe(stack, *CODE, **lost)
    assert refused.exit_code == 2
    assert "--replace-url" in refused.stderr
    edited = await scribe(
        stack, *CODE, "--id", "a-1", "--replace-url", "$", "?sig=canary", "--publish", **lost
    )
    assert edited.exit_code == 0
    [record] = [each for each in await requests_of(stack) if each.get("replay")]
    assert record["file_urls"] == ["http://media.test/missing.wav?sig=canary"]


async def test_with_a_journal_that_cannot_be_read_nothing_is_published(stack: Stack) -> None:
    replica = await stack.start()
    await stack.publish(request("r-1", missing(1)))
    await stack.outcomes(1)
    await settled(stack, 1)
    assert await replica.end() == 0
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
        await producer.send_and_wait(stack.topics["journal"], b"k", b"foreign", partition=0)
    done = await scribe(stack, *CODE, *FIX, "--publish")
    assert done.exit_code == 6
    assert "nothing is published: the journal is not read as a whole: partition 0" in done.stdout
    assert len(await requests_of(stack)) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--code", "bad_luck"), "there is no bad_luck"),
        (("--since", "yesterday"), "no time with a zone"),
        (("--since", "2026-01-01T00:00:00"), "no time with a zone"),
        (("--replace-url", "(", "x"), "no regular expression"),
        (("--replace-url", "x", r"\9"), "no regular expression"),
    ],
)
async def test_wrong_use_is_named(stack: Stack, arguments: tuple[str, ...], words: str) -> None:
    done = await scribe(stack, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
