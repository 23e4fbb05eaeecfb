"""Draws the records that users publish: new requests, and whatever may come after one."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.unit.core.simulation.files import nature_of
from tests.unit.core.simulation.ledger import SYNCHRONOUS
from tests.unit.core.simulation.plan import Asked, Meaning, Plan
from tests.unit.core.simulation.port import Headers
from tests.unit.core.simulation.weather import Weather

NATURES = ("good", "good", "good", "silent", "forbidden", "flaky1", "flaky2", "flaky4", "garbage", "missing")
MODELS = ("fun-asr", "fun-asr", "fun-asr", "fun-asr-2025-11-07")
WORDS = (("etcd",), ("etcd",), ("raft", "etcd"), ("late", "etcd"), ("full",), ("never",))
UNREADABLE: tuple[bytes | None, ...] = (
    None,
    b"\xff\xfe",
    b"{",
    b'{"request_id": "x"}',
    b'{"request_id": "bad", "file_urls": ["file:///etc/passwd"], "model": "fun-asr"}',
    b'{"request_id": "m", "file_urls": ["https://h/a.wav"], "model": "no-such-model"}',
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A record to be published, and what there was before it."""

    partition: int
    value: bytes | None
    key: bytes | None
    meaning: Meaning
    about: str
    """For the count of what was met."""
    headers: Headers = ()


