"""Accept: records become jobs in their order, and none of them stops the next."""

from dataclasses import replace

import pytest

from service.contract.outcome import Failure
from service.core.job.submission import SubmissionState
from service.core.shard.admission import AdmissionKind
from service.errors import FailureCode
from tests.fakes.clock import settle
from tests.unit.core.samples import record
from tests.unit.pipeline.world import Limits, World, state

words = pytest.mark.parametrize("limits", [Limits(share=0.0)])


def admitted(world: World) -> list[AdmissionKind]:
    return [admission.kind for admission in world.seen.admissions]


@words
async def test_records_become_jobs_and_move_the_cursor(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "a", "b")
    assert admitted(world) == [AdmissionKind.ACCEPTED] * 2
    assert [state(shard, each) for each in "ab"] == [SubmissionState.WAITING] * 2
    assert shard.durable_cursor.next_offset == 2


@words
async def test_a_record_behind_the_cursor_is_passed_over(world: World) -> None:
    shard = world.shard()
    records = [world.record(0, each) for each in "abc"]
    world.deliver(shard, *records[:2])
    world.deliver(shard, *records)
    await settle()
    assert admitted(world) == [AdmissionKind.ACCEPTED] * 3
    assert shard.durable_cursor.next_offset == 3


@words
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"\xff", FailureCode.INVALID_ENCODING),
        (b"{", FailureCode.INVALID_JSON),
        (b"{}", FailureCode.INVALID_REQUEST),
        (None, FailureCode.INVALID_REQUEST),
    ],
)
async def test_a_record_that_cannot_be_read_is_a_failure_and_the_next_goes_on(
    world: World, value: bytes | None, code: FailureCode
) -> None:
    shard = world.shard()
    bad = record(0, value)
    good = replace(world.record(0, "r"), position=replace(bad.position, offset=1))
    world.deliver(shard, bad, good)
    await settle()
    assert admitted(world) == [AdmissionKind.REFUSED, AdmissionKind.ACCEPTED]
    [outcome] = world.seen.outcomes
    assert isinstance(outcome.body, Failure)
    assert (outcome.body.code, outcome.id) == (code, "transcription.requests/0/0")
    assert state(shard) is SubmissionState.WAITING


@words
async def test_a_record_that_kafkas_client_cannot_read_is_a_failure(world: World) -> None:
    shard = world.shard()
    damaged = replace(record(0, None), damage="a header's name is not UTF-8")
    world.deliver(shard, damaged)
    await settle()
    [outcome] = world.seen.outcomes
    assert isinstance(outcome.body, Failure)
    assert outcome.body.code is FailureCode.INVALID_ENCODING
    assert outcome.body.message == "a header's name is not UTF-8"


async def test_a_record_that_opens_jobs_starts_them_and_a_repeat_does_not(world: World) -> None:
    shard = world.shard()
    await world.take(shard, "r")
    await world.take(shard, "r")
    assert admitted(world) == [AdmissionKind.ACCEPTED, AdmissionKind.DUPLICATE]
    assert world.provider.count("submit") == 1


async def test_a_request_with_a_deadline_in_the_past_fails_and_is_not_submitted(world: World) -> None:
    world.run()
    shard = world.shard()
    world.clock.suspend(3600)
    await world.take(shard, "r", ttl_seconds=60)
    await world.clock.sleep(5)
    assert world.seen.ends() == {"r/0/0": "deadline_exceeded"}
    assert world.provider.calls == []
