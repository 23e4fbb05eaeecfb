"""The requests of a run: a file's text tells its URL apart, so that a swapped or a lost one shows."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MODEL = "fun-asr"
SYNC_MODEL = "qwen3-asr-flash"
RESULT = ""
"""The code of an outcome that is a result."""
ONLY_A_RESULT: Final = frozenset({RESULT})


@dataclass(frozen=True)
class File:
    """One file that was asked for, and what may come of it: a result, or failures with these codes."""

    id: str
    url: str
    text: str
    model: str = MODEL
    may_be: frozenset[str] = ONLY_A_RESULT


@dataclass(frozen=True)
class Record:
    """One record of the request topic as it is published, and what it is there for.

    `purpose` travels in a header, so that whoever reads the topic knows it, however often it was published:
    request, cancel, conflict, other_files (the same id asks for other files) or the code of the failure that
    a record must end in which cannot be served.
    """

    key: str
    value: bytes | None
    purpose: str = "request"
    timestamp_ms: int | None = None


@dataclass(frozen=True)
class Request:
    """One request as it is published; `fields` are those beside its id, files and model."""

    request_id: str
    files: tuple[File, ...]
    model: str = MODEL
    fields: Mapping[str, object] = field(default_factory=dict)
    kind: str = "plain"
    timestamp_ms: int | None = None

    @property
    def name(self) -> str:
        """What tells it from all others: its id and its replay."""
        return f"{self.request_id}/{self.fields.get('replay', 0)}"

    def value(self) -> Mapping[str, object]:
        """The record's value."""
        urls = [file.url for file in self.files]
        return {"request_id": self.request_id, "file_urls": urls, "model": self.model, **self.fields}

    def record(self) -> Record:
        """The record."""
        value = json.dumps(self.value()).encode()
        return Record(self.request_id, value, timestamp_ms=self.timestamp_ms)


def make_requests(prefix: str, count: int, run_seconds: Sequence[float], seed: int = 0) -> list[Request]:
    """`count` requests of one to three files; how long a file takes is drawn from `run_seconds`.

    A pure function of its arguments.
    """
    draw = random.Random(f"{prefix}/{seed}")
    return [
        one_request(f"{prefix}-{number}", draw.choice((1, 1, 1, 2, 3)), draw.choice(run_seconds))
        for number in range(count)
    ]


def one_request(request_id: str, files: int, run_seconds: float = 0.2) -> Request:
    """A request whose files share one provider task."""
    return Request(request_id, tuple(_file(request_id, index, run_seconds) for index in range(files)))


def _file(request_id: str, index: int, run_seconds: float) -> File:
    name = f"{request_id}.{index}"
    return File(f"{request_id}/0/{index}", url_of(name, run_seconds), text_of(name))


def url_of(name: str, run_seconds: float, more: str = "") -> str:
    """A URL whose file takes so long and says its own name; `more` is added to its script."""
    return f"http://media.test/{name}.wav?text=This+is+{name}&run={run_seconds}&duration=3{more}"


def text_of(name: str) -> str:
    """What the file of that name says."""
    return f"This is {name}"
