"""`scribe hotwords` against the simulator: what there is, and deleting only what is ours unless told to."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import typer.testing
from pydantic import SecretStr

from sandbox.simulator import Simulator, SimulatorConfig, serve
from service.cli.commands import app
from service.core.provider.hotword_lists import HotwordListEntry, Need
from service.provider.dashscope import DashScope, DashScopeConfig
from tests.integration.vendor_client import KEY

NEED = Need("fun-asr", words=(HotwordListEntry("etcd"),))


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with serve(SimulatorConfig()) as ready:
        yield ready


async def scribe(simulator: Simulator, *arguments: str, key: str = KEY) -> typer.testing.Result:
    """The command in this process, from its first word to its exit code."""
    environ = {"SCRIBE_PROVIDER__BASE_URL": simulator.base_url, "SCRIBE_PROVIDER__API_KEY": key}
    run = typer.testing.CliRunner().invoke
    return await asyncio.to_thread(run, app, ["hotwords", *arguments], env=environ)


async def made(simulator: Simulator, prefix: str) -> str:
    config = DashScopeConfig(simulator.base_url, SecretStr(KEY))
    async with DashScope(config) as provider:
        vocabulary_id = await provider.hotword_lists.create(NEED.model, prefix, NEED.words)
    assert isinstance(vocabulary_id, str)
    return vocabulary_id


async def test_the_list_shows_each_with_its_model_and_whether_it_is_ours(simulator: Simulator) -> None:
    theirs, ours = await made(simulator, "demo"), await made(simulator, NEED.prefix)
    done = await scribe(simulator, "list")
    assert (done.exit_code, done.stderr) == (0, "")
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["LIST", "MADE", "FOR", "WORDS", "CREATED", "TOUCHED", "READY", "OURS"]
    assert {row[0]: (row[1], row[2], row[-2], row[-1]) for row in rows} == {
        theirs: ("fun-asr", "1", "yes", "no"),
        ours: ("fun-asr", "1", "yes", "yes"),
    }
    # The vendor's times carry no zone; here is a clock's time in UTC, however it is set.
    for time in [time for row in rows for time in row[3:5]]:
        age = datetime.now(UTC) - datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert timedelta(seconds=-2) < age < timedelta(minutes=5)


async def test_a_foreign_list_is_deleted_only_if_forced(simulator: Simulator) -> None:
    theirs, ours = await made(simulator, "demo"), await made(simulator, NEED.prefix)
    refused = await scribe(simulator, "delete", ours, theirs)
    assert refused.exit_code == 1
    assert f"{theirs} was not made by this service; --foreign deletes it all the same" in refused.stderr
    assert ours in (await scribe(simulator, "list")).stdout

    done = await scribe(simulator, "delete", ours)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"deleted {ours}\n")
    assert (await scribe(simulator, "delete", "--foreign", theirs)).exit_code == 0
    assert len((await scribe(simulator, "list")).stdout.splitlines()) == 1


async def test_what_the_provider_refuses_is_one_sentence(simulator: Simulator) -> None:
    gone = await scribe(simulator, "delete", f"vocab-{NEED.prefix}-01")
    assert (gone.exit_code, gone.stderr.splitlines()[0][:36]) == (1, "scribe: the provider says NotFound: ")
    assert "(`scribe doctor` checks the key and the way there)" in gone.stderr
    wrong = await scribe(simulator, "list", key="sk-another-region-01234")
    assert wrong.exit_code == 1
    assert "key not valid for host 127.0.0.1" in wrong.stderr
    assert "another-region" not in wrong.stderr
