"""What the service may do with its topics, asked before anything is paid for; aiokafka cannot ask for it yet.

Metadata of version 8 is the first to tell it: one number a topic, a bit for each operation. Where a broker
knows no such version, or does not tell, a missing permission shows when it is needed.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from enum import IntEnum

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from service.errors import ClusterError, ConfigError
from service.kafka.admin.topics import NOT_AUTHORIZED, Topics
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.error_reasons import PAGE
from service.kafka.client.error_translation import translated
from service.kafka.client.probe import BOUND_SECONDS, ask


class Operation(IntEnum):
    """Kafka's operations on a topic, by their bit."""

    READ = 3
    WRITE = 4
    DESCRIBE_CONFIGS = 10

    @property
    def title(self) -> str:
        """As Kafka's own tools write it."""
        return "".join(word.capitalize() for word in self.name.split("_"))


NOT_TOLD = -(2**31)
TEXT = String("utf-8")

Needs = Mapping[str, Collection[Operation]]
"""What is needed, by topic."""


async def require_acls(cluster: ClusterConfig, topics: Topics) -> None:
    """Raise `ConfigError` when this user lacks a permission on a topic; the sentence names every one.

    Nothing is said of topics that do not exist, nor where the cluster does not answer: `prepare` does.
    """
    needs = needs_of(topics)
    try:
        with translated():
            async with asyncio.timeout(BOUND_SECONDS):
                answer = await ask(AuthorizedOperationsRequest(needs), cluster.connection())
    except ClusterError:
        return
    lacking = ", ".join(missing(needs, answer))
    if lacking:
        raise ConfigError(f"no permission for {lacking} ({PAGE})")


def needs_of(topics: Topics) -> Needs:
    """What the service does with each topic; reading and writing imply Describe."""
    return {
        topics.requests: (Operation.READ,),
        topics.results: (Operation.WRITE,),
        topics.failures: (Operation.WRITE,),
        topics.journal: (Operation.READ, Operation.WRITE, Operation.DESCRIBE_CONFIGS),
    }


class _MetadataResponse(Response):  # type: ignore[misc] # aiokafka ships no types for it
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT))),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequestV8(RequestStruct):  # type: ignore[misc] # aiokafka ships no types for it
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class AuthorizedOperationsRequest(Request[_MetadataRequestV8]):  # type: ignore[misc] # aiokafka ships no types for it
    """Metadata of topics with what may be done; sending it raises NotImplementedError to an older broker."""

    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = [*topics]

    def build(self, request_struct_class: type[_MetadataRequestV8]) -> _MetadataRequestV8:
        """The request as it goes over the wire; it creates no topic."""
        return request_struct_class(self._topics, False, False, True)


def missing(needs: Needs, answer: Response) -> Iterator[str]:
    """What is needed and not granted, as `Operation on topic`; nothing where the broker does not tell."""
    for topic in answer.to_object()["topics"]:
        granted: int = topic["authorized_operations"]
        needed = needs[topic["topic"]]
        if topic["error_code"] == NOT_AUTHORIZED:
            granted = 0
        elif topic["error_code"] or granted == NOT_TOLD:
            continue
        lacking = [each.title for each in needed if not granted >> each & 1]
        if lacking:
            yield f"{' and '.join(lacking)} on topic {topic['topic']}"
