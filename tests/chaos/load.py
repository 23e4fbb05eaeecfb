"""The requests of a run: each file has a URL and a text of its own, so that a swapped or a lost one shows."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MODEL = "fun-asr"


@dataclass(frozen=True)
class File:
    """One file that was asked for, and what must come of it."""

    id: str
    url: str
    text: str


@dataclass(frozen=True)
class Request:
    """One request as it is published."""

    request_id: str
    files: tuple[File, ...]

    def value(self) -> Mapping[str, object]:
        """The record's value."""
        urls = [file.url for file in self.files]
        return {"request_id": self.request_id, "file_urls": urls, "model": MODEL}


def make_requests(prefix: str, count: int, run_seconds: Sequence[float], seed: int = 0) -> list[Request]:
    """`count` requests of one to three files; how long a file takes is drawn from `run_seconds`.

    A pure function of its arguments.
    """
    draw = random.Random(f"{prefix}/{seed}")
    return [
        _request(f"{prefix}-{number}", draw.choice((1, 1, 1, 2, 3)), draw.choice(run_seconds))
        for number in range(count)
    ]


def one_request(request_id: str, files: int, run_seconds: float = 0.2) -> Request:
    """A request whose files share one provider task."""
    return _request(request_id, files, run_seconds)


def _request(request_id: str, file_count: int, run_seconds: float) -> Request:
    return Request(request_id, tuple(_file(request_id, index, run_seconds) for index in range(file_count)))


def _file(request_id: str, index: int, run_seconds: float) -> File:
    name = f"{request_id}.{index}"
    url = f"http://media.test/{name}.wav?text=This+is+{name}&run={run_seconds}&duration=3"
    return File(f"{request_id}/0/{index}", url, f"This is {name}")
