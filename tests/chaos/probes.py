"""Names what stands still: the fleet, one instance of it, or the cursor of one partition.

`Watch` is pure: samples go in, stalls come out. `sample` looks at the processes from outside.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tests.chaos.acts import Stage
from tests.integration.stack import Scribe

FLEET_SECONDS = 90.0
"""A take-over that was refused is tried again within 30 s, a submit that was refused within 60 s."""
INSTANCE_SECONDS = 30.0
"""No loop of a worker waits for anything longer than 10 s before it turns."""
CURSOR_SECONDS = 60.0
"""A take-over that was refused is tried again within 30 s."""
SAMPLE_SECONDS = 1.0
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_LOOP_AGE = re.compile(r'^scribe_loop_age_seconds\{loop="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Member:
    """One worker, as its pages tell: how long ago each loop turned, and the cursors of its shards."""

    loop_ages: Mapping[str, float]
    cursors: Mapping[int, int]
    peak_mib: int = 0


@dataclass(frozen=True)
class Sample:
    """The fleet at one moment.

    `members` are those that run and answer, `ends` the ends of the request partitions. `is_calm` says that
    nothing is deliberately out of order.
    """

    at: float
    came: int
    outstanding: int
    members: Mapping[str, Member]
    ends: Mapping[int, int]
    is_calm: bool


@dataclass
class Watch:
    """Takes samples in the order of time; each stall is told once, until it ends."""

    stalls: list[str] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    """The most MiB that each worker has had in memory."""
    _came: int = -1
    _came_at: float = 0.0
    _cursors: dict[int, int] = field(default_factory=dict)
    _moved_at: dict[int, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def take(self, sample: Sample) -> None:
        """Compare with what was before."""
        now: dict[str, str] = {}
        for name, member in sample.members.items():
            self.peaks[name] = max(member.peak_mib, self.peaks.get(name, 0))
        if sample.came != self._came or not sample.outstanding:
            self._came, self._came_at = sample.came, sample.at
        if sample.at - self._came_at > FLEET_SECONDS:
            now["fleet"] = (
                f"fleet: no outcome for {sample.at - self._came_at:.0f} s, {sample.outstanding} wanted"
            )
        if sample.is_calm:
            now |= _standing_loops(sample.members)
        self._take_cursors(sample, now)
        self.stalls += [words for key, words in now.items() if key not in self._told]
        self._told = set(now)

    def _take_cursors(self, sample: Sample, now: dict[str, str]) -> None:
        cursors = {p: cursor for member in sample.members.values() for p, cursor in member.cursors.items()}
        for partition, end in sample.ends.items():
            cursor = cursors.get(partition, self._cursors.get(partition, 0))
            if not sample.is_calm or cursor >= end or cursor != self._cursors.get(partition):
                self._moved_at[partition] = sample.at
            self._cursors[partition] = cursor
            still_seconds = sample.at - self._moved_at.get(partition, sample.at)
            if still_seconds > CURSOR_SECONDS:
                now[f"cursor {partition}"] = (
                    f"cursor: partition {partition} stands at {cursor} of {end} for {still_seconds:.0f} s"
                )


def _standing_loops(members: Mapping[str, Member]) -> dict[str, str]:
    return {
        f"{name} {loop}": f"instance: loop {loop} of {name} has not turned for {age:.0f} s"
        for name, member in members.items()
        for loop, age in member.loop_ages.items()
        if age > INSTANCE_SECONDS
    }


async def watch(stage: Stage, watching: Watch) -> None:
    """Sample the fleet until cancelled."""
    fleet = stage.fleet
    topic = fleet.stack.topics["requests"]
    consumer = AIOKafkaConsumer(bootstrap_servers=fleet.setting.bootstrap, request_timeout_ms=5_000)
    await consumer.start()
    try:
        ends: dict[int, int] = {}
        while True:
            places = [TopicPartition(topic, number) for number in range(fleet.partitions)]
            consumer.assign(places)
            try:
                found = await consumer.end_offsets(places)
                ends = {place.partition: end for place, end in found.items()}
            except KafkaError:
                pass  # the ends of a moment ago will do
            watching.take(await sample(stage, ends))
            await asyncio.sleep(SAMPLE_SECONDS)
    finally:
        await consumer.stop()


async def sample(stage: Stage, ends: Mapping[int, int]) -> Sample:
    """The fleet now; a worker that does not answer, or is frozen by an act, is left out."""
    fleet = stage.fleet
    looked_at = [worker for worker in fleet.alive() if worker.process.pid not in stage.frozen]
    members = {worker.log_path.name: await _member(worker) for worker in looked_at}
    wanted = {file.id for request in fleet.requests for file in request.files}
    came = len(wanted & fleet.came)
    return Sample(
        at=asyncio.get_running_loop().time(),
        came=came,
        outstanding=len(wanted) - came,
        members={name: member for name, member in members.items() if member is not None},
        ends=ends,
        is_calm=not stage.shifting,
    )


async def _member(worker: Scribe) -> Member | None:
    try:
        page, status = await worker.get("metrics"), await worker.get("status")
    except httpx.HTTPError:
        return None
    ages = {loop: float(age) for loop, age in _LOOP_AGE.findall(page.text)}
    served = (each for each in status.json()["shards"] if each["state"] != "suspended")
    cursors = {each["partition"]: each["cursor"] for each in served if each["cursor"] is not None}
    return Member(ages, cursors, peak_mib(worker.process.pid))


def peak_mib(pid: int) -> int:
    """The most that a process has had in memory at a time; 0 for one that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
        return round(int(found[1]) / 1024) if found else 0
    return 0
