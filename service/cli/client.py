"""The command line's client of the contract.

It builds and publishes requests, and follows their outcomes.

It knows what any client knows, the topics and the records, and nothing of the service's internals.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from pydantic import JsonValue

from service.app import from_settings
from service.cli.encoding import encode
from service.cli.known_outcomes import known_outcomes, names_options, wanted_urls
from service.cli.outcome_text import OutcomeView, read_outcome
from service.cli.progress import Progress, shown_progress
from service.clock import SYSTEM_CLOCK
from service.contract import strict_json
from service.contract.request_decoder import RequestLimits, read_request
from service.core.job.request_record import Record
from service.errors import ConfigError, InvalidRecord
from service.frozen import dataclass
from service.kafka.admin.topics import Creation, Layout, Topics, prepare
from service.kafka.client.cluster import ClusterConfig, unreachable
from service.kafka.client.terminal_client import following, publish
from service.settings import Settings

HEADERS = (("content-type", b"application/json"),)
_MAYBE_OTHERS = (
    "what was there already does not name its options: it may be of another request with this id and number"
)
TOPICS_SECONDS = 14.0
"""Bound for creating and checking topics: a user waits for it at a terminal."""
Show = Callable[[Record, OutcomeView], bool]
"""Shows an outcome; returns whether it showed the transcript in the requested form."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The cluster and topics of a client."""

    cluster: ClusterConfig
    topics: Topics
    fetch_max_wait_ms: int
    remembered_seconds: int = 86_400
    """How long the service remembers a request that has ended."""

    @property
    def outcome_topics(self) -> tuple[str, str]:
        """The topics of results and failures."""
        return (self.topics.results, self.topics.failures)


def config_of(settings: Settings) -> ClientConfig:
    """The cluster and topics of the settings."""
    silence_library()
    cluster, topics = from_settings.cluster_of(settings), from_settings.topics_of(settings)
    window_seconds = settings.deduplication.window_seconds
    return ClientConfig(cluster, topics, settings.kafka.fetch_max_wait_ms, window_seconds)


def silence_library() -> None:
    """Keep the Kafka library's own lines from the terminal: nothing redacts them."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())


def pairs(words: Sequence[str]) -> dict[str, JsonValue]:
    """`name=value` words, and JSON objects, as one object.

    A value is read as JSON if it is valid JSON, else as a string.

    Raises ValueError.
    """
    found: dict[str, JsonValue] = {}
    for word in words:
        for name, value in _named(word).items():
            if name in found:
                raise ValueError(f"{name} is given twice")
            found[name] = value
    return found


def _named(word: str) -> dict[str, JsonValue]:
    document = _value(word) if word.startswith("{") else None
    if isinstance(document, dict):
        return document
    name, equals, value = word.partition("=")
    if not name or not equals or word.startswith("{"):
        raise ValueError("write it as name=value, or as a JSON object")
    return {name: _value(value)}


def _value(text: str) -> JsonValue:
    try:
        return strict_json.loads(text)
    except InvalidRecord:
        return text


def deadline(text: str | None) -> dict[str, JsonValue]:
    """The request field for a deadline given as seconds from now, or as a time."""
    if text is None:
        return {}
    return {"ttl_seconds": int(text)} if re.fullmatch("[0-9]{1,12}", text) else {"deadline": text}


def new_request(fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A request of the non-empty fields, with a new id if none is given.

    Raises `InvalidRecord` if the service would refuse it.
    """
    given = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    request: dict[str, JsonValue] = {"request_id": f"cli-{uuid.uuid4()}", **given}
    read_request(encode(request), (), RequestLimits())
    return request


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request to publish, and its record's key and headers.

    `is_named`: the user has chosen its id, so it may be known already.
    """

    body: Mapping[str, JsonValue]
    is_named: bool = True
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def request_id(self) -> str:
        """The request's id."""
        return str(self.body["request_id"])

    @property
    def record_key(self) -> bytes:
        """The record's key: the id, unless another was given."""
        return self.request_id.encode() if self.key is None else self.key


