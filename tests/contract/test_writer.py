"""The writer's port: the same suite on a broker in memory, on the embedded one and on real Kafka."""

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from service.clock import SystemClock
from service.contract.stage import Stage as JobStage
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.core.job.accepted_request import AcceptedRequest, FileEnd, FinishedRequest, RequestFile
from service.core.job.ending import AccountedUsage, FailureEnding, ResultEnding
from service.core.job.identity import JobRef, Origin, Position, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.request_record import Cursor, Record
from service.core.journal.entries import (
    decode,
    encode_done,
    encode_finished,
    encode_job,
    encode_request,
    encode_spend,
)
from service.core.journal.replay import Restore
from service.core.journal.stamp import STAMP_HEADER, Stamp, cursor_key, owner_key, spend_key
from service.core.limits.spend_limit import DaySpend
from service.core.outcome.build import Outcome, OutcomeRules, job_outcome, record_failure
from service.core.outcome.shrink import shrink
from service.core.shard.batches import Batch, BatchRefused, Committed, Group, JournalRecord, Unknown
from service.errors import FailureCode, InvalidRecord, PublishError, RecordTooLarge
from service.kafka.admin.topics import Creation, Topics, configs
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.reader import ReconnectingReader
from service.kafka.journal.journal import Journal
from service.kafka.journal.tail import Tail
from service.kafka.journal.takeover import RestoredShard
from service.kafka.writing.at_least_once import AtLeastOnceWriter
from service.kafka.writing.producer import Producer
from service.kafka.writing.producer_record import ProducerRecord, SendResult
from service.kafka.writing.shard_records import ShardRecords
from service.kafka.writing.transactional_producer import Transactions
from service.kafka.writing.writer_port import Writer
from tests.brokers import TopicNames
from tests.contract.cluster import FETCH_WAIT_MS, OUTCOME_PARTITIONS, make_topics, producer_for, records_of
from tests.fakes.writer import Fault, MemoryBroker, MemoryTransactions, Stage

needs_java = pytest.mark.needs_java

NOW_MS = 1_760_000_000_000
MIB = 1024 * 1024
CURSOR = Cursor(8, NOW_MS, 77)
RULES = OutcomeRules()


@dataclass(frozen=True)
class Seen:
    """A record as a reader sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: Mapping[str, bytes]

    @property
    def body(self) -> Any:
        assert self.value is not None
        return json.loads(self.value)

    @property
    def id(self) -> str:
        return self.headers["ce_id"].decode()


class Rig(Protocol):
    """A writer's surroundings: its topics, and a look into them."""

    topics: Topics

    def measure(self, value: bytes) -> int:
        """The size of a value as the topics' limits count it."""
        ...

    def writer(self, epoch: int = 1) -> Writer: ...

    async def limit(self, **limits: int) -> None: ...

    async def journal(self) -> list[Seen]: ...

    async def outcomes(self) -> list[Seen]: ...


class MemoryRig:
    """In memory."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(outcome_partitions=OUTCOME_PARTITIONS)
        self.topics = self.broker.topics

    def measure(self, value: bytes) -> int:
        return len(value)

    def writer(self, epoch: int = 1) -> Writer:
        return self.broker.writer(epoch=epoch)

    async def limit(self, **limits: int) -> None:
        self.broker.limits = {getattr(self.topics, role): limit for role, limit in limits.items()}

    async def journal(self) -> list[Seen]:
        return [_seen(record) for record in self.broker.journal()]

    async def outcomes(self) -> list[Seen]:
        return [_seen(record) for record in self.broker.outcomes()]


class MemoryTransactionsRig(MemoryRig):
    """In memory, in transactions."""

    def writer(self, epoch: int = 1) -> Writer:
        return self.broker.transactional_writer(MemoryTransactions(self.broker), epoch)


class BrokerRig:
    """On a broker; its topics are made when first needed, so that a test may limit them before."""

    def __init__(self, bootstrap: str, producer: Producer, topic_names: TopicNames) -> None:
        self.bootstrap = bootstrap
        self.producer = producer
        self.topic_names = topic_names
        self.topics = Topics()

    def measure(self, value: bytes) -> int:
        return len(gzip.compress(value))

    def writer(self, epoch: int = 1) -> Writer:
        return AtLeastOnceWriter(self.producer, ShardRecords(self.topics, 0, epoch, "a"), is_ours)

    async def limit(self, **limits: int) -> None:
        configured = {role: {"max.message.bytes": str(limit)} for role, limit in limits.items()}
        self.topics = await make_topics(self.bootstrap, self.topic_names, configs=configured)

    async def journal(self) -> list[Seen]:
        return [_seen(record) for record in await records_of(self.bootstrap, self.topics.journal)]

    async def outcomes(self) -> list[Seen]:
        found = [
            record
            for topic in (self.topics.results, self.topics.failures)
            for record in await records_of(self.bootstrap, topic, OUTCOME_PARTITIONS)
        ]
        return [_seen(record) for record in found]


class TransactionsRig(BrokerRig):
    """On real Kafka, in transactions; `knows_limits` is whether the writer was told the topics' limits."""

    def __init__(
        self, bootstrap: str, watermarks: ReconnectingReader, topic_names: TopicNames, *, knows_limits: bool
    ) -> None:
        cluster = ClusterConfig(bootstrap)
        super().__init__(bootstrap, Producer(cluster, idempotent=True), topic_names)
        self._cluster = cluster
        self._watermarks = watermarks
        self._knows_limits = knows_limits
        self._limits: dict[str, int] = {}
        self._writers: list[Writer] = []

    async def limit(self, **limits: int) -> None:
        await super().limit(**limits)
        if self._knows_limits:
            self._limits = {getattr(self.topics, role): limit for role, limit in limits.items()}

    def writer(self, epoch: int = 1) -> Writer:
        sender = Transactions(self._cluster, f"{self.topics.journal}.0", self.topics)
        journal = Journal(
            cluster=self._cluster,
            topics=self.topics,
            producer=None,
            watermarks=self._watermarks,
            tail=Tail(self._watermarks, self.topics.journal, SystemClock()),
            member="a",
            on_mismatch="refuse",
            limits=self._limits,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            takeover_slots=asyncio.Semaphore(1),
        )
        taken = RestoredShard(Restore(self.topics.journal, 0), epoch, -1, Cursor(0), 0, sender)
        self._writers.append(journal.writer(0, taken, _always))
        return self._writers[-1]

    async def close(self) -> None:
        for writer in self._writers:
            await writer.close()


