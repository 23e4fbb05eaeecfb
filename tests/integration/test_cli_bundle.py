"""`scribe bundle`: what is in the archive, what is not, and that a broken stack does not stop it."""

import asyncio
import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import typer.testing

from sandbox.child import free_ports
from sandbox.simulator import Fault, SimulatorConfig
from service.cli.commands import app
from tests.integration.stack import CHECK_SECONDS, OUTCOME_SECONDS, Stack
from tests.integration.test_main_job import request
from tests.integration.test_secrets import KEY, SIGNATURE, SIGNED, SPOKEN
from tests.plugins.environment import NO_TRUST

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])
PASSWORD = "canarypassword"
PARTS = {"versions.json", "settings.json", "doctor.json", "status.json", "topics.json"}


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """An account whose key is a canary."""
    return SimulatorConfig(speed=10, api_keys={KEY: "account-1"})


async def bundle(
    stack: Stack, *arguments: str, **settings: str
) -> tuple[typer.testing.Result, dict[str, str]]:
    """The command, from its first word to its exit code, and the files in the archive."""
    run, environ = typer.testing.CliRunner().invoke, {**NO_TRUST, **stack.settings, **settings}
    done = await asyncio.to_thread(run, app, ["bundle", "--file", "-", *arguments], env=environ)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done, unpacked(done.stdout_bytes)


def unpacked(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=BytesIO(archive)) as opened:
        entries = {entry.name: opened.extractfile(entry) for entry in opened.getmembers()}
        return {
            name.removeprefix("scribe-bundle/"): file.read().decode()
            for name, file in entries.items()
            if file
        }


async def test_it_holds_what_a_report_needs_and_no_secret_no_query_and_no_transcript(
    stack: Stack, tmp_path: Path
) -> None:
    """Canaries are the key, the password and its file, queries, user names in URLs, and spoken words."""
    scribe = await stack.start(SCRIBE_PROVIDER__API_KEY=KEY, SCRIBE_LOG__LEVEL="debug")
    leaky = f"bad call with {KEY} for {SIGNED}"
    stack.sim.state.add_fault(
        Fault(
            on="submit",
            kind="status",
            status=401,
            code="InvalidApiKey",
            message=leaky,
            times=None,
            match="held",
        )
    )
    await stack.publish(request("spoken", f"{SIGNED}&text={SPOKEN}+words"))
    [outcome] = await stack.outcomes(1)
    assert SPOKEN in json.dumps(outcome.body)
    await stack.publish(request("held", f"{SIGNED}&name=held"))
    await stack.until(lambda: "hold_started" in scribe.log_path.read_text())
    async with asyncio.timeout(OUTCOME_SECONDS):  # the page is renewed once a second
        while (await scribe.get("status")).json()["hold"] is None:
            await asyncio.sleep(CHECK_SECONDS)

    log = tmp_path / "scribe.log"
    foreign = [
        json.dumps(outcome.body),
        f"not JSON {KEY} {SPOKEN}",
        json.dumps(
            {"time": "t", "level": "info", "event": "x", "detail": [{KEY: leaky}], "password": PASSWORD}
        ),
    ]
    log.write_text(scribe.log_path.read_text() + "\n".join(foreign))
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    settings = {
        "SCRIBE_PROVIDER__API_KEY": KEY,
        "SCRIBE_KAFKA__SASL_PASSWORD_FILE": str(secret),
        "SCRIBE_OUTCOMES__SOURCE": f"https://user:{PASSWORD}@h/scribe?token={SIGNATURE}",
        "DASHSCOPE_API_KEY": "anothercanary",
        "SCRIBE_KAFKA__CLIENT_ID": f"me-anothercanary-{PASSWORD}",
    }
    done, files = await bundle(stack, f"http://127.0.0.1:{scribe.port}", "--log", str(log), **settings)
    assert done.exit_code == 0, done.stderr
    assert set(files) == {*PARTS, "metrics-0.txt", "log.jsonl"}
    everything = "".join(files.values()) + done.stderr
    for canary in (KEY, PASSWORD, "anothercanary", SIGNATURE, SPOKEN, "user:"):
        assert canary not in everything, canary

    _holds_what_is_needed(stack, files)
    _page_is_whole(files["metrics-0.txt"], (await scribe.get("metrics")).text)
    events = [json.loads(line)["event"] for line in files["log.jsonl"].splitlines()]
    assert {"service_started", "job_finished", "hold_started", "x"} <= set(events)
    assert "2 are no JSON lines of Scribe and are left out" in done.stderr


