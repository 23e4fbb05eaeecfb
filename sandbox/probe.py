"""Asks a Kafka broker, with one Metadata request on a plain socket, which cluster it is and how large.

It needs no client library and no event loop, so that a broker can be awaited from any code.
"""

import socket
import struct
import subprocess
import time

_METADATA = 3
_VERSION = 4  # Kafka 4 and Tansu both answer it
_ASK_SECONDS = 2.0
_PAUSE_SECONDS = 0.02
_MAX_ANSWER_BYTES = 65_536


def await_brokers(
    port: int, *, cluster_id: str, count: int, within_seconds: float, process: subprocess.Popen[bytes]
) -> bool:
    """Wait until the broker at `port` answers as `cluster_id` and knows `count` brokers.

    The name tells our broker from another that took the port first. False when `process`, which should be
    that broker, ended, or when it is late.
    """
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline and process.poll() is None:
        name, brokers = _ask(port)
        if name == cluster_id and brokers >= count:
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def _ask(port: int) -> tuple[str, int]:
    """Cluster id and number of brokers that the answer names; ("", 0) when there was no readable one."""
    no_topics_no_creation = struct.pack(">ib", 0, 0)
    request = struct.pack(">hhih5s", _METADATA, _VERSION, 1, 5, b"probe") + no_topics_no_creation
    try:
        with socket.create_connection(("127.0.0.1", port), _ASK_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            return _parse(_read(connection, min(size, _MAX_ANSWER_BYTES)))
    except (OSError, struct.error, UnicodeDecodeError):
        return "", 0


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            break
        received += chunk
    return received


def _parse(answer: bytes) -> tuple[str, int]:
    _correlation, _throttle_ms, brokers = struct.unpack_from(">iii", answer)
    at = 12
    for _ in range(brokers):
        _host, at = _text(answer, at + 4)
        _rack, at = _text(answer, at + 4)
    cluster_id, _ = _text(answer, at)
    return cluster_id, brokers


def _text(answer: bytes, at: int) -> tuple[str, int]:
    """The string at `at` (null reads as empty), and where it ends."""
    (size,) = struct.unpack_from(">h", answer, at)
    end = at + 2 + max(size, 0)
    return answer[at + 2 : end].decode(), end
