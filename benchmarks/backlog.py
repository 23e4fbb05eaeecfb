"""How a backlog is served: the time, the processor time, and the peak of the memory.

    python -m benchmarks.backlog [--requests 204] [--per-task 1 100] [--kafka] [--json FILE]
    python -m benchmarks.backlog --small 300 3000 6000 --per-task 1 10 100 --submits-per-minute 600

All requests lie in the topic before the service starts: each names 100 files, has 30 KB of random options and
7 KB of random metadata, 8 MB in all. Quotas are off, a task has ended when it is first polled, and a
transcript has ten words: what is measured is the service's own ceiling, with one file a task and with 100.
`peak_mib` is the largest resident set that the process ever had.

With `--small` the requests have one file and no options, so many for each number of files a task, and the
quota of submits is what is given: requests share tasks (decision 19). `results_per_second` then counts from
the first result to the last.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from benchmarks.report import Row, cpu_seconds, peak_bytes, show
from benchmarks.stack import NO_QUOTAS, QUOTAS_OFF, own_broker, own_stack, publish, request
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


@dataclass(frozen=True, slots=True)
class Backlog:
    """What lies in the topic, how many files a task may hold, and the quota of submits, if there is one."""

    requests: int
    per_task: int
    is_small: bool = False
    submits_per_minute: int | None = None

    @property
    def files(self) -> int:
        """How many results there will be."""
        return self.requests * (1 if self.is_small else FILES)

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of the requests."""
        for number in range(self.requests):
            yield request(number, "run=0&words=10") if self.is_small else large_request(number)

    def settings(self) -> dict[str, str]:
        """Those of the service."""
        settings = {**QUOTAS_OFF, "SCRIBE_REQUESTS__FILES_PER_TASK": str(self.per_task)}
        if self.submits_per_minute is not None:
            settings["SCRIBE_QUOTA__SUBMITS_PER_MINUTE"] = str(self.submits_per_minute)
        return settings


async def measure(bootstrap: str, backlog: Backlog, folder: Path, *, is_real: bool) -> Row:
    """Serve the backlog; a job without a result, or with two, is an error."""
    rpm = backlog.submits_per_minute and {"fun-asr": backlog.submits_per_minute}
    config = replace(NO_QUOTAS, files_per_task=backlog.per_task, submit_rpm=rpm or None)
    async with (
        asyncio.timeout(MAX_SECONDS),
        serve(config) as sim,
        own_stack(bootstrap, sim, folder, transactions=is_real) as stack,
    ):
        await publish(stack, backlog.records())
        began = time.perf_counter()
        scribe = await stack.launch(**backlog.settings())
        ids, first_at = await _results(stack, backlog.files)
        seconds = time.perf_counter() - (first_at if backlog.is_small else began)
        assert len(set(ids)) == len(ids) == backlog.files, "a job has two results"
        submits, journal = len(sim.ledger().submits), await stack.journal()
        pid = scribe.process.pid
        return {
            "files a task": str(backlog.per_task),
            "results": len(ids),
            "submits": submits,
            "seconds": seconds,
            "results_per_second": len(ids) / seconds,
            "submits_per_second": submits / seconds,
            "cpu_ms_per_result": 1000 * cpu_seconds(pid) / len(ids),
            "peak_mib": peak_bytes(pid) / 2**20,
            "journal_mib": sum(len(each.key) + len(each.value or b"") for each in journal) / 2**20,
        }


async def _results(stack: Stack, count: int) -> tuple[list[bytes], float]:
    """The ids of so many results, and when the first came; a failure, or a process that ends, is an error."""
    ids: list[bytes] = []
    first_at = 0.0
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
                first_at = first_at or time.perf_counter()
    return ids, first_at


def main() -> None:
    """Measure on a broker of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=204, help="large ones")
    parser.add_argument("--small", type=int, nargs="+", help="one-file requests, for each number of files")
    parser.add_argument("--per-task", type=int, nargs="+", default=[1, 100], help="files of a provider task")
    parser.add_argument("--submits-per-minute", type=int, help="the quota; none without")
    parser.add_argument("--kafka", action="store_true", help="real Kafka, in exactly_once")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    counts = options.small or [options.requests] * len(options.per_task)
    backlogs = [
        Backlog(count, per_task, bool(options.small), options.submits_per_minute)
        for count, per_task in zip(counts, options.per_task, strict=True)
    ]
    with own_broker(is_real=options.kafka) as (bootstrap, folder):
        rows = [asyncio.run(measure(bootstrap, each, folder, is_real=options.kafka)) for each in backlogs]
    title = "requests of one file" if options.small else f"{options.requests} requests of {FILES} files"
    show({title: rows}, options.json)


if __name__ == "__main__":
    main()
