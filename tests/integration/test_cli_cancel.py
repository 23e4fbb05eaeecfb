"""`scribe cancel --wait`: what becomes of a cancel, by a service at work, by others, and by nobody."""

import asyncio
import json

import pytest
import typer.testing

from sandbox.child import free_ports
from service.cli.commands import app
from service.contract.outcome import Origin, RequestSummary
from service.errors import FailureCode
from tests.brokers import in_test_all
from tests.integration.stack import Stack
from tests.integration.test_cli import COMMAND_SECONDS, Setting, answer, failure, published, result, setting
from tests.integration.test_main_job import HELLO, request
from tests.plugins.environment import NO_TRUST

__all__ = ["setting"]
FOREVER = f"{HELLO}&status=RUNNING_FOREVER"
SUMMARY = RequestSummary(succeeded=1, failed=1, billed_seconds=4)


async def cancel(stack: Stack, *arguments: str) -> typer.testing.Result:
    """The command in this process, from its first word to its exit code."""
    run = typer.testing.CliRunner().invoke
    environ = {**NO_TRUST, **stack.settings}
    return await asyncio.to_thread(run, app, ["cancel", *arguments, "--wait"], env=environ)


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_a_service_cancels_what_is_open_and_says_what_has_ended_or_is_unknown(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("my-1", FOREVER))
    await stack.until(lambda: len(stack.sim.ledger().submits) == 1)
    done = await cancel(stack, "my-1")
    assert (done.exit_code, done.stdout) == (0, "my-1: cancelled file 0\n")
    assert done.stderr == "asked to cancel my-1; waiting for what becomes of it\n"

    again = await cancel(stack, "my-1", "-o", "json")
    assert again.exit_code == 7, again.output
    assert json.loads(again.stdout) == {
        "request_id": "my-1",
        "replay": 0,
        "outcome": "already_finished",
        "cancelled": [0],
        "finished": [],
        "message": "my-1: nothing is left to cancel: it had ended: cancelled file 0",
    }
    assert again.stderr == "", "it is not published: the service answers once a minute at most"

    unknown = await cancel(stack, "my-1", "--replay", "1")
    assert unknown.exit_code == 5
    assert "my-1: cancel_unknown_request: no request with this request_id and replay" in unknown.stderr
    elsewhere = await cancel(stack, "my-2", "--key", "other", "-o", "json")
    assert (elsewhere.exit_code, json.loads(elsewhere.stdout)["outcome"]) == (5, "unknown")


async def test_files_that_end_by_themselves_before_are_not_counted_as_cancelled(setting: Setting) -> None:
    with setting.started("cancel", "my-1", "--wait", "-o", "json") as process:
        await answer(setting, "results", result("other"))
        await answer(setting, "results", result("my-1").model_copy(update={"replay": 1}))
        await answer(setting, "results", result("my-1").model_copy(update={"request_summary": None}))
        last = {"code": FailureCode.CANCELLED, "request_summary": SUMMARY}
        await answer(setting, "failures", failure("my-1", 1).model_copy(update=last))
        out, _ = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
    assert process.returncode == 0
    document = json.loads(out)
    assert (document["outcome"], document["cancelled"], document["finished"]) == ("cancelled", [1], [0])
    assert len(await published(setting, "requests")) == 1


async def test_a_request_that_ends_by_itself_meanwhile_was_not_cancelled(setting: Setting) -> None:
    with setting.started("cancel", "my-1", "--wait") as process:
        await answer(setting, "results", result("my-1"))
        _, err = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
    assert process.returncode == 7
    assert "my-1: nothing is left to cancel: it had ended: file 0 ended by itself" in err


@in_test_all
@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (FailureCode.ALREADY_FINISHED, 7),
        (FailureCode.CANCEL_UNKNOWN_REQUEST, 5),
        (FailureCode.UNSUPPORTED_VERSION, 1),
    ],
)
async def test_the_services_answer_to_this_cancel_ends_the_waiting(
    setting: Setting, code: FailureCode, exit_code: int
) -> None:
    with setting.started("cancel", "my-1", "--wait", "--timeout", "20") as process:
        [asked] = await published(setting, "requests")
        for words, offset in (("of another record", asked.offset + 1), ("of this one", asked.offset)):
            origin = Origin(topic=asked.topic, partition=asked.partition, offset=offset)
            told = {"code": code, "message": words, "origin": origin, "replay": 0}
            await answer(setting, "failures", failure("my-1", None).model_copy(update=told))
        out, err = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
    assert (process.returncode, out) == (exit_code, "")
    assert err == f"my-1: {code}: of this one\n"


async def test_without_a_service_the_wait_ends_and_says_where_to_look(setting: Setting) -> None:
    done = await asyncio.to_thread(setting.run, "cancel", "my-1", "--wait", "--timeout", "1")
    assert done.exit_code == 1
    assert "no outcome within 1 s; `scribe status` tells whether a service runs" in done.stderr
    told = await asyncio.to_thread(setting.run, "cancel", "my-1", "-o", "json")
    assert (told.exit_code, json.loads(told.stdout)["outcome"]) == (0, "asked")


@pytest.mark.parametrize("arguments", [("cancel", "my-1", "--wait"), ("cancel", "my-1")])
def test_a_cluster_that_is_not_there_is_one_sentence(arguments: tuple[str, ...]) -> None:
    [port] = free_ports(1)
    done = Setting(f"127.0.0.1:{port}", {}).run(*arguments)
    assert done.exit_code == 78
    assert done.stderr.startswith(f"scribe: Kafka at 127.0.0.1:{port} does not answer")
    assert done.stderr.count("\n") == 1
