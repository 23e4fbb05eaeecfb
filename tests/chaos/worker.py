"""`python -m tests.chaos.worker run`: the real service, with its ports wrapped so that it can die anywhere.

The service's code has no hook for this. The journal, its writers and the provider are wrapped where
`service.app.wiring` makes them, and aiokafka's producer where records and transactions leave the process.

The kill points, in the order in which one job passes them (docs of each: where it is passed):

`take.before` `send.claim` `take.after`      a shard is taken over: nothing yet; journal read; all read back
`accept.before` `accept.after`               around the batch that holds the cursor
`intent.before` `intent.after`               around the batch that holds an intent
`submit.before` `submit.out` `submit.after`  around the POST; `out`: the provider has it, we no answer
`running.before` `running.after`             around the batch that holds the task's id
`query.before` `query.after`                 around a look
`fetch.before` `fetch.after`                 around the fetch of the result file
`finish.before` `finish.after`               around the batch that holds the outcome
`send.LABEL`                                 a record leaves: request, intent, outcome, finished, cursor ...
`commit.LABEL.before` `.out` `.after`        around the commit of a transaction that holds such a record;
                                             `out`: EndTxn is on the wire, its answer is kept from us
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.transaction import EndTxnRequest
from pydantic import JsonValue

from service.app import wiring
from service.cli import commands
from service.core.job.accepted_request import FinishedRequest
from service.core.job.submission import Submission
from service.core.journal.entries import JobEntry, decode
from service.core.journal.stamp import OWNER_PREFIX
from service.core.provider.answers import ProviderError, SubmitAnswer, TaskView
from service.core.shard.batches import Appended, Batch
from service.kafka.journal.journal import Journal
from service.kafka.journal.takeover import BeforeReading, RestoredShard
from service.kafka.writing.writer_port import Writer
from service.observability.provider_instrumentation import InstrumentedProvider
from service.provider.api import Permit, Provider, at_once
from tests.chaos.trap import DOORS_VARIABLE, VARIABLE, KillPoint, Trap

LEDGER_LOOK_SECONDS = 0.02
ON_THE_WIRE_SECONDS = 0.05
"""Longer than any event loop keeps written bytes to itself."""
LABELS = {"intended": "intent"}
"""States of a submission that have another name here; the others are called as they are."""


class TrappedWriter:
    """A shard's writer with traps around every batch."""

    def __init__(self, writer: Writer, trap: Trap) -> None:
        self._writer = writer
        self._trap = trap

    async def append(self, batch: Batch) -> Appended:
        """Append, passing `LABEL.before` and `LABEL.after` for all that the batch holds."""
        labels = sorted(set(labels_of(batch)))
        for label in labels:
            self._trap.at(f"{label}.before")
        answer = await self._writer.append(batch)
        for label in labels:
            self._trap.at(f"{label}.after")
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class TrappedJournal:
    """The journal with traps around a take-over."""

    def __init__(self, journal: Journal, trap: Trap) -> None:
        self._journal = journal
        self._trap = trap

    async def take_over(
        self, partition: int, group_offset: int | None, before_reading: BeforeReading
    ) -> RestoredShard:
        """Take a shard over."""
        self._trap.at("take.before")
        taken = await self._journal.take_over(partition, group_offset, before_reading)
        self._trap.at("take.after")
        return taken

    def writer(self, *parts: Any) -> TrappedWriter:
        """The shard's writer, trapped."""
        return TrappedWriter(self._journal.writer(*parts), self._trap)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class TrappedProvider:
    """The provider with traps around each call."""

    def __init__(self, provider: Provider, trap: Trap, base_url: str) -> None:
        self._provider = provider
        self._trap = trap
        self._ledger_url = f"{base_url.removesuffix('/api/v1')}/_sim/ledger"

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        """Submit; `submit.out` is passed when the provider's ledger has the files and we have no answer."""
        self._trap.at("submit.before")
        calling = asyncio.ensure_future(self._provider.submit(model, file_urls, options, permit))
        try:
            if self._trap.waits_for("submit.out"):
                await self._until_billed(file_urls)
            self._trap.at("submit.out")
            answer = await calling
        finally:
            calling.cancel()
        self._trap.at("submit.after")
        return answer

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """Look at a task."""
        self._trap.at("query.before")
        answer = await self._provider.query(task_id, permit)
        self._trap.at("query.after")
        return answer

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """Fetch a result file."""
        self._trap.at("fetch.before")
        answer = await self._provider.fetch(transcription_url, max_bytes)
        self._trap.at("fetch.after")
        return answer

    async def _until_billed(self, file_urls: Sequence[str]) -> None:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            while True:
                submits = (await client.get(self._ledger_url)).json()["submits"]
                if any(submit["file_urls"] == list(file_urls) for submit in submits):
                    return
                await asyncio.sleep(LEDGER_LOOK_SECONDS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)


