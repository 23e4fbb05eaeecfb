"""The brokers that the sandbox starts: they end with whoever started them, and failures are sentences."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from sandbox import kafka
from sandbox.broker import SETTINGS, embedded_broker
from sandbox.child import ServerStartError, free_ports
from tests.brokers import admin

ROOT = Path(__file__).parents[2]
KINDS = ["broker", pytest.param("kafka", marks=pytest.mark.needs_java)]


def environment(temporary: Path, **changes: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary), **changes}


@contextmanager
def started(kind: str, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`python -m sandbox KIND`, once it serves, and its port; killed at the end when it still runs."""
    program = subprocess.Popen(
        [sys.executable, "-m", "sandbox", kind],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        line = program.stdout.readline()
        assert line.startswith("bootstrap: 127.0.0.1:"), line
        yield program, int(line.rpartition(":")[2])
    finally:
        program.kill()
        program.communicate()


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def is_listening(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(2)
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_broker_in_the_foreground_leaves_nothing_when_it_is_ended(
    kind: str, ending: signal.Signals, tmp_path: Path
) -> None:
    with started(kind, environment(tmp_path)) as (program, port):
        assert is_listening(port)
        program.send_signal(ending)
        assert program.wait(10) == 0
    assert not is_listening(port)
    assert list(tmp_path.glob("scribe-*")) == []


def test_the_embedded_broker_prints_the_settings_that_a_service_needs(tmp_path: Path) -> None:
    with started("broker", environment(tmp_path)) as (program, port):
        assert program.stdout is not None
        _, _, settings = program.stdout.readline().partition("a service needs: ")
    named = dict(setting.split("=") for setting in settings.split())
    assert named == {"SCRIBE_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", **SETTINGS}


@pytest.mark.needs_java
async def test_the_command_that_is_printed_shows_what_is_in_a_topic(tmp_path: Path) -> None:
    with started("kafka", environment(tmp_path)) as (program, port):
        assert program.stdout is not None
        _, _, command = program.stdout.readline().partition("console consumer: ")
        async with admin(f"127.0.0.1:{port}") as client:
            await client.create_topics([NewTopic("transcription.results", 1, 1)])
        async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}") as producer:
            await producer.send_and_wait("transcription.results", "an odd – value".encode())
        shown = await asyncio.create_subprocess_shell(
            f"{command.strip()} --max-messages 1 --timeout-ms 30000",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(shown.communicate(), 60)
    assert (shown.returncode, out.decode()) == (0, "an odd – value\n"), err.decode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_dies_with_a_parent_that_is_killed(kind: str, tmp_path: Path) -> None:
    with started(kind, environment(tmp_path)) as (program, port):
        program.kill()
        program.wait(10)
        deadline = time.monotonic() + 60
        while is_listening(port):
            assert time.monotonic() < deadline, "the broker outlived its parent"


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_in_use_is_reported_in_one_line(kind: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        answer = run(kind, "--port", str(other.getsockname()[1]), env=environment(tmp_path))
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert "in use" in answer.stderr
    assert list(tmp_path.glob("scribe-*")) == []


def test_a_port_that_another_broker_took_meanwhile_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_broker() as other:
        taken = int(other.bootstrap.rpartition(":")[2])
        monkeypatch.setattr("sandbox.child.free_ports", lambda count: [taken, *free_ports(count)])
        with embedded_broker() as broker:
            assert broker.bootstrap != other.bootstrap
            assert broker.is_running()


def test_the_embedded_broker_writes_nothing_to_the_users_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with started("broker", environment(tmp_path, HOME=str(home))) as (program, _port):
        program.terminate()
        program.wait(10)
    assert list(home.iterdir()) == []


def test_a_binary_for_another_machine_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "tansu"
    foreign.write_bytes(b"\x7fELF for something else")
    foreign.chmod(0o700)
    monkeypatch.setenv("CALF_TANSU_BIN", str(foreign))
    sentence = r"does not run on this machine.*Exec format error"
    with pytest.raises(ServerStartError, match=sentence), embedded_broker():
        pass


def test_a_broker_that_ends_at_once_is_reported_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "tansu"
    broken.write_text("#!/bin/sh\necho no such storage\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setenv("CALF_TANSU_BIN", str(broken))
    with pytest.raises(ServerStartError, match=r"did not start.*no such storage"), embedded_broker():
        pass


def fake_maven(folder: Path, after_the_first_jar: str) -> str:
    """A PATH with a `mvn` that writes one jar where it was told to, and then does what is given."""
    folder.mkdir()
    program = folder / "mvn"
    program.write_text(
        '#!/bin/sh\nfor a in "$@"; do case $a in -DoutputDirectory=*) o=${a#*=};; esac; done\n'
        f'mkdir -p "$o"; echo jar > "$o/kafka_2.13.jar"\n{after_the_first_jar}\n'
    )
    program.chmod(0o700)
    return f"{folder}:{os.defpath}"


def test_a_fetch_that_fails_half_way_leaves_no_jars(tmp_path: Path) -> None:
    path = fake_maven(tmp_path / "bin", "echo '[ERROR] no connection'; exit 1")
    answer = run("kafka", "--fetch", env=environment(tmp_path, PATH=path, XDG_CACHE_HOME=str(tmp_path / "c")))
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1] == "Maven could not fetch Kafka's jars: [ERROR] no connection"
    assert list((tmp_path / "c" / "scribe").iterdir()) == []


def test_a_fetch_is_done_once(tmp_path: Path) -> None:
    env = environment(tmp_path, XDG_CACHE_HOME=str(tmp_path / "c"))
    env["PATH"] = fake_maven(tmp_path / "good", "exit 0")
    assert run("kafka", "--fetch", env=env).returncode == 0
    (folder,) = (tmp_path / "c" / "scribe").iterdir()
    assert [jar.name for jar in folder.iterdir()] == ["kafka_2.13.jar"]
    env["PATH"] = fake_maven(tmp_path / "bad", "exit 1")
    again = run("kafka", "--fetch", env=env)
    assert (again.returncode, again.stderr) == (0, "")


def test_kafka_without_java_tells_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = kafka.missing()
    assert missing is not None
    assert "openjdk-17-jre-headless" in missing


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if limits.exists():
        assert max(ports) < int(limits.read_text().split()[0])


@pytest.mark.needs_java
async def test_a_cluster_of_three_keeps_serving_when_one_is_killed_and_takes_it_back() -> None:
    # Kafka's defaults are 9 s and 2 s: a killed node is missed, and may come back, only after the first.
    quick = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    with kafka.real_kafka(nodes=3, settings=quick) as cluster:
        async with admin(cluster.bootstrap) as client:
            await client.create_topics([NewTopic("t", 1, 3)])
        partition = TopicPartition("t", 0)
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all") as producer:
            await producer.send_and_wait("t", b"before", partition=0)
            leader = producer.client.cluster.leader_for_partition(partition)
            cluster.nodes[leader - 1].kill()
            await producer.send_and_wait("t", b"while one is gone", partition=0)
            cluster.nodes[leader - 1].start()
            cluster.await_ready(within_seconds=30)
            await producer.send_and_wait("t", b"after", partition=0)
        async with AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap) as consumer:
            consumer.assign([partition])
            consumer.seek(partition, 0)
            values = [(await consumer.getone()).value for _ in range(3)]
    assert values == [b"before", b"while one is gone", b"after"]
