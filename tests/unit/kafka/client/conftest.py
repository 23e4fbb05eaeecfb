"""Every test of the clients without a broker runs on a loop whose time leaps."""

import asyncio
from collections.abc import Callable, Mapping

from tests.fakes.clock import LeapingLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"leaping": LeapingLoop}
