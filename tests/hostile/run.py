"""Sends hostile records and answers through a running service on real Kafka, and judges what comes."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, RecordMetadata

from sandbox.simulator import Simulator, SimulatorConfig, serve
from sandbox.simulator.models import FILE_MODELS
from tests.brokers import create_topics
from tests.hostile.answers import RESULT, SOURCES, Answers, HostileAnswer
from tests.hostile.provider import HostileProvider
from tests.hostile.records import HostileRecord, Records
from tests.integration.stack import ROLES, Scribe, Stack, settings_for, standing

WINDOW = 400
"""So many records are on their way at a time: what waits in the service is bounded, and so is this run."""
STALL_SECONDS = 240.0
"""No outcome for so long: the rest will not come."""
SAMPLES = 20
MOST_GROWTH = 1.25
"""The resident memory of the second half, at most so many times that of the first."""
MOST_BILLED_SECONDS = 10**7
"""No file is four months long."""
_SETTINGS = {
    "SCRIBE_QUOTA__CALLS_PER_SECOND": "10000",
    "SCRIBE_QUOTA__SUBMITS_PER_MINUTE": "1000000",
    "SCRIBE_SUBMIT__SETTLE_SECONDS": "2",
    "SCRIBE_DEDUPLICATION__JOBS": "1000",
    "SCRIBE_SPEND__SECONDS_PER_DAY": "10000000000",
    "SCRIBE_SPEND__PRICES": "fun-asr=0.000035,qwen3-asr-flash=0.000035",
}
"""Every guard that reads numbers of the provider is on; markers of finished jobs take a bounded room."""
_TOPIC = {"message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1"}
"""The broker lets every time pass, and keeps it."""


@dataclass(frozen=True)
class Came:
    """One outcome, as far as it is judged."""

    code: str
    text: str | None
    billed_seconds: object


@dataclass
class Report:
    """What came of a run; a run without complaints is as it should be."""

    sent: int = 0
    refused_by_broker: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    resident_bytes: list[int] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def line(self) -> str:
        """All in one line."""
        codes = ", ".join(f"{code} {count}" for code, count in self.codes.most_common())
        memory = " ".join(str(round(each / 1024**2)) for each in self.resident_bytes)
        return (
            f"sent {self.sent} (refused by the broker: {self.refused_by_broker}); {codes}; "
            f"resident MiB {memory}; complaints {len(self.complaints)}"
        )


async def run(bootstrap: str, names: Sequence[str], folder: Path, number: int, seed: int) -> Report:
    """Send `number` hostile records, and as many requests whose answers are hostile; what came of it."""
    topics = dict(zip(ROLES, names, strict=True))
    await create_topics(bootstrap, {topics["requests"]: 3}, _TOPIC)
    answers = Answers(Random(f"answers {seed}"))
    config = SimulatorConfig(
        speed=1, submit_rpm=None, query_qps=None, list_qps=None, cancel_qps=None, hotwords_qps=None
    )
    async with serve(config, lambda app: HostileProvider(app, answers)) as sim:
        settings = {**settings_for(bootstrap, topics, sim, 30_000, transactions=True), **_SETTINGS}
        async with standing(Stack(bootstrap, topics, sim, folder, settings)) as stack:
            scribe = await stack.start()
            watch = _Run(stack, scribe, Records(Random(f"records {seed}")), answers, number)
            await watch.go()
            return await watch.judged(sim)


@dataclass
class _Run:
    stack: Stack
    scribe: Scribe
    records: Records
    answers: Answers
    number: int
    report: Report = field(default_factory=Report)
    expected: dict[str, HostileRecord | HostileAnswer] = field(default_factory=dict)
    came: dict[str, list[Came]] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WINDOW))

    async def go(self) -> None:
        """Send everything and wait for what comes, as long as something comes."""
        async with self._consumer() as consumer:
            sending = asyncio.create_task(self._send_all())
            try:
                await self._collect(consumer, sending)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self) -> None:
        async with self._producer() as producer, self._producer() as timed:
            for number in range(2 * self.number):
                await self._room.acquire()
                if number % 2:
                    await self._send_answer(producer)
                else:
                    await self._send_record(producer, timed)

    async def _send_answer(self, producer: AIOKafkaProducer) -> None:
        case = self.answers.draw()
        self.expected[f"{case.request_id}/0/0"] = case
        value = json.dumps(case.request()).encode()
        await producer.send(self.stack.topics["requests"], value, key=case.request_id.encode())
        self.report.sent += 1

    async def _send_record(self, producer: AIOKafkaProducer, timed: AIOKafkaProducer) -> None:
        """A record with a time of its own has a batch of its own: times in a batch are differences."""
        record = self.records.draw()
        if record.timestamp_ms is None:
            sending = await producer.send(
                self.stack.topics["requests"], record.value, key=record.key, headers=list(record.headers)
            )
            sending.add_done_callback(lambda sent: self._expect(record, sent.result()))
        else:
            try:
                sent = await timed.send_and_wait(
                    self.stack.topics["requests"],
                    record.value,
                    key=record.key,
                    timestamp_ms=record.timestamp_ms,
                )
            except KafkaError:
                self.report.refused_by_broker += 1
                self._room.release()
                return
            self._expect(record, sent)
        self.report.sent += 1

    def _expect(self, record: HostileRecord, sent: RecordMetadata) -> None:
        position = f"{sent.topic}/{sent.partition}/{sent.offset}"
        self.expected[f"{record.request_id}/0/0" if record.request_id else position] = record

    async def _collect(self, consumer: AIOKafkaConsumer, sending: asyncio.Task[None]) -> None:
        every = max(1, 2 * self.number // SAMPLES)
        count = 0
        while not (sending.done() and count >= self.report.sent):
            record = await self._next(consumer)
            if record is None:
                return
            id_, came = _read(record)
            self.came.setdefault(id_, []).append(came)
            self._room.release()
            count += 1
            if count % every == 0:
                self.report.resident_bytes.append(self._resident_bytes())

    async def _next(self, consumer: AIOKafkaConsumer) -> ConsumerRecord | None:
        """The next outcome; None, with a complaint, when none comes any more."""
        coming = asyncio.ensure_future(consumer.getone())
        ending = asyncio.ensure_future(self.scribe.process.wait())
        try:
            done, _ = await asyncio.wait(
                (coming, ending), timeout=STALL_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if coming in done:
                return coming.result()
            why = "the service ended" if ending in done else f"nothing came for {STALL_SECONDS:g} s"
            self.report.complaints.append(why)
            return None
        finally:
            for waiting in (coming, ending):
                waiting.cancel()
            await asyncio.gather(coming, ending, return_exceptions=True)

    def _resident_bytes(self) -> int:
        status = Path(f"/proc/{self.scribe.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]

    async def judged(self, sim: Simulator) -> Report:
        """The report, with a complaint for everything that is not as it should be."""
        for id_, expected in self.expected.items():
            self._judge(id_, expected, self.came.pop(id_, []))
        self.report.complaints += [f"{id_}: nobody asked for it ({came})" for id_, came in self.came.items()]
        await self._judge_process()
        self._judge_bills(sim)
        unharmed = {*SOURCES} - self.answers.harmed.keys()
        if unharmed:
            self.report.complaints.append(f"no answer was harmed of {sorted(unharmed)}")
        return self.report

    def _judge(self, id_: str, expected: HostileRecord | HostileAnswer, came: Sequence[Came]) -> None:
        name = expected.rule.name if isinstance(expected, HostileAnswer) else expected.name
        wanted = expected.rule.expected if isinstance(expected, HostileAnswer) else expected.expected
        if len(came) != 1:
            self.report.complaints.append(f"{id_} ({name}): {len(came)} outcomes: {came}")
            return
        [only] = came
        self.report.codes[only.code] += 1
        if only.code not in wanted:
            self.report.complaints.append(f"{id_} ({name}): {only.code} where {sorted(wanted)} belongs")
        if only.code == RESULT and isinstance(expected, HostileAnswer):
            self._judge_result(f"{id_} ({name})", expected, only)

    def _judge_result(self, name: str, expected: HostileAnswer, came: Came) -> None:
        if expected.rule.keeps_text and came.text != expected.text:
            self.report.complaints.append(f"{name}: the text is {came.text!r:.80}")
        billed = came.billed_seconds
        if billed is not None and not (isinstance(billed, int) and 0 <= billed <= MOST_BILLED_SECONDS):
            self.report.complaints.append(f"{name}: billed_seconds is {billed!r:.80}")

    async def _judge_process(self) -> None:
        """It lives, says so, met no error of its own, and its memory did not grow."""
        if self.scribe.process.returncode is not None:
            self.report.complaints.append(f"the service ended with {self.scribe.process.returncode}")
            return
        if not await self.scribe.is_ready():
            self.report.complaints.append("the service is not ready")
        internal = await self.scribe.counted("scribe_internal_errors_total")
        if internal:
            self.report.complaints.append(f"internal errors: {internal}")
        half = len(self.report.resident_bytes) // 2
        first, second = self.report.resident_bytes[:half], self.report.resident_bytes[half:]
        if half and max(second) > MOST_GROWTH * max(first):
            self.report.complaints.append("the resident memory grew")
        code = await self.scribe.end()
        if code != 0:
            self.report.complaints.append(f"the service stopped with {code}")

    def _judge_bills(self, sim: Simulator) -> None:
        """A file of an asynchronous model is submitted once, whatever became of the answers."""
        tasks = [
            submit.task for submit in sim.ledger().submits if submit.task.submission.model in FILE_MODELS
        ]
        billed = Counter(file.file_url for task in tasks for file in task.files)
        twice = [f"{url} was billed {count} times" for url, count in billed.items() if count > 1]
        self.report.complaints += twice

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap, max_request_size=4 * 1024**2)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            self.stack.topics["results"],
            self.stack.topics["failures"],
            bootstrap_servers=self.stack.bootstrap,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=32 * 1024**2,
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()


def _read(record: ConsumerRecord) -> tuple[str, Came]:
    """An outcome's id, and what is judged of it."""
    body = json.loads(record.value)
    id_ = next(value.decode() for name, value in record.headers if name == "ce_id")
    if "code" in body:
        return id_, Came(body["code"], None, None)
    channels = body["transcript"]["channels"]
    text = channels[0]["text"] if channels else ""
    return id_, Came(RESULT, text, body["usage"]["billed_seconds"])
