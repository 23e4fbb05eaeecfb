"""Nothing that aiokafka raises leaves the adapter under its own name: each call site, each kind of error."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
    ProducerClosed,
    RecordListTooLargeError,
    RequestTimedOutError,
    StaleMetadata,
    TopicAuthorizationFailedError,
    UnknownError,
)

from service.clock import SystemClock
from service.core.job.transition_context import Rules
from service.core.journal.stamp import Stamp
from service.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnavailable,
    ConfigError,
    Fenced,
    NotAMember,
    NotPermitted,
    OffsetsMissing,
    PublishError,
    RecordTooLarge,
    UnreadableRecord,
    Unsupported,
)
from service.kafka.admin import topics
from service.kafka.admin.acls import require_acls
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client import clients, probe, terminal_client
from service.kafka.client import cluster as client
from service.kafka.client import reader as lasting
from service.kafka.client.cluster import ClusterConfig, reaching, reader
from service.kafka.client.error_reasons import HungUp
from service.kafka.client.error_translation import kept, translated
from service.kafka.client.reader import ReconnectingReader
from service.kafka.client.span_reader import OffsetRange, read
from service.kafka.group import consumer
from service.kafka.group.consumer import GroupConfig, RequestConsumer
from service.kafka.group.record_fetcher import RecordFetcher
from service.kafka.journal import journal, scanner
from service.kafka.journal.journal import Journal
from service.kafka.journal.scanner import JournalScanner
from service.kafka.journal.tail import Followed, Tail
from service.kafka.journal.takeover import Claimant, Takeover
from service.kafka.writing import producer, transactional_producer
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord
from service.kafka.writing.transactional_producer import Transactions
from tests.fakes.clock import FakeClock
from tests.fakes.owner import FakeOwner

NOWHERE = ClusterConfig("127.0.0.1:1")
TOPICS = Topics()
RECORD = ProducerRecord(TOPICS.journal, b"a/0/0", b"{}", 0)
PARTITION = TopicPartition(TOPICS.journal, 0)
GROUP = GroupConfig(TOPICS.requests, "group", None, 6_000, 500)

ERRORS: tuple[BaseException, ...] = (
    AssertionError("Did we not perform bootstrap?"),
    AssertionError(),
    AttributeError("'NoneType' object has no attribute 'write'"),
    BufferError("Existing exports of data"),
    ConnectionResetError(104, "Connection reset by peer"),
    ConsumerStoppedError(),
    EOFError("the stream has ended"),
    IllegalStateError("Partition is not assigned"),
    IndexError("pop from an empty deque"),
    KafkaConnectionError("refused"),
    KafkaError("Unexpected error during coordination"),
    KeyError(1),
    NodeNotReadyError("node 1"),
    NotImplementedError("no such version"),
    OSError(24, "Too many open files"),
    OverflowError("too large"),
    ProducerClosed(),
    RecursionError("too deep"),
    RequestTimedOutError(),
    RuntimeError("Event loop is closed"),
    StaleMetadata("Broker id 1 not in current metadata"),
    TimeoutError(),
    TypeError("cannot unpack non-iterable NoneType object"),
    ValueError("Server nonce, did not start with client nonce!"),
    asyncio.CancelledError(),
    asyncio.QueueFull(),
    asyncio.InvalidStateError("invalid state"),
    ssl.SSLError(1, "wrong version number"),
    struct.error("unpack requires a buffer of 4 bytes"),
)


@dataclass(eq=False)
class Stub:
    """Any of aiokafka's clients: what it is asked for goes well, but for one method."""

    fails: str = ""
    error: BaseException = field(default_factory=KafkaError)

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == self.fails:
            return self._fail
        answers: dict[str, object] = {
            "partitions_for_topic": {0},
            "assignment": {PARTITION, TopicPartition(TOPICS.requests, 0)},
            "list_topics": [],
            "describe_topics": [],
        }
        if name in ("assignment", "partitions_for_topic"):
            return lambda *_, **__: answers[name]
        if name in ("assign", "pause", "resume", "seek", "set_topics", "subscribe"):
            return lambda *_, **__: None

        async def answer(*asked: object, **_: object) -> object:
            if name in ("beginning_offsets", "end_offsets"):
                return dict.fromkeys(cast("list[TopicPartition]", asked[0]), 0)
            return answers.get(name, {})

        return answer

    def _fail(self, *_: object, **__: object) -> object:
        # A new one each time: one that is raised again and again holds on to all that it passed.
        raise type(self.error)(*self.error.args)

    @property
    def client(self) -> "Stub":
        return self


