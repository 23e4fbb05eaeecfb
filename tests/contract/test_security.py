"""TLS and logins on real Kafka: every client gets in, and who does not hears what to change.

What the service may do once it is in is in tests/integration/test_permissions.py.
"""

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import TransactionalIdAuthorizationFailed, UnsupportedSaslMechanismError

from service.clock import SystemClock
from service.errors import ConfigError
from service.kafka.admin.acls import require_acls
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client import terminal_client
from service.kafka.client.cluster import ClusterConfig, SecurityProtocol, reader, unreachable
from service.kafka.client.error_reasons import reason
from service.kafka.client.lifecycle import stop_producer
from service.kafka.group.consumer import GroupConfig, RequestConsumer
from service.kafka.login.tls_files import TlsFiles
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord
from tests.brokers import TopicNames
from tests.certificates import authority
from tests.contract.cluster import FETCH_WAIT_MS, eventually, new_tasks, records_of
from tests.fakes.owner import FakeOwner
from tests.secured import Grant, Secured

pytestmark = pytest.mark.needs_java
FAR_SECONDS = 30.0
SMALL = Creation(partitions=1, replication=1)
TRANSITIONS: list[tuple[SecurityProtocol, str]] = [
    ("SSL", ""),
    ("SASL_SSL", "SCRAM-SHA-512"),
    ("SASL_SSL", "SCRAM-SHA-256"),
    ("SASL_SSL", "PLAIN"),
    ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
]


@pytest.fixture
def topics(topic_names: TopicNames) -> Topics:
    return Topics(*topic_names("requests", "results", "failures", "journal"))


@pytest.fixture(autouse=True)
async def every_socket_is_closed() -> AsyncIterator[None]:
    """Wait for the end of TLS connections: a broker answers the goodbye of a refused login late."""
    yield
    selector: selectors.BaseSelector = vars(asyncio.get_running_loop())["_selector"]
    # What is left is the loop's own.
    await eventually(lambda: len(selector.get_map()) <= 1, FAR_SECONDS)


def way_in(secured: Secured, topics: Topics, protocol: SecurityProtocol, mechanism: str) -> ClusterConfig:
    """A client's configuration; with a login, of a user who may do everything to these topics."""
    if not mechanism:
        return secured.config(protocol)
    name = secured.user()
    prefix = topics.requests.rpartition(".")[0]
    kinds = ("topic", "group", "transactional-id")
    secured.grant(name, [Grant("All", kind, prefix, is_prefix=True) for kind in kinds])
    return replace(secured.config(protocol, name), sasl_mechanism=mechanism)


@pytest.mark.parametrize(("protocol", "mechanism"), TRANSITIONS)
async def test_every_client_of_the_service_gets_in(
    secured: Secured, topics: Topics, protocol: SecurityProtocol, mechanism: str
) -> None:
    cluster = way_in(secured, topics, protocol, mechanism)
    assert (await prepare(cluster, topics, SMALL)).partitions == 1
    await require_acls(cluster, topics)

    producer = Producer(cluster, idempotent=True)
    await producer.start()
    try:
        assert await producer.send([ProducerRecord(topics.journal, b"k", b"v", 0)]) == [0]
    finally:
        await producer.stop()

    async with reader(cluster, FETCH_WAIT_MS) as consumer:
        partition = TopicPartition(topics.journal, 0)
        consumer.assign([partition])
        assert (await asyncio.wait_for(consumer.getone(), FAR_SECONDS)).value == b"v"

    async with terminal_client.following(cluster, [topics.requests], FETCH_WAIT_MS) as records:
        await terminal_client.publish(cluster, topics.requests, b"k", b"request")
        assert (await asyncio.wait_for(anext(records), FAR_SECONDS)).value == b"request"

    assert await delivered(cluster, topics) == [b"request"]
    await commit_a_transaction(cluster, topics)
    async with asyncio.timeout(FAR_SECONDS):
        # A commit is answered before its markers are in the topics.
        while not (found := await records_of(secured.bootstrap, topics.results)):
            await asyncio.sleep(0.05)
    assert [record.value for record in found] == [b"outcome"]


