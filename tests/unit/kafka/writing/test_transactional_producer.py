"""A transaction is whole or not there: on a producer that the test plays, send by send."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, ProducerFenced, UnknownError
from aiokafka.structs import RecordMetadata, TopicPartition

from service.errors import ClusterError, ConfigError, PublishError, RecordTooLarge
from service.kafka.admin.topics import Topics
from service.kafka.client.cluster import ClusterConfig
from service.kafka.writing import transactional_producer
from service.kafka.writing.producer_record import ProducerRecord
from service.kafka.writing.transactional_producer import Transactions, require_transactions

RECORDS = [ProducerRecord("journal", b"a/0/0", b"{}", 0), ProducerRecord("journal", b"b/0/0", b"{}", 0)]


@dataclass
class StubProducer:
    """aiokafka's producer, as far as a transaction needs it. `failures` are those of the next sends."""

    failures: deque[Exception | None] = field(default_factory=deque)
    start_error: Exception | None = None
    start_gate: asyncio.Event = field(default_factory=asyncio.Event)
    commit_error: BaseException | None = None
    commit_gate: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[str] = field(default_factory=list)
    provider_error: Exception | None = None

    def __post_init__(self) -> None:
        self.start_gate.set()
        self.commit_gate.set()

    async def start(self) -> None:
        self.calls.append("start")
        await self.start_gate.wait()
        if self.start_error:
            raise self.start_error

    async def begin_transaction(self) -> None:
        self.calls.append("begin")

    async def partitions_for(self, topic: str) -> set[int]:
        if topic == "away":
            raise KafkaConnectionError
        return {0}

    async def send(self, topic: str, **_: object) -> "asyncio.Future[RecordMetadata]":
        self.calls.append("send")
        sent: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        failure = self.failures.popleft() if self.failures else None
        if failure is None:
            place = TopicPartition(topic, 0)
            offset = self.calls.count("send") - 1
            sent.set_result(RecordMetadata(topic, 0, place, offset, 0, 0, 0))
        elif isinstance(failure, TimeoutError):
            return sent
        else:
            sent.set_exception(failure)
        return sent

    async def commit_transaction(self) -> None:
        self.calls.append("commit")
        await self.commit_gate.wait()
        if self.commit_error:
            raise self.commit_error


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubProducer:
    made = StubProducer()

    async def destroy(producer: StubProducer) -> None:
        producer.calls.append("destroy")

    monkeypatch.setattr(Transactions, "_new_producer", lambda _: made)
    monkeypatch.setattr(transactional_producer, "destroy_producer", destroy)
    monkeypatch.setattr(transactional_producer, "is_stopped", lambda _: False)
    monkeypatch.setattr(
        transactional_producer, "transaction_error_of", lambda producer: producer.provider_error
    )
    return made


@pytest.fixture
async def sender(stub: StubProducer) -> Transactions:
    made = Transactions(ClusterConfig("h:1"), "journal.0", Topics(), send_seconds=0.05, commit_seconds=0.05)
    await made.open()
    stub.calls.clear()
    return made


async def test_a_commit_comes_after_every_send_has_succeeded(
    stub: StubProducer, sender: Transactions
) -> None:
    assert await sender.send(RECORDS) == [0, 1]
    assert stub.calls == ["begin", "send", "send", "commit"]
    assert sender.is_open


async def test_without_one_of_its_records_a_transaction_is_not_committed(
    stub: StubProducer, sender: Transactions
) -> None:
    """aiokafka itself would commit the rest."""
    stub.failures.extend([None, KafkaConnectionError()])
    answers = await sender.send(RECORDS)
    assert any(isinstance(answer, PublishError) for answer in answers)
    assert stub.calls == ["begin", "send", "send", "destroy"]
    assert not sender.is_open


async def test_a_record_that_is_too_large_has_an_error_of_its_own(
    stub: StubProducer, sender: Transactions
) -> None:
    stub.failures.extend([None, MessageSizeTooLargeError()])
    answers = await sender.send(RECORDS)
    assert isinstance(answers[1], RecordTooLarge)
    assert "commit" not in stub.calls


