"""Turns what topics, ledger and logs hold into evidence."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from sandbox.simulator import Ledger
from service.core.journal.stamp import STAMP_HEADER, epoch_of
from tests.chaos.evidence import QUOTAS, Asked, Delivery, Entry
from tests.chaos.load import RESULT, Request
from tests.chaos.reading import Seen
from tests.integration.stack import Scribe

COMPLAINTS: Final = (
    "Traceback",
    "never retrieved",
    "was destroyed",
    "Unclosed",
    "never awaited",
    "IllegalTransition",
)
"""What Python writes about tasks, connections and rules of the core that came to a bad end."""
TOLERATED: Final = (
    "_do_commit_offsets",
    "health_request_failed",
    "Unexpected error in sender routine",
    "sys:1: RuntimeWarning: coroutine 'wait_for' was never awaited",
    "Future exception was never retrieved future: <Future finished exception=KafkaConnectionError(",
)
"""aiokafka shields its commit: one that was given up and is refused later has nobody to tell (0.14). A probe
that is given up breaks its connection to the health server. A producer ends when a busy broker answers the
end of a transaction with an error that it does not know: the batch is looked up by a new one. A
request that aiokafka's connection was about to send when the process ended was awaited by nobody: `wait_for`
is its own (we use `asyncio.timeout`), and so is the future that the closed connection fails."""
PURPOSE_HEADER: Final = "chaos-purpose"


def deliveries(seen: Iterable[Seen]) -> list[Delivery]:
    """Every outcome."""
    return [_delivery(each) for each in seen if "ce_id" in each.headers]


def _delivery(seen: Seen) -> Delivery:
    body = json.loads(seen.value or b"{}")
    identity, task_id, told = seen.headers["ce_id"].decode(), body.get("task_id"), body.get("request_summary")
    ended = (told["succeeded"], told["failed"]) if told else None
    if "code" in body:
        return Delivery(identity, body["code"], "", task_id, ended)
    channels = body.get("transcript", {}).get("channels") or [{}]
    return Delivery(identity, RESULT, channels[0].get("text", ""), task_id, ended)


def asked(seen: Iterable[Seen], topic: str, requests: Sequence[Request]) -> list[Asked]:
    """Every record of the request topic, with the jobs that it names."""
    keys = {request.name: tuple(file.id for file in request.files) for request in requests}
    return [_asked(each, keys) for each in seen if each.topic == topic]


def _asked(seen: Seen, keys: Mapping[str, tuple[str, ...]]) -> Asked:
    purpose = seen.headers.get(PURPOSE_HEADER, b"request").decode()
    named = _name(seen.value) if purpose == "request" else ""
    return Asked(seen.partition, seen.offset, keys.get(named, ()), purpose, seen.topic)


def _name(value: bytes | None) -> str:
    body = json.loads(value or b"{}")
    return f"{body.get('request_id')}/{body.get('replay', 0)}"


def entries(seen: Iterable[Seen], topic: str) -> list[Entry]:
    """Every record of the journal."""
    return [
        Entry(each.partition, each.key, each.value, epoch_of(each.headers[STAMP_HEADER]))
        for each in seen
        if each.topic == topic
    ]


def calls(ledger: Ledger) -> Mapping[str, Sequence[float]]:
    """The moments of each kind of call that a quota counts."""
    return {kind: [call.wall for call in ledger.calls_of(kind)] for kind in QUOTAS}


def unknown_tasks(ledger: Ledger) -> frozenset[str]:
    """The tasks of which a fault said once that they are not known."""
    return frozenset(call.task_id for call in ledger.calls if call.fault == "unknown" and call.task_id)


def left_behind(workers: Iterable[Scribe]) -> Iterator[str]:
    """What the workers wrote about tasks and connections that they left."""
    for worker in workers:
        for line in worker.log_path.read_text(errors="replace").splitlines():
            if any(word in line for word in COMPLAINTS) and not any(word in line for word in TOLERATED):
                yield f"worker {worker.log_path.name} wrote: {line[:300]}"
