"""The health port of a whole service: whoever holds connections open, probes and scrapes are answered."""

import asyncio
from pathlib import Path

import pytest

from service.observability.health import MAX_CONNECTIONS
from tests.integration.stack import Scribe, Stack

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])
IDLE = 200
OTHER_DESCRIPTORS = 20
"""What a service may open besides, as its connections to the broker come and go."""


def descriptors(scribe: Scribe) -> int:
    """How many the process has open."""
    return len(list(Path(f"/proc/{scribe.process.pid}/fd").iterdir()))


async def test_two_hundred_idle_connections_keep_no_probe_out_and_are_bounded(stack: Stack) -> None:
    scribe = await stack.start()
    before = descriptors(scribe)
    held = [await asyncio.open_connection("127.0.0.1", scribe.port) for _ in range(IDLE)]
    try:
        for page in ("livez", "readyz", "metrics", "status"):
            assert (await scribe.get(page)).status_code == 200
        assert descriptors(scribe) <= before + MAX_CONNECTIONS + OTHER_DESCRIPTORS
    finally:
        for _, writer in held:
            writer.close()
    assert "health_request_failed" not in stack.logs()