async def _always() -> bool:
    return True


async def is_ours(_offset: int) -> bool:
    """No higher claim was read."""
    return True


def _seen(record: Any) -> Seen:
    return Seen(record.topic, record.partition, record.offset, record.key, record.value, dict(record.headers))


async def _rig(request: pytest.FixtureRequest, kind: str) -> AsyncIterator[Rig]:
    if kind.startswith("memory"):
        yield MemoryRig() if kind == "memory" else MemoryTransactionsRig()
        return
    if kind.startswith("transactions"):
        async for made in _transactions_rig(request, knows_limits=kind == "transactions"):
            yield made
        return
    bootstrap = request.getfixturevalue(f"{kind}_bootstrap")
    producer = producer_for(bootstrap, kind)
    rig = BrokerRig(bootstrap, producer, request.getfixturevalue("topic_names"))
    yield rig
    await producer.stop()


async def _transactions_rig(request: pytest.FixtureRequest, *, knows_limits: bool) -> AsyncIterator[Rig]:
    bootstrap = request.getfixturevalue("kafka_bootstrap")
    async with ReconnectingReader(ClusterConfig(bootstrap), FETCH_WAIT_MS, "read_uncommitted") as watermarks:
        names = request.getfixturevalue("topic_names")
        rig = TransactionsRig(bootstrap, watermarks, names, knows_limits=knows_limits)
        yield rig
        await rig.close()


ON_KAFKA = [pytest.param(kind, marks=needs_java) for kind in ("kafka", "transactions")]
SHARED = ["memory", "embedded", pytest.param("kafka", marks=needs_java)]


@pytest.fixture(params=[*SHARED, "memory-transactions", ON_KAFKA[1]])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Either writer wherever it works, with topics without limits."""
    async for made in _rig(request, request.param):
        await made.limit()
        yield made


@pytest.fixture(params=SHARED)
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """The writers that share a producer."""
    async for made in _rig(request, request.param):
        await made.limit()
        yield made


UNTOLD = pytest.param("transactions-untold", marks=needs_java)


@pytest.fixture(params=["memory", "memory-transactions", *ON_KAFKA, UNTOLD])
async def limited(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Those that know size limits; the test sets them first."""
    async for made in _rig(request, request.param):
        yield made


@pytest.fixture(params=[*ON_KAFKA, UNTOLD])
async def on_kafka(request: pytest.FixtureRequest) -> AsyncIterator[BrokerRig]:
    """Real Kafka, whose limits count the batch and not the record; the test sets them first."""
    async for made in _rig(request, request.param):
        assert isinstance(made, BrokerRig)
        yield made


# -- jobs, and what becomes of them ---------------------------------------------------------------------


def a_request(request_id: str = "r", **fields: Any) -> AcceptedRequest:
    plain: dict[str, Any] = {
        "origin": Origin(0, sum(request_id.encode())),
        "topic": "requests",
        "partition": 0,
        "timestamp_ms": NOW_MS,
        "request_id": request_id,
        "replay": 0,
        "digest": "d",
        "model": "fun-asr",
        "files": tuple(RequestFile(index, f"https://h.example/{index}.wav") for index in range(12)),
        "file_count": 12,
        "deadline_ms": NOW_MS + 1_000,
        "accepted_ms": NOW_MS,
        "options": {},
        "headers": (("traceparent", "00-1"),),
    }
    return AcceptedRequest(**(plain | fields))


