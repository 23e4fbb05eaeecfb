"""`scribe submit` of local files, and what a user sees while it waits: a service, a broker, the simulator."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer.testing

from sandbox.child import free_ports
from sandbox.simulator import Fault, SimulatorConfig
from service.cli.commands import app
from tests.integration.stack import Stack
from tests.plugins.environment import NO_TRUST

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])


@pytest.fixture
def sim_config() -> SimulatorConfig:
    return SimulatorConfig(speed=10, upload_limit_bytes=1024**2)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A local file; the simulator takes its words from nowhere."""
    path = tmp_path / "my talk.wav"
    path.write_bytes(b"RIFF" * 1000)
    return path


async def scribe(stack: Stack, *arguments: str, **settings: str) -> typer.testing.Result:
    """The command in this process, from its first word to its exit code."""
    run = typer.testing.CliRunner().invoke
    environ: Mapping[str, str] = {**NO_TRUST, **stack.settings, **settings}
    done = await asyncio.to_thread(run, app, arguments, env=environ)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


async def test_a_local_file_is_uploaded_transcribed_and_its_limits_are_said(
    stack: Stack, audio: Path
) -> None:
    await stack.start()
    done = await scribe(
        stack,
        *(
            "submit",
            str(audio),
            "--id",
            "my-1",
            "--rendering",
            "srt",
            "--metadata",
            '{"case": "007"}',
            "--wait",
        ),
    )
    assert done.exit_code == 0, done.output
    [outcome] = await stack.outcomes(1)
    url = outcome.body["file_url"]
    assert url.startswith("oss://dashscope-instant/")
    assert url.endswith("/my_talk.wav")
    assert f"my-1, file 0: {url}" in done.stdout
    assert outcome.body["renderings"]["srt"].startswith("1\n00:00:")
    assert outcome.body["metadata"] == {"case": "007"}
    said = done.stderr.splitlines()
    assert said[:2] == [f"{audio}: uploading 4.0 kB", f"{audio}: uploaded as {url}"]
    for limit in (
        "48 hours",
        "fun-asr only",
        "1 GB",
        "cn-beijing and ap-southeast-1",
        "not meant for production",
    ):
        assert limit in said[2], limit
    # What the journal showed while it waited.
    [task] = [submit.task.task_id for submit in stack.sim.ledger().submits]
    assert "my-1, file 0: accepted" in said
    assert f"my-1, file 0: runs at the provider as task {task}" in said
    assert said.index("my-1, file 0: is being submitted") < said.index(
        f"my-1, file 0: runs at the provider as task {task}"
    )
    assert stack.sim.ledger().leaked_keys() == 0


async def test_a_file_and_a_url_go_together_and_a_program_gets_a_document(stack: Stack, audio: Path) -> None:
    assert (await scribe(stack, "topics")).exit_code == 0
    signed = "https://example.org/a.wav?Signature=canary"
    done = await scribe(stack, "submit", signed, str(audio), "--id", "my-1", "--replay", "2", "-o", "json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert {name: document[name] for name in ("request_id", "replay", "offset")} == {
        "request_id": "my-1",
        "replay": 2,
        "offset": 0,
    }
    first, second = document["file_urls"]
    assert first == "https://example.org/a.wav"
    assert second.startswith("oss://")
    assert "canary" not in done.output


async def test_without_access_to_the_journal_it_waits_without_progress(stack: Stack, audio: Path) -> None:
    await stack.start()
    done = await scribe(stack, "submit", str(audio), "--wait", SCRIBE_TOPICS__JOURNAL="not.there")
    assert done.exit_code == 0, done.output
    assert "no progress is shown: missing topics: not.there" in done.stderr
    assert "accepted" not in done.stderr


@pytest.mark.computes
@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        (
            {"SCRIBE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:{port}"},
            78,
            "Kafka at 127.0.0.1:{port} does not answer",
        ),
        ({"SCRIBE_TOPICS__REQUESTS": "not.there"}, 78, "missing topics: not.there; `scribe topics` creates"),
        (
            {"SCRIBE_PROVIDER__BASE_URL": "http://127.0.0.1:{port}/api/v1"},
            1,
            "is not uploaded: no connection: host 127.0.0.1 refuses connections on port {port}",
        ),
        (
            {"SCRIBE_PROVIDER__API_KEY": "sk-canary-of-nobody"},
            1,
            "InvalidApiKey: key not valid for host 127.0.0.1",
        ),
        ({"SCRIBE_PROVIDER__API_KEY": ""}, 78, "the provider's API key is missing; set SCRIBE_PROVIDER"),
        (
            {"SCRIBE_FETCH__PLAIN_HTTP_HOSTS": "localhost"},
            1,
            "URL is refused: its host 127.0.0.1",
        ),
    ],
    ids=["no kafka", "no topic", "no provider", "wrong key", "no key", "foreign store"],
)
async def test_a_broken_stack_is_one_sentence_and_nothing_is_published(
    stack: Stack, audio: Path, settings: dict[str, str], code: int, words: str
) -> None:
    assert (await scribe(stack, "topics")).exit_code == 0
    [port] = free_ports(1)
    broken = {name: value.format(port=port) for name, value in settings.items()}
    done = await scribe(stack, "submit", str(audio), **broken)
    assert done.exit_code == code, done.output
    assert words.format(port=port) in done.stderr
    assert done.stdout == ""
    assert "canary" not in done.output
    assert "Traceback" not in done.output
    assert list(stack.sim.ledger().calls_of("upload")) == []


@pytest.mark.computes
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(on="policy", kind="status", status=429, code="Throttling"), "Throttling: "),
        (Fault(on="policy", kind="garbage"), "that is no JSON object"),
        (Fault(on="upload", kind="status", status=503), "answered 503"),
        (Fault(on="upload", kind="drop_before"), "the upload's host 127.0.0.1"),
    ],
    ids=["throttled", "garbage", "store unavailable", "connection lost"],
)
async def test_what_goes_wrong_in_an_upload_is_said_and_nothing_is_published(
    stack: Stack, audio: Path, fault: Fault, words: str
) -> None:
    assert (await scribe(stack, "topics")).exit_code == 0
    stack.sim.state.add_fault(fault)
    done = await scribe(stack, "submit", str(audio), "--id", "my-1")
    assert done.exit_code == 1, done.output
    assert f"scribe: {audio} is not uploaded: " in done.stderr
    assert words in done.stderr
    again = await scribe(stack, "submit", str(audio), "--id", "my-1", "-o", "json")
    assert json.loads(again.stdout)["offset"] == 0, "it is the first record"


@pytest.mark.computes
async def test_a_file_over_the_stores_limit_stays_here(stack: Stack, tmp_path: Path) -> None:
    assert (await scribe(stack, "topics")).exit_code == 0
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(1024**2 + 1))
    done = await scribe(stack, "submit", str(large))
    assert done.exit_code == 1
    assert "it has 1048577 bytes, and the provider's store takes 1048576 at most" in done.stderr
