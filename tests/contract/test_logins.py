"""Client certificates, tokens and what rotates, on real Kafka.

Passwords and TLS without a certificate of ours are in test_security.py.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from service.app.rotation import CERTIFICATES, Rotation
from service.errors import ConfigError
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client.clients import KafkaConsumer, TopicPartition, durable_producer
from service.kafka.client.cluster import ClusterConfig, reader
from service.kafka.client.lifecycle import stop_producer
from service.kafka.login.tls_files import TlsFiles
from service.kafka.login.token_sources import TokenEndpoint, TokenFile
from service.kafka.login.tokens import Tokens, usable
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord, SendResult
from service.kafka.writing.transactional_producer import Transactions
from tests.brokers import TopicNames
from tests.certificates import authority
from tests.contract.cluster import FETCH_WAIT_MS, eventually
from tests.contract.test_security import (
    FAR_SECONDS,
    STARTS,
    Start,
    commit_a_transaction,
    delivered,
    every_socket_is_closed,
    refusal,
    served,
    start_preparing,
)
from tests.fakes.clock import FakeClock
from tests.secured import Grant, Secured
from tests.tokens import Endpoint, serving

__all__ = ["every_socket_is_closed"]

pytestmark = pytest.mark.needs_java
SMALL = Creation(partitions=1, replication=1)
SECRET = "secret-of-the-client"


@pytest.fixture
def topics(topic_names: TopicNames) -> Topics:
    return Topics(*topic_names("requests", "results", "failures", "journal"))


def allow_all(secured: Secured, topics: Topics, name: str) -> None:
    """Let this user do everything to these topics."""
    prefix = topics.requests.rpartition(".")[0]
    kinds = ("topic", "group", "transactional-id")
    secured.grant(name, [Grant("All", kind, prefix, is_prefix=True) for kind in kinds])


async def use_every_client(cluster: ClusterConfig, topics: Topics) -> None:
    """Prepare, write, read, join the group, commit a transaction."""
    await prepare(cluster, topics, SMALL)
    producer = Producer(cluster, idempotent=True)
    await producer.start()
    try:
        assert await producer.send([ProducerRecord(topics.requests, b"k", b"request", 0)]) == [0]
    finally:
        await producer.stop()
    assert await delivered(cluster, topics) == [b"request"]
    await commit_a_transaction(cluster, topics)


# -- client certificates ---------------------------------------------------------------------------------


def mutual(secured: Secured, folder: Path, name: str, password: str | None = None) -> ClusterConfig:
    """A client that shows a certificate of this name."""
    cert_file, key_file = secured.authority.client(folder, name, password)
    opening = SecretStr(password) if password else None
    files = TlsFiles(secured.ca_file, cert_file, key_file, lambda: opening)
    return secured.config("SSL", files=files, listener="MUTUAL")


@pytest.mark.parametrize("password", [None, "opens-the-key"])
async def test_a_client_certificate_lets_every_client_in(
    secured: Secured, topics: Topics, tmp_path: Path, password: str | None
) -> None:
    name = f"client-{password or 0}"
    allow_all(secured, topics, f"CN={name}")
    await use_every_client(mutual(secured, tmp_path, name, password), topics)


@pytest.mark.parametrize("start", STARTS)
async def test_a_certificate_that_is_missing_or_unknown_is_named_by_its_setting(
    secured: Secured, start: Start, tmp_path: Path
) -> None:
    words = await refusal(secured.config("SSL", listener="MUTUAL"), start)
    assert "wants a client certificate" in words
    assert "set SCRIBE_KAFKA__CERT_FILE and SCRIBE_KAFKA__KEY_FILE" in words
    stranger = authority(tmp_path / "stranger.pem").client(tmp_path, "stranger")
    files = TlsFiles(secured.ca_file, *stranger)
    words = await refusal(secured.config("SSL", files=files, listener="MUTUAL"), start)
    assert "refuses our client certificate" in words
    assert "check SCRIBE_KAFKA__CERT_FILE" in words


async def test_a_certificate_that_is_replaced_is_shown_by_clients_that_live(
    secured: Secured, topics: Topics, tmp_path: Path
) -> None:
    """The broker knows them by their names, and only the new one may read the topic."""
    allow_all(secured, topics, "CN=renewed")
    await prepare(ClusterConfig(secured.bootstrap), topics, SMALL)
    cluster = mutual(secured, tmp_path, "first")
    assert cluster.credentials.files.cert_file is not None
    assert cluster.credentials.files.key_file is not None
    async with reader(cluster, FETCH_WAIT_MS) as consumer:
        consumer.assign([TopicPartition(topics.journal, 0)])
        rotation = Rotation(
            CERTIFICATES,
            cluster.credentials.read_tls,
            cluster.credentials.tls,
            cluster.credentials.use_tls,
            FakeClock(),
        )
        cert_file, key_file = secured.authority.client(tmp_path, "renewed")
        shutil.copy(cert_file, cluster.credentials.files.cert_file)
        before = cluster.credentials.tls
        with pytest.raises(ConfigError, match="they are not a pair"):  # half of the new pair is there
            cluster.credentials.read_tls()
        shutil.copy(key_file, cluster.credentials.files.key_file)
        found: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        found.set_result(cluster.credentials.read_tls())
        rotation._take(found)  # type: ignore[arg-type]
        assert cluster.credentials.tls != before
        await break_connections(consumer)
        await until_read(consumer, topics)


async def break_connections(consumer: KafkaConsumer) -> None:
    """Make the client connect anew, as after a restart of its broker."""
    for connection in list(consumer._client._conns.values()):
        connection.close()


async def until_read(consumer: KafkaConsumer, topics: Topics) -> None:
    """Wait until the client may read the end of a partition."""
    partition = TopicPartition(topics.journal, 0)
    async with asyncio.timeout(FAR_SECONDS):
        assert await consumer.end_offsets([partition]) == {partition: 0}


# -- a password that is replaced -------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_a_password_that_is_replaced_is_used_by_clients_that_live(
    secured: Secured, topics: Topics, mechanism: str
) -> None:
    """They were made with a password that is wrong by now."""
    name = secured.user()
    allow_all(secured, topics, name)
    cluster = replace(secured.config("SASL_SSL", name), sasl_mechanism=mechanism)
    await prepare(cluster, topics, SMALL)
    producer = durable_producer(cluster)
    await producer.start()
    try:
        async with reader(cluster, FETCH_WAIT_MS) as consumer:
            consumer.assign([TopicPartition(topics.journal, 0)])
            for client in (consumer._client, producer.client):
                client._sasl_plain_password = "wrong-by-now"
                await break_connections(consumer)
            cluster.credentials.use_password(SecretStr(secured.passwords[name]))
            await until_read(consumer, topics)
            async with asyncio.timeout(FAR_SECONDS):
                await producer.send_and_wait(topics.journal, b"v", b"k", partition=0)
    finally:
        await stop_producer(producer)
    assert cluster.connection()["sasl_plain_password"] == secured.passwords[name]


# -- tokens ----------------------------------------------------------------------------------------------


@pytest.fixture
async def endpoint(secured: Secured, topics: Topics) -> AsyncIterator[Endpoint]:
    """A token endpoint, whose client may do everything to the test's topics."""
    subject = f"of-{topics.journal}"
    allow_all(secured, topics, subject)
    async with serving(Endpoint(secured.issuer, subject)) as ready:
        yield ready