def a_job(request_id: str = "r", file_index: int = 0, **fields: Any) -> Job:
    request = a_request(request_id)
    return Job(request.ref(file_index), request, SubmissionKey(1, 1), **fields)


def a_transcript(words: int = 2, seed: int = 1, vocabulary: int = 2**40) -> Transcript:
    """Sentences of ten words; with a large vocabulary they hardly compress."""
    draw = random.Random(seed)
    spoken = [f"{draw.randrange(vocabulary):x}" for _ in range(words)]
    sentences = tuple(
        Sentence(
            number,
            number * 4_000,
            number * 4_000 + 3_900,
            " ".join(spoken[at : at + 10]),
            words=tuple(
                Word(number * 4_000 + 390 * n, number * 4_000 + 390 * n + 380, text)
                for n, text in enumerate(spoken[at : at + 10])
            ),
        )
        for number, at in enumerate(range(0, words, 10), start=1)
    )
    text = " ".join(sentence.text for sentence in sentences)
    return Transcript(AudioProperties(), (Channel(0, text, None, 4_000 * len(sentences), sentences),))


def a_result(request_id: str = "r", file_index: int = 0, transcript: Transcript | None = None) -> Outcome:
    ending = ResultEnding(transcript or a_transcript())
    job = a_job(request_id, file_index, state=JobState.FINISHING, task_ids=("t-1",), ending=ending)
    return job_outcome(job, None, NOW_MS, RULES)


def a_failure(request_id: str = "r", file_index: int = 0) -> Outcome:
    ending = FailureEnding(JobStage.SUBMIT, FailureCode.SUBMIT_REJECTED, "no")
    job = a_job(request_id, file_index, state=JobState.FINISHING, ending=ending)
    return job_outcome(job, None, NOW_MS, RULES)


def finished(outcome: Outcome) -> Group:
    """A job's end: what announces it, the outcome, and that it is done."""
    request_id, _, index = outcome.id.split("/")
    job = a_job(request_id, int(index), accounted=AccountedUsage(None, carries_summary=False))
    done = encode_done(FileEnd(int(index), outcome.is_result))
    return Group(
        records=(JournalRecord(str(job.ref), done),),
        announcing=(JournalRecord(str(job.ref), encode_job(job)),),
        outcomes=(outcome,),
        ended=(job.ref,),
    )


def refused() -> Group:
    """A record that is refused."""
    record = Record(Position("requests", 0, 7, NOW_MS), b"k", b"{", ())
    told = InvalidRecord(FailureCode.INVALID_JSON, "no JSON")
    return Group(outcomes=(record_failure(record, told, NOW_MS, RULES),))


def accepted(request_id: str = "r", **fields: Any) -> Group:
    """A request's record."""
    request = a_request(request_id, **fields)
    return Group(records=(JournalRecord(str(request.origin), encode_request(request)),))


def ref(request_id: str, file_index: int = 0) -> str:
    """The key of a job's own record."""
    return str(JobRef(a_request(request_id).origin, file_index))


AT_CURSOR = Group(cursor=CURSOR)


def batch(*groups: Group, number: int = 1) -> Batch:
    return Batch(number, groups)


def keys(records: Sequence[Seen]) -> list[str]:
    return [record.key.decode() for record in records]


# -- what every broker must do --------------------------------------------------------------------------


async def test_the_stages_of_a_batch_lie_in_the_journal_in_their_order(shared: Rig) -> None:
    spend = DaySpend(3, 4, 5.0)
    spent = Group(spend=JournalRecord(spend_key(1), encode_spend(spend)))
    answer = await shared.writer().append(
        batch(accepted("new"), finished(a_result("done")), spent, accepted("newer"), AT_CURSOR)
    )
    journal = await shared.journal()
    new, newer = str(a_request("new").origin), str(a_request("newer").origin)
    assert keys(journal) == [ref("done"), new, ref("done"), newer, spend_key(1), cursor_key(1)]
    assert [record.offset for record in journal] == [0, 1, 2, 3, 4, 5]
    assert journal[0].body == {"result": True, "accounted": [None, False, 0]}
    assert journal[2].body == {"done": [True, None, 0]}
    assert decode(cursor_key(1), journal[-1].value or b"") == CURSOR
    assert decode(spend_key(1), journal[-2].value or b"") == spend
    assert answer == Committed(5)


async def test_the_cursor_of_a_batch_is_that_of_its_last_group_that_has_one(rig: Rig) -> None:
    earlier = Group(cursor=Cursor(3, NOW_MS, 1))
    await rig.writer().append(batch(earlier, AT_CURSOR, accepted()))
    assert [decode(cursor_key(1), record.value or b"") for record in (await rig.journal())[1:]] == [CURSOR]


