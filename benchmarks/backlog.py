"""How a backlog of large requests is served: the time, the processor time, and the peak of the memory.

    python -m benchmarks.backlog [--requests 204] [--per-task 1 100] [--kafka] [--json FILE]

All requests lie in the topic before the service starts: each names 100 files, has 30 KB of random options and
7 KB of random metadata, 8 MB in all. Quotas are off, a task has ended when it is first polled, and a
transcript has ten words: what is measured is the service's own ceiling, with one file a task and with 100.
`peak_mib` is the largest resident set that the process ever had.
"""

import argparse
import asyncio
import json
import random
import time
from dataclasses import replace
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from benchmarks.report import Row, cpu_seconds, peak_bytes, show
from benchmarks.stack import NO_QUOTAS, QUOTAS_OFF, own_broker, own_stack, publish
from sandbox.simulator import serve
from tests.integration.stack import Stack

FILES = 100
"""Of one request."""
OPTIONS_BYTES, METADATA_BYTES = 30_000, 7_000
_WORD_CHARS = 100
MAX_SECONDS = 3_600.0
"""Of one number of files a task: a run ends with an error instead of hanging."""


def large_request(number: int) -> tuple[bytes, bytes]:
    """Key and value of a request that nothing compresses well; its options are within the contract."""
    draw = random.Random(number)  # noqa: S311 - not a secret
    request_id = f"request-{number:05}"
    host = "https://bucket.example.com/audio"
    document = {
        "request_id": request_id,
        "model": "fun-asr",
        "file_urls": [f"{host}/{number:05}-{index:03}.wav?run=0&words=10" for index in range(FILES)],
        "options": {"special_word_filter": {"filter_with_empty": {"word_list": _words(draw, OPTIONS_BYTES)}}},
        "metadata": {"notes": _words(draw, METADATA_BYTES)},
    }
    return request_id.encode(), json.dumps(document, separators=(",", ":")).encode()


def _words(draw: random.Random, size_bytes: int) -> list[str]:
    return [draw.randbytes(_WORD_CHARS // 2).hex() for _ in range(size_bytes // (_WORD_CHARS + 3))]


async def measure(bootstrap: str, requests: int, per_task: int, folder: Path, *, is_real: bool) -> Row:
    """Serve the backlog; a job without a result, or with two, is an error."""
    config = replace(NO_QUOTAS, files_per_task=per_task)
    async with (
        asyncio.timeout(MAX_SECONDS),
        serve(config) as sim,
        own_stack(bootstrap, sim, folder, transactions=is_real) as stack,
    ):
        await publish(stack, (large_request(number) for number in range(requests)))
        began = time.perf_counter()
        scribe = await stack.launch(**QUOTAS_OFF, SCRIBE_REQUESTS__FILES_PER_TASK=str(per_task))
        ids = await _results(stack, requests * FILES)
        seconds = time.perf_counter() - began
        assert len(set(ids)) == len(ids) == requests * FILES, "a job has two results"
        submits, journal = len(sim.ledger().submits), await stack.journal()
        pid = scribe.process.pid
        return {
            "files a task": str(per_task),
            "results": len(ids),
            "submits": submits,
            "seconds": seconds,
            "results_per_second": len(ids) / seconds,
            "submits_per_second": submits / seconds,
            "cpu_ms_per_result": 1000 * cpu_seconds(pid) / len(ids),
            "peak_mib": peak_bytes(pid) / 2**20,
            "journal_mib": sum(len(each.key) + len(each.value or b"") for each in journal) / 2**20,
        }


async def _results(stack: Stack, count: int) -> list[bytes]:
    """The ids of so many results; a failure, or a process that ends, is an error."""
    ids: list[bytes] = []
    async with AIOKafkaConsumer(
        stack.topics["results"],
        stack.topics["failures"],
        bootstrap_servers=stack.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        while len(ids) < count:
            assert all(scribe.process.returncode is None for scribe in stack.scribes), stack.logs()
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                assert partition.topic == stack.topics["results"], records[0].value[:500]
                ids += [dict(record.headers)["ce_id"] for record in records]
    return ids


def main() -> None:
    """Measure on a broker of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=204)
    parser.add_argument("--per-task", type=int, nargs="+", default=[1, 100], help="files of a provider task")
    parser.add_argument("--kafka", action="store_true", help="real Kafka, in exactly_once")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    with own_broker(is_real=options.kafka) as (bootstrap, folder):
        rows = [
            asyncio.run(measure(bootstrap, options.requests, per_task, folder, is_real=options.kafka))
            for per_task in options.per_task
        ]
    show({f"{options.requests} requests of {FILES} files": rows}, options.json)


if __name__ == "__main__":
    main()
