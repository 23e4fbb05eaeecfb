"""Asks a Kafka broker, with one Metadata request on a plain socket, how many brokers it knows.

It needs no client library and no event loop, so that a broker can be awaited from any code.
"""

import socket
import struct
import subprocess
import time

_METADATA = 3
_VERSION = 4  # the lowest that Kafka 4 still answers; Tansu answers it as well
_ASK_SECONDS = 2.0
_PAUSE_SECONDS = 0.02


def await_brokers(port: int, *, count: int, within_seconds: float, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the broker at `port` answers and knows `count` brokers.

    False when `process`, which should be that broker, ended (somebody else may answer there) or is late.
    """
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline and process.poll() is None:
        if _broker_count(port) >= count:
            return process.poll() is None
        time.sleep(_PAUSE_SECONDS)
    return False


def _broker_count(port: int) -> int:
    """How many brokers the answer names; 0 when there was no readable answer."""
    no_topics_no_creation = struct.pack(">ib", 0, 0)
    request = struct.pack(">hhih5s", _METADATA, _VERSION, 1, 5, b"probe") + no_topics_no_creation
    try:
        with socket.create_connection(("127.0.0.1", port), _ASK_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = _read(connection, 16)
    except OSError:
        return 0
    if len(head) < 16:
        return 0
    _size, correlation, _throttle_ms, brokers = struct.unpack(">iiii", head)
    return brokers if correlation == 1 else 0


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            break
        received += chunk
    return received
