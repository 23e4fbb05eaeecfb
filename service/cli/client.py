"""The command line's client of the contract.

It builds and publishes requests, and follows their outcomes.

It knows what any client knows, the topics and the records, and nothing of the service's internals.
"""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from pydantic import JsonValue

from service.app import from_settings
from service.cli.outcome_text import OutcomeView, read_outcome
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

    @property
    def outcome_topics(self) -> tuple[str, str]:
        """The topics of results and failures."""
        return (self.topics.results, self.topics.failures)


def config_of(settings: Settings) -> ClientConfig:
    """The cluster and topics of the settings."""
    silence_library()
    cluster, topics = from_settings.cluster_of(settings), from_settings.topics_of(settings)
    return ClientConfig(cluster, topics, settings.kafka.fetch_max_wait_ms)


def silence_library() -> None:
    """Keep the Kafka library's own lines from the terminal: nothing redacts them."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())


def pairs(words: Sequence[str]) -> dict[str, JsonValue]:
    """`name=value` words as an object.

    A value is read as JSON if it is valid JSON, else as a string.

    Raises ValueError.
    """
    found: dict[str, JsonValue] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ValueError("write it as name=value")
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = _value(value)
    return found


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


def encode(request: Mapping[str, JsonValue]) -> bytes:
    """The record's value."""
    return json.dumps(request, separators=(",", ":")).encode()


async def send(place: ClientConfig, request: Mapping[str, JsonValue]) -> tuple[int, int]:
    """Publish the request with its id as the key.

    Repeats and cancels must reach the same partition.

    Returns the record's partition and offset.
    """
    key = str(request["request_id"]).encode()
    return await publish(place.cluster, place.topics.requests, key, encode(request), HEADERS)


async def send_and_wait(
    place: ClientConfig,
    request: Mapping[str, JsonValue],
    timeout_seconds: float,
    sent: Callable[[], None],
    show: Show,
) -> bool:
    """Publish the request and show each file's outcome as it arrives.

    Returns whether `show` was always true.

    Raises `TimeoutError` if some outcome does not arrive in time.
    """
    is_whole = True
    async with following(place.cluster, place.outcome_topics, place.fetch_max_wait_ms) as records:
        placed = await send(place, request)
        sent()
        async with asyncio.timeout(timeout_seconds):
            async for record, outcome in _outcomes_of(request, placed, records):
                is_whole = show(record, outcome) and is_whole
    return is_whole


async def _outcomes_of(
    request: Mapping[str, JsonValue], placed: tuple[int, int], records: AsyncIterator[Record]
) -> AsyncIterator[tuple[Record, OutcomeView]]:
    """One outcome per file of the request, or the one that ends the request; without repeated deliveries."""
    urls = request["file_urls"]
    waiting = set(range(len(urls))) if isinstance(urls, list) else set()
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


async def watch(
    place: ClientConfig,
    *,
    from_beginning: bool,
    ready: Callable[[], None],
    take: Callable[[Record], bool],
    count: int | None,
) -> None:
    """Pass the records of results and failures to `take`.

    Calls `ready` before the first can arrive.

    Ends once `take` has returned True `count` times; never ends without a count.
    """
    left = count
    topics, wait_ms = place.outcome_topics, place.fetch_max_wait_ms
    async with following(place.cluster, topics, wait_ms, from_beginning=from_beginning) as records:
        ready()
        async for record in records:
            if take(record) and left is not None:
                left -= 1
            if left == 0:
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