async def test_a_send_without_an_answer_is_given_up_in_time(stub: StubProducer, sender: Transactions) -> None:
    stub.failures.extend([None, TimeoutError()])
    [first, second] = await sender.send(RECORDS)
    assert isinstance(first, PublishError)
    assert str(second) == "no answer in time"
    assert stub.calls[-1] == "destroy"


async def test_what_the_broker_said_meanwhile_is_the_reason(stub: StubProducer, sender: Transactions) -> None:
    """A missing right fails the transaction and leaves its sends waiting for ever."""
    stub.failures.extend([None, TimeoutError()])
    stub.provider_error = ProducerFenced()
    [answer, _] = await sender.send(RECORDS)
    assert "ProducerFenced" in str(answer)


@pytest.mark.parametrize("error", [ProducerFenced(), AssertionError("COMMITTING"), None])
async def test_a_commit_that_fails_or_hangs_leaves_the_end_unknown(
    stub: StubProducer, sender: Transactions, error: Exception | None
) -> None:
    stub.commit_error = error
    if error is None:
        stub.commit_gate.clear()
    answers = await sender.send(RECORDS)
    assert all(isinstance(answer, PublishError) for answer in answers)
    assert stub.calls[-1] == "destroy"
    assert not sender.is_open


async def test_a_send_that_is_cancelled_gives_the_producer_up(
    stub: StubProducer, sender: Transactions
) -> None:
    stub.commit_gate.clear()
    sender.commit_seconds = 60
    sending = asyncio.create_task(sender.send(RECORDS))
    while "commit" not in stub.calls:
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert stub.calls[-1] == "destroy"


async def test_a_producer_that_was_given_up_sends_nothing(stub: StubProducer, sender: Transactions) -> None:
    await sender.close()
    stub.calls.clear()
    assert [str(answer) for answer in await sender.send(RECORDS)] == ["the producer was given up"] * 2
    assert stub.calls == []


async def test_a_closed_one_keeps_no_producer_whenever_it_is_opened(stub: StubProducer) -> None:
    """A proof of ownership may be opening one while its shard is closed, or open one later."""
    made = Transactions(ClusterConfig("h:1"), "journal.0", Topics())
    stub.start_gate.clear()
    opening = asyncio.create_task(made.open())
    while "start" not in stub.calls:
        await asyncio.sleep(0)
    await made.close()
    stub.start_gate.set()
    with pytest.raises(ClusterError, match=r"journal\.0 is closed"):
        await opening
    with pytest.raises(ClusterError, match=r"journal\.0 is closed"):
        await made.open()
    assert stub.calls == ["start", "destroy"]
    assert not made.is_open


async def test_a_producer_that_cannot_start_is_not_kept(stub: StubProducer) -> None:
    stub.start_error = KafkaConnectionError()
    made = Transactions(ClusterConfig("h:1"), "journal.0", Topics())
    with pytest.raises(ClusterError, match=r"no transaction can begin as journal\.0"):
        await made.open()
    assert stub.calls == ["start", "destroy"]
    assert not made.is_open


async def test_unknown_partitions_are_a_publish_error(sender: Transactions) -> None:
    assert await sender.partitions("journal") == {0}
    with pytest.raises(PublishError, match="away: KafkaConnectionError"):
        await sender.partitions("away")


async def _no(_cluster: ClusterConfig) -> bool:
    return False


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnknownError(), "SCRIBE_KAFKA__DELIVERY=at_least_once"),
        (KafkaConnectionError(), "Kafka at h:1 does not answer"),
    ],
)
async def test_a_start_without_transactions_names_the_other_mode(
    stub: StubProducer, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactional_producer, "lacks_idempotence", _no)
    stub.start_error = error
    with pytest.raises(ConfigError, match=words):
        await require_transactions(ClusterConfig("h:1"), Topics())
    stub.start_error = None
    await require_transactions(ClusterConfig("h:1"), Topics())
    assert stub.calls[-1] == "destroy"
