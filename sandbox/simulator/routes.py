"""Which path leads to which endpoint, and the admin paths under `/_sim`. Admin calls are no part of
the ledger.
"""

import json
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.simulator.calls import Call, Work, run_call
from sandbox.simulator.chat import ChatDoor
from sandbox.simulator.endpoints import Endpoints
from sandbox.simulator.faults import FaultError, describe, read_faults
from sandbox.simulator.file_tasks import URL_ERROR
from sandbox.simulator.native import NativeDoor
from sandbox.simulator.state import SimulatorState
from sandbox.simulator.sync_calls import SyncCalls
from sandbox.simulator.wire import Reply, invalid

CHAT_PATH: Final = "/compatible-mode/v1/chat/completions"
GENERATION_PATH: Final = "/api/v1/services/aigc/multimodal-generation/generation"
SUBMIT_PATH: Final = "/api/v1/services/audio/asr/transcription"
HOTWORDS_PATH: Final = "/api/v1/services/audio/asr/customization"


def make_app(state: SimulatorState, endpoints: Endpoints, sync_calls: SyncCalls) -> Starlette:
    """The ASGI application of one simulator."""
    admin = _Admin(state)
    return Starlette(
        routes=[
            _route(state, "/api/v1/tasks", ["GET"], "list", endpoints.list),
            _route(state, "/api/v1/tasks/", ["GET"], "list", endpoints.list),
            _route(state, "/api/v1/tasks/{task_id}", ["GET", "POST"], "query", endpoints.query),
            _route(state, "/api/v1/tasks/{task_id}/cancel", ["POST"], "cancel", endpoints.cancel),
            _route(state, SUBMIT_PATH, ["POST"], "submit", endpoints.submit),
            _route(state, HOTWORDS_PATH, ["POST"], "hotwords", endpoints.hotwords),
            Route(GENERATION_PATH, sync_calls.through(NativeDoor(state)), methods=["POST"]),
            Route(CHAT_PATH, sync_calls.through(ChatDoor(state)), methods=["POST"]),
            _route(state, "/api/v1/services/{rest:path}", ["POST"], "submit", _no_such_service),
            _route(state, "/api/v1/uploads", ["GET"], "policy", endpoints.policy),
            _route(state, "/uploads", ["POST"], "upload", endpoints.upload),
            _route(state, "/results/{rest:path}", ["GET"], "result", endpoints.result),
            Route("/_sim/ledger", admin.ledger, methods=["GET"]),
            Route("/_sim/faults", admin.faults, methods=["GET", "POST", "DELETE"]),
            Route("/_sim/clock", admin.clock, methods=["GET", "POST"]),
        ]
    )


def _route(state: SimulatorState, path: str, methods: list[str], kind: str, work: Work) -> Route:
    async def serve_call(request: Request) -> Response:
        return await run_call(state, kind, request, work)

    return Route(path, serve_call, methods=methods)


def _no_such_service(_: Call) -> Reply:
    raise invalid(URL_ERROR)


class _Admin:
    """The test's own door: no key, no quota, no fault."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def ledger(self, _: Request) -> Response:
        return JSONResponse(self._state.ledger.as_dict())

    async def faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._state.faults.clear()
        elif request.method == "POST":
            try:
                rules = read_faults(json.loads(await request.body()))
            except (ValueError, FaultError) as error:
                return JSONResponse({"error": str(error)}, 400)
            for rule in rules:
                self._state.add_fault(rule)
        return JSONResponse([describe(rule) for rule in self._state.faults.rules()])

    async def clock(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self._state.clock.advance(float(json.loads(await request.body())["advance_seconds"]))
            except (ValueError, KeyError, TypeError) as error:
                return JSONResponse({"error": f"needs advance_seconds: {error}"}, 400)
        return JSONResponse({"now": self._state.clock.now()})
