"""A client of the API server: the few calls that the node and the tests make, with its words as errors."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

Document = dict[str, Any]
"""An object of the API, as its JSON has it."""

MERGE_PATCH = "application/merge-patch+json"
_CALL_SECONDS = 30.0
_LONGEST_EVENT_BYTES = 8 * 1024 * 1024


class ApiError(Exception):
    """The API server refused a call: its status code and its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Access:
    """Where an API server is, and who asks."""

    server: str
    ca_file: Path
    token: str


class Api:
    """Use it as a context manager. Calls raise ApiError; every call but `watch` is bounded in time."""

    def __init__(self, access: Access) -> None:
        self._server = access.server
        self._context = ssl.create_default_context(cafile=str(access.ca_file))
        self._headers = {"Authorization": f"Bearer {access.token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS),
            read_bufsize=_LONGEST_EVENT_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened().close()

    async def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Document:
        return await self._call("GET", path, parameters=parameters)

    async def find(self, path: str) -> Document | None:
        """None where there is no such object."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def post(self, path: str, body: Document) -> Document:
        return await self._call("POST", path, body)

    async def patch(self, path: str, body: Document) -> Document:
        """A JSON merge patch: lists are replaced as a whole."""
        return await self._call("PATCH", path, body, content_type=MERGE_PATCH)

    async def delete(self, path: str, body: Document | None = None) -> Document:
        return await self._call("DELETE", path, body or {})

    async def watch(self, path: str, parameters: Mapping[str, str]) -> AsyncIterator[tuple[str, Document]]:
        """The kind and the object of each event, until the server ends the watch."""
        session = self._opened()
        endless = aiohttp.ClientTimeout(total=None, sock_connect=_CALL_SECONDS)
        query = {**parameters, "watch": "1"}
        async with session.get(self._server + path, params=query, timeout=endless) as answer:
            if answer.status != 200:
                raise ApiError(answer.status, await answer.text())
            async for line in answer.content:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def _call(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        parameters: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Document:
        async with self._opened().request(
            method,
            self._server + path,
            params=parameters,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
        ) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise ApiError(answer.status, _message(text))
            found: Document = json.loads(text)
            return found

    def _opened(self) -> aiohttp.ClientSession:
        assert self._session is not None, "enter the context first"
        return self._session


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text))
    except ValueError:
        return text[:500]