async def test_every_journal_record_says_who_wrote_it(rig: Rig) -> None:
    await rig.writer(epoch=7).append(batch(finished(a_result()), AT_CURSOR, number=12))
    assert {record.headers[STAMP_HEADER] for record in await rig.journal()} == {Stamp(7, 12).encode()}


async def test_an_outcome_carries_its_own_id_key_and_headers(rig: Rig) -> None:
    result, failure = a_result("r-1"), a_failure("r-2", 2)
    await rig.writer().append(batch(finished(result), finished(failure)))
    first, second = await rig.outcomes()
    assert (first.topic, first.key, first.value) == (rig.topics.results, b"r-1", result.body.to_bytes())
    assert (second.topic, second.key, second.value) == (rig.topics.failures, b"r-2", failure.body.to_bytes())
    assert first.headers == dict(result.headers)
    assert (first.id, second.id) == ("r-1/0/0", "r-2/0/2")
    assert first.headers["ce_type"] == b"scribe.transcription.result.v1"
    assert second.headers["ce_type"] == b"scribe.transcription.failure.v1"
    assert first.headers["traceparent"] == b"00-1"


@pytest.mark.parametrize(
    ("request_id", "java_murmur2"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("abc", 479470107),
        ("a-little-bit-longer-string", -1486304829),
    ],
)
async def test_outcomes_lie_where_a_java_client_would_put_their_key(
    rig: Rig, request_id: str, java_murmur2: int
) -> None:
    await rig.writer().append(batch(finished(a_result(request_id)), finished(a_failure(request_id, 1))))
    expected = (java_murmur2 & 0x7FFFFFFF) % OUTCOME_PARTITIONS
    assert [record.partition for record in await rig.outcomes()] == [expected, expected]


async def test_outcomes_of_one_request_keep_their_order(rig: Rig) -> None:
    await rig.writer().append(batch(*(finished(a_result("r", index)) for index in range(3))))
    assert [record.id for record in await rig.outcomes()] == ["r/0/0", "r/0/1", "r/0/2"]


async def test_a_cursor_alone_is_a_batch(rig: Rig) -> None:
    assert await rig.writer().append(batch(AT_CURSOR)) == Committed(0)
    assert keys(await rig.journal()) == [cursor_key(1)]


async def test_an_empty_batch_writes_nothing(rig: Rig) -> None:
    assert await rig.writer().append(batch()) == Committed(-1)
    assert await rig.journal() == []


async def test_an_outcome_of_no_job_leaves_the_cursor_in_the_journal_and_no_other_key(rig: Rig) -> None:
    """A writer without transactions writes its claim again, to read the journal back."""
    record = Record(Position("requests", 0, 7, NOW_MS), b"k", b"nonsense")
    failure = record_failure(record, InvalidRecord(FailureCode.INVALID_JSON, "no"), NOW_MS, RULES)
    answer = await rig.writer().append(batch(Group(outcomes=(failure,)), AT_CURSOR))
    assert isinstance(answer, Committed)
    assert keys(await rig.journal())[-1] == cursor_key(1)
    assert {*keys(await rig.journal())} <= {cursor_key(1), owner_key(1)}
    assert [(each.id, each.key) for each in await rig.outcomes()] == [("requests/0/7", b"requests/0/7")]


async def test_a_forgotten_job_becomes_a_tombstone(rig: Rig) -> None:
    await rig.writer().append(batch(accepted()))
    answer = await rig.writer().append(batch(Group(records=(JournalRecord("j/0.7/0", None),)), number=2))
    last = (await rig.journal())[-1]
    assert (last.key, last.value) == (b"j/0.7/0", None)
    assert answer == Committed(last.offset)


async def test_appended_again_a_batch_repeats_ids_and_adds_none(shared: Rig) -> None:
    writer = shared.writer()
    again = batch(finished(a_result("r", 0)), finished(a_failure("r", 1)), AT_CURSOR)
    first = await writer.append(again)
    second = await writer.append(again)
    assert isinstance(first, Committed)
    assert isinstance(second, Committed)
    assert second.journal_offset > first.journal_offset
    outcomes = await shared.outcomes()
    assert sorted(record.id for record in outcomes) == ["r/0/0", "r/0/0", "r/0/1", "r/0/1"]
    assert len({(record.id, record.value) for record in outcomes}) == 2
    journal = await shared.journal()
    assert [(r.key, r.value) for r in journal[:5]] == [(r.key, r.value) for r in journal[5:]]


async def test_batches_of_two_shards_at_once_do_not_mix(shared: Rig) -> None:
    answers = await asyncio.gather(
        *(shared.writer().append(batch(accepted(f"one-{n}"), number=n)) for n in range(3)),
        *(shared.writer().append(batch(finished(a_result("two", n)), number=n)) for n in range(3)),
    )
    assert all(isinstance(answer, Committed) for answer in answers)
    assert len(await shared.journal()) == 3 + 2 * 3
    assert len(await shared.outcomes()) == 3