@asynccontextmanager
async def served(cluster: ClusterConfig, topics: Topics) -> AsyncIterator[FakeOwner]:
    """What a member of the group is given, who serves the one partition meanwhile."""
    owner = FakeOwner()
    member = RequestConsumer(cluster, group_of(topics), owner, SystemClock(), owner)
    await member.start()
    running = asyncio.create_task(member.run(lambda: None))
    try:
        await eventually(lambda: owner.partitions == {0}, FAR_SECONDS)
        assert await member.prove_membership(0, 0)
        member.deliver_from(0, 0)
        yield owner
    finally:
        running.cancel()
        await asyncio.wait({running})
        await member.stop()


async def delivered(cluster: ClusterConfig, topics: Topics) -> list[bytes | None]:
    """What the member of a group is given first."""
    async with served(cluster, topics) as owner:
        await eventually(lambda: bool(owner.delivered), FAR_SECONDS)
        return [record.value for record in owner.delivered]


def group_of(topics: Topics) -> GroupConfig:
    return GroupConfig(topics.requests, topics.requests, None, 6_000, FETCH_WAIT_MS)


async def commit_a_transaction(cluster: ClusterConfig, topics: Topics) -> None:
    """One as `exactly_once` will write it: an outcome, an entry and the group's offset, or none of them."""
    producer = AIOKafkaProducer(**cluster.connection(), acks="all", transactional_id=f"{topics.journal}.0")
    try:
        async with asyncio.timeout(FAR_SECONDS):
            await producer.start()
            async with producer.transaction():
                await producer.send_and_wait(topics.results, b"outcome", partition=0)
                await producer.send_and_wait(topics.journal, b"entry", b"k", partition=0)
                offsets = {TopicPartition(topics.requests, 0): 1}
                await producer.send_offsets_to_transaction(offsets, topics.requests)
    finally:
        await stop_producer(producer)


async def test_a_transactional_id_that_is_not_granted_is_named(secured: Secured, topics: Topics) -> None:
    name = secured.user()
    await prepare(ClusterConfig(secured.bootstrap), topics, SMALL)
    prefix = topics.requests.rpartition(".")[0]
    secured.grant(name, [Grant("All", kind, prefix, is_prefix=True) for kind in ("topic", "group")])
    with pytest.raises(TransactionalIdAuthorizationFailed) as error:
        await commit_a_transaction(secured.config("SASL_SSL", name), topics)
    assert reason(error.value).startswith(
        f"no permission for transactional id {topics.journal}.0; grant Write on it"
    )


# -- topics that are guarded -----------------------------------------------------------------------------


async def denied(secured: Secured, topics: Topics, creation: Creation | None, *granted: str) -> str:
    """What the preparation of topics that are there says to a user with these permissions."""
    await prepare(ClusterConfig(secured.bootstrap), topics, SMALL)
    name = secured.user()
    prefix = topics.requests.rpartition(".")[0]
    secured.grant(name, [Grant(operation, "topic", prefix, is_prefix=True) for operation in granted])
    with pytest.raises(ConfigError) as error:
        await prepare(secured.config("SASL_SSL", name), topics, creation)
    return str(error.value)


async def test_topics_that_are_not_shown_may_be_there(secured: Secured, topics: Topics) -> None:
    words = await denied(secured, topics, None)
    assert words.startswith(f"missing topics: {topics.requests}")
    assert "is there no permission to see them?" in words


