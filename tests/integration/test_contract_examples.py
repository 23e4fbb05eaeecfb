"""The clients that docs/contract/ shows, run as they stand, but for the names of the topics."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import murmur2

from sandbox.kafka.jars import find_java, jars_folder
from tests.brokers import create_topics
from tests.integration.stack import Stack

EXAMPLES = Path(__file__).parents[2] / "docs/contract"
AUDIO = "https://example.com/{0}.wav?text=Hello+from+{0}&run=1"
PARTITIONS = 6
SECONDS = 100

pytestmark = [pytest.mark.needs_java, pytest.mark.needs_debian("javac")]


@pytest.fixture(params=["kafka"])
def broker_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def commands(folder: Path) -> dict[str, Sequence[str]]:
    """How each example is called, by its name."""
    return {
        "aiokafka_client.py": [sys.executable, f"{folder}/aiokafka_client.py"],
        "confluent_client.py": [sys.executable, f"{folder}/confluent_client.py"],
        "Client.java": [find_java(), "-cp", f"{jars_folder()}/*", f"{folder}/Client.java"],
        "console.sh": ["bash", f"{folder}/console.sh"],
    }


def prepare(folder: Path, stack: Stack) -> None:
    """Copy the examples with this test's topics, and Kafka's own programs as scripts on the PATH."""
    for path in EXAMPLES.iterdir():
        text = path.read_text("utf-8")
        for role in ("requests", "results", "failures"):
            assert f"transcription.{role}" in text, f"{path} does not name {role}"
            text = text.replace(f"transcription.{role}", stack.topics[role])
        (folder / path.name).write_text(text, "utf-8")
    for name, main in (("producer", "ConsoleProducer"), ("consumer", "consumer.ConsoleConsumer")):
        program = folder / f"kafka-console-{name}.sh"
        call = f"'{find_java()}' -cp '{jars_folder()}/*' org.apache.kafka.tools.{main}"
        program.write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        program.chmod(0o755)


async def printed(command: Sequence[str], folder: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        env={"PATH": os.pathsep.join([str(folder), os.environ["PATH"]])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        pytest.fail(f"{command} does not end: {output.decode()}")
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_every_example_gets_its_transcript_and_keeps_its_id_in_the_partition_that_java_takes(
    stack: Stack, tmp_path: Path
) -> None:
    await create_topics(stack.bootstrap, {stack.topics["requests"]: PARTITIONS})
    await stack.start(SCRIBE_TOPICS__PARTITIONS=str(PARTITIONS))
    prepare(tmp_path, stack)
    for name, command in commands(tmp_path).items():
        word = name.split(".")[0]
        assert f"Hello from {word}" in await printed(
            command, tmp_path, stack.bootstrap, name, AUDIO.format(word)
        )
    expected = {name: murmur2(name.encode()) % 2**31 % PARTITIONS for name in commands(tmp_path)}
    assert await asyncio.wait_for(partitions_of_keys(stack), SECONDS) == expected
    # What librdkafka does unless it is told otherwise would put this example's record elsewhere.
    assert crc32(b"confluent_client.py") % PARTITIONS != expected["confluent_client.py"]


async def partitions_of_keys(stack: Stack) -> dict[str, int]:
    """Where the requests are, by their keys."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.bootstrap, auto_offset_reset="earliest")
    async with consumer:
        partitions = [TopicPartition(stack.topics["requests"], each) for each in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[str, int] = {}
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                found |= {record.key.decode(): partition.partition for record in records}
    return found
