"""Runs a server program as a child process of ours, on loopback, with its output in a file.

A child never outlives this process (on Linux, whatever ends us), and only children are ever ended.
"""

import ctypes
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOG_TAIL_BYTES = 65_536
_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PORTS = range(15_000, 32_000)


class ServerStartError(Exception):
    """A server of the sandbox could not be started; the text is one sentence for a person."""


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody listens on now. One may still be taken: start again then.

    They lie below the range that Linux gives to outgoing connections: a client that reconnects to a killed
    server there could be given the server's own port, and keep it from starting again.
    """
    ports: list[int] = []
    for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(ports) == count:
            return ports
        if _is_free(port):
            ports.append(port)
    raise ServerStartError(f"not enough free ports on 127.0.0.1 between {_PORTS[0]} and {_PORTS[-1]}.")


def require_free(port: int) -> None:
    """Raise ServerStartError where something listens at the port that a person asked for."""
    if not _is_free(port):
        raise ServerStartError(f"port {port} on 127.0.0.1 is in use, or may not be used.")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def spawn(
    command: Sequence[str], *, name: str, folder: Path, log_path: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `command` in `folder`, output appended to `log_path`, with only `env` as its environment.

    The child gets SIGKILL when the *thread* that called this ends (a rule of Linux), so call it from a
    thread that lives as long as the child should. Its own session keeps the terminal's Ctrl-C from it.
    """
    with log_path.open("ab") as log:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(env),
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, no lock, no allocation
            )
        except OSError as error:
            raise ServerStartError(
                f"{name} does not run on this machine: {command[0]}: {error.strerror}."
            ) from error


def stop(process: subprocess.Popen[bytes], *, grace_seconds: float) -> None:
    """End the child: SIGTERM, then SIGKILL after `grace_seconds`. Returns when it is gone and reaped."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a child frozen by SIGSTOP would not see SIGTERM
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def why_it_ended(log_path: Path) -> str:
    """The line of a server's log that says most: the first with ERROR in it, else the last one."""
    if not log_path.exists():
        return "(no output)"
    with log_path.open("rb") as log:
        log.seek(max(0, log_path.stat().st_size - _LOG_TAIL_BYTES))
        tail = _TERMINAL_COLOURS.sub("", log.read().decode(errors="replace"))
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or line.startswith("error:")]
    return (errors or lines[-1:] or ["(no output)"])[0]


def die_with_parent() -> Callable[[], None] | None:
    """What a new process must call first, so that it gets SIGKILL when the thread that started it ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: no locks after it

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_kernel