async def test_the_claim_is_written_again_with_its_own_epoch(rig: Rig) -> None:
    answer = await rig.writer(epoch=4).prove()
    [record] = await rig.journal()
    assert answer == Committed(record.offset)
    assert (record.key.decode(), record.body) == (owner_key(4), {"epoch": 4, "member": "a"})
    assert record.headers[STAMP_HEADER] == Stamp(4, 0).encode()


async def test_an_owner_that_stops_calling_says_so_and_takes_it_back_with_the_next_proof(rig: Rig) -> None:
    writer = rig.writer(epoch=4)
    assert isinstance(await writer.release(), Committed)
    assert isinstance(await writer.prove(), Committed)
    bodies = [record.body for record in await rig.journal()]
    assert bodies == [{"epoch": 4, "member": "a", "released": True}, {"epoch": 4, "member": "a"}]


async def test_a_release_that_is_refused_is_unknown() -> None:
    broker = MemoryBroker()
    broker.break_at(Stage.ANNOUNCING, Fault.REFUSE)
    assert isinstance(await broker.writer(epoch=4).release(), Unknown)


# -- a broker that takes no record of that size ---------------------------------------------------------


def limit_between(rig: Rig, larger: Outcome, reduced: Outcome) -> int:
    """A limit that refuses one form of an outcome, and takes another with its headers."""
    refused, taken = (rig.measure(form.body.to_bytes()) for form in (larger, reduced))
    assert taken + 2_000 < refused
    return (taken + refused) // 2


def smaller_forms(outcome: Outcome) -> list[Outcome]:
    """The outcome, and every form that `shrink` makes of it."""
    forms = [outcome]
    while (form := shrink(forms[-1])) is not None:
        forms.append(form)
    return forms


async def test_a_result_that_is_refused_for_its_size_goes_without_words(limited: Rig) -> None:
    result = a_result(transcript=a_transcript(6_000))
    whole, without_words, *_ = smaller_forms(result)
    await limited.limit(results=limit_between(limited, whole, without_words))
    answer = await limited.writer().append(batch(finished(result), AT_CURSOR))
    assert answer == Committed((await limited.journal())[-1].offset)
    [record] = await limited.outcomes()
    assert (record.id, record.body["omitted"]) == ("r/0/0", ["words"])
    assert record.value == without_words.body.to_bytes()


async def test_a_result_that_is_refused_without_words_goes_as_text_alone(limited: Rig) -> None:
    result = a_result(transcript=a_transcript(6_000))
    _, without_words, text_alone, *_ = smaller_forms(result)
    await limited.limit(results=limit_between(limited, without_words, text_alone))
    assert isinstance(await limited.writer().append(batch(finished(result))), Committed)
    [record] = await limited.outcomes()
    assert record.body["omitted"] == ["words", "sentences"]
    assert record.body["transcript"]["channels"][0]["text"]


async def test_a_result_whose_text_alone_is_refused_becomes_a_failure(limited: Rig) -> None:
    result = a_result(transcript=a_transcript(6_000))
    _, _, text_alone, failure = smaller_forms(result)
    await limited.limit(results=limit_between(limited, text_alone, failure))
    assert isinstance(await limited.writer().append(batch(finished(result))), Committed)
    [record] = await limited.outcomes()
    assert (record.topic, record.id) == (limited.topics.failures, "r/0/0")
    assert (record.body["code"], record.body["task_id"]) == ("result_too_large", "t-1")
    assert record.headers["ce_type"] == b"scribe.transcription.failure.v1"


async def test_a_failure_that_is_refused_goes_without_its_raw_bytes(limited: Rig) -> None:
    raw = random.Random(2).randbytes(100_000)
    record = Record(Position("requests", 0, 7, NOW_MS), b"k", raw)
    failure = record_failure(record, InvalidRecord(FailureCode.INVALID_JSON, "no"), NOW_MS, RULES)
    whole, without_raw = smaller_forms(failure)
    await limited.limit(failures=limit_between(limited, whole, without_raw))
    assert isinstance(await limited.writer().append(batch(Group(outcomes=(failure,)), AT_CURSOR)), Committed)
    [seen] = await limited.outcomes()
    assert (seen.body["raw"], seen.body["raw_bytes"]) == (None, 100_000)


async def test_an_outcome_that_no_topic_takes_is_unknown_and_says_why(limited: Rig) -> None:
    await limited.limit(results=200, failures=200)
    answer = await limited.writer().append(batch(finished(a_result()), AT_CURSOR))
    assert isinstance(answer, Unknown)
    assert "r/0/0" in answer.reason
    assert all("accounted" in record.body for record in await limited.journal())


