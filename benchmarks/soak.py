"""What half an hour of mixed work with failures leaves in a process: memory, files, threads, journal on disk.

    python -m benchmarks.soak [--minutes 30] [--rate 2.5] [--json FILE]

Real Kafka, exactly_once, the simulator with the vendor's quotas. One replica lives through all of it; a
second one is killed and started again every three minutes. Of the requests some fail, some cannot be read,
some are repeated or cancelled, some are long, and the provider has a fault of another kind every 15 s. The
journal is compacted within a minute and ended requests are remembered for a minute, so that half an hour
shows what takes a day with the defaults. At the end each file must have one outcome, and each task have been
billed once.
"""

import argparse
import asyncio
import itertools
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from aiokafka import AIOKafkaProducer

from benchmarks.report import Row, cpu_seconds, resident_bytes, show
from benchmarks.stack import own_stack
from sandbox import kafka
from sandbox.simulator import Fault, SimulatorConfig, serve
from service.kafka.admin.topics import JOURNAL_CONFIG
from tests.brokers import create_topics
from tests.integration.stack import Scribe, Stack

PARTITIONS = 6
SPEED = 1.0
"""The vendor's clock runs as ours: by another, ages of tasks are wrong, and files may be billed twice."""
RESTART_SECONDS = 180.0
FAULT_SECONDS = 15.0
ROW_SECONDS = 60.0
ENDING_SECONDS = 300.0
COMPACTED = {
    **JOURNAL_CONFIG,
    "segment.ms": str(20_000),
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": str(20_000),
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": str(20_000),
}
SETTINGS = {
    "SCRIBE_DEDUPLICATION__WINDOW_SECONDS": "60",
    "SCRIBE_SUBMIT__SETTLE_SECONDS": "10",
    "SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": "5",
}
FAULTS = (
    {"on": "submit", "kind": "status", "status": 500, "times": 5},
    {"on": "submit", "kind": "drop_after", "times": 2},
    {"on": "query", "kind": "status", "status": 429, "code": "Throttling.RateQuota", "times": 10},
    {"on": "query", "kind": "slow", "seconds": 2.0, "times": 10},
    {"on": "result", "kind": "garbage", "times": 2},
    {"on": "result", "kind": "truncate", "times": 3},
    {"on": "list", "kind": "status", "status": 500, "times": 5},
    {"on": "submit", "kind": "drop_before", "times": 2},
)
BASE = "https://bucket.example.com/audio"


class Work:
    """What was asked for, and what came of it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        """The ids of the outcomes that must come."""
        self.came: Counter[str] = Counter()
        self.unreadable = 0

    def records(self, number: int) -> Iterator[tuple[str, bytes]]:
        """Keys and values of the requests of one number, by what the number is."""
        name = f"soak-{number:06}"
        kind = number % 20
        if kind == 0:
            self.unreadable += 1
            yield name, b'{"request_id": "' + name.encode() + b'", "file_urls": ['
            return
        files = 3 if kind == 1 else 1
        script = {2: "fail=FILE_404_NOT_FOUND", 3: "words=5000&run=10"}.get(kind, "words=100&run=3")
        urls = [f"{BASE}/{name}-{file}.wav?{script}" for file in range(files)]
        document = {"request_id": name, "model": "fun-asr", "file_urls": urls, "metadata": {"n": number}}
        self.asked |= {f"{name}/0/{file}" for file in range(files)}
        yield name, json.dumps(document).encode()
        if kind == 4:
            yield name, json.dumps(document).encode()
        if kind == 5:
            yield name, json.dumps({"request_id": name, "action": "cancel"}).encode()

    async def publish(self, stack: Stack, rate: float) -> None:
        """Publish at the rate until cancelled."""
        began = time.monotonic()
        async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
            for number in itertools.count():
                for name, value in self.records(number):
                    await producer.send_and_wait(stack.topics["requests"], value, key=name.encode())
                await asyncio.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))

    async def follow(self, stack: Stack) -> None:
        """Count outcomes by their ids until cancelled."""
        async for outcome in stack.follow():
            self.came[outcome.id] += 1


async def faults(stack: Stack) -> None:
    """A fault of another kind each time, until cancelled."""
    for fault in itertools.cycle(FAULTS):
        stack.sim.state.add_fault(Fault(**fault))  # type: ignore[arg-type]
        await asyncio.sleep(FAULT_SECONDS)
        stack.sim.state.faults.clear()


async def kills(stack: Stack, second: Scribe) -> None:
    """The second replica is killed and started again, until cancelled."""
    while True:
        await asyncio.sleep(RESTART_SECONDS)
        await second.end(signal.SIGKILL)
        second = await stack.start(**SETTINGS)


def journal_bytes(cluster: kafka.Cluster, topic: str) -> int:
    """What the journal's segments take on the disk."""
    found = 0
    for path in (cluster.nodes[0].folder / "data").glob(f"{topic}-*/*.log"):
        with suppress(FileNotFoundError):  # compacted meanwhile
            found += path.stat().st_size
    return found