@dataclass(slots=True)
class Producer:
    """Draws records one by one. What a window has forgotten is decided by the topics alone."""

    rng: random.Random
    plan: Plan
    size: int
    weather: Weather
    clock: Callable[[], int]
    phase_of: Callable[[Asked], str]
    """How far a request is, as the topics and the ledger tell."""
    is_forgotten: Callable[[Asked], bool]
    """Whether the journal has tombstones for all of its jobs."""
    pending: list[Drawn] = field(default_factory=list)
    published: int = 0

    @property
    def is_done(self) -> bool:
        """Whether everything is published."""
        return self.published >= self.size

    def draw(self) -> Drawn:
        """The next record."""
        self.published += 1
        if self.pending:
            return self.pending.pop()
        partition = self.rng.randrange(len(self.plan.records))
        draw = self.rng.random()
        if draw < 0.06:
            return Drawn(partition, self.rng.choice(UNREADABLE), b"k", Meaning.FAILS, "unreadable")
        if draw < 0.36 and self.plan.asked:
            forgotten = [lives[-1] for lives in self.plan.asked.values() if self.is_forgotten(lives[-1])]
            if forgotten and self.rng.random() < 0.5:
                return self._draw_used_id(self.rng.choice(forgotten))
            return self._draw_again(self._choose())
        drawn = self._draw_new(partition, f"r{len(self.plan.asked)}")
        if self.rng.random() < 0.15:
            # Another one beside it: the same files, at the same moment.
            body = {**json.loads(drawn.value or b""), **self._numbered(f"r{len(self.plan.asked) + 1}")}
            duplicate_member = self.rng.randrange(len(self.plan.records))
            self.pending.append(_drawn(duplicate_member, body, "twin of another request"))
        return drawn

    def _choose(self) -> Asked:
        """A request, of those that are as far as a phase that is drawn first: the rare ones as often."""
        by_phase: dict[str, list[Asked]] = {}
        for lives in self.plan.asked.values():
            by_phase.setdefault(self.phase_of(lives[-1]), []).append(lives[-1])
        return self.rng.choice(by_phase[self.rng.choice(sorted(by_phase))])

    def _draw_again(self, asked: Asked) -> Drawn:
        """A cancel, a replay, an id that is used again; a repeat or a conflict while nothing is forgotten."""
        draw = self.rng.random()
        partition, key = asked.record.partition, asked.request[0].encode()
        if draw < 0.45:
            return self._draw_cancel(asked)
        if draw < 0.60:
            return self._draw_replay(asked)
        if not self.plan.remembers:
            return self._draw_cancel(asked)
        if draw < 0.80:
            repeat = {**asked.body, **self._numbered(asked.request[0])}
            return Drawn(partition, _dumped(repeat), key, Meaning.MAY_FAIL, "repeat")
        other, about = self._other_work(asked)
        conflict = {**asked.body, **self._numbered(asked.request[0]), **other}
        return Drawn(partition, _dumped(conflict), key, Meaning.FAILS, about)

    def _draw_cancel(self, asked: Asked) -> Drawn:
        request_id, replay = asked.request
        if self.rng.random() < 0.05:
            request_id = "nobody"
        body = {"request_id": request_id, "action": "cancel", **({"replay": replay} if replay else {})}
        meaning = Meaning.FAILS if request_id == "nobody" else Meaning.MAY_FAIL
        about = f"cancel: {self.phase_of(asked)}" if meaning is Meaning.MAY_FAIL else "cancel of nobody's"
        return Drawn(asked.record.partition, _dumped(body), request_id.encode(), meaning, about)

    def _draw_replay(self, asked: Asked) -> Drawn:
        """The next unused number: the same work again, or some of it, or other work."""
        request_id = asked.request[0]
        used = [replay for of, replay in self.plan.asked if of == request_id]
        body = {**asked.body, **self._numbered(request_id), "replay": max(used) + 1}
        body.pop("ttl_seconds", None)
        body.pop("deadline", None)
        if self.rng.random() < 0.3:
            body["file_indexes"] = [int(next(reversed(asked.urls)).rpartition("/")[2])]
        return _drawn(asked.record.partition, body, "replay")

    def _draw_used_id(self, asked: Asked) -> Drawn:
        """After the window: the very same request once more, or another under its id."""
        if self.rng.random() < 0.5:
            body = {**asked.body, **self._numbered(asked.request[0])}
            body.pop("deadline", None)
        else:
            body = json.loads(self._draw_new(asked.record.partition, asked.request[0]).value or b"")
        body |= {"replay": asked.request[1]} if asked.request[1] else {}
        return _drawn(asked.record.partition, body, "id used again")

    def _other_work(self, asked: Asked) -> tuple[dict[str, object], str]:
        """Another file, or other files of the same."""
        if len(asked.urls) > 1 and self.rng.random() < 0.5:
            index = int(next(iter(asked.urls)).rpartition("/")[2])
            return {"file_indexes": [index]}, "conflict: other file_indexes"
        return {"file_urls": ["https://h.example/good/other.wav"], "file_indexes": None}, "conflict"

    def _numbered(self, request_id: str) -> dict[str, object]:
        """What tells this record's outcomes from those of all others."""
        return {"request_id": request_id, "metadata": {"n": self.published}}

    def _draw_new(self, partition: int, request_id: str) -> Drawn:
        rng = self.rng
        is_call = rng.random() < self.weather.synchronous
        count = rng.choice((1, 1, 1, 2, 3, 5))
        urls = self._urls(request_id, count, ("good", "good", "silent") if is_call else NATURES)
        body: dict[str, object] = {**self._numbered(request_id), "file_urls": urls}
        body["model"] = SYNCHRONOUS[0] if is_call else rng.choice(MODELS)
        if not is_call and rng.random() < self.weather.hotwords:
            body["options"] = {"hotwords": [{"text": word} for word in rng.choice(WORDS)]}
        if count > 1 and rng.random() < 0.2:
            body["file_indexes"] = sorted(rng.sample(range(count), rng.randint(1, count)))
        if rng.random() < self.weather.hurried:
            body |= self._hurry()
        return _drawn(partition, body, "request", has_key=rng.random() < 0.9)

    def _urls(self, request_id: str, count: int, natures: Sequence[str]) -> list[str]:
        rng = self.rng
        urls = [
            f"https://h.example/{rng.choice(natures)}/{request_id}/{n}{self.published}.wav?Sig=s"
            for n in range(count)
        ]
        # Whose a task is that names only a part of its files, nobody could tell of equal ones.
        if count > 2 and rng.random() < 0.4 and "missing" not in map(nature_of, urls):
            urls[-1] = urls[0]
        earlier = [url for url in self.plan.requests_of_url if nature_of(url) in natures]
        earlier = [url for url in earlier if nature_of(url) != "missing"]
        if rng.random() < 0.3:
            # A file that an earlier request has, too, and perhaps its neighbour.
            for place in range(min(count, rng.choice((1, 1, 2)), len(earlier))):
                urls[place] = rng.choice(earlier)
        return urls

    def _hurry(self) -> dict[str, object]:
        if self.rng.random() < 0.6:
            return {"ttl_seconds": self.rng.choice((1, 5, 20, 60, 600, 200_000))}
        seconds = self.rng.choice((-60, 5, 30, 120, 3_600))
        at = datetime.fromtimestamp(self.clock() / 1000, UTC) + timedelta(seconds=seconds)
        return {"deadline": at.isoformat()}


def _drawn(partition: int, body: dict[str, object], about: str, *, has_key: bool = True) -> Drawn:
    key = str(body["request_id"]).encode() if has_key else None
    headers = (("traceparent", b"00-\xff"),)
    return Drawn(partition, _dumped(body), key, Meaning.SERVED, about, headers)


def _dumped(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode()