async def test_a_poison_outcome_stops_none_of_its_batch_nor_of_the_next(limited: Rig) -> None:
    """On real Kafka the producer is idempotent: a refused batch makes it useless for that partition."""
    poison = a_result("r", 1, a_transcript(60_000))
    *_, text_alone, failure = smaller_forms(poison)
    await limited.limit(results=limit_between(limited, text_alone, failure))
    writer = limited.writer()
    around = [finished(a_result("r", 0)), finished(poison), finished(a_result("r", 2))]
    assert isinstance(await writer.append(batch(*around, AT_CURSOR)), Committed)
    assert isinstance(await writer.append(batch(finished(a_result("r", 3)), number=2)), Committed)
    outcomes = await limited.outcomes()
    assert {(record.topic, record.id) for record in outcomes} == {
        (limited.topics.results, "r/0/0"),
        (limited.topics.failures, "r/0/1"),
        (limited.topics.results, "r/0/2"),
        (limited.topics.results, "r/0/3"),
    }


@needs_java
async def test_small_outcomes_that_are_too_large_together_are_divided(on_kafka: BrokerRig) -> None:
    small = [a_result("r", index, a_transcript(600, seed=index)) for index in range(3)]
    each = max(on_kafka.measure(result.body.to_bytes()) for result in small)
    await on_kafka.limit(results=each + 5_000)
    assert isinstance(await on_kafka.writer().append(batch(*map(finished, small))), Committed)
    outcomes = await on_kafka.outcomes()
    assert [record.id for record in outcomes] == ["r/0/0", "r/0/1", "r/0/2"]
    assert all(record.body["omitted"] == [] for record in outcomes)


@needs_java
async def test_records_that_are_too_large_together_are_divided_and_keep_their_order(
    on_kafka: BrokerRig,
) -> None:
    draw = random.Random(3)
    entries = [accepted("r", digest=draw.randbytes(2_000).hex()) for _ in range(8)]
    each = max(on_kafka.measure(group.records[0].value or b"") for group in entries)
    await on_kafka.limit(journal=each + 1_000)
    assert isinstance(await on_kafka.writer().append(batch(*entries, AT_CURSOR)), Committed)
    journal = await on_kafka.journal()
    assert [record.value for record in journal[:-1]] == [group.records[0].value for group in entries]
    assert journal[-1].key.decode() == cursor_key(1)


@needs_java
async def test_an_entry_that_the_journal_never_takes_is_unknown_and_moves_no_cursor(
    on_kafka: BrokerRig,
) -> None:
    await on_kafka.limit(journal=1_000)
    entry = accepted("r", digest=random.Random(4).randbytes(4_000).hex())
    assert isinstance(await on_kafka.writer().append(batch(entry, AT_CURSOR)), Unknown)
    assert await on_kafka.journal() == []


@needs_java
@pytest.mark.parametrize(
    ("limit_bytes", "omitted"),
    [
        pytest.param(
            int(configs(Topics(), Creation())[Topics().results]["max.message.bytes"]), [], id="16MiB"
        ),
        pytest.param(MIB, ["words"], id="1MiB"),
    ],
)
async def test_twelve_hours_of_words_fit_a_topic_of_ours_and_go_without_words_elsewhere(
    on_kafka: BrokerRig, limit_bytes: int, omitted: list[str]
) -> None:
    await on_kafka.limit(results=limit_bytes)
    result = a_result(transcript=a_transcript(100_000, vocabulary=20_000))
    assert isinstance(await on_kafka.writer().append(batch(finished(result))), Committed)
    [record] = await on_kafka.outcomes()
    assert record.body["omitted"] == omitted
    sentences = record.body["transcript"]["channels"][0]["sentences"]
    assert len(sentences) == 10_000
    assert sum(len(sentence["words"] or []) for sentence in sentences) == (0 if omitted else 100_000)


class RefusesTheSecondOfMany(MemoryBroker):
    """As a broker that gets three batches of one partition and finds the second one too large."""

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        if len(records) == 1:
            return await super().send(records)
        taken = await super().send([record for n, record in enumerate(records) if n != 1])
        return [taken[0], RecordTooLarge("the batch"), *taken[1:]]


async def test_the_last_record_of_a_key_stays_the_last_when_an_earlier_one_is_refused() -> None:
    broker = RefusesTheSecondOfMany()
    digests = ["first", "second", "third"]
    await broker.writer().append(batch(*(accepted("r", digest=digest) for digest in digests)))
    assert [_seen(record).body["digest"] for record in broker.journal()][-2:] == ["second", "third"]


class RefusesOneKey(MemoryBroker):
    """As a broker without sequence numbers: it refuses one record and takes those behind it."""

    refused_key = b""

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        taken = [record for record in records if record.key != self.refused_key]
        answers = iter(await super().send(taken) if taken else [])
        return [
            next(answers) if record.key != self.refused_key else PublishError("refused") for record in records
        ]


