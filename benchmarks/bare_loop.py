"""What `overhead` compares with: the calls that the service makes for a job, and nothing that keeps it.

It consumes a request, submits, polls, fetches, parses and produces, several jobs at a time. It has no
journal, no retries and no limits: a crash loses what is under way. It is started as the service is, by the
same variables; BARE_CLIENT is a name of CLIENTS.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from yarl import URL

from service.provider.http.transport import AiohttpTransport

JOBS_AT_ONCE = 32
"""As many as the service has calls in flight."""
POLL_SECONDS = 1.0
_ENV = os.environ

Call = Callable[[str, str, dict[str, str], bytes | None], Awaitable[bytes]]
"""Method, URL, headers, body: the body of the answer."""


@asynccontextmanager
async def aiohttp_client() -> AsyncIterator[Call]:
    """aiohttp with its defaults."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def call(method: str, url: str, headers: dict[str, str], body: bytes | None) -> bytes:
            # The signature of a result's URL covers its escapes.
            place = URL(url, encoded=True)
            async with session.request(method, place, headers=headers, data=body) as answer:
                return await answer.read()

        yield call


@asynccontextmanager
async def httpx_client(transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Call]:
    """httpx with its defaults, but for the transport where there is one."""
    async with httpx.AsyncClient(trust_env=False, transport=transport) as client:

        async def call(method: str, url: str, headers: dict[str, str], body: bytes | None) -> bytes:
            answer = await client.request(method, url, headers=headers, content=body)
            return answer.raise_for_status().content

        yield call


def httpx_on_aiohttp_client() -> AbstractAsyncContextManager[Call]:
    """httpx as the service has it for all but submits."""
    return httpx_client(AiohttpTransport(100, ssl.create_default_context()))


CLIENTS: Mapping[str, Callable[[], AbstractAsyncContextManager[Call]]] = {
    "aiohttp": aiohttp_client,
    "httpx on aiohttp": httpx_on_aiohttp_client,
    "httpx": httpx_client,
}


async def transcribe(call: Call, request: dict[str, Any]) -> Any:
    """Submit, poll until the task has ended, fetch; the transcript of the one file."""
    base_url = _ENV["SCRIBE_PROVIDER__BASE_URL"]
    key = {"Authorization": f"Bearer {_ENV['SCRIBE_PROVIDER__API_KEY']}"}
    audio = {"file_urls": request["file_urls"]}
    body = json.dumps({"model": request["model"], "input": audio, "parameters": {}}).encode()
    headers = {**key, "Content-Type": "application/json", "X-DashScope-Async": "enable"}
    submitted = await call("POST", f"{base_url}/services/audio/asr/transcription", headers, body)
    task_url = f"{base_url}/tasks/{json.loads(submitted)['output']['task_id']}"
    task = await _task(call, task_url, key)
    while task["task_status"] != "SUCCEEDED":
        await asyncio.sleep(POLL_SECONDS)
        task = await _task(call, task_url, key)
    return json.loads(await call("GET", task["results"][0]["transcription_url"], {}, None))


async def _task(call: Call, task_url: str, key: dict[str, str]) -> Any:
    return json.loads(await call("GET", task_url, key, None))["output"]


async def main() -> None:
    """Work until killed."""
    bootstrap = _ENV["SCRIBE_KAFKA__BOOTSTRAP_SERVERS"]
    consumer = AIOKafkaConsumer(
        _ENV["SCRIBE_TOPICS__REQUESTS"],
        bootstrap_servers=bootstrap,
        group_id=_ENV["SCRIBE_KAFKA__GROUP_ID"],
        auto_offset_reset="earliest",
    )
    places = asyncio.Semaphore(JOBS_AT_ONCE)
    async with (
        consumer,
        AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer,
        CLIENTS[_ENV["BARE_CLIENT"]]() as call,
        asyncio.TaskGroup() as group,
    ):

        async def one(key: bytes, value: bytes) -> None:
            try:
                request = json.loads(value)
                result = {"request_id": request["request_id"], **await transcribe(call, request)}
                produced = json.dumps(result).encode()
                await producer.send_and_wait(_ENV["SCRIBE_TOPICS__RESULTS"], produced, key=key)
            finally:
                places.release()

        async for record in consumer:
            await places.acquire()
            group.create_task(one(record.key, record.value))


if __name__ == "__main__":
    asyncio.run(main())