def source(endpoint: Endpoint, secret: str = SECRET) -> TokenEndpoint:
    return TokenEndpoint(endpoint.url, "scribe", lambda: SecretStr(secret), "kafka")


async def test_a_token_endpoint_lets_every_client_in_with_one_token(
    secured: Secured, topics: Topics, endpoint: Endpoint
) -> None:
    hidden: list[SecretStr] = []
    await use_every_client(secured.token_config(Tokens(source(endpoint), hide=hidden.append)), topics)
    assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "kafka", "client": "scribe"}]
    assert [token.get_secret_value() for token in hidden] == endpoint.given


async def test_a_token_file_lets_every_client_in(secured: Secured, topics: Topics) -> None:
    subject = f"of-{topics.journal}"
    allow_all(secured, topics, subject)
    tokens = Tokens(TokenFile(lambda: SecretStr(secured.issuer.token(subject))))
    await use_every_client(secured.token_config(tokens), topics)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    ("life_seconds", "claims"),
    [(300, {"aud": "another"}), (300, {"iss": "https://another.example"}), (-100, {})],
)
async def test_a_token_that_the_broker_refuses_is_named_and_not_shown(
    secured: Secured, start: Start, life_seconds: float, claims: dict[str, str]
) -> None:
    text = secured.issuer.token("someone", life_seconds, **claims)

    class Fixed:
        async def fetch(self) -> object:
            token = usable(text, FakeClock())
            assert token is not None
            return replace(token, life_seconds=300.0)

    words = await refusal(secured.token_config(Tokens(Fixed())), start)  # type: ignore[arg-type]
    assert "refuses our token" in words
    assert "invalid_token" in words
    assert "SCRIBE_KAFKA__OAUTH_SCOPE" in words
    assert text not in words


@pytest.mark.parametrize("start", STARTS)
async def test_a_token_endpoint_that_refuses_us_is_named_by_its_settings(
    secured: Secured, start: Start, endpoint: Endpoint
) -> None:
    words = await refusal(secured.token_config(Tokens(source(endpoint, "a-wrong-secret"))), start)
    assert "refuses us (401, invalid_client)" in words
    assert "SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE" in words
    assert "a-wrong-secret" not in words


async def test_a_token_endpoint_that_answers_again_lets_us_in(
    secured: Secured, topics: Topics, endpoint: Endpoint
) -> None:
    endpoint.answers = [web.Response(status=503)]
    assert "answers 503" in await refusal(secured.token_config(Tokens(source(endpoint))), start_preparing)
    await prepare(secured.token_config(Tokens(source(endpoint))), topics, SMALL)


async def test_sessions_that_end_with_their_token_lose_nothing(
    secured: Secured, topics: Topics, endpoint: Endpoint
) -> None:
    """The broker ends each connection after 3 s; what was on its way is sent again, with another token."""
    endpoint.life_seconds = 4.0
    cluster = secured.token_config(Tokens(source(endpoint)), "BRIEF")
    await prepare(cluster, topics, SMALL)
    producer = Producer(cluster, idempotent=True)
    transactions = Transactions(cluster, f"{topics.journal}.0", topics)
    answers: list[SendResult] = []
    async with served(cluster, topics) as owner:
        await producer.start()
        await transactions.open()
        try:
            while len(endpoint.given) < 5:
                number = b"%d" % (len(answers) // 2)
                answers += await producer.send([ProducerRecord(topics.requests, b"k", number, 0)])
                answers += await transactions.send([ProducerRecord(topics.results, b"k", number, 0)])
                await asyncio.sleep(0.1)
            await eventually(lambda: len(owner.delivered) == len(answers) // 2, FAR_SECONDS)
        finally:
            await transactions.close()
            await producer.stop()
        numbers = range(len(answers) // 2)
        assert answers[::2] == list(numbers)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert [record.value for record in owner.delivered] == [b"%d" % number for number in numbers]
        assert owner.losses == []
