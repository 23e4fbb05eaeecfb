"""A thin HTTP client for tests of the simulator: the vendor's calls by name, answers untouched."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from sandbox.simulator import Simulator, SimulatorConfig, serve

SUBMIT = "/services/audio/asr/transcription"
KEY = "sk-simulator"


class VendorClient:
    """One account's calls to one simulator; `http` carries no credentials."""

    def __init__(self, simulator: Simulator, http: httpx.AsyncClient, key: str = KEY) -> None:
        self.simulator = simulator
        self.http = http
        self.key = key

    def as_key(self, key: str) -> "VendorClient":
        return VendorClient(self.simulator, self.http, key)

    async def call(self, method: str, path: str, **options: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}  # type: ignore[dict-item]
        return await self.http.request(method, self.simulator.base_url + path, headers=headers, **options)  # type: ignore[arg-type]

    async def submit(self, *file_urls: str, **body: object) -> httpx.Response:
        content = {"model": "fun-asr", "input": {"file_urls": list(file_urls)}, "parameters": {}, **body}
        return await self.call("POST", SUBMIT, json=content, headers={"X-DashScope-Async": "enable"})

    async def task(self, *file_urls: str, **body: object) -> str:
        answer = await self.submit(*file_urls, **body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["output"]["task_id"])

    async def query(self, task_id: str) -> dict[str, Any]:
        answer = await self.call("GET", f"/tasks/{task_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def status(self, task_id: str) -> str:
        return str((await self.query(task_id))["output"]["task_status"])

    async def list(self, **query: object) -> httpx.Response:
        return await self.call("GET", "/tasks/", params=query)

    async def cancel(self, task_id: str) -> httpx.Response:
        return await self.call("POST", f"/tasks/{task_id}/cancel")

    async def result_url(self, task_id: str) -> str:
        [result] = (await self.query(task_id))["output"]["results"]
        return str(result["transcription_url"])

    async def fault(self, **rule: object) -> None:
        answer = await self.http.post(f"{self.simulator.origin}/_sim/faults", json=rule)
        assert answer.status_code == 200, answer.text

    async def ledger(self) -> dict[str, Any]:
        return dict((await self.http.get(f"{self.simulator.origin}/_sim/ledger")).json())


@asynccontextmanager
async def vendor(**config: object) -> AsyncIterator[VendorClient]:
    """A simulator with a virtual clock that starts on 2026-03-02 10:15 of the vendor, and its client."""
    settings = {"virtual": True, "start_time": 1_772_417_701.113, **config}
    async with (
        serve(SimulatorConfig(**settings)) as simulator,  # type: ignore[arg-type]
        httpx.AsyncClient(trust_env=False, timeout=10) as http,
    ):
        yield VendorClient(simulator, http)
