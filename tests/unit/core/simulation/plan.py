"""The requests of a simulated run, and what must become of each, told by the plan alone."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from service.core.identity import Position
from service.core.record import Record

TOPIC = "transcription.requests"
NATURES = ("good", "good", "good", "silent", "forbidden", "flaky1", "flaky2", "flaky4", "garbage", "missing")
UNREADABLE: tuple[bytes | None, ...] = (
    None,
    b"\xff\xfe",
    b"{",
    b'{"request_id": "x"}',
    b'{"request_id": "bad", "file_urls": ["file:///etc/passwd"], "model": "fun-asr"}',
    b'{"request_id": "m", "file_urls": ["https://h/a.wav"], "model": "no-such-model"}',
)


class Meaning(Enum):
    """Whether a record is a failure of its own."""

    SERVED = "served"
    FAILS = "fails"
    MAY_FAIL = "may fail"


@dataclass(frozen=True, slots=True)
class Planned:
    """One record of the request topic and what it must lead to."""

    record: Record
    meaning: Meaning
    opens: tuple[str, ...] = ()
    """Job keys that it makes."""


@dataclass(slots=True)
class Asked:
    """A request that was published: for its cancels, repeats and conflicts."""

    request_id: str
    body: dict[str, object]
    urls: dict[str, str]
    """Job key to file URL."""
    cancelled: bool = False


@dataclass(slots=True)
class Plan:
    """Publishes records one by one. With `repeats` there are duplicates, conflicts and cancels too."""

    rng: random.Random
    size: int
    repeats: bool
    hurried: float
    records: list[Planned] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    owner_of_key: dict[str, Asked] = field(default_factory=dict)
    jobs_of_url: Counter[str] = field(default_factory=Counter)

    @property
    def is_complete(self) -> bool:
        """Whether everything is published."""
        return len(self.records) >= self.size

    def publish(self, now_ms: int) -> None:
        """Append the next record to the topic."""
        draw = self.rng.random()
        if draw < 0.08:
            self._append(now_ms, self.rng.choice(UNREADABLE), b"k", Meaning.FAILS)
        elif draw < 0.30 and self.asked:
            self._publish_again(now_ms, self.rng.choice(list(self.asked.values())))
        else:
            self._publish_new(now_ms)

    def _append(self, now_ms: int, value: bytes | None, key: bytes | None, meaning: Meaning) -> None:
        position = Position(TOPIC, 0, len(self.records), now_ms)
        self.records.append(Planned(Record(position, key, value), meaning))

    def _publish_again(self, now_ms: int, asked: Asked) -> None:
        """A cancel, a repeat or a conflict; the last two only while nothing is forgotten."""
        key = asked.request_id.encode()
        if not self.repeats or self.rng.random() < 0.4:
            asked.cancelled = True
            cancel = json.dumps({"request_id": asked.request_id, "action": "cancel"}).encode()
            # A request that has ended says so; one that has left the window is not known any more.
            self._append(now_ms, cancel, key, Meaning.MAY_FAIL)
        elif self.rng.random() < 0.5:
            repeat = {**asked.body, "metadata": {"n": 1}}
            self._append(now_ms, json.dumps(repeat).encode(), key, Meaning.MAY_FAIL)
        else:
            conflict = {**asked.body, **self._other_work(asked)}
            self._append(now_ms, json.dumps(conflict).encode(), key, Meaning.FAILS)

    def _other_work(self, asked: Asked) -> dict[str, object]:
        """Another file, or other files of the same."""
        if len(asked.urls) > 1 and len(self.records) % 2:
            return {"file_indexes": [int(next(iter(asked.urls)).rpartition("/")[2])]}
        return {"file_urls": ["https://h.example/good/other.wav"], "file_indexes": None}

    def _publish_new(self, now_ms: int) -> None:
        rng = self.rng
        request_id = f"r{len(self.asked)}"
        count = rng.choice((1, 1, 1, 2, 3, 5))
        urls = [f"https://h.example/{rng.choice(NATURES)}/{request_id}/{n}.wav?Sig=s" for n in range(count)]
        # Whose a task is that names only a part of its files, nobody could tell of equal ones.
        if count > 2 and rng.random() < 0.3 and not any("/missing/" in url for url in urls):
            urls[-1] = urls[0]
        body: dict[str, object] = {"request_id": request_id, "file_urls": urls, "model": "fun-asr"}
        indexes = list(range(count))
        if count > 1 and rng.random() < 0.2:
            indexes = sorted(rng.sample(indexes, rng.randint(1, count)))
            body["file_indexes"] = indexes
        if rng.random() < self.hurried:
            body["ttl_seconds"] = rng.choice((1, 20, 60, 600, 200_000))
        asked = Asked(request_id, body, {f"{request_id}/0/{index}": urls[index] for index in indexes})
        self.asked[request_id] = asked
        self.owner_of_key.update(dict.fromkeys(asked.urls, asked))
        self.jobs_of_url.update(asked.urls.values())
        position = Position(TOPIC, 0, len(self.records), now_ms)
        key = request_id.encode() if rng.random() < 0.9 else None
        record = Record(position, key, json.dumps(body).encode(), (("traceparent", b"00-\xff"),))
        self.records.append(Planned(record, Meaning.SERVED, tuple(asked.urls)))
