"""What the engine's journal records say, in the oracle's words: nothing else knows how they are written.

It uses nothing of the engine's own codec, so that the two can be compared.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from tests.unit.core.simulation.port import Said, Word, Written

CURSOR = "~cursor/"
OWNER_PREFIX = "~owner/"
STAMP = "scribe-stamp"
STATES = {"w": Word.AGAIN, "i": Word.INTENT, "u": Word.UNCERTAIN, "r": Word.OPEN}
Body = Mapping[str, object]
Place = tuple[int, ...]
"""Of a job: where its request's record lies, and its file index. Of a submission: epoch and number."""


def epoch_of(headers: Sequence[tuple[str, bytes]]) -> int:
    """The first number of a stamp."""
    return int(dict(headers)[STAMP].split(b".")[0])


@dataclass(slots=True)
class JournalReader:
    """Reads one journal of format 2: requests, submissions, and what jobs need records of their own for."""

    highest: int = 0
    names: dict[Place, str] = field(default_factory=dict)
    """Jobs by their places; a place is never another job's."""
    latest: dict[str, Place] = field(default_factory=dict)
    """The last request, by its place, under whose name there is each job."""
    opened: set[Place] = field(default_factory=set)
    """Requests that a record that counts holds."""
    homes: dict[Place, Place] = field(default_factory=dict)
    """The highest-numbered submission that lists each job, by records that count."""
    done: set[Place] = field(default_factory=set)
    """Jobs whose outcome is durable."""

    def epoch(self, record: Written) -> int:
        """The first number of the stamp."""
        return epoch_of(record.headers)

    def batch(self, record: Written) -> object:
        """All of the stamp: epoch, batch, format."""
        return dict(record.headers)[STAMP]

    def is_claim(self, record: Written) -> bool:
        """Whether it is an owner's record; the tombstone of one is none."""
        return record.key.startswith(OWNER_PREFIX.encode()) and record.value is not None

    def said(self, record: Written) -> Sequence[Said]:
        """What it says of each job that it is about."""
        epoch = self.epoch(record)
        counts = epoch >= self.highest
        self.highest = max(self.highest, epoch)
        kind, _, rest = record.key.decode().partition("/")
        body = cast(Body | None, None if record.value is None else json.loads(record.value))
        match kind:
            case "r":
                return list(self._of_request(_numbers(rest), body, counts))
            case "s":
                return list(self._of_submission(_numbers(rest), body, counts)) if body else ()
            case "j":
                return self._of_job(_numbers(rest), body, counts) if body else ()
        return ()

    def _of_request(self, origin: Place, body: Body | None, counts: bool) -> Iterator[Said]:
        if body is None:
            yield from self._forgotten(origin, counts)
            return
        name = f"{body['id']}/{body.get('replay', 0)}"
        rows = cast(Sequence[Sequence[int]], body["ends"] if "ends" in body else body["files"])
        jobs = {(*origin, row[0]): f"{name}/{row[0]}" for row in rows}
        self.names |= jobs
        if not counts:
            return
        if "ends" in body:
            self.done.update(jobs)
            for place, job in jobs.items():
                if self.latest.get(job, place) == place:
                    yield Said(job, Word.DONE)
        elif origin not in self.opened:
            # Written again, it says nothing new of its jobs.
            self.opened.add(origin)
            for place, job in jobs.items():
                self.latest[job] = place
                yield Said(job, Word.OPEN)

    def _forgotten(self, origin: Place, counts: bool) -> Iterator[Said]:
        for place, job in self.names.items():
            if counts and place[:2] == origin and self.latest.get(job) == place:
                yield Said(job, Word.FORGOTTEN)

    def _of_submission(self, key: Place, body: Body, counts: bool) -> Iterator[Said]:
        word = STATES[str(body.get("state", "r"))]
        for *origin, index in _unpacked(cast(Sequence[Sequence[int]], body.get("jobs", ()))):
            place = (*origin, index)
            if counts:
                self.homes[place] = max(self.homes.get(place, key), key)
            job = self.names.get(place)
            if job is None:
                # Its request's record, before this one in the batch, did not arrive: both come again.
                continue
            is_in = self.homes.get(place, key) == key and place not in self.done
            if word is Word.INTENT:
                yield Said(job, word, intent_of(key, body))
            elif is_in and self.latest.get(job) == place:
                yield Said(job, word)

    def _of_job(self, place: Place, body: Body, counts: bool) -> Sequence[Said]:
        job = self.names.get(place)
        if job is None:
            return ()
        if "done" in body:
            if counts:
                self.done.add(place)
            return (Said(job, Word.DONE),)
        # A noted cancel, or that a result may be out already, says nothing of how far the job is.
        return (Said(job, Word.ANNOUNCED),) if "accounted" in body else ()

    def tasks(self, record: Written) -> set[str]:
        """The task of a submission."""
        if not record.key.startswith(b"s/") or record.value is None:
            return set()
        task = json.loads(record.value).get("task")
        return set() if task is None else {task}

    def cursor(self, record: Written) -> int | None:
        """The cursor's own record."""
        is_cursor = record.key.startswith(CURSOR.encode()) and record.value
        return int(json.loads(record.value or b"")["next"]) if is_cursor else None


def intent_name(key: Sequence[int], submits: int, sealed_ms: int) -> str:
    """What tells an intent from all others of its jobs."""
    return f"{key[0]}.{key[1]} {submits} {sealed_ms}"


def intent_of(key: Place, body: Body) -> str:
    """The name of the intent in a submission's record."""
    tries = cast(Sequence[int], body.get("tries", (0,)))
    [after_ms, *_] = cast(Sequence[int], body["intent"])
    return intent_name(key, tries[0], cast(int, body["at"]) + after_ms)


def _numbers(text: str) -> Place:
    return tuple(int(number) for number in text.replace("/", ".").split("."))


def _unpacked(rows: Sequence[Sequence[int]]) -> Iterator[Place]:
    for generation, offset, *indexes in rows:
        for index in indexes:
            yield generation, offset, index
