"""Serves the chosen files, and no others, by HTTP on loopback under URLs that nobody can guess."""

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from sandbox.simulator.server import serve_app


@asynccontextmanager
async def file_server(files: Sequence[Path]) -> AsyncIterator[list[str]]:
    """The URL of each file, in their order, for as long as the block lasts."""
    served = {secrets.token_urlsafe(16): path for path in files}

    def answer(request: Request) -> Response:
        path = served.get(request.path_params["token"])
        return FileResponse(path) if path else Response(status_code=404)

    # The token alone finds the file: a name need not survive every decoder between here and there.
    async with serve_app(Starlette(routes=[Route("/{token}/{name}", answer)])) as origin:
        yield [f"{origin}/{token}/{quote(os.fsencode(path.name))}" for token, path in served.items()]
