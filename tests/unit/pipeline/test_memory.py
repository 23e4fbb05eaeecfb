"""The memory of an open job whose task runs, with all that the service keeps of it."""

import gc
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from service.core.job.accepted_request import RequestFile
from service.core.job.identity import Origin, SubmissionKey
from service.core.job.submission import Intent, SubmissionState
from service.core.job.urgency import RETENTION_MS, PriorityQueue, priority
from service.core.journal.entries import encode_request, encode_submission
from service.core.journal.replay import Restore
from service.core.journal.stamp import Stamp
from service.core.limits.schedule import DueQueue
from service.pipeline.assignment.assigned_partition import begin, load
from service.pipeline.shard.shard_runner import ShardRunner
from tests.unit.core.samples import NOW_MS, request, submission_of
from tests.unit.pipeline.world import World

JOBS = 5_000
MOST_BYTES = 1_330
"""Of an open job, by Python's own count: 1,316 with Python 3.11. 70 of them are in a cache of pydantic's,
which is bounded. The resident set grows by some 20 % more."""
QUEUED_BYTES = 16
"""Of a place in a queue where many items wait alike."""
STAMP = Stamp(1, 1).encode()


def journal(number: int) -> list[tuple[str, bytes]]:
    """The records of a one-file request without metadata, and of the submission whose task runs."""
    asked = request(
        origin=Origin(0, number),
        timestamp_ms=NOW_MS + number,
        request_id=f"request-{number:08}",
        digest=f"{number:032x}",
        files=(
            RequestFile(0, f"https://bucket.example.com/audio/{number:08}.wav?Signature=0123456789abcdef"),
        ),
        options={},
        metadata=None,
        headers=(),
    )
    running = replace(
        submission_of(asked, SubmissionState.RUNNING),
        key=SubmissionKey(1, number),
        intent=Intent(NOW_MS + number, 0, 1, ""),
        task_id=f"{number:08}-0000-0000-0000-000000000000",
    )
    return [
        (str(asked.origin), encode_request(asked)),
        (str(running.key), encode_submission(running)),
    ]


async def take_over(shard: ShardRunner, records: Sequence[tuple[str, bytes]]) -> None:
    """Read the journal, load the shard and queue all polls."""
    restored = Restore("transcription.journal", 0)
    for offset, (key, value) in enumerate(records):
        # A copy, as a client reads it: the journal's own record may be kept.
        restored.add(offset, key, bytes(memoryview(value)), STAMP)
    await begin(shard, await load(shard, restored))


def measured(fill: Callable[[], object]) -> int:
    """The memory of what `fill` makes and keeps."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = fill()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return taken


def test_a_place_among_the_polls_that_can_wait_takes_no_more_than_a_pointer_or_two() -> None:
    def fill() -> object:
        line: PriorityQueue[None] = PriorityQueue()
        for _ in range(JOBS):
            line.push(priority(NOW_MS + RETENTION_MS, NOW_MS), None)
        return line

    assert measured(fill) / JOBS < QUEUED_BYTES


def test_a_place_among_items_that_are_due_at_one_time_takes_no_more_than_a_pointer_or_two() -> None:
    def fill() -> object:
        queue: DueQueue[None] = DueQueue()
        for _ in range(JOBS):
            queue.push(NOW_MS, None)
        return queue

    assert measured(fill) / JOBS < QUEUED_BYTES


@pytest.mark.computes
async def test_an_open_job_takes_no_more_memory_than_its_bound(world: World) -> None:
    shard = world.shard()
    records = [record for number in range(1, JOBS + 1) for record in journal(number)]
    gc.collect()
    tracemalloc.start()
    try:
        await take_over(shard, records)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shard.state.jobs) == len(shard.state.submissions) == JOBS
    assert all(world.poll.holds(shard, key) for key in shard.state.submissions)
    assert taken / JOBS < MOST_BYTES, f"{taken / JOBS:.0f} bytes a job"
