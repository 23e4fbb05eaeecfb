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
from service.contract.speech import AudioProperties, Channel, Sentence, Transcript, Word
from service.core.batch import Batch, Committed, Unknown
from service.core.ending import FailureEnding, ResultEnding
from service.core.entry import CURSOR_KEY, OWNER_KEY, STAMP_HEADER, Stamp, decode, encode_job, encode_marker
from service.core.entry import Marker as DoneMarker
from service.core.identity import Position
from service.core.job import Job, Spec, State
from service.core.outcomes import Outcome, OutcomeRules, job_outcome, record_failure
from service.core.record import Cursor, Record
from service.core.restore import Restore
from service.core.shard import Move
from service.core.smaller import shrink
from service.errors import FailureCode, InvalidRecord, RecordTooLarge
from service.kafka.addressed import Addressed
from service.kafka.client import ClusterConfig
from service.kafka.journal import Journal
from service.kafka.lasting import LastingReader
from service.kafka.outgoing import Answer, Outgoing
from service.kafka.producer import Producer
from service.kafka.tail import Tail
from service.kafka.takeover import Taken
from service.kafka.topics import Creation, Topics, configs
from service.kafka.transactions import Transactions
from service.kafka.writer import AtLeastOnceWriter, Writer
from service.messages import Stage as JobStage
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
        return AtLeastOnceWriter(self.producer, Addressed(self.topics, 0, epoch, "a"))

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
        self, bootstrap: str, watermarks: LastingReader, topic_names: TopicNames, *, knows_limits: bool
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
            places=asyncio.Semaphore(1),
        )
        taken = Taken(Restore(self.topics.journal, 0), epoch, -1, Cursor(0), 0, sender)
        self._writers.append(journal.writer(0, taken, _always))
        return self._writers[-1]

    async def close(self) -> None:
        for writer in self._writers:
            await writer.close()


async def _always() -> bool:
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
    async with LastingReader(ClusterConfig(bootstrap), FETCH_WAIT_MS, "read_uncommitted") as watermarks:
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


def a_job(request_id: str = "r", file_index: int = 0, **fields: Any) -> Job:
    spec = Spec(
        request_id=request_id,
        replay=0,
        file_count=3,
        job_count=3,
        model="fun-asr",
        options={},
        metadata=None,
        headers=(("traceparent", "00-1"),),
        deadline_ms=NOW_MS + 1_000,
        origin=Position("requests", 0, 7, NOW_MS),
        digest="d",
        duplicates_detected=True,
        accepted_ms=NOW_MS,
    )
    return Job(spec, file_index, f"https://h.example/{file_index}.wav", 0, **fields)


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
    job = a_job(request_id, file_index, state=State.FINISHING, task_id="t-1", ending=ending)
    return job_outcome(job, None, NOW_MS, RULES)


def a_failure(request_id: str = "r", file_index: int = 0) -> Outcome:
    ending = FailureEnding(JobStage.SUBMIT, FailureCode.SUBMIT_REJECTED, "no")
    job = a_job(request_id, file_index, state=State.FINISHING, ending=ending)
    return job_outcome(job, None, NOW_MS, RULES)


def finished(outcome: Outcome) -> Move:
    """A job's end: FINISHING, the outcome, and its marker."""
    request_id, _, index = outcome.id.split("/")
    job = a_job(request_id, int(index))
    announced = encode_job(a_job(request_id, int(index), state=State.FINISHING))
    marker = encode_marker(DoneMarker(job.key, "d", 3, outcome.is_result, None, NOW_MS))
    return Move(outcome.id, marker, announced, outcome)


def accepted(request_id: str = "r", file_index: int = 0, **fields: Any) -> Move:
    job = a_job(request_id, file_index, **fields)
    return Move(str(job.key), encode_job(job))


def batch(*moves: Move, number: int = 1, cursor: Cursor | None = None) -> Batch:
    return Batch(number, moves, cursor)


def keys(records: Sequence[Seen]) -> list[str]:
    return [record.key.decode() for record in records]


# -- what every broker must do --------------------------------------------------------------------------


