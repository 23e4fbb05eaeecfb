"""Reads what a replay must know: the failures, and which work was done again or is still open."""

import math
from collections.abc import Collection, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from service.cli.client import ClientConfig
from service.cli.replay_plan import Evidence, FailedFile
from service.contract.request import Action
from service.contract.request_decoder import RequestLimits, read_request
from service.errors import InvalidRecord
from service.frozen import dataclass
from service.kafka.client.clients import ConsumerRecord, TopicPartition
from service.kafka.client.consumer_records import usable_ms
from service.kafka.client.topic_reader import TopicReader, topic_reader
from service.kafka.journal.journal_view import JournalPartition, view_journal

CLOCK_MS = 3_600_000
"""The result of a replay is later than the failure before it, but clocks of producers differ."""


class _OriginView(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    partition: int
    offset: int


class _FailureView(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    request_id: str | None = None
    replay: int | None = None
    file_index: int | None = None
    file_count: int | None = None
    code: str
    retryable: bool = False
    model: str | None = None
    origin: _OriginView | None = None
    original_request: dict[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """All failures in Kafka, and what is known of their requests."""

    failures: Sequence[FailedFile]
    evidence: Evidence
    unreadable: tuple[str, ...] = ()
    """Partitions of the journal that could not be read: what they say is missing."""


async def gather(place: ClientConfig, copied_headers: Collection[str]) -> Findings:
    """Read the failures, the journal, the requests that nobody has accepted, and later results."""
    names, evidence = place.topics, Evidence()
    async with topic_reader(place.cluster, names.all(), place.fetch_max_wait_ms) as topics:
        failures = await _failures(topics, names.failures, evidence, frozenset(copied_headers))
        oldest_ms = min((each.time_ms for each in failures), default=None)
        if oldest_ms is not None:
            since_ms = await read_results(topics, names.results, oldest_ms - CLOCK_MS, evidence)
            evidence.results_since_ms = {
                each.request_id: since_ms[topics.of_key(names.results, each.request_id.encode())]
                for each in failures
            }
        partitions = await view_journal(topics, names.requests, names.journal)
        for partition in partitions:
            note_journal(topics, names.requests, partition, evidence)
            await _not_accepted(topics, partition, evidence)
    errors = (f"partition {each.number}: {each.error}" for each in partitions if each.error)
    return Findings(failures, evidence, tuple(errors))


async def _failures(
    topics: TopicReader, topic: str, evidence: Evidence, copied_headers: frozenset[str]
) -> list[FailedFile]:
    found: list[FailedFile] = []

    def take(record: ConsumerRecord) -> None:
        failed = _failed(record, copied_headers)
        if failed is not None:
            found.append(failed)
            evidence.note_end(failed.request_id, failed.replay, failed.file_index, failed.time_ms)

    for partition in topics.of(topic):
        await topics.read_through(await topics.extent(partition), take)
    return found


def _failed(record: ConsumerRecord, copied_headers: frozenset[str]) -> FailedFile | None:
    """The failure in a record; None for one without a request id, and for what is no failure."""
    try:
        seen = _FailureView.model_validate_json(record.value or b"")
    except ValidationError:
        return None
    if seen.request_id is None:
        return None
    return FailedFile(
        seen.request_id,
        seen.replay or 0,
        seen.file_index,
        seen.file_count or 1,
        seen.code,
        seen.retryable,
        seen.model,
        usable_ms(record.timestamp) or 0,
        seen.original_request,
        tuple((name, value) for name, value in record.headers if name in copied_headers),
        None if seen.origin is None else (seen.origin.partition, seen.origin.offset),
    )


async def read_results(
    topics: TopicReader, topic: str, since_ms: int, evidence: Evidence
) -> Mapping[TopicPartition, float]:
    """Note the results since a time, and return for each partition from when on it has all of them."""
    known_since_ms: dict[TopicPartition, float] = {}
    times: list[int] = []

    def take(record: ConsumerRecord) -> None:
        time_ms = usable_ms(record.timestamp)
        if time_ms is not None:
            times.append(time_ms)
        identity = next((value for name, value in record.headers if name == "ce_id"), b"")
        request_id, replay, index = ["", "", "", *identity.decode(errors="replace").rsplit("/", 2)][-3:]
        if request_id and replay.isdecimal() and index.isdecimal():
            evidence.note_end(request_id, int(replay), int(index), math.inf if time_ms is None else time_ms)

    for partition in topics.of(topic):
        times.clear()
        span = await topics.since(partition, max(0, since_ms))
        await topics.read_through(span, take)
        begin = (await topics.extent(partition)).begin
        # Retention deletes from the beginning: what is before `span` shows that nothing later is deleted.
        is_cut = begin > 0 and span.begin <= begin
        known_since_ms[partition] = next((each + CLOCK_MS for each in times), math.inf) if is_cut else 0
    return known_since_ms


def note_journal(topics: TopicReader, requests: str, partition: JournalPartition, evidence: Evidence) -> None:
    """Note the requests of a journal partition, open or ended."""
    for request in partition.restored.requests().values():
        evidence.note(request.request_id, request.replay, (file.index for file in request.files))
        evidence.open.add(request.request_id)
    for finished in partition.restored.finished():
        evidence.note(finished.request_id, finished.replay, (end.file_index for end in finished.ends))
        # Replays are keyed by the id: another partition may forget them before this request.
        if topics.of_key(requests, finished.request_id.encode()).partition == partition.number:
            place = (partition.number, finished.origin.offset)
            evidence.remembered.add((finished.request_id, finished.replay, place))


async def _not_accepted(topics: TopicReader, partition: JournalPartition, evidence: Evidence) -> None:
    """Note requests that the service has not read yet: perhaps replays of a run before this one."""

    def take(record: ConsumerRecord) -> None:
        try:
            request = read_request(record.value, tuple(record.headers), RequestLimits()).request
        except InvalidRecord:
            return
        if request.action is Action.TRANSCRIBE:
            evidence.note(request.request_id, request.replay, request.file_indexes)
            evidence.open.add(request.request_id)

    await topics.read_through(partition.not_accepted, take)