async def test_a_job_gets_its_tombstone_only_when_the_end_of_its_request_is_acknowledged() -> None:
    """A crash between the two would open the job again, and publish its outcome once more."""
    request, job = a_request("r"), a_job("r", 0)
    ended = FinishedRequest(request.origin, "r", 0, "digest", (FileEnd(0, True), FileEnd(1, True)), NOW_MS)
    done = JournalRecord(str(job.ref), encode_done(FileEnd(0, True)))
    end = JournalRecord(str(request.origin), encode_finished(ended))
    broker = RefusesOneKey()
    broker.refused_key = end.key.encode()
    whole = batch(Group(records=(done,)), Group(records=(end, JournalRecord(str(job.ref), None))))
    writer = broker.writer()
    assert isinstance(await writer.append(whole), Unknown)
    assert [(seen.key.decode(), seen.value) for seen in map(_seen, broker.journal())] == [
        (done.key, done.value)
    ]
    broker.refused_key = b""
    assert isinstance(await writer.append(whole), Committed)
    assert [(seen.key.decode(), seen.value) for seen in map(_seen, broker.journal())][-2:] == [
        (end.key, end.value),
        (done.key, None),
    ]


async def test_a_key_that_is_written_again_behind_its_tombstone_keeps_its_record() -> None:
    broker, entry = MemoryBroker(), accepted("r").records[0]
    forgotten = JournalRecord(entry.key, None)
    assert isinstance(
        await broker.writer().append(batch(Group(records=(forgotten,)), Group(records=(entry,)))), Committed
    )
    assert [seen.value for seen in map(_seen, broker.journal())] == [entry.value]


# -- a broker that goes away between two stages ---------------------------------------------------------

STAGES = list(Stage)
WHOLE = batch(finished(a_result("r", 0)), finished(a_failure("r", 1)), accepted("new"), AT_CURSOR)


@pytest.mark.parametrize("stage", STAGES)
async def test_behind_a_stage_that_failed_nothing_is_sent(stage: Stage) -> None:
    broker = MemoryBroker()
    broker.break_at(stage)
    answer = await broker.writer().append(WHOLE)
    assert answer == Unknown(f"the broker refuses {stage}")
    assert [sent for sent, _ in broker.sent] == STAGES[: STAGES.index(stage) + 1]


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.LOSE_ANSWER])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_batch_that_failed_anywhere_is_whole_when_appended_again(stage: Stage, fault: Fault) -> None:
    broker, clean = MemoryBroker(), MemoryBroker()
    await clean.writer().append(WHOLE)
    broker.break_at(stage, fault)
    writer = broker.writer()
    assert isinstance(await writer.append(WHOLE), Unknown)
    assert isinstance(await writer.append(WHOLE), Committed)
    restored, expected = broker.restore(), clean.restore()
    assert (restored.entries, restored.cursor) == (expected.entries, expected.cursor)
    assert {_seen(record).id for record in broker.outcomes()} == {"r/0/0", "r/0/1"}
    assert all(record.headers for record in broker.outcomes())


@pytest.mark.parametrize("stage", [Stage.RECORDS, Stage.CURSOR])
async def test_nothing_that_announced_an_outcome_is_written_behind_the_end_of_its_request(
    stage: Stage,
) -> None:
    """A crash between the two would open the request again, without the cancel that ended it."""
    request, job = a_request("r"), a_job("r", 0, accounted=AccountedUsage(None, carries_summary=True))
    opening = JournalRecord(str(request.origin), encode_request(request))
    ended = FinishedRequest(request.origin, "r", 0, "digest", (FileEnd(0, False),), NOW_MS)
    end = Group(
        records=(JournalRecord(str(request.origin), encode_finished(ended)),),
        announcing=(opening, JournalRecord(str(job.ref), encode_job(job))),
        outcomes=(a_failure("r", 0),),
    )
    broker, whole = MemoryBroker(), batch(Group(records=(opening,)), end, AT_CURSOR)
    broker.break_at(stage, Fault.LOSE_ANSWER)
    writer = broker.writer()
    assert isinstance(await writer.append(whole), Unknown)
    assert isinstance(await writer.append(whole), Committed)
    written = [(seen.key.decode(), seen.value) for seen in map(_seen, broker.journal())]
    at = written.index((str(request.origin), encode_finished(ended)))
    assert (str(request.origin), opening.value) not in written[at:]
    assert (str(job.ref), encode_job(job)) not in written[at:]
    assert len(broker.outcomes()) == 1


async def test_records_behind_their_outcomes_are_sent_in_smaller_pieces_until_they_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, sizes = MemoryBroker(), list[int]()

    async def send(records: Sequence[ProducerRecord]) -> list[SendResult]:
        sizes.append(len(records))
        if len(records) > 2 and records[0].topic == broker.topics.journal and len(sizes) > 2:
            return [PublishError("no answer in time") for _ in records]
        return await MemoryBroker.send(broker, records)

    monkeypatch.setattr(broker, "send", send)
    whole, writer = batch(*(finished(a_result("r", index)) for index in range(4)), AT_CURSOR), broker.writer()
    answers = [await writer.append(whole) for _ in range(2)]
    assert [type(answer) for answer in answers] == [Unknown, Committed]
    assert len(broker.outcomes()) == 4
    assert sizes == [4, 4, 4, 2, 2, 1]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_stage_begins_only_when_the_one_before_is_acknowledged(stage: Stage) -> None:
    broker = MemoryBroker()
    broker.break_at(stage, Fault.HANG)
    appending = asyncio.create_task(broker.writer().append(WHOLE))
    while len(broker.sent) <= STAGES.index(stage):
        await asyncio.sleep(0)
    done, _ = await asyncio.wait({appending}, timeout=0.05)
    assert not done
    assert [sent for sent, _ in broker.sent] == STAGES[: STAGES.index(stage) + 1]
    assert broker.restore().cursor is None
    appending.cancel()