async def row(minute: float, scribe: Scribe, cluster: kafka.Cluster, stack: Stack, work: Work) -> Row:
    """What the first replica has now."""
    process = Path(f"/proc/{scribe.process.pid}")
    status = (await scribe.get("status")).json()
    return {
        "minute": f"{minute:.0f}",
        "resident_mib": resident_bytes(scribe.process.pid) / 2**20,
        "files": float(len(list((process / "fd").iterdir()))),
        "threads": float(len(list((process / "task").iterdir()))),
        "cpu_seconds": cpu_seconds(scribe.process.pid),
        "open_jobs": float(sum(status["jobs"].values())),
        "journal_mib": journal_bytes(cluster, stack.topics["journal"]) / 2**20,
        "outcomes": float(sum(work.came.values())),
    }


async def measure(cluster: kafka.Cluster, minutes: float, rate: float, folder: Path) -> list[Row]:
    """A row a minute; raises AssertionError where an outcome is missing, or a task was billed twice."""
    work, rows = Work(), list[Row]()
    async with AsyncExitStack() as held:
        sim = await held.enter_async_context(serve(SimulatorConfig(speed=SPEED)))
        stack = await held.enter_async_context(
            own_stack(cluster.bootstrap, sim, folder, partitions=PARTITIONS)
        )
        await create_topics(cluster.bootstrap, {stack.topics["journal"]: PARTITIONS}, COMPACTED)
        first, second = [await stack.start(**SETTINGS) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            following = group.create_task(work.follow(stack))
            running = [
                group.create_task(each)
                for each in (work.publish(stack, rate), faults(stack), kills(stack, second))
            ]
            began = time.monotonic()
            while time.monotonic() < began + 60 * minutes:
                await asyncio.sleep(ROW_SECONDS)
                rows.append(await row((time.monotonic() - began) / 60, first, cluster, stack, work))
                print(json.dumps(rows[-1]), flush=True)
            for each in running:
                each.cancel()
            sim.state.faults.clear()
            await stack.until(lambda: work.asked <= work.came.keys(), ENDING_SECONDS)
            following.cancel()
        twice = {each for each in work.asked if work.came[each] != 1}
        billed = {url for url, count in sim.ledger().submitted_urls().items() if count > 1}
        print(f"{len(work.asked)} files, {work.unreadable} records that cannot be read")
        assert not twice, f"more than one outcome: {sorted(twice)[:5]}"
        assert not billed, f"billed twice: {sorted(billed)[:5]}"
    return rows


def main() -> None:
    """Measure on a Kafka of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2.5, help="requests a second")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    quick = {"log.cleaner.backoff.ms": "1000"}
    with (
        kafka.real_kafka(settings=quick) as cluster,
        tempfile.TemporaryDirectory(prefix="scribe-soak-") as folder,
    ):
        rows = asyncio.run(measure(cluster, options.minutes, options.rate, Path(folder)))
    show({f"{options.minutes:g} minutes at {options.rate:g} requests a second": rows}, options.json)


if __name__ == "__main__":
    main()
