"""The client's part of the demo: offers the files, publishes the requests and shows what comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from rich.status import Status

from sandbox.demo import exchange
from sandbox.demo.ending import Ending, Interrupted
from sandbox.demo.exchange import Outcome
from sandbox.demo.files import file_server
from sandbox.demo.plan import MODEL, DemoError, Plan
from sandbox.demo.progress import Progress
from sandbox.demo.screen import Screen, failure_lines, transcript_lines
from sandbox.demo.servers import Servers

_START_SECONDS = 60.0
_LOOK_SECONDS = 0.05


def run(session: "Session", ending: Ending) -> int:
    """Run the session; Interrupted once it has cleaned up after a signal."""

    async def interruptible() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        with ending.calling(lambda: loop.call_soon_threadsafe(task.cancel)):
            return await session.run()

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise Interrupted from None


class Session:
    """One conversation with servers that are starting."""

    def __init__(self, plan: Plan, servers: Servers, screen: Screen, status: Status) -> None:
        self._plan = plan
        self._servers = servers
        self._screen = screen
        self._status = status

    async def run(self) -> int:
        """Show every outcome as it comes; the number of files without a transcript. Raises DemoError."""
        try:
            return await self._converse()
        except KafkaError as error:
            self._servers.check()  # says it better
            raise DemoError(f"the broker did not do as asked ({type(error).__name__}).") from error

    async def _converse(self) -> int:
        plan, servers = self._plan, self._servers
        async with exchange.connected(servers.bootstrap) as consumer, _offered(plan) as urls:
            try:
                async with asyncio.timeout(_START_SECONDS):
                    await exchange.await_topics(consumer, servers.check)
                    await self._await_simulator()
                    request_ids = await exchange.publish(servers.bootstrap, MODEL, urls)
            except TimeoutError:
                raise DemoError(f"the servers were not ready after {_START_SECONDS:.0f} s.") from None
            return await self._follow(consumer, request_ids, urls)

    async def _await_simulator(self) -> None:
        while not self._servers.has_simulator_started():
            self._servers.check()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _follow(
        self, consumer: AIOKafkaConsumer, request_ids: Sequence[str], urls: Sequence[str]
    ) -> int:
        names, failed = self._plan.names, 0
        named = dict(zip(urls, names, strict=True))
        progress = Progress(self._servers.log_path, named, time.monotonic)

        def look() -> None:
            self._servers.check()
            self._screen.progress(self._status, progress.words())

        self._screen.say(f"Requests published to {exchange.REQUESTS}; {exchange.RESULTS} answers:", "dim")
        async for outcome in exchange.outcomes(consumer, request_ids, look):
            failed += outcome.is_failure
            progress.finish(urls[outcome.index])
            self._show(names[outcome.index], outcome)
        return failed

    def _show(self, name: str, outcome: Outcome) -> None:
        self._screen.say()
        if outcome.is_failure:
            self._screen.show(name, failure_lines(outcome.body), "bold red")
        else:
            self._screen.show(name, transcript_lines(outcome.body))


@asynccontextmanager
async def _offered(plan: Plan) -> AsyncIterator[Sequence[str]]:
    """URLs that the plan's provider can download."""
    async with AsyncExitStack() as stack:
        yield plan.urls if plan.is_live else await stack.enter_async_context(file_server(plan.files))
