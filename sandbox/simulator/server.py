"""Starts and stops a simulator inside this process: a listening socket, uvicorn's HTTP protocol on it,
an engine behind it. After the context nothing of it is left, no task, no connection, no port.
"""

import asyncio
import contextlib
import importlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import cast

from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from sandbox.simulator.clock import SimulatedClock
from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.damage import CONNECTION
from sandbox.simulator.endpoints import Endpoints
from sandbox.simulator.ledger import Ledger
from sandbox.simulator.quota import Quotas
from sandbox.simulator.routes import make_app
from sandbox.simulator.scripted import ScriptedEngine
from sandbox.simulator.state import Engine, SimulatorState
from sandbox.simulator.sync_calls import SyncCalls

_BACKLOG = 1024


class Simulator:
    """A running simulator; `state` is for tests in the same process."""

    def __init__(self, state: SimulatorState) -> None:
        self.state = state
        self.origin = state.origin
        self.base_url = f"{state.origin}/api/v1"
        self.chat_base_url = f"{state.origin}/compatible-mode/v1"

    def ledger(self) -> Ledger:
        """The live ledger, the same data as `GET /_sim/ledger`."""
        return self.state.ledger


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 whose requests can reach their connection, so that faults can end it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, CONNECTION: transport}


@contextlib.asynccontextmanager
async def serve(
    config: SimulatorConfig | None = None, wrap: Callable[[ASGIApp], ASGIApp] | None = None
) -> AsyncIterator[Simulator]:
    """Serve until the context ends; OSError when the port is taken.

    `wrap` puts an application of the caller's around the simulator's, which then sees every call.
    """
    config = config or SimulatorConfig()
    with _listening(config.host, config.port) as listener:
        state = SimulatorState(
            config=config,
            clock=SimulatedClock(speed=config.speed, virtual=config.virtual, start=config.start_time),
            quotas=Quotas(config),
            origin=config.public_origin or _origin(listener),
        )
        async with _engine(state) as engine, _http(_app(state, engine, wrap), listener):
            try:
                yield Simulator(state)
            finally:
                state.closing.set()


@contextlib.asynccontextmanager
async def serve_app(app: Starlette, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve any application the same way, for example a host of audio files; gives its origin."""
    with _listening(host, port) as listener:
        async with _http(app, listener):
            yield _origin(listener)


def _app(state: SimulatorState, engine: Engine, wrap: Callable[[ASGIApp], ASGIApp] | None) -> ASGIApp:
    app = make_app(state, Endpoints(state, engine), SyncCalls(state, engine))
    return wrap(app) if wrap else app


def _origin(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    # The protocol must be named: asyncio turns Nagle's algorithm off (40 ms an answer) only where it is.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        yield listener


@contextlib.asynccontextmanager
async def _engine(state: SimulatorState) -> AsyncIterator[Engine]:
    if state.config.engine == "scripted":
        yield ScriptedEngine(state.config.task_limit_seconds)
        return
    # Whisper and its model are loaded only by those who ask for them.
    recognition = importlib.import_module("sandbox.simulator.recognition")
    engines: Callable[[SimulatorState], AbstractAsyncContextManager[Engine]] = recognition.recognition_engine
    async with engines(state) as engine:
        yield engine


@contextlib.asynccontextmanager
async def _http(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve an application on a socket with uvicorn's protocol but without its process-wide server,
    which takes over signals and needs a quarter of a second to stop."""
    settings = Config(app, lifespan="off", access_log=False, log_config=None, ws="none", date_header=False)
    settings.load()
    shared = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Protocol(config=settings, server_state=shared, app_state={}), sock=listener, backlog=_BACKLOG
    )
    try:
        yield
    finally:
        server.close()
        requests = list(shared.tasks)
        for request in requests:
            request.cancel()
        for connection in list(shared.connections):
            cast(_Protocol, connection).transport.abort()
        await asyncio.gather(*requests, return_exceptions=True)
        await server.wait_closed()