async def test_a_killed_writer_writes_nothing_more() -> None:
    broker = MemoryBroker()
    broker.kill()
    appending = asyncio.create_task(broker.writer().append(WHOLE))
    done, _ = await asyncio.wait({appending}, timeout=0.05)
    assert not done
    assert (broker.journal(), broker.outcomes()) == ([], [])
    appending.cancel()


# -- the fence before outcomes --------------------------------------------------------------------------


def fenced_writer(broker: MemoryBroker, proofs: list[int], *, is_ours: bool) -> Writer:
    """One whose journal is read back with this result."""

    async def proves(offset: int) -> bool:
        proofs.append(offset)
        return is_ours

    return AtLeastOnceWriter(broker, ShardRecords(broker.topics, 0, 1, "a"), proves)


async def test_no_outcome_is_sent_behind_a_higher_claim() -> None:
    broker, proofs = MemoryBroker(), list[int]()
    answer = await fenced_writer(broker, proofs, is_ours=False).append(WHOLE)
    assert answer == BatchRefused("another member has claimed partition 0")
    assert proofs == [1], "up to the last record that announces an outcome"
    assert broker.outcomes() == []
    assert [sent for sent, _ in broker.sent] == [Stage.ANNOUNCING]


async def test_no_refusal_of_a_record_is_sent_behind_a_higher_claim() -> None:
    """Alone in a batch, or beside requests: the claim, written again, says up to where to read back."""
    for groups in ((refused(),), (accepted(), refused(), AT_CURSOR)):
        broker, proofs = MemoryBroker(), list[int]()
        answer = await fenced_writer(broker, proofs, is_ours=False).append(batch(*groups))
        assert answer == BatchRefused("another member has claimed partition 0")
        assert (proofs, broker.outcomes()) == ([0], [])
        assert keys([_seen(record) for record in broker.journal()]) == [owner_key(1)]


async def test_a_refusal_that_is_sent_again_is_proven_again() -> None:
    broker, proofs = MemoryBroker(), list[int]()
    broker.break_at(Stage.OUTCOMES, Fault.LOSE_ANSWER)
    writer, refusal = fenced_writer(broker, proofs, is_ours=True), batch(refused(), AT_CURSOR)
    assert isinstance(await writer.append(refusal), Unknown)
    assert isinstance(await writer.append(refusal), Committed)
    assert proofs == [0, 1]


async def test_what_has_no_outcome_need_not_be_read_back() -> None:
    broker, proofs = MemoryBroker(), list[int]()
    assert await fenced_writer(broker, proofs, is_ours=False).append(batch(accepted())) == Committed(0)
    assert proofs == []


async def test_a_journal_that_cannot_be_read_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = MemoryBroker()

    async def never(_offset: int) -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr("service.kafka.writing.at_least_once.READ_BACK_SECONDS", 0.0)
    writer = AtLeastOnceWriter(broker, ShardRecords(broker.topics, 0, 1, "a"), never)
    assert await writer.append(WHOLE) == Unknown("the journal could not be read back in time")
    assert broker.outcomes() == []


# -- a broker that takes no large batch in time ---------------------------------------------------------


async def test_a_batch_that_does_not_arrive_is_halved_and_not_sent_again_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = batch(*(accepted(f"large-{n}", digest="x" * 40_000) for n in range(8)), AT_CURSOR)
    broker = MemoryBroker()
    sizes: list[int] = []

    async def send(records: Sequence[ProducerRecord]) -> list[SendResult]:
        """As a broker on so slow a line that only small requests arrive in time."""
        size_bytes = sum(len(record.value or b"") for record in records)
        sizes.append(size_bytes)
        if size_bytes > 100_000:
            return [PublishError("no answer in time") for _ in records]
        return await MemoryBroker.send(broker, records)

    monkeypatch.setattr(broker, "send", send)
    writer = broker.writer()
    answers = [await writer.append(large)]
    while isinstance(answers[-1], Unknown) and len(answers) < 9:
        answers.append(await writer.append(large))
    assert answers[-1] == Committed(8)
    assert keys([_seen(record) for record in broker.journal()])[-1] == cursor_key(1)
    assert len(broker.journal()) == 9
    assert sizes.count(sizes[0]) == 1, "the whole of it was sent once"