async def send(place: ClientConfig, request: NewRequest) -> tuple[int, int]:
    """Publish the request with its id as the key, unless another is given.

    Repeats and cancels must reach the same partition.

    Returns the record's partition and offset.
    """
    headers, body = (*HEADERS, *request.headers), encode(request.body)
    return await publish(place.cluster, place.topics.requests, request.record_key, body, headers)


async def send_and_wait(
    place: ClientConfig,
    request: NewRequest,
    timeout_seconds: float,
    tell: Callable[[str], None],
    show: Show,
) -> bool:
    """Publish the request and show each file's outcome as it arrives.

    What Kafka has of the same work already is shown instead: a service that remembers it does not answer.

    Returns whether `show` was always true.

    Raises `TimeoutError` if some outcome does not arrive in time.
    """
    topics, wait_ms = place.outcome_topics, place.fetch_max_wait_ms
    async with following(place.cluster, topics, wait_ms) as records:
        known = await _known(place, request) if request.is_named else {}
        waiting = set(wanted_urls(request.body)) - set(known)
        shown = [show(*known[index]) for index in sorted(known)]
        is_whole = all(shown)
        if not all(names_options(outcome) for _, outcome in known.values()):
            tell(f"{request.request_id}: {_MAYBE_OTHERS}")
        if not waiting:
            tell(
                f"{request.request_id}: done before; not published: --replay with a new number does it again"
            )
            return is_whole
        async with _progress(place, request, tell), asyncio.timeout(timeout_seconds):
            placed = await send(place, request)
            tell(
                f"{request.request_id}: published; waiting for {len(waiting)} file(s), "
                "which a service on these topics (`scribe run`) transcribes"
            )
            async for record, outcome in _outcomes_of(request.body, waiting, placed, records):
                is_whole = show(record, outcome) and is_whole
    return is_whole


def _progress(
    place: ClientConfig, request: NewRequest, tell: Callable[[str], None]
) -> AbstractAsyncContextManager[None]:
    """Tell how far the request has come."""
    number = request.body.get("replay", 0)
    progress = Progress(request.request_id, number if isinstance(number, int) else 0, tell)
    journal, wait_ms = place.topics.journal, place.fetch_max_wait_ms
    return shown_progress(place.cluster, journal, wait_ms, progress, request.record_key)


async def _known(place: ClientConfig, request: NewRequest) -> Mapping[int, tuple[Record, OutcomeView]]:
    since_ms = SYSTEM_CLOCK.wall_ms() - 1000 * place.remembered_seconds
    topics, wait_ms = place.outcome_topics, place.fetch_max_wait_ms
    return await known_outcomes(place.cluster, topics, wait_ms, request.body, since_ms)


async def _outcomes_of(
    request: Mapping[str, JsonValue],
    waiting: set[int],
    placed: tuple[int, int],
    records: AsyncIterator[Record],
) -> AsyncIterator[tuple[Record, OutcomeView]]:
    """One outcome per waiting file, or the one that ends the request; without repeated deliveries."""
    key = str(request["request_id"]).encode()
    async for record in records:
        outcome = read_outcome(record.value) if record.key == key else None
        # The failure of an unreadable record may have no replay number.
        if outcome is None or outcome.replay not in (None, request.get("replay", 0)):
            continue
        if outcome.ends_request and (outcome.origin is None or outcome.origin.place == placed):
            # Not the answer to another client's repeat or cancel.
            yield record, outcome
            return
        if outcome.file_index in waiting:
            waiting.remove(outcome.file_index)
            yield record, outcome
        if not waiting:
            return


async def prepare_topics(place: ClientConfig, creation: Creation | None) -> Layout:
    """Create what is missing (unless `creation` is None) and check the topics.

    Raises `ConfigError`.
    """
    try:
        async with asyncio.timeout(TOPICS_SECONDS):
            return await prepare(place.cluster, place.topics, creation)
    except TimeoutError as error:
        raise ConfigError(unreachable(place.cluster, error)) from error