def labels_of(batch: Batch) -> Iterator[str]:
    """What a batch holds: accept, finish, or what a record of it tells."""
    if batch.cursor is not None:
        yield "accept"
    if batch.outcomes:
        yield "finish"
    yield from (label_of_entry(each.key, each.value) for each in batch.records)


def label_of_entry(key: str, value: bytes | None) -> str:
    """The label of a journal record: a submission's state, else what it is."""
    if value is None:
        return "tombstone"
    if key.startswith("~"):
        return "claim" if key.startswith(OWNER_PREFIX) else key[1:].partition("/")[0]
    match decode(key, value):
        case Submission(state=state):
            return LABELS.get(state, state)
        case JobEntry() as job:
            return "done" if job.end is not None else "cancel" if job.cancelled else "announcing"
        case FinishedRequest():
            return "finished"
    return "request"


def label_of_record(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> str:
    """What a record is that leaves through the producer."""
    if any(name == "ce_id" for name, _ in headers):
        return "outcome"
    return label_of_entry((key or b"").decode(), value)


def arm(trap: Trap) -> None:
    """Wrap the ports where they are made; done before the service starts, and never undone."""

    def journal(**parts: Any) -> TrappedJournal:
        return TrappedJournal(Journal(**parts), trap)

    def provider(*parts: Any) -> TrappedProvider:
        return TrappedProvider(InstrumentedProvider(*parts), trap, os.environ["SCRIBE_PROVIDER__BASE_URL"])

    _replace(wiring, "Journal", journal)
    _replace(wiring, "InstrumentedProvider", provider)
    transactions = TransactionTraps(trap)
    transactions.arm_producer()
    transactions.arm_connection()


def divert(ports: Mapping[int, int]) -> None:
    """Lead aiokafka's connections to other ports: the brokers name their own to whoever asks.

    A connection goes on saying the broker's own port: its owner compares it with what the cluster tells.
    """
    create_connection = asyncio.BaseEventLoop.create_connection

    async def diverted(loop: Any, factory: Any, host: Any = None, port: Any = None, **rest: Any) -> Any:
        return await create_connection(loop, factory, host, ports.get(port, port), **rest)

    _replace(asyncio.BaseEventLoop, "create_connection", diverted)


class TransactionTraps:
    """Traps in aiokafka's producers, which know what each open transaction holds."""

    def __init__(self, trap: Trap) -> None:
        self._trap = trap
        self._labels: dict[str, set[str]] = defaultdict(set)
        """What has been sent since the last commit, by `transactional.id`."""

    def arm_producer(self) -> None:
        """Wrap `send` and `commit_transaction`."""
        send, commit = AIOKafkaProducer.send, AIOKafkaProducer.commit_transaction

        async def trapped_send(
            producer: AIOKafkaProducer,
            topic: str,
            value: bytes | None = None,
            key: bytes | None = None,
            **rest: Any,
        ) -> Any:
            label = label_of_record(key, value, rest.get("headers") or ())
            self._trap.at(f"send.{label}")
            self._labels[_id_of(producer)].add(label)
            return await send(producer, topic, value=value, key=key, **rest)

        async def trapped_commit(producer: AIOKafkaProducer) -> Any:
            self._pass(_id_of(producer), "before")
            committed = await commit(producer)
            self._pass(_id_of(producer), "after")
            self._labels.pop(_id_of(producer), None)
            return committed

        _replace(AIOKafkaProducer, "send", trapped_send)
        _replace(AIOKafkaProducer, "commit_transaction", trapped_commit)

    def arm_connection(self) -> None:
        """EndTxn leaves through a connection; its answer is held back until the trap is passed."""
        send: Callable[..., Any] = AIOKafkaConnection.send

        def trapped(connection: AIOKafkaConnection, request: Any, **rest: Any) -> Any:
            answer = send(connection, request, **rest)
            if not isinstance(request, EndTxnRequest):
                return answer
            return asyncio.ensure_future(self._held(answer, request._transactional_id))

        _replace(AIOKafkaConnection, "send", trapped)

    async def _held(self, answer: Any, transactional_id: str) -> Any:
        if any(self._trap.waits_for(f"commit.{label}.out") for label in self._labels[transactional_id]):
            await asyncio.sleep(ON_THE_WIRE_SECONDS)
        self._pass(transactional_id, "out")
        return await answer

    def _pass(self, transactional_id: str, where: str) -> None:
        for label in sorted(self._labels[transactional_id]):
            self._trap.at(f"commit.{label}.{where}")


def _id_of(producer: AIOKafkaProducer) -> str:
    manager = producer._txn_manager
    return str(manager.transactional_id) if manager else ""


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


def main() -> None:
    """Run the service's own command line in a process whose ports are wrapped."""
    point = os.environ.get(VARIABLE)
    arm(Trap(KillPoint.read(point) if point else None))
    if doors := os.environ.get(DOORS_VARIABLE):
        divert({int(port): int(to) for port, _, to in (pair.partition("=") for pair in doors.split(","))})
    commands.main()


if __name__ == "__main__":
    main()