async def test_topics_that_are_there_and_not_shown_are_not_waited_for_in_vain(
    secured: Secured, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.kafka.admin.topics.SERVED_WITHIN_SECONDS", 0.5)
    words = await denied(secured, topics, SMALL, "Create")
    assert topics.journal in words
    assert "but does not show it" in words


async def test_a_journal_whose_settings_are_not_shown_is_not_trusted(
    secured: Secured, topics: Topics
) -> None:
    words = await denied(secured, topics, None, "Read", "Write")
    assert words.startswith(f"no permission for DescribeConfigs on topic {topics.journal}")


# -- who does not get in ---------------------------------------------------------------------------------


Start = Callable[[ClusterConfig], Awaitable[object]]


async def start_preparing(cluster: ClusterConfig) -> None:
    await prepare(cluster, Topics(), None)


async def start_consuming(cluster: ClusterConfig) -> None:
    await RequestConsumer(cluster, group_of(Topics()), FakeOwner(), SystemClock(), FakeOwner()).start()


async def start_publishing(cluster: ClusterConfig) -> None:
    await terminal_client.publish(cluster, "t", b"k", b"v")


async def start_following(cluster: ClusterConfig) -> None:
    async with terminal_client.following(cluster, ["t"], FETCH_WAIT_MS):
        pass


STARTS = [start_preparing, start_consuming, start_publishing, start_following]


async def refusal(cluster: ClusterConfig, start: Start) -> str:
    """What the start says, within its bound; it leaves nothing running."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError) as error:
            await start(cluster)
    assert new_tasks(before) == []
    return str(error.value)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_a_wrong_password_is_named_by_its_setting_and_not_shown(
    secured: Secured, start: Start, mechanism: str
) -> None:
    wrong = replace(secured.config("SASL_SSL", "user0", "wrong-and-secret"), sasl_mechanism=mechanism)
    words = await refusal(wrong, start)
    assert f"refuses the login of user user0 by {mechanism}" in words
    assert "SCRIBE_KAFKA__SASL_PASSWORD_FILE" in words
    assert "wrong-and-secret" not in words


@pytest.mark.parametrize("start", STARTS)
async def test_an_authority_that_is_not_trusted_is_named_by_its_setting(
    secured: Secured, start: Start, tmp_path: Path
) -> None:
    other = authority(tmp_path / "other.pem")
    words = await refusal(secured.config("SSL", files=TlsFiles(other.file)), start)
    assert "is not trusted" in words
    assert "SCRIBE_KAFKA__CA_FILE" in words


@pytest.mark.parametrize("start", STARTS)
async def test_a_certificate_for_another_name_is_recognised(secured: Secured, start: Start) -> None:
    config = secured.config("SSL")
    words = await refusal(
        replace(config, bootstrap_servers=config.bootstrap_servers.replace("127.0.0.1", "localhost")), start
    )
    assert "certified for another name" in words
    assert "localhost" in words
    assert "SCRIBE_KAFKA__BOOTSTRAP_SERVERS" in words


@pytest.mark.parametrize(
    ("listener", "spoken"),
    [
        ("SSL", "PLAINTEXT"),
        ("SASL_PLAINTEXT", "PLAINTEXT"),
        ("SASL_PLAINTEXT", "SSL"),
        ("SSL", "SASL_SSL"),
        ("SASL_SSL", "SSL"),
    ],
)
async def test_another_protocol_than_the_listeners_is_named_by_its_setting(
    secured: Secured, listener: SecurityProtocol, spoken: SecurityProtocol
) -> None:
    config = replace(secured.config(listener, "user0"), security_protocol=spoken)
    assert "SCRIBE_KAFKA__SECURITY_PROTOCOL" in await refusal(config, start_preparing)


async def test_a_login_that_the_brokers_do_not_offer_is_named_by_its_setting() -> None:
    words = unreachable(
        ClusterConfig("a:1", sasl_mechanism="PLAIN"), UnsupportedSaslMechanismError("only SCRAM-SHA-512")
    )
    assert words == "Kafka at a:1 has no login by PLAIN; check SCRIBE_KAFKA__SASL_MECHANISM"
