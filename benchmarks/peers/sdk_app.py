"""The vendor's SDK in a thread pool behind aiokafka, written with care: what Scribe is compared with.

A bounded number of requests is under way, as many as there are threads. The SDK submits and waits; what is
throttled or fails for the moment is tried again with backoff and jitter. An offset is committed once the
outcomes of all records before it are acknowledged, so a crash loses no request. The task ids are in memory
alone, as the SDK has them. Started as the service is, by the same variables.
"""

import asyncio
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import dashscope
import requests
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from dashscope.audio.asr import Transcription

_ENV = os.environ
WORKERS = int(_ENV.get("PEER_WORKERS", "64"))
COMMIT_SECONDS = 1.0
MAX_TRIES = 12
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 20.0
TEMPORARY = {429, 500, 502, 503, 504}


class FailedError(Exception):
    """The provider refuses the file, or all tries are used up."""


def answered(call: Callable[[], Any]) -> Any:
    """The SDK's answer; what may pass is tried again."""
    answer = call()
    for attempt in range(MAX_TRIES):
        if answer.status_code not in TEMPORARY:
            break
        longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**attempt)
        time.sleep(random.uniform(0.5, 1.0) * longest)  # noqa: S311 - jitter
        answer = call()
    if answer.status_code != 200:
        raise FailedError(f"{answer.status_code} {answer.code}")
    return answer


def transcribe(model: str, file_url: str) -> Any:
    """Submit, wait, download: the transcript."""
    task_id = answered(lambda: Transcription.async_call(model=model, file_urls=[file_url])).output["task_id"]
    output = answered(lambda: Transcription.wait(task=task_id)).output
    if output["task_status"] != "SUCCEEDED" or output["results"][0]["subtask_status"] != "SUCCEEDED":
        raise FailedError(output["task_status"])
    return download(output["results"][0]["transcription_url"])


def download(url: str) -> Any:
    """The transcript at a signed URL; what may pass is tried again."""
    for attempt in range(MAX_TRIES):
        try:
            with requests.get(url, timeout=60) as answer:
                if answer.status_code not in TEMPORARY:
                    answer.raise_for_status()
                    return answer.json()
        except (requests.ConnectionError, requests.Timeout):
            pass
        time.sleep(min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**attempt))
    raise FailedError("no result file")


@dataclass
class Offsets:
    """What may be committed: everything before the first record that is still under way."""

    under_way: dict[TopicPartition, set[int]] = field(default_factory=lambda: defaultdict(set))
    read: dict[TopicPartition, int] = field(default_factory=dict)

    def begin(self, record: ConsumerRecord) -> None:
        """A record is under way."""
        place = TopicPartition(record.topic, record.partition)
        self.under_way[place].add(record.offset)
        self.read[place] = record.offset + 1

    def end(self, record: ConsumerRecord) -> None:
        """Its outcome is acknowledged."""
        self.under_way[TopicPartition(record.topic, record.partition)].discard(record.offset)

    def of(self, assigned: set[TopicPartition]) -> dict[TopicPartition, int]:
        """The offsets of the partitions that are ours."""
        return {
            place: min(self.under_way[place], default=read)
            for place, read in self.read.items()
            if place in assigned
        }


async def commit_now_and_then(consumer: AIOKafkaConsumer, offsets: Offsets) -> None:
    """Commit until cancelled; a rebalance may refuse it, and the next one counts."""
    while True:
        await asyncio.sleep(COMMIT_SECONDS)
        if done := offsets.of(consumer.assignment()):
            try:
                await consumer.commit(done)
            except KafkaError as error:
                print(f"not committed: {type(error).__name__}")


async def main() -> None:
    """Work until killed."""
    dashscope.api_key = _ENV["SCRIBE_PROVIDER__API_KEY"]
    dashscope.base_http_api_url = _ENV["SCRIBE_PROVIDER__BASE_URL"]
    bootstrap, loop = _ENV["SCRIBE_KAFKA__BOOTSTRAP_SERVERS"], asyncio.get_running_loop()
    places, offsets = asyncio.Semaphore(WORKERS), Offsets()
    consumer = AIOKafkaConsumer(
        _ENV["SCRIBE_TOPICS__REQUESTS"],
        bootstrap_servers=bootstrap,
        group_id=_ENV["SCRIBE_KAFKA__GROUP_ID"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=round(1000 * float(_ENV["SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS"])),
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    async with consumer, producer, asyncio.TaskGroup() as group:
        with ThreadPoolExecutor(WORKERS) as threads:
            group.create_task(commit_now_and_then(consumer, offsets))

            async def one(record: ConsumerRecord) -> None:
                request = json.loads(record.value)
                topic, outcome = _ENV["SCRIBE_TOPICS__RESULTS"], {"request_id": request["request_id"]}
                try:
                    model, url = request["model"], request["file_urls"][0]
                    outcome["transcript"] = await loop.run_in_executor(threads, transcribe, model, url)
                except (FailedError, requests.RequestException) as error:
                    topic, outcome["error"] = _ENV["SCRIBE_TOPICS__FAILURES"], str(error)
                await producer.send_and_wait(topic, json.dumps(outcome).encode(), key=record.key)
                offsets.end(record)
                places.release()

            async for record in consumer:
                await places.acquire()
                offsets.begin(record)
                group.create_task(one(record))


if __name__ == "__main__":
    asyncio.run(main())
