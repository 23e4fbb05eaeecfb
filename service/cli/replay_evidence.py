"""Reads what a replay must know: the failures, and which work was done again or is still open."""

from collections.abc import Collection, Sequence

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from service.cli.client import ClientConfig
from service.cli.replay_plan import Evidence, FailedFile
from service.contract.request import Action
from service.contract.request_decoder import RequestLimits, read_request
from service.errors import InvalidRecord
from service.frozen import dataclass
from service.kafka.client.clients import ConsumerRecord
from service.kafka.client.consumer_records import usable_ms
from service.kafka.client.topic_reader import TopicReader, topic_reader
from service.kafka.journal.journal_view import JournalPartition, view_journal

CLOCK_MS = 3_600_000
"""The result of a replay is later than the failure before it, but clocks of producers differ."""


class _FailureView(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    request_id: str | None = None
    replay: int | None = None
    file_index: int | None = None
    file_count: int | None = None
    code: str
    retryable: bool = False
    model: str | None = None
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
            await _results(topics, names.results, oldest_ms - CLOCK_MS, evidence)
        partitions = await view_journal(topics, names.requests, names.journal)
        for partition in partitions:
            _note_journal(partition, evidence)
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
            # The answer to a record used up no number, but may name one that is used.
            evidence.note(
                failed.request_id, failed.replay, () if failed.file_index is None else (failed.file_index,)
            )

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
    )


async def _results(topics: TopicReader, topic: str, since_ms: int, evidence: Evidence) -> None:
    def take(record: ConsumerRecord) -> None:
        identity = next((value for name, value in record.headers if name == "ce_id"), b"")
        request_id, replay, index = ["", "", "", *identity.decode(errors="replace").rsplit("/", 2)][-3:]
        if request_id and replay.isdecimal() and index.isdecimal():
            evidence.note(request_id, int(replay), (int(index),))

    for partition in topics.of(topic):
        await topics.read_through(await topics.since(partition, max(0, since_ms)), take)


def _note_journal(partition: JournalPartition, evidence: Evidence) -> None:
    for request in partition.restored.requests().values():
        evidence.note(request.request_id, request.replay, (file.index for file in request.files))
        evidence.open.add(request.request_id)
    for finished in partition.restored.finished():
        evidence.note(finished.request_id, finished.replay, (end.file_index for end in finished.ends))


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
