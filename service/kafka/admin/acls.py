"""Check the permissions on the topics before anything is paid for; aiokafka cannot query them yet.

Metadata requests report them from version 8 on: one number per topic, one bit per operation. If a broker does
not know that version or does not report them, a missing permission shows only when it is needed.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from enum import IntEnum

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from service.errors import ClusterError, ConfigError
from service.kafka.admin.creation import NOT_AUTHORIZED
from service.kafka.admin.topics import Topics
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
        """The name as Kafka's own tools write it."""
        return "".join(word.capitalize() for word in self.name.split("_"))


NOT_TOLD = -(2**31)
"""Kafka's value for granted operations that the broker does not report."""
TEXT = String("utf-8")

Needs = Mapping[str, Collection[Operation]]
"""The needed operations, by topic."""


async def require_acls(cluster: ClusterConfig, topics: Topics) -> None:
    """Raise `ConfigError` if this user lacks a permission on a topic.

    The message names all of them.

    Missing topics and a cluster that does not answer are not reported here, but by `prepare`.
    """
    await require_operations(cluster, needs_of(topics))


async def require_operations(cluster: ClusterConfig, needs: Needs) -> None:
    """The same for any needs."""
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
    """The operations that the service needs on each topic.

    Read and Write imply Describe.
    """
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
    """Metadata of topics with permissions.

    Sending it to an older broker raises NotImplementedError.
    """

    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = [*topics]

    def build(self, request_struct_class: type[_MetadataRequestV8]) -> _MetadataRequestV8:
        """The request to send; it creates no topic."""
        return request_struct_class(self._topics, False, False, True)


def missing(needs: Needs, answer: Response) -> Iterator[str]:
    """Needed operations that are not granted, as `Operation on topic`.

    None if the broker reports none.
    """
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
