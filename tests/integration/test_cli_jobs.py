"""`scribe jobs` beside a service at work: what is open, why it waits, and the story of a request."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
import typer.testing
from aiokafka import AIOKafkaProducer

from sandbox.child import free_ports
from sandbox.simulator import Fault
from service.cli.commands import app
from tests.brokers import admin
from tests.integration.stack import Stack
from tests.integration.test_limits import status_until
from tests.integration.test_main_job import HELLO, MISSING, request
from tests.plugins.environment import NO_TRUST

SIGNED = "&Signature=urlcanary"
FOREVER = f"{HELLO}&status=RUNNING_FOREVER{SIGNED}"
WAIT_SECONDS = 60


async def scribe(stack: Stack, *arguments: str, **settings: str) -> typer.testing.Result:
    """`scribe jobs` in this process, from its first word to its exit code."""
    run = typer.testing.CliRunner().invoke
    environ = {**NO_TRUST, **stack.settings, **settings}
    done = await asyncio.to_thread(run, app, ["jobs", *arguments], env=environ)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "canary" not in done.output
    assert "Signature" not in done.output
    return done


async def listed(stack: Stack, *arguments: str) -> dict[str, Mapping[str, Any]]:
    """The jobs that the command lists for a program, by id and file."""
    done = await scribe(stack, *arguments, "--output", "json")
    assert done.exit_code == 0, done.output
    return {f"{each['request_id']}/{each['file_index']}": each for each in json.loads(done.stdout)["jobs"]}


async def until_listed(stack: Stack, states: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """The jobs, once they are in these states: the journal has what is durable."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await listed(stack)
            if {name: job["state"] for name, job in found.items()} == states:
                return found
            await asyncio.sleep(0.1)


async def test_open_jobs_are_listed_with_what_is_known_of_each_and_nothing_is_joined(stack: Stack) -> None:
    replica = await stack.start()
    await stack.publish(request("done", HELLO))
    await stack.outcomes(1)
    await stack.publish(request("runs", FOREVER, metadata={"canary": 1}))
    await until_listed(stack, {"runs/0": "running"})
    stack.sim.state.add_fault(
        Fault(on="submit", kind="status", status=400, code="Arrearage", message="You owe.", times=None)
    )
    await stack.publish(request("waits", FOREVER, HELLO, model="fun-asr-2025-11-07"))
    found = await until_listed(stack, {"runs/0": "running", "waits/0": "waiting", "waits/1": "waiting"})

    [submit] = [each for each in stack.sim.ledger().submits if "RUNNING_FOREVER" in str(each)]
    runs = found["runs/0"]
    assert (runs["task_id"], runs["submits"], runs["model"]) == (submit.task.task_id, 1, "fun-asr")
    assert runs["file_url"] == "http://media.test/hello.wav"
    assert 0 <= runs["age_seconds"] < WAIT_SECONDS
    assert runs["accepted_at"] <= runs["submitted_at"] < runs["deadline"]

    await status_until(replica, "hold")
    done = await scribe(stack, "--replica", f"http://127.0.0.1:{replica.port}")
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["JOB", "STATE", "AGE", "MODEL", "SUBMITS", "TASK", "NEXT", "WHY"]
    assert sorted(row[0] for row in rows) == ["runs/0/0", "waits/0/0", "waits/0/1"]
    assert [row[-2:] for row in rows if row[0] == "waits/0/0"] == [["hold:", "Arrearage"]]
    assert "3 jobs (waiting 2, running 1); 0 records are not accepted yet" in done.stderr

    assert set(await listed(stack, "--state", "waiting")) == {"waits/0", "waits/1"}
    assert set(await listed(stack, "--model", "fun-asr")) == {"runs/0"}
    assert set(await listed(stack, "--id", "wai*", "--id", "nothing")) == {"waits/0", "waits/1"}
    assert set(await listed(stack, "--older-than", "86400")) == set()
    assert set(await listed(stack, "--limit", "1")) == {"runs/0"}
    async with admin(stack.bootstrap) as client:
        [answer] = await client.describe_consumer_groups([stack.topics["requests"]])
    assert len(answer.to_object()["groups"][0]["members"]) == 1


async def test_the_story_of_a_request_has_every_time_that_is_known(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("ends", f"{HELLO}{SIGNED}", f"{MISSING}{SIGNED}"))
    await stack.outcomes(2)
    await stack.publish(request("runs", FOREVER))
    await until_listed(stack, {"runs/0": "running"})

    done = await scribe(stack, "show", "ends", "--output", "json")
    assert done.exit_code == 0
    [replay] = json.loads(done.stdout)["replays"]
    assert (replay["replay"], replay["state"]) == (0, "ended")
    assert replay["ended_at"]
    result, failure = replay["files"]
    assert (result["state"], failure["state"], failure["code"]) == ("result", "failure", "audio_not_found")
    assert list(result["times"]) == [
        *("requested_at", "accepted_at", "submitted_at", "completed_at", "fetched_at", "published_at")
    ]
    assert result["billed_seconds"] > 0
    assert result["attempts"]["submit"] == 1
    assert "Hello" not in done.stdout, "no transcript"

    told = (await scribe(stack, "show", "ends")).stdout.splitlines()
    assert told[0] == "ends, replay 0: ended, fun-asr"
    assert "  file 1: failure  http://media.test/missing.wav" in told
    [words] = [line for line in told if "audio_not_found" in line]
    assert words.startswith("    audio_not_found (FILE_404_NOT_FOUND): ")

    told = (await scribe(stack, "show", "runs")).stdout.splitlines()
    assert told[0] == "runs, replay 0: open, fun-asr"
    assert any(line.startswith("    submitted     ") for line in told)
    assert any(line.startswith("    task          ") for line in told)

    unknown = await scribe(stack, "show", "nobody")
    assert unknown.exit_code == 5
    assert unknown.stdout.startswith("nothing is known of nobody")


async def test_a_partition_that_cannot_be_read_does_not_hide_the_others(stack: Stack) -> None:
    replica = await stack.start()
    for number in range(6):
        await stack.publish(request(f"r-{number}", f"{FOREVER}&n={number}"))
    found = await until_listed(stack, {f"r-{number}/0": "running" for number in range(6)})
    assert await replica.end() == 0
    broken = found["r-0/0"]["partition"]
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
        await producer.send_and_wait(stack.topics["journal"], b"canary", b"foreign", partition=broken)
    done = await scribe(stack, "--output", "json")
    assert done.exit_code == 6
    document = json.loads(done.stdout)
    others = {each["request_id"] for each in document["jobs"] if each["partition"] != broken}
    assert others == {job["request_id"] for job in found.values() if job["partition"] != broken}
    [unreadable] = document["unreadable"]
    assert unreadable["partition"] == broken
    assert "it carries no stamp of Scribe" in unreadable["error"]
    assert f"partition {broken} is not shown as a whole" in done.stderr


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_in_a_broken_stack_a_sentence_says_why(stack: Stack) -> None:
    missing = await scribe(stack)
    assert (missing.exit_code, missing.stdout) == (78, "")
    assert missing.stderr.startswith("scribe: missing topics: ")
    gone = await scribe(stack, SCRIBE_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{free_ports(1)[0]}")
    assert gone.exit_code == 78
    assert "check SCRIBE_KAFKA__BOOTSTRAP_SERVERS" in gone.stderr
    wrong = await scribe(stack, "--state", "lost")
    assert wrong.exit_code == 2
    assert "the states are waiting, intended, running, uncertain, finishing" in wrong.stderr
