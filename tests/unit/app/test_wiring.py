"""What a process has opened is closed again, however far its start came."""

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from service.app import wiring
from service.app.from_settings import cluster_of
from service.app.rotation import Loop, login_loops
from service.app.wiring import Process, connected
from service.core.limits.spend_limit import DaySpend
from service.errors import ClusterError
from service.kafka.admin.topics import Layout
from service.observability.instrumentation import PipelineInstrumentation
from service.observability.log import Secrets
from service.observability.metrics import Metrics
from service.settings import load
from tests.fakes.clock import FakeClock, LeapingLoop


class StubProducer:
    """Notes what becomes of it."""

    def __init__(self, *_given: object, **_named: object) -> None:
        self.notes: list[str] = []
        made.append(self)

    async def start(self) -> None:
        self.notes.append("start")

    async def stop(self) -> None:
        self.notes.append("stop")


made: list[StubProducer] = []


class LostReader:
    """The broker went away after the producer had connected."""

    def __init__(self, *_given: object) -> None:
        pass

    async def __aenter__(self) -> None:
        raise ClusterError("the cluster does not answer")

    async def __aexit__(self, *_given: object) -> None:
        raise AssertionError("never entered")


def _spawn(coroutine: Coroutine[None, None, None], *, name: str) -> "asyncio.Task[None]":
    return asyncio.create_task(coroutine, name=name)


def process_of(environ: Mapping[str, str]) -> Process:
    """A process of these settings."""
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    instrumentation = PipelineInstrumentation(metrics, {})
    settings = load(environ)
    return Process(settings, cluster_of(settings), clock, metrics, instrumentation, _spawn, Secrets())


async def test_a_start_that_fails_halfway_closes_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    monkeypatch.setattr(wiring, "Producer", StubProducer)
    monkeypatch.setattr(wiring, "ReconnectingReader", LostReader)
    settings = {"SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one", "SCRIBE_KAFKA__DELIVERY": "at_least_once"}
    process = process_of(settings)
    with pytest.raises(ClusterError, match="does not answer"):
        async with connected(process, Layout(partitions=1, limits={}, warnings=())):
            raise AssertionError("a process without a reader works")
    assert [each.notes for each in made] == [["start", "stop"]]


def test_partitions_that_are_added_later_take_their_part_of_a_days_limit() -> None:
    settings = {"SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one", "SCRIBE_SPEND__SECONDS_PER_DAY": "1000"}
    process = process_of(settings)
    ours = [DaySpend().count(process.clock.confirmed_ms(), 500)]
    guards = wiring._guards(process, Layout(partitions=1, limits={}, warnings=()), lambda: ours, lambda _: 0)
    assert guards.spend_guard.wait_seconds() == 0
    guards.limiter.partitioned(2)
    assert guards.spend_guard.wait_seconds() > 0


def test_a_new_key_is_hidden_from_the_log_before_it_is_used(tmp_path: Path) -> None:
    old, new = "sk-old-0123456789", "sk-new-0123456789"
    file = tmp_path / "key"
    file.write_text(new)
    process = process_of({"SCRIBE_PROVIDER__API_KEY_FILE": str(file)})
    steps: list[str] = []

    def use_key(key: SecretStr) -> None:
        steps.append(process.secrets.hide(f"calls with {key.get_secret_value()}"))

    dashscope = SimpleNamespace(key=SecretStr(old), use_key=use_key)
    parts = SimpleNamespace(guards=SimpleNamespace(probe_now=lambda: steps.append("holds probe")))
    loop = wiring._key_loop(process, dashscope, parts)["key"]  # type: ignore[arg-type]

    async def scene() -> None:
        running = asyncio.create_task(loop(lambda: None))
        await process.clock.sleep(60)
        running.cancel()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(scene())
    assert steps == ["calls with *", "holds probe"]


def test_a_key_that_is_not_in_a_file_is_not_looked_for() -> None:
    process = process_of({"SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one"})
    assert wiring._key_loop(process, SimpleNamespace(), SimpleNamespace()) == {}  # type: ignore[arg-type]


def loops_of(process: Process) -> Mapping[str, Loop]:
    settings, secrets = process.settings.kafka, process.secrets
    return login_loops(settings, process.cluster.credentials, secrets.add, process.clock)


def test_a_new_password_of_kafka_is_hidden_from_the_log_before_it_is_used(tmp_path: Path) -> None:
    old, new = "password-of-old", "password-of-new"
    file = tmp_path / "password"
    file.write_text(old)
    process = process_of(
        {
            "SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one",
            "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "SCRIBE_KAFKA__SASL_USERNAME": "scribe",
            "SCRIBE_KAFKA__SASL_PASSWORD_FILE": str(file),
        }
    )
    credentials = process.cluster.credentials
    shown: list[str] = []
    credentials.use_password = lambda password: shown.append(  # type: ignore[method-assign]
        process.secrets.hide(f"logs in with {password.get_secret_value()}")
    )
    loops = loops_of(process)
    assert set(loops) == {"kafka_password"}
    file.write_text(new)

    async def scene() -> None:
        running = asyncio.create_task(loops["kafka_password"](lambda: None))
        await process.clock.sleep(60)
        running.cancel()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(scene())
    assert shown == ["logs in with *"]


def test_what_is_not_in_a_file_is_not_looked_for_at_kafka_either() -> None:
    environ = {"SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one", "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SSL"}
    assert loops_of(process_of(environ)) == {}
