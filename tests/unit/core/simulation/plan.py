"""What was published, and what must become of each record, told by the records' bytes and their meaning."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import cast

from tests.unit.core.simulation.ledger import SYNCHRONOUS
from tests.unit.core.simulation.port import TOPIC, Delivery, Headers, Published

WEEK_SECONDS = 7 * 24 * 3600
CONFLICT, UNKNOWN, FINISHED = "request_id_conflict", "cancel_unknown_request", "already_finished"
RequestKey = tuple[str, int]


class Meaning(Enum):
    """Whether a record is a failure of its own."""

    SERVED = "served"
    FAILS = "fails"
    MAY_FAIL = "may fail"


@dataclass(slots=True)
class Asked:
    """A request that was published. An id that was used again after the window is another one."""

    request: RequestKey
    number: int
    """How many had this id and replay before."""
    body: dict[str, object]
    urls: dict[str, str]
    """Job to file URL."""
    record: Published
    deadline_ms: int
    ends_ms: int = 0
    """From when on its deadline may end it."""
    cancels: list[Published] = field(default_factory=list)

    @property
    def model(self) -> str:
        """Its model."""
        return str(self.body["model"])

    @property
    def words(self) -> tuple[str, ...]:
        """Its hotwords."""
        options = cast(dict[str, list[dict[str, str]]], self.body.get("options") or {})
        return tuple(sorted(word["text"] for word in options.get("hotwords", ())))

    def name(self, job: str) -> str:
        """What the ledger calls the job."""
        return job + "'" * self.number


@dataclass(frozen=True, slots=True)
class Planned:
    """One record of the request topic and what it must lead to."""

    record: Published
    meaning: Meaning
    opens: tuple[str, ...] = ()
    """Jobs that it makes."""
    codes: frozenset[str] | None = None
    """How it may fail, if it does; None: in any of the ways in which a record is refused by itself."""

    @property
    def origin(self) -> str:
        """The id of its own failure."""
        return f"{TOPIC}/{self.record.partition}/{self.record.offset}"


@dataclass(slots=True)
class Plan:
    """What was published, and what it asks for."""

    remembers: bool = True
    """Whether no request leaves the window."""
    clock_slack_ms: int = 0
    """How early a deadline may be."""
    records: list[list[Planned]] = field(default_factory=lambda: [[]])
    topic: list[list[Published]] = field(default_factory=lambda: [[]])
    asked: dict[RequestKey, list[Asked]] = field(default_factory=dict)
    by_job: dict[str, list[Asked]] = field(default_factory=dict)
    jobs_of_url: Counter[str] = field(default_factory=Counter)
    """Of models that make tasks."""
    requests_of_url: Counter[str] = field(default_factory=Counter)

    def all(self) -> list[Asked]:
        """Every request."""
        return [each for lives in self.asked.values() for each in lives]

    def planned(self) -> list[Planned]:
        """Every record."""
        return [each for records in self.records for each in records]

    def of_job(self, job: str) -> Asked:
        """The request that a job is of; of an id that was used again the last."""
        return self.by_job[job][-1]

    def of_delivery(self, delivery: Delivery) -> Asked | None:
        """The request that an outcome is of: with a used id its metadata tells which."""
        lives = self.by_job.get(delivery.id, [])
        told = [each for each in lives if each.body.get("metadata") == delivery.body["metadata"]]
        return next(reversed(told or lives), None)

    def add(
        self,
        now_ms: int,
        value: bytes | None,
        key: bytes | None,
        meaning: Meaning,
        headers: Headers = (),
        partition: int = 0,
    ) -> Planned:
        """Append a record; what it asks for is read from its bytes."""
        record = Published(partition, len(self.topic[partition]), now_ms, key, value, headers)
        self.topic[partition].append(record)
        planned = self._plan(record, meaning)
        self.records[partition].append(planned)
        return planned

    def _plan(self, record: Published, meaning: Meaning) -> Planned:
        body = _json(record.value)
        request = (str(body.get("request_id")), cast(int, body.get("replay", 0)))
        if meaning is Meaning.SERVED:
            return Planned(record, meaning, self._ask(request, body, record))
        known = self.asked.get(request)
        if body.get("action") == "cancel":
            if known:
                known[-1].cancels.append(record)
            codes = {FINISHED} if known and self.remembers else {FINISHED, UNKNOWN} if known else {UNKNOWN}
            return Planned(record, meaning, codes=frozenset(codes))
        if known:
            codes = {CONFLICT} if meaning is Meaning.FAILS else {FINISHED}
            return Planned(record, meaning, codes=frozenset(codes))
        return Planned(record, meaning)

    def _ask(self, request: RequestKey, body: dict[str, object], record: Published) -> tuple[str, ...]:
        """Take a new request; returns its jobs."""
        urls = cast(list[str], body["file_urls"])
        indexes = cast(Iterable[int], body.get("file_indexes") or range(len(urls)))
        files = {f"{request[0]}/{request[1]}/{index}": urls[index] for index in indexes}
        lives = self.asked.setdefault(request, [])
        asked = Asked(request, len(lives), body, files, record, _deadline_ms(body, record.at_ms))
        asked.ends_ms = asked.deadline_ms - self.clock_slack_ms
        lives.append(asked)
        for job in asked.urls:
            self.by_job.setdefault(job, []).append(asked)
        self.requests_of_url.update(dict.fromkeys(asked.urls.values(), 1))
        if asked.model not in SYNCHRONOUS:
            self.jobs_of_url.update(asked.urls.values())
        return tuple(asked.urls)


def _json(value: bytes | None) -> dict[str, object]:
    try:
        body = json.loads(value or b"")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _deadline_ms(body: dict[str, object], published_ms: int) -> int:
    if "deadline" in body:
        return round(1000 * datetime.fromisoformat(str(body["deadline"])).timestamp())
    return published_ms + 1000 * cast(int, body.get("ttl_seconds", WEEK_SECONDS))