async def test_the_stages_of_a_batch_lie_in_the_journal_in_their_order(shared: Rig) -> None:
    answer = await shared.writer().append(
        batch(accepted("new"), finished(a_result("done")), accepted("new", 1), cursor=CURSOR)
    )
    journal = await shared.journal()
    assert keys(journal) == ["done/0/0", "new/0/0", "done/0/0", "new/0/1", CURSOR_KEY]
    assert [record.offset for record in journal] == [0, 1, 2, 3, 4]
    states = [record.body.get("state") for record in journal]
    assert states == ["finishing", "accepted", "done", "accepted", None]
    assert decode(CURSOR_KEY, journal[-1].value or b"") == CURSOR
    assert answer == Committed(4)


async def test_every_journal_record_says_who_wrote_it(rig: Rig) -> None:
    await rig.writer(epoch=7).append(batch(finished(a_result()), number=12, cursor=CURSOR))
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
    assert await rig.writer().append(batch(cursor=CURSOR)) == Committed(0)
    assert keys(await rig.journal()) == [CURSOR_KEY]


async def test_an_empty_batch_writes_nothing(rig: Rig) -> None:
    assert await rig.writer().append(batch()) == Committed(-1)
    assert await rig.journal() == []


async def test_an_outcome_of_no_job_leaves_nothing_but_the_cursor_in_the_journal(rig: Rig) -> None:
    record = Record(Position("requests", 0, 7, NOW_MS), b"k", b"nonsense")
    failure = record_failure(record, InvalidRecord(FailureCode.INVALID_JSON, "no"), NOW_MS, RULES)
    assert await rig.writer().append(batch(Move(outcome=failure), cursor=CURSOR)) == Committed(0)
    assert keys(await rig.journal()) == [CURSOR_KEY]
    assert [(each.id, each.key) for each in await rig.outcomes()] == [("requests/0/7", b"requests/0/7")]


async def test_a_forgotten_job_becomes_a_tombstone(rig: Rig) -> None:
    await rig.writer().append(batch(accepted()))
    answer = await rig.writer().append(batch(Move("r/0/0"), number=2))
    last = (await rig.journal())[-1]
    assert (last.key, last.value) == (b"r/0/0", None)
    assert answer == Committed(last.offset)


async def test_appended_again_a_batch_repeats_ids_and_adds_none(shared: Rig) -> None:
    writer = shared.writer()
    again = batch(finished(a_result("r", 0)), finished(a_failure("r", 1)), cursor=CURSOR)
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
    one, two = shared.writer(epoch=1), shared.writer(epoch=1)
    answers = await asyncio.gather(
        *(one.append(batch(accepted("one", n), number=n)) for n in range(3)),
        *(two.append(batch(finished(a_result("two", n)), number=n)) for n in range(3)),
    )
    assert all(isinstance(answer, Committed) for answer in answers)
    assert len(await shared.journal()) == 3 + 2 * 3
    assert len(await shared.outcomes()) == 3


async def test_the_claim_is_written_again_with_its_own_epoch(rig: Rig) -> None:
    answer = await rig.writer(epoch=4).prove()
    [record] = await rig.journal()
    assert answer == Committed(record.offset)
    assert (record.key.decode(), record.body) == (OWNER_KEY, {"epoch": 4, "member": "a"})
    assert record.headers[STAMP_HEADER] == Stamp(4, 0).encode()


# -- a broker that takes no record of that size ---------------------------------------------------------


def limit_between(rig: Rig, larger: Outcome, smaller: Outcome) -> int:
    """A limit that refuses one form of an outcome, and takes another with its headers."""
    refused, taken = (rig.measure(form.body.to_bytes()) for form in (larger, smaller))
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
    answer = await limited.writer().append(batch(finished(result), cursor=CURSOR))
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
    assert isinstance(await limited.writer().append(batch(Move(outcome=failure), cursor=CURSOR)), Committed)
    [seen] = await limited.outcomes()
    assert (seen.body["raw"], seen.body["raw_bytes"]) == (None, 100_000)


