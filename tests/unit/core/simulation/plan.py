"""The requests of a simulated run, and what must become of each, told by the plan alone."""

import json
import random
from collections import Counter
from collections.abc import Iterable
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


Headers = tuple[tuple[str, bytes | None], ...]
Drawn = tuple[bytes | None, bytes | None, Meaning, Headers]
"""Value, key, meaning and headers of a record."""


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
    published_ms: int
    deadline_ms: int
    cancelled: bool = False


@dataclass(slots=True)
class Plan:
    """What was published, and what it asks for: read from the records' bytes."""

    records: list[Planned] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    owner_of_key: dict[str, Asked] = field(default_factory=dict)
    jobs_of_url: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        now_ms: int,
        value: bytes | None,
        key: bytes | None,
        meaning: Meaning,
        headers: Headers = (),
    ) -> None:
        """Append a record; what it asks for is read from its bytes."""
        position = Position(TOPIC, 0, len(self.records), now_ms)
        opens: tuple[str, ...] = ()
        if meaning is Meaning.SERVED:
            opens = self._ask(json.loads(value or b""), now_ms)
        elif meaning is Meaning.MAY_FAIL:
            body = json.loads(value or b"")
            if body.get("action") == "cancel" and body["request_id"] in self.asked:
                self.asked[body["request_id"]].cancelled = True
        self.records.append(Planned(Record(position, key, value, headers), meaning, opens))

    def _ask(self, body: dict[str, object], now_ms: int) -> tuple[str, ...]:
        """Take a new request; returns its job keys."""
        request_id, urls = str(body["request_id"]), body["file_urls"]
        assert isinstance(urls, list)
        indexes = body.get("file_indexes") or range(len(urls))
        assert isinstance(indexes, Iterable)
        ttl_seconds = body.get("ttl_seconds", 7 * 24 * 3600)
        assert isinstance(ttl_seconds, int)
        files = {f"{request_id}/0/{index}": urls[index] for index in indexes}
        asked = Asked(request_id, body, files, now_ms, now_ms + 1000 * ttl_seconds)
        self.asked[request_id] = asked
        self.owner_of_key.update(dict.fromkeys(asked.urls, asked))
        self.jobs_of_url.update(asked.urls.values())
        return tuple(asked.urls)


@dataclass(slots=True)
class Producer:
    """Draws records one by one. With `repeats` there are duplicates, conflicts and cancels too."""

    rng: random.Random
    plan: Plan
    size: int
    repeats: bool
    hurried: float

    @property
    def is_done(self) -> bool:
        """Whether everything is published."""
        return len(self.plan.records) >= self.size

    def draw(self) -> Drawn:
        """The next record of the topic."""
        draw = self.rng.random()
        if draw < 0.08:
            return self.rng.choice(UNREADABLE), b"k", Meaning.FAILS, ()
        if draw < 0.30 and self.plan.asked:
            return self._draw_again(self.rng.choice(list(self.plan.asked.values())))
        return self._draw_new()

    def _draw_again(self, asked: Asked) -> Drawn:
        """A cancel, a repeat or a conflict; the last two only while nothing is forgotten."""
        key = asked.request_id.encode()
        if not self.repeats or self.rng.random() < 0.4:
            cancel = json.dumps({"request_id": asked.request_id, "action": "cancel"}).encode()
            # A request that has ended says so; one that has left the window is not known any more.
            return cancel, key, Meaning.MAY_FAIL, ()
        if self.rng.random() < 0.5:
            repeat = {**asked.body, "metadata": {"n": 1}}
            return json.dumps(repeat).encode(), key, Meaning.MAY_FAIL, ()
        conflict = {**asked.body, **self._other_work(asked)}
        return json.dumps(conflict).encode(), key, Meaning.FAILS, ()

    def _other_work(self, asked: Asked) -> dict[str, object]:
        """Another file, or other files of the same."""
        if len(asked.urls) > 1 and len(self.plan.records) % 2:
            return {"file_indexes": [int(next(iter(asked.urls)).rpartition("/")[2])]}
        return {"file_urls": ["https://h.example/good/other.wav"], "file_indexes": None}

    def _draw_new(self) -> Drawn:
        rng = self.rng
        request_id = f"r{len(self.plan.asked)}"
        count = rng.choice((1, 1, 1, 2, 3, 5))
        urls = [f"https://h.example/{rng.choice(NATURES)}/{request_id}/{n}.wav?Sig=s" for n in range(count)]
        # Whose a task is that names only a part of its files, nobody could tell of equal ones.
        if count > 2 and rng.random() < 0.3 and not any("/missing/" in url for url in urls):
            urls[-1] = urls[0]
        if self.plan.jobs_of_url and rng.random() < 0.2:
            # A file that an earlier request has, too, and perhaps its neighbour.
            earlier = [url for url in self.plan.jobs_of_url if "/missing/" not in url]
            for place in range(min(count, rng.choice((1, 1, 2)), len(earlier))):
                urls[place] = rng.choice(earlier)
        body: dict[str, object] = {"request_id": request_id, "file_urls": urls, "model": "fun-asr"}
        indexes = list(range(count))
        if count > 1 and rng.random() < 0.2:
            indexes = sorted(rng.sample(indexes, rng.randint(1, count)))
            body["file_indexes"] = indexes
        if rng.random() < self.hurried:
            body["ttl_seconds"] = rng.choice((1, 20, 60, 600, 200_000))
        key = request_id.encode() if rng.random() < 0.9 else None
        headers = (("traceparent", b"00-\xff"),)
        return json.dumps(body).encode(), key, Meaning.SERVED, headers
