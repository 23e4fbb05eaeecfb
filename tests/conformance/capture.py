"""Stands between a client and a simulator and keeps every request as it came. It judges nothing."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.simulator import Simulator
from sandbox.simulator.server import serve_app


@dataclass(frozen=True)
class Taken:
    """One request: header names in lower case, the body as JSON where there is one. `status` answered it."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any
    status: int

    def flat(self) -> dict[str, Any]:
        """Every part under a name of its own; lists are leaves."""
        parts: dict[str, Any] = {"method": self.method, "path": self.path, "status": self.status}
        parts |= {f"header {name}": value for name, value in self.headers.items()}
        parts |= {f"query {name}": value for name, value in httpx.QueryParams(self.query).multi_items()}
        return {**parts, **_flat("body", self.body)}


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    inner = {f"{name}.{key}": each for key, each in value.items()}
    parts = {name: "object"}
    for key, each in inner.items():
        parts |= _flat(key, each)
    return parts


@dataclass
class Capture:
    """Where clients go; what they sent is in `taken`."""

    base_url: str
    chat_base_url: str
    taken: list[Taken] = field(default_factory=list)


@contextlib.asynccontextmanager
async def capturing(simulator: Simulator) -> AsyncIterator[Capture]:
    """Serve in front of the simulator until the context ends."""
    capture = Capture("", "")
    async with httpx.AsyncClient(base_url=simulator.origin, trust_env=False) as behind:

        async def take(request: Request) -> Response:
            path = request.scope["raw_path"].decode("ascii")
            query = request.scope["query_string"].decode("ascii")
            body, headers = await request.body(), dict(request.headers)
            sent = {name: value for name, value in headers.items() if name != "host"}
            answer = await behind.request(
                request.method, f"{path}?{query}" if query else path, headers=sent, content=body
            )
            status = answer.status_code
            document = json.loads(body) if body else None
            capture.taken.append(Taken(request.method, path, query, headers, document, status))
            return Response(answer.content, status, media_type=answer.headers.get("content-type"))

        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        app = Starlette(routes=[Route("/{path:path}", take, methods=methods)])
        async with serve_app(app) as origin:
            capture.base_url, capture.chat_base_url = f"{origin}/api/v1", f"{origin}/compatible-mode/v1"
            yield capture
