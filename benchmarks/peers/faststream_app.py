"""A FastStream application with manual acknowledgement and httpx: what Scribe is compared with.

FastStream acknowledges what its consumer has read, so a concurrent handler must not acknowledge one record
before another: the batch subscriber is its way to handle many records at a time and to lose none. All
records of a batch are transcribed side by side; the batch is acknowledged once all outcomes are. A query goes
out every 3 s (the vendor advises 2 to 5 s); what is throttled or fails for the moment is tried again with
backoff and jitter. Started as the service is, by the same variables.
"""

import asyncio
import json
import os
import random
from collections.abc import Mapping
from typing import Any

import httpx
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

_ENV = os.environ
WORKERS = int(_ENV.get("PEER_WORKERS", "64"))
POLL_SECONDS = 3.0
MAX_TRIES = 12
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 20.0
TEMPORARY = {429, 500, 502, 503, 504}
BASE_URL = _ENV["SCRIBE_PROVIDER__BASE_URL"]
KEY = {"Authorization": f"Bearer {_ENV['SCRIBE_PROVIDER__API_KEY']}"}

broker = KafkaBroker(_ENV["SCRIBE_KAFKA__BOOTSTRAP_SERVERS"], acks="all", enable_idempotence=True)
app = FastStream(broker)
clients: list[httpx.AsyncClient] = []


class FailedError(Exception):
    """The provider refuses the file, or all tries are used up."""


async def call(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Any:
    """The JSON of an answer; what may pass is tried again."""
    for attempt in range(MAX_TRIES):
        try:
            answer = await clients[0].request(method, url, headers=headers, json=body)
            if answer.status_code not in TEMPORARY:
                if answer.is_error:
                    raise FailedError(f"{answer.status_code} {answer.text[:200]}")
                return answer.json()
        except httpx.TransportError:
            pass
        longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**attempt)
        await asyncio.sleep(random.uniform(0.5, 1.0) * longest)  # noqa: S311 - jitter
    raise FailedError(f"no answer after {MAX_TRIES} tries")


async def transcribe(model: str, file_url: str) -> Any:
    """Submit, poll until the task has ended, download: the transcript."""
    body = {"model": model, "input": {"file_urls": [file_url]}, "parameters": {}}
    submit_url = f"{BASE_URL}/services/audio/asr/transcription"
    task = (await call("POST", submit_url, {**KEY, "X-DashScope-Async": "enable"}, body))["output"]
    while task["task_status"] in ("PENDING", "RUNNING"):
        await asyncio.sleep(POLL_SECONDS)
        task = (await call("GET", f"{BASE_URL}/tasks/{task['task_id']}", KEY))["output"]
    if task["task_status"] != "SUCCEEDED" or task["results"][0]["subtask_status"] != "SUCCEEDED":
        raise FailedError(task["task_status"])
    return await call("GET", task["results"][0]["transcription_url"], {})


async def one(request: Mapping[str, Any]) -> None:
    """One request, to its outcome."""
    topic, outcome = _ENV["SCRIBE_TOPICS__RESULTS"], {"request_id": request["request_id"]}
    try:
        outcome["transcript"] = await transcribe(request["model"], request["file_urls"][0])
    except FailedError as error:
        topic, outcome["error"] = _ENV["SCRIBE_TOPICS__FAILURES"], str(error)
    await broker.publish(json.dumps(outcome).encode(), topic=topic, key=request["request_id"].encode())


async def transcribe_all(requests: list[dict[str, Any]], message: KafkaMessage) -> None:
    """A batch, side by side."""
    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(one(request))
    await message.ack()


broker.subscriber(
    _ENV["SCRIBE_TOPICS__REQUESTS"],
    group_id=_ENV["SCRIBE_KAFKA__GROUP_ID"],
    batch=True,
    max_records=WORKERS,
    ack_policy=AckPolicy.MANUAL,
    auto_offset_reset="earliest",
    session_timeout_ms=round(1000 * float(_ENV["SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS"])),
)(transcribe_all)


async def main() -> None:
    """Work until killed."""
    limits = httpx.Limits(max_connections=WORKERS, max_keepalive_connections=WORKERS)
    async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=60) as client:
        clients.append(client)
        await app.run()


if __name__ == "__main__":
    asyncio.run(main())
