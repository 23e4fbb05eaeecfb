"""A record's timestamp: any 64 bits that a producer may write, and what is made of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import ConsumerRecord
from hypothesis import example, given
from hypothesis import strategies as st

from service.contract.outcome import Failure, Result, utc_time
from service.contract.request_decoder import RequestLimits, read_request
from service.core.job.ending import ResultEnding
from service.core.job.events import DeadlinePassed
from service.core.job.job import Job, JobState
from service.core.job.request_record import Record, cursor_after
from service.core.outcome.build import OutcomeRules, job_outcome
from service.core.shard.admission import Admission, AdmissionRules, admit
from service.core.shard.shard import Shard
from service.errors import InvalidRecord
from service.kafka.client.consumer_records import EARLIEST_MS, LATEST_MS, to_record, usable_ms
from tests.unit.core.samples import NOW_MS, context, record, request_record, transcript

INT64 = st.integers(-(2**63), 2**63 - 1)
UNUSABLE = [
    -1,  # "none"
    0,
    1,
    -2,
    -62_135_596_800_001,  # the year 0
    -62_135_596_800_000,
    -62_135_596_799_999,
    253_402_300_799_999,
    253_402_300_800_000,  # the year 10000
    1_764_000_000,  # seconds
    1_764_000_000_000_000,  # microseconds
    1_764_000_000_000_000_000,  # nanoseconds
    13_408_473_600_000_000,  # Windows: microseconds since 1601
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    EARLIEST_MS - 1,
    LATEST_MS,
]


def kafka_record(timestamp: int | None, value: bytes = b"v") -> ConsumerRecord:
    return ConsumerRecord(
        topic="requests",
        partition=0,
        offset=7,
        timestamp=timestamp,
        timestamp_type=0,
        key=b"r",
        value=value,
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=len(value),
        headers=(),
    )


def take(shard: Shard, taken: Record) -> Admission:
    """Take a record in, as the accept stage does."""
    try:
        read = read_request(taken.value, taken.headers, RequestLimits())
    except InvalidRecord as error:
        return admit(shard, taken, error, AdmissionRules(), context())
    return admit(shard, taken, read, AdmissionRules(), context())


def served(timestamp: int, **fields: int) -> tuple[Record, Job]:
    """A request with this timestamp, and its job."""
    asked = request_record(7, **fields)
    assert asked.value is not None
    taken = to_record(kafka_record(timestamp, asked.value))
    shard = Shard(0)
    take(shard, taken)
    [made] = shard.jobs.values()
    return taken, made


def result_of(made: Job) -> Result:
    finished = replace(made, state=JobState.FINISHING, ending=ResultEnding(transcript()))
    body = job_outcome(finished, None, NOW_MS, OutcomeRules()).body
    assert isinstance(body, Result)
    return body


@pytest.mark.parametrize("timestamp", UNUSABLE)
def test_an_unusable_timestamp_expires_no_request_and_causes_a_warning(timestamp: int) -> None:
    taken, made = served(timestamp, ttl_seconds=60)
    assert taken.position.timestamp_ms is None
    assert made.request.deadline_ms == NOW_MS + 60_000
    result = result_of(made)
    assert result.times.requested_at is None
    [notice] = result.warnings
    assert notice.code == "record_time_unusable"


@pytest.mark.parametrize("timestamp", [EARLIEST_MS, NOW_MS - 1, NOW_MS, LATEST_MS - 1])
def test_a_timestamp_that_can_be_used_is_kept(timestamp: int) -> None:
    taken, made = served(timestamp)
    assert taken.position.timestamp_ms == timestamp
    result = result_of(made)
    assert (result.times.requested_at, result.warnings) == (utc_time(timestamp), ())


def test_a_record_of_a_format_without_timestamps_has_none() -> None:
    assert to_record(kafka_record(None)).position.timestamp_ms is None


def test_a_producers_clock_that_is_ahead_prolongs_no_request() -> None:
    _, made = served(LATEST_MS - 1, ttl_seconds=60)
    assert made.request.deadline_ms == NOW_MS + 60_000


@given(INT64, st.booleans())
@example(-62_135_596_800_001, True)
@example(1_764_000_000_000_000, True)
def test_no_timestamp_keeps_a_record_from_its_outcome(timestamp: int, is_request: bool) -> None:
    """Readable or not: the outcome is built and written, and the cursor knows the record again."""
    value = request_record(7, ttl_seconds=60).value if is_request else b"{"
    assert value is not None
    taken = to_record(kafka_record(timestamp, value))
    assert to_record(kafka_record(timestamp, value)).position == taken.position
    shard = Shard(0)
    admission = take(shard, taken)
    assert shard.cursor == cursor_after(taken, shard.generation)
    groups = [*admission.change.groups]
    for made in list(shard.jobs.values()):
        groups += shard.on_job(made.ref, DeadlinePassed(), context(made.request.deadline_ms)).groups
    [body] = [outcome.body for group in groups for outcome in group.outcomes]
    assert isinstance(body, Failure)
    assert body.to_bytes()
    assert body.times.requested_at == utc_time(usable_ms(timestamp))


@given(st.integers(-(2**70), 2**70))
def test_a_time_is_formatted_or_is_none(epoch_ms: int) -> None:
    told = utc_time(epoch_ms)
    if told is not None:
        assert (told - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == epoch_ms


def test_the_last_and_the_first_time_of_the_calendar_are_times() -> None:
    assert utc_time(253_402_300_799_999) == datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
    assert utc_time(253_402_300_800_000) is None
    assert utc_time(-62_135_596_800_000) == datetime(1, 1, 1, tzinfo=UTC)
    assert utc_time(-62_135_596_800_001) is None
    assert utc_time(None) is None


def test_a_record_that_cannot_be_read_keeps_the_time_it_has() -> None:
    [group] = take(Shard(0), record(4, b"{")).change.groups
    [outcome] = group.outcomes
    assert outcome.body.times.requested_at == utc_time(NOW_MS - 500)