def _holds_what_is_needed(stack: Stack, files: dict[str, str]) -> None:
    shown = json.loads(files["settings.json"])
    assert shown["settings"]["topics"]["requests"] == stack.topics["requests"]
    assert shown["settings"]["outcomes"]["source"] == "https://h/scribe"
    assert "SCRIBE_KAFKA__SASL_PASSWORD_FILE" in shown["variables"]
    assert json.loads(files["versions.json"])["packages"]["aiokafka"]
    [replica] = json.loads(files["status.json"])["replicas"]
    assert replica["status"]["hold"]["code"] == "InvalidApiKey"
    topics = json.loads(files["topics.json"])["topics"]
    assert topics[stack.topics["journal"]]["settings"]["cleanup.policy"] == "compact"
    assert {each["check"] for each in json.loads(files["doctor.json"])["checks"]} >= {"kafka", "key"}


def _page_is_whole(shown: str, page: str) -> None:
    names = {line.split(" ")[0] for line in page.splitlines()}
    assert len(shown.splitlines()) > 200
    assert all(line.split(" ")[0] in names for line in shown.splitlines()), "the page is damaged"


async def test_it_is_written_once_for_its_owner_alone(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, environ = typer.testing.CliRunner().invoke, {**NO_TRUST, **stack.settings}
    done = await asyncio.to_thread(run, app, ["bundle", "-o", "json"], env=environ)
    document = json.loads(done.stdout)
    path = tmp_path / document["file"]
    assert path.name.startswith("scribe-bundle-20")
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(document["parts"]) == PARTS
    assert document["parts"]["doctor.json"] == "failed: topics, key"
    again = await asyncio.to_thread(run, app, ["bundle", "--file", str(path)], env=environ)
    assert again.exit_code == 2
    assert f"{path} is there already" in again.stderr
    nowhere = await asyncio.to_thread(run, app, ["bundle", "--file", "no/such/place"], env=environ)
    assert nowhere.exit_code == 1
    assert "no/such/place cannot be written (No such file or directory)" in nowhere.stderr
    unread = await asyncio.to_thread(run, app, ["bundle", "--file", "-", "--log", "no.log"], env=environ)
    assert unread.exit_code == 2
    assert "no.log cannot be read" in unread.stderr


@pytest.mark.computes
@pytest.mark.parametrize(
    ("settings", "failed", "missing"),
    [
        ({"SCRIBE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:{port}"}, "kafka", {"topics.json"}),
        ({"SCRIBE_PROVIDER__BASE_URL": "http://127.0.0.1:{port}/api/v1"}, "topics, connection", set()),
        ({"SCRIBE_PROVIDER__API_KEY": "sk-canary-of-nobody"}, "topics, key", set()),
        ({"SCRIBE_HTTP__PORT": "canary"}, "settings", {"topics.json"}),
        ({"SCRIBE_PROVIDER__APIKEY": "canary"}, "settings", {"topics.json"}),
    ],
    ids=["no kafka", "no provider", "wrong key", "wrong setting", "unknown setting"],
)
async def test_a_broken_stack_is_what_it_reports(
    stack: Stack, settings: dict[str, str], failed: str, missing: set[str]
) -> None:
    [port] = free_ports(1)
    broken = {name: value.format(port=port) for name, value in settings.items()}
    done, files = await bundle(
        stack, **{"SCRIBE_PROVIDER__API_KEY": KEY, "SCRIBE_HTTP__PORT": str(port), **broken}
    )
    assert done.exit_code == 0, done.output
    assert f"doctor.json     failed: {failed}\n" in done.stderr
    assert set(files) == PARTS - missing
    assert "canary" not in "".join(files.values()) + done.stderr