@dataclass
class RestoredShard:
    """What a take-over sends through; it never fails."""

    async def partitions(self, _topic: str) -> frozenset[int]:
        return frozenset({0})

    async def send(self, records: list[ProducerRecord]) -> list[int]:
        return [0 for _ in records]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Every client that the adapter makes."""
    made = Stub()

    async def closed(_client: object) -> None:
        """Nothing is open."""

    for name in ("KafkaConsumer", "KafkaProducer"):
        monkeypatch.setattr(clients, name, lambda **_: made)
    for module in (client, consumer, producer, transactional_producer, topics, terminal_client):
        for name in ("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient"):
            monkeypatch.setattr(module, name, lambda **_: made, raising=False)
        for name in ("close_consumer", "destroy_producer", "stop_producer", "close_admin"):
            monkeypatch.setattr(module, name, closed, raising=False)

    @asynccontextmanager
    async def a_reader(*_: object) -> AsyncIterator[Stub]:
        yield made

    for module in (journal, scanner, lasting):
        monkeypatch.setattr(module, "reader", a_reader, raising=False)
    monkeypatch.setattr(lasting, "has_died", lambda _: False)
    monkeypatch.setattr(producer, "is_stopped", lambda _: False)
    monkeypatch.setattr(transactional_producer, "is_stopped", lambda _: False)
    monkeypatch.setattr(transactional_producer, "transaction_error_of", lambda _: None)

    async def connect(*_: object, **__: object) -> Stub:
        return made

    monkeypatch.setattr(probe, "create_conn", connect)
    monkeypatch.setattr(probe, "close_connection", lambda _: None)
    return made


# -- the translation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_whatever_is_raised_becomes_a_cluster_error_that_keeps_its_cause(error: BaseException) -> None:
    with pytest.raises(ClusterError) as raised, translated():
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (CommitFailedError("no member"), NotAMember),
        (IllegalStateError("not assigned"), NotAMember),
        (GroupAuthorizationFailedError("group"), NotPermitted),
        (IncompatibleBrokerVersion("too old"), Unsupported),
        (UnknownError("no such request"), Unsupported),
        (MessageSizeTooLargeError("1 MB"), RecordTooLarge),
        (RecordListTooLargeError("2 MB"), RecordTooLarge),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnreadableRecord),
        (TopicAuthorizationFailedError("topic"), ClusterRefused),
        (KafkaError("any"), ClusterUnavailable),
        (TimeoutError(), ClusterUnavailable),
    ],
    ids=repr,
)
async def test_an_error_that_callers_tell_apart_has_its_own_class(
    error: Exception, ours: type[ClusterError]
) -> None:
    with pytest.raises(ClusterError) as raised, translated():
        raise error
    assert type(raised.value) is ours


async def test_missing_offsets_name_their_partitions() -> None:
    with pytest.raises(OffsetsMissing) as raised, translated():
        raise OffsetOutOfRangeError({TopicPartition("t", 3): 7, TopicPartition("t", 5): 1})
    assert raised.value.partitions == {3, 5}


async def test_an_error_is_kept_and_still_raised_but_not_a_cancellation() -> None:
    seen: list[Exception] = []
    error = KeyError(1)
    with pytest.raises(KeyError), kept(seen.append):
        raise error
    with pytest.raises(asyncio.CancelledError), kept(seen.append):
        raise asyncio.CancelledError
    assert seen == [error]


async def test_our_own_errors_pass() -> None:
    for passing in (Fenced(0), ConfigError("wrong"), PublishError("too large")):
        with pytest.raises(type(passing)) as raised, translated():
            raise passing
        assert raised.value is passing
    with pytest.raises(KeyboardInterrupt), translated():
        raise KeyboardInterrupt


async def test_our_own_cancellation_passes() -> None:
    async def waiting() -> None:
        with translated():
            await asyncio.sleep(3600)

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_bound_that_is_missed_inside_becomes_a_cluster_error() -> None:
    with pytest.raises(ClusterError, match="no answer in time"), translated():
        async with asyncio.timeout(0.001):
            await asyncio.sleep(3600)


async def test_a_bound_of_the_callers_own_stays_its_own() -> None:
    async def waiting() -> None:
        async with asyncio.timeout(0.001):
            with translated():
                await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        await waiting()


# -- calls that are retried by who makes them -------------------------------------------------------------


def a_takeover(stub: Stub, watermarks: ReconnectingReader) -> Takeover:
    return Takeover(TOPICS, cast("Claimant", RestoredShard()), stub, watermarks, "a", "refuse")


async def a_watermark() -> ReconnectingReader:
    made = ReconnectingReader(NOWHERE, 20, "read_uncommitted")
    return await made.__aenter__()


def a_journal(watermarks: ReconnectingReader) -> Journal:
    return Journal(
        cluster=NOWHERE,
        topics=TOPICS,
        producer=None,
        watermarks=watermarks,
        tail=Tail(watermarks, TOPICS.journal, SystemClock()),
        member="a",
        on_mismatch="refuse",
        limits={},
        fetch_max_wait_ms=20,
        takeover_slots=asyncio.Semaphore(1),
    )


async def open_reader(_: Stub) -> None:
    async with reader(NOWHERE, 20):
        pass


async def read_span(stub: Stub) -> None:
    await read(stub, OffsetRange(PARTITION, 0, 1 if stub.fails == "getmany" else 0), lambda _: None)


async def begin_offset(_: Stub) -> None:
    await (await a_watermark()).begin_offset(PARTITION)


async def end_offset(_: Stub) -> None:
    await (await a_watermark()).end_offset(PARTITION)


async def partitions_of(_: Stub) -> None:
    await (await a_watermark()).partitions_of(TOPICS.journal)


async def take_over(stub: Stub) -> None:
    await a_takeover(stub, await a_watermark()).take_over(0, None)


async def record_at(stub: Stub) -> None:
    await a_takeover(stub, await a_watermark())._record_at(TopicPartition(TOPICS.requests, 0), 0)


async def look_up(_: Stub) -> None:
    await a_journal(await a_watermark())._look_up(0, 0, Stamp(1, 1))


async def scan_journal(_: Stub) -> None:
    def told(_partition: int, why: str) -> None:
        # One partition that cannot be read is told, and the others are read.
        raise ClusterError(why)

    await JournalScanner(NOWHERE, TOPICS.journal, await a_watermark(), 20, Rules(), told).scan(0, 0)


async def open_transactions(_: Stub) -> None:
    await Transactions(NOWHERE, "journal.0", TOPICS).open()


async def transactional_partitions(_: Stub) -> None:
    made = Transactions(NOWHERE, "journal.0", TOPICS)
    await made.open()
    await made.partitions("journal")


async def producer_partitions(_: Stub) -> None:
    await Producer(NOWHERE, idempotent=True).partitions("journal")


async def producer_partitions_at_connect(_: Stub) -> None:
    await Producer(NOWHERE, idempotent=True).partitions("journal")


async def group_offset(_: Stub) -> None:
    await RequestConsumer(NOWHERE, GROUP, FakeOwner(), SystemClock(), FakeOwner()).group_offset(0)


async def begin_delivery(stub: Stub) -> None:
    RecordFetcher(stub, TOPICS.requests, FakeOwner(), FakeClock()).begin([TopicPartition(TOPICS.requests, 0)])


async def release_delivery(stub: Stub) -> None:
    RecordFetcher(stub, TOPICS.requests, FakeOwner(), FakeClock()).deliver_from(0, 5)


async def stop_delivery(stub: Stub) -> None:
    RecordFetcher(stub, TOPICS.requests, FakeOwner(), FakeClock()).stop_delivery(0)


async def balance_delivery(stub: Stub) -> None:
    fetcher = RecordFetcher(stub, TOPICS.requests, FakeOwner(full={0}), FakeClock())
    fetcher._next[0] = 0
    fetcher._balance()


async def balance_delivery_again(stub: Stub) -> None:
    fetcher = RecordFetcher(stub, TOPICS.requests, FakeOwner(), FakeClock())
    fetcher._next[0], fetcher._full = 0, {0}
    fetcher._balance()


Call = Callable[[Stub], Awaitable[None]]
RETRIED: tuple[tuple[Call, str], ...] = (
    (open_reader, "start"),
    (read_span, "seek"),
    (read_span, "position"),
    (read_span, "getmany"),
    (begin_offset, "beginning_offsets"),
    (end_offset, "end_offsets"),
    (partitions_of, "beginning_offsets"),
    (take_over, "assign"),
    (take_over, "pause"),
    (take_over, "beginning_offsets"),
    (take_over, "end_offsets"),
    (record_at, "resume"),
    (look_up, "end_offsets"),
    (look_up, "assign"),
    (scan_journal, "beginning_offsets"),
    (scan_journal, "end_offsets"),
    (scan_journal, "assign"),
    (scan_journal, "pause"),
    (scan_journal, "resume"),
    (open_transactions, "start"),
    (transactional_partitions, "partitions_for"),
    (producer_partitions, "partitions_for"),
    (producer_partitions_at_connect, "start"),
    (group_offset, "committed"),
    (begin_delivery, "pause"),
    (begin_delivery, "seek"),
    (release_delivery, "assignment"),
    (release_delivery, "seek"),
    (release_delivery, "resume"),
    (stop_delivery, "assignment"),
    (stop_delivery, "pause"),
    (balance_delivery, "pause"),
    (balance_delivery_again, "resume"),
)


@pytest.mark.parametrize(("call", "fails"), RETRIED, ids=[f"{c.__name__} {f}" for c, f in RETRIED])
async def test_no_call_into_aiokafka_raises_an_error_that_is_not_ours(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, call: Call, fails: str
) -> None:
    monkeypatch.setattr("service.kafka.client.span_reader.READ_BOUND_SECONDS", 0.01)
    for error in ERRORS:
        stub.fails, stub.error = fails, error
        with pytest.raises(ClusterError):
            await call(stub)


# -- calls whose answer is data ----------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["start", "partitions_for", "send"])
async def test_a_send_is_answered_whatever_is_raised(stub: Stub, fails: str) -> None:
    for error in ERRORS:
        stub.fails, stub.error = fails, error
        answers = await Producer(NOWHERE, idempotent=True).send([RECORD, RECORD])
        assert [type(answer) for answer in answers] == [PublishError, PublishError], error


@pytest.mark.parametrize("fails", ["begin_transaction", "partitions_for", "send", "commit_transaction"])
async def test_a_transaction_is_answered_whatever_is_raised(stub: Stub, fails: str) -> None:
    for error in ERRORS:
        stub.fails, stub.error = "", error
        sender = Transactions(NOWHERE, "journal.0", TOPICS)
        await sender.open()
        stub.fails = fails
        answers = await sender.send([] if fails == "commit_transaction" else [RECORD])
        assert all(isinstance(answer, PublishError) for answer in answers)
        assert not sender.is_open, error


async def test_a_commit_to_the_group_is_refused_or_retried_whatever_is_raised(stub: Stub) -> None:
    for error in ERRORS:
        made = RequestConsumer(NOWHERE, GROUP, FakeOwner(durable={0: 5}), SystemClock(), FakeOwner())
        stub.fails, stub.error = "commit", error
        if isinstance(error, IllegalStateError):
            assert not await made.prove_membership(0, 5)
        else:
            with pytest.raises(ClusterError):
                await made.prove_membership(0, 5)
        await made.commit_last()
        stub.fails = "assignment"
        await made.commit_last()


async def test_missing_permissions_are_not_queried_if_no_broker_answers(stub: Stub) -> None:
    for error in ERRORS:
        stub.fails, stub.error = "send", error
        await require_acls(NOWHERE, TOPICS)


async def test_an_unreachable_cluster_has_a_message_whatever_is_raised(stub: Stub) -> None:
    for error in ERRORS:
        stub.fails, stub.error = "send", error
        why = await probe.why_unreachable(NOWHERE.connection())
        assert why is None or isinstance(why, type(error) | HungUp), error


# -- a start -------------------------------------------------------------------------------------------------


async def start_group(_: Stub) -> None:
    await RequestConsumer(NOWHERE, GROUP, FakeOwner(), SystemClock(), FakeOwner()).start()


async def start_producer(_: Stub) -> None:
    await Producer(NOWHERE, idempotent=True).start()


async def find_transactions(_: Stub) -> None:
    await transactional_producer.require_transactions(NOWHERE, TOPICS)


async def prepare_topics(_: Stub) -> None:
    await prepare(NOWHERE, TOPICS, Creation())


async def publish(_: Stub) -> None:
    await terminal_client.publish(NOWHERE, TOPICS.requests, b"k", b"v")


async def begin_to_follow(_: Stub) -> None:
    async with terminal_client.following(NOWHERE, [TOPICS.results], 20):
        pass


STARTS: tuple[tuple[Call, str], ...] = (
    (start_group, "start"),
    (start_group, "subscribe"),
    (start_producer, "start"),
    (find_transactions, "start"),
    (prepare_topics, "start"),
    (prepare_topics, "list_topics"),
    (prepare_topics, "create_topics"),
    (publish, "start"),
    (publish, "list_topics"),
    (begin_to_follow, "start"),
    (begin_to_follow, "list_topics"),
)


@pytest.mark.parametrize(("call", "fails"), STARTS, ids=[f"{c.__name__} {f}" for c, f in STARTS])
async def test_a_start_ends_with_a_sentence_whatever_is_raised(stub: Stub, call: Call, fails: str) -> None:
    for error in ERRORS:
        stub.fails, stub.error = fails, error
        with pytest.raises(ConfigError):
            await call(stub)


async def test_what_is_ours_passes_a_start() -> None:
    with pytest.raises(ConfigError, match="missing topics"):
        async with reaching(NOWHERE):
            raise ConfigError("missing topics")


# -- loops ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["getmany", "assign", "seek"])
async def test_the_tail_goes_on_whatever_is_raised(stub: Stub, fails: str) -> None:
    clock = FakeClock()
    for error in ERRORS:
        made = Tail(await a_watermark(), TOPICS.journal, clock)
        stub.fails, stub.error = fails, error
        made.follow(0, Followed(1, 0, lambda: None, lambda _: None))
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            if turns == 3:
                raise Fenced(0)

        with pytest.raises(Fenced):
            await made.run(turn)