async def test_an_outcome_that_no_topic_takes_is_unknown_and_says_why(limited: Rig) -> None:
    await limited.limit(results=200, failures=200)
    answer = await limited.writer().append(batch(finished(a_result()), cursor=CURSOR))
    assert isinstance(answer, Unknown)
    assert "r/0/0" in answer.reason
    assert all(record.body.get("state") == "finishing" for record in await limited.journal())


async def test_a_poison_outcome_stops_none_of_its_batch_nor_of_the_next(limited: Rig) -> None:
    """On real Kafka the producer is idempotent: a refused batch makes it useless for that partition."""
    poison = a_result("r", 1, a_transcript(60_000))
    *_, text_alone, failure = smaller_forms(poison)
    await limited.limit(results=limit_between(limited, text_alone, failure))
    writer = limited.writer()
    around = [finished(a_result("r", 0)), finished(poison), finished(a_result("r", 2))]
    assert isinstance(await writer.append(batch(*around, cursor=CURSOR)), Committed)
    assert isinstance(await writer.append(batch(finished(a_result("r", 3)), number=2)), Committed)
    outcomes = await limited.outcomes()
    assert {(record.topic, record.id) for record in outcomes} == {
        (limited.topics.results, "r/0/0"),
        (limited.topics.failures, "r/0/1"),
        (limited.topics.results, "r/0/2"),
        (limited.topics.results, "r/0/3"),
    }


@needs_java
async def test_small_outcomes_that_are_too_large_together_go_one_by_one(on_kafka: BrokerRig) -> None:
    small = [a_result("r", index, a_transcript(600, seed=index)) for index in range(3)]
    each = max(on_kafka.measure(result.body.to_bytes()) for result in small)
    await on_kafka.limit(results=each + 5_000)
    assert isinstance(await on_kafka.writer().append(batch(*map(finished, small))), Committed)
    outcomes = await on_kafka.outcomes()
    assert [record.id for record in outcomes] == ["r/0/0", "r/0/1", "r/0/2"]
    assert all(record.body["omitted"] == [] for record in outcomes)


@needs_java
async def test_entries_that_are_too_large_together_go_one_by_one_in_their_order(on_kafka: BrokerRig) -> None:
    draw = random.Random(3)
    entries = [accepted("r", 0, task_id=draw.randbytes(2_000).hex()) for _ in range(8)]
    each = max(on_kafka.measure(move.entry or b"") for move in entries)
    await on_kafka.limit(journal=each + 1_000)
    assert isinstance(await on_kafka.writer().append(batch(*entries, cursor=CURSOR)), Committed)
    journal = await on_kafka.journal()
    assert [record.value for record in journal[:-1]] == [move.entry for move in entries]
    assert journal[-1].key.decode() == CURSOR_KEY


@needs_java
async def test_an_entry_that_the_journal_never_takes_is_unknown_and_moves_no_cursor(
    on_kafka: BrokerRig,
) -> None:
    await on_kafka.limit(journal=1_000)
    entry = accepted("r", 0, task_id=random.Random(4).randbytes(4_000).hex())
    assert isinstance(await on_kafka.writer().append(batch(entry, cursor=CURSOR)), Unknown)
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

    async def send(self, records: Sequence[Outgoing]) -> list[Answer]:
        if len(records) == 1:
            return await super().send(records)
        taken = await super().send([record for n, record in enumerate(records) if n != 1])
        return [taken[0], RecordTooLarge("the batch"), *taken[1:]]


async def test_the_last_entry_of_a_job_stays_the_last_when_an_earlier_one_is_refused() -> None:
    broker = RefusesTheSecondOfMany()
    states = [State.ACCEPTED, State.SUBMITTING, State.RUNNING]
    await broker.writer().append(batch(*(accepted("r", 0, state=state) for state in states)))
    assert [_seen(record).body["state"] for record in broker.journal()][-2:] == ["submitting", "running"]


# -- a broker that goes away between two stages ---------------------------------------------------------

STAGES = list(Stage)
WHOLE = batch(finished(a_result("r", 0)), finished(a_failure("r", 1)), accepted("new"), cursor=CURSOR)


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
