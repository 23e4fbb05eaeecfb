"""The outcomes that Kafka has of the same work: a service that remembers it would not do it again."""

from collections.abc import Mapping

from pydantic import JsonValue

from service.cli.encoding import encode
from service.cli.outcome_text import OutcomeView, read_outcome
from service.contract.redaction import without_query
from service.contract.request import Request
from service.contract.request_decoder import RequestLimits, read_request
from service.core.job.request_record import Record
from service.kafka.client.clients import ConsumerRecord
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.consumer_records import to_record
from service.kafka.client.topic_reader import topic_reader


def wanted_urls(request: Mapping[str, JsonValue]) -> dict[int, str]:
    """The URLs that the request wants, without their queries, by file index."""
    urls, indexes = request.get("file_urls"), request.get("file_indexes")
    named = {
        index: without_query(str(url)) for index, url in enumerate(urls if isinstance(urls, list) else ())
    }
    return (
        {index: url for index, url in named.items() if index in indexes}
        if isinstance(indexes, list)
        else named
    )


async def known_outcomes(
    cluster: ClusterConfig,
    topics: tuple[str, str],
    fetch_max_wait_ms: int,
    request: Mapping[str, JsonValue],
    since_ms: int,
) -> dict[int, tuple[Record, OutcomeView]]:
    """The outcomes of the same files under the same id, number and model, by file index.

    Only failures say with which options; a result may be of a request with others (`names_options`).
    """
    asked = read_request(encode(request), (), RequestLimits()).request
    urls, key = wanted_urls(request), str(request["request_id"]).encode()
    found: dict[int, tuple[Record, OutcomeView]] = {}

    def take(each: ConsumerRecord) -> None:
        outcome = read_outcome(each.value) if each.key == key else None
        if outcome is None or outcome.file_index is None:
            return
        is_same = (outcome.replay, outcome.model) == (asked.replay, asked.model) and _agrees(outcome, asked)
        if is_same and urls.get(outcome.file_index) == outcome.file_url:
            found[outcome.file_index] = (to_record(each), outcome)

    async with topic_reader(cluster, topics, fetch_max_wait_ms) as reader:
        for topic in topics:
            await reader.read_through(await reader.since(reader.of_key(topic, key), since_ms), take)
    return found


def names_options(outcome: OutcomeView) -> bool:
    """Whether the outcome says with which options the work was done."""
    return outcome.original_request is not None


def _agrees(outcome: OutcomeView, asked: Request) -> bool:
    """Whether nothing that the outcome says of options and formats is another request's."""
    if not set(outcome.renderings or ()) <= set(asked.formats):
        return False
    said, formats = outcome.original_request, [*asked.formats]
    output: JsonValue = {"formats": [*formats]} if formats else None
    return said is None or (said.get("options", {}), said.get("output")) == (asked.options, output)
