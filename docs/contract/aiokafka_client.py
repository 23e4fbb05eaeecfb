"""Publishes a request with aiokafka and prints its outcomes: aiokafka_client.py BROKERS REQUEST_ID URL..."""

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main(brokers: str, request_id: str, *urls: str) -> None:
    consumer = AIOKafkaConsumer(
        "transcription.results",
        "transcription.failures",
        bootstrap_servers=brokers,
        group_id=f"readers-of-{request_id}",
        isolation_level="read_committed",  # not the default
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=16 * 1024 * 1024,  # a transcript of hours has some megabytes
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, acks="all"
    )  # its partitioner hashes as Java's does
    async with consumer, producer:
        request = {"request_id": request_id, "file_urls": urls, "model": "fun-asr"}
        await producer.send_and_wait(
            "transcription.requests", json.dumps(request).encode(), key=request_id.encode()
        )
        missing = set(range(len(urls)))
        async for record in consumer:
            outcome = json.loads(record.value)
            if outcome["request_id"] != request_id:
                continue  # another's
            print(record.topic, outcome["file_index"], text_of(outcome))
            missing.discard(outcome["file_index"])
            if not missing or outcome["file_index"] is None:  # None: the record was refused, or only answered
                return


def text_of(outcome: dict) -> str:
    if "code" in outcome:
        return f"{outcome['code']}: {outcome['message']}"
    return " ".join(channel["text"] for channel in outcome["transcript"]["channels"])


asyncio.run(main(*sys.argv[1:]))
