"""Records with timestamps of any kind, through Kafka: each is served, and no process ends."""

import json

from aiokafka import AIOKafkaProducer

from tests.brokers import in_test_all
from tests.integration.stack import Stack
from tests.integration.test_main_job import HELLO, request

TIMESTAMPS = (-1, -62_135_596_800_001, 0, 1_764_000_000, -(2**53))
"""None, the year 0, 1970, seconds for milliseconds, and what no calendar has."""


async def publish(stack: Stack, value: bytes, timestamp_ms: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap)
    try:
        await producer.start()
        topic = stack.topics["requests"]
        await producer.send_and_wait(topic, value, key=b"one-key", timestamp_ms=timestamp_ms)
    finally:
        await producer.stop()


@in_test_all
async def test_a_timestamp_outside_the_calendar_ends_no_process_and_no_request(stack: Stack) -> None:
    first = await stack.start()
    for number, timestamp_ms in enumerate(TIMESTAMPS):
        value = json.dumps(request(f"r-{number}", HELLO, ttl_seconds=600)).encode()
        await publish(stack, value, timestamp_ms)
        await publish(stack, b"{", timestamp_ms)
    outcomes = await stack.outcomes(2 * len(TIMESTAMPS))
    results = [each.body for each in outcomes if each.kind == "result"]
    assert len(results) == len(TIMESTAMPS)
    assert {body["times"]["requested_at"] for body in results} == {None}
    assert [body["warnings"][0]["code"] for body in results] == ["record_time_unusable"] * len(TIMESTAMPS)
    assert await first.end() == 0
    # The last record before the cursor is one of them: the next start must know it again.
    second = await stack.start()
    await stack.publish(request("after", HELLO), key="one-key")
    assert "after/0/0" in {each.id for each in await stack.outcomes(2 * len(TIMESTAMPS) + 1)}
    assert await second.end() == 0
    assert len(stack.sim.ledger().submits) == len(TIMESTAMPS) + 1
