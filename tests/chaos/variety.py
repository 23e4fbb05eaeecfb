"""What a storm asks for: every kind of request and of record, drawn from its seed and nothing else."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tests.chaos.load import ONLY_A_RESULT, SYNC_MODEL, File, Record, Request, text_of, url_of

RUN_SECONDS: Final = (0.1, 0.1, 1.0, 5.0)
SHARED_URLS: Final = 6
"""So many files are asked for by many requests of a storm."""
MOST_FILES: Final = 100
LARGE_EVERY: Final = 20
"""One batch of so many has a large request: several at once are the backlog that E2 of the engine means."""
OPTION_BYTES, METADATA_BYTES = 30_000, 7_000
HOTWORDS: Final = ("etcd", "kubelet")
TIMES_MS: Final = (0, 1, 2**31, 253_402_300_799_999, 253_402_300_800_000, 1_764_000_000_000_000, 2**53)
"""Beside the calendar, or in a unit that producers mix up; all are taken by a broker that is told to."""
SHORT_TTL_SECONDS: Final = 6
LATER: Final = 2
"""What follows on a request is published so many batches later: it may be open then, or ended."""

UNREADABLE: Final[Sequence[tuple[bytes | None, str]]] = (
    (b'{"request_id": ', "invalid_json"),
    (b"[" * 10_000, "invalid_json"),
    (b'{"request_id": "\xff\xfe"}', "invalid_encoding"),
    (None, "invalid_request"),
    (b"[1, 2, 3]", "invalid_request"),
    (b'{"request_id": "bad", "file_urls": ["http://a.test/a b.wav"], "model": "fun-asr"}', "invalid_request"),
    (b'{"request_id": "bad", "file_urls": ["http://a.test/a.wav"], "model": "whisper-1"}', "unknown_model"),
    (b'{"request_id": "bad", "file_urls": ["http://a.test/a.wav"], "model": "fun-asr",'
     b' "options": {"speaker_count": 2}}', "invalid_option"),
    (b" " * 600_000, "request_too_large"),
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """What is published at once, in this order: the requests as they count, and all records."""

    requests: Sequence[Request] = ()
    records: Sequence[Record] = ()
    kinds: Sequence[str] = ()


@dataclass
class _Maker:
    """One batch in the making."""

    seed: int
    number: int
    draw: random.Random
    requests: list[Request] = field(default_factory=list)

    def name(self) -> str:
        return f"s{self.number}-{len(self.requests)}"

    def request(self, kind: str, count: int, **fields: object) -> Request:
        name, run = self.name(), self.draw.choice(RUN_SECONDS)
        files = tuple(_file(name, index, url_of(f"{name}.{index}", run)) for index in range(count))
        return Request(name, files, fields=fields, kind=kind)


def make_batch(seed: int, number: int, count: int) -> Batch:
    """Batch `number` of a storm, of `count` new requests and what follows on earlier ones."""
    fresh = _fresh(seed, number, count)
    records = [request.record() for request in fresh]
    kinds, requests = [request.kind for request in fresh], list(fresh)
    draw = random.Random(f"{seed}/records/{number}")
    if draw.random() < 0.4:
        value, code = draw.choice(UNREADABLE)
        records.insert(draw.randrange(len(records) + 1), Record(f"bad-{number}", value, code))
        kinds.append("unreadable")
    earlier = _fresh(seed, number - LATER, count) if number >= LATER else ()
    for request in earlier:
        requests += [_again(request)] if request.kind == "replay" else ()
        followers = list(_followers(request))
        records += followers
        kinds += [f"{request.kind} follows" for _ in followers]
    return Batch(requests, records, kinds)


def _fresh(seed: int, number: int, count: int) -> list[Request]:
    maker = _Maker(seed, number, random.Random(f"{seed}/load/{number}"))
    for place in range(count):
        is_large = place == 0 and number % LARGE_EVERY == LARGE_EVERY // 4
        kind = "large" if is_large else maker.draw.choice(_DECK)
        maker.requests.append(_KINDS[kind](maker))
    return maker.requests


def _file(name: str, index: int, url: str, text: str | None = None, **fields: object) -> File:
    made = File(f"{name}/0/{index}", url, text or text_of(f"{name}.{index}"))
    return replace(made, **fields)  # type: ignore[arg-type]


def _plain(maker: _Maker) -> Request:
    return maker.request("plain", maker.draw.choice((1, 1, 2, 3)))


def _duplicates(maker: _Maker) -> Request:
    """[a, b, a]: one URL stands twice."""
    made = maker.request("twins", 2)
    first = made.files[0]
    return replace(made, files=(*made.files, _file(made.request_id, 2, first.url, first.text)))


def _shared(maker: _Maker) -> Request:
    """Files that other requests ask for too."""
    name = maker.name()
    picked = maker.draw.sample(range(SHARED_URLS), 2)
    files = tuple(
        _file(name, index, url_of(f"shared-{maker.seed}-{each}", 1.0), text_of(f"shared-{maker.seed}-{each}"))
        for index, each in enumerate(picked)
    )
    return Request(name, files, kind="shared")


def _large(maker: _Maker) -> Request:
    options = {"extra_parameters": {"padding": maker.draw.randbytes(OPTION_BYTES // 2).hex()}}
    metadata = {"padding": maker.draw.randbytes(METADATA_BYTES // 2).hex()}
    count = maker.draw.choice((MOST_FILES // 4, MOST_FILES // 2, MOST_FILES))
    return maker.request("large", count, options=options, metadata=metadata)


def _synchronous(maker: _Maker) -> Request:
    """A call that is lost three times over is nobody's to repeat any more."""
    made = maker.request("synchronous", 1)
    may_be = ONLY_A_RESULT | {"submit_uncertain"}
    files = tuple(replace(file, model=SYNC_MODEL, may_be=may_be) for file in made.files)
    return replace(made, files=files, model=SYNC_MODEL)


def _hotwords(maker: _Maker) -> Request:
    """The word comes out right only where the list that was asked for is in force."""
    name, word = maker.name(), maker.draw.choice(HOTWORDS)
    said = f"{name}.0+{word}"
    url = url_of(said, maker.draw.choice(RUN_SECONDS), f"&misheard={word}:wrong").replace(
        f"/{said}.", f"/{name}."
    )
    files = (_file(name, 0, url, f"This is {name}.0 {word}"),)
    options = {"hotwords": [{"text": word, "weight": 4, "language": "en"}]}
    return Request(name, files, fields={"options": options}, kind="hotwords")


def _timestamp(maker: _Maker) -> Request:
    return replace(maker.request("timestamp", 1), timestamp_ms=maker.draw.choice(TIMES_MS))


def _deadline(maker: _Maker) -> Request:
    made = maker.request("deadline", 2, ttl_seconds=SHORT_TTL_SECONDS)
    return _may_also_be(made, "deadline_exceeded")


def _cancelled(maker: _Maker) -> Request:
    return _may_also_be(maker.request("cancelled", 2), "cancelled")


def _may_also_be(request: Request, code: str) -> Request:
    files = tuple(replace(file, may_be=file.may_be | {code}) for file in request.files)
    return replace(request, files=files)


def _of_kind(kind: str, count: int) -> Callable[[_Maker], Request]:
    return lambda maker: maker.request(kind, count)


_KINDS: Final[Mapping[str, Callable[[_Maker], Request]]] = {
    "plain": _plain,
    "twins": _duplicates,
    "shared": _shared,
    "large": _large,
    "synchronous": _synchronous,
    "hotwords": _hotwords,
    "timestamp": _timestamp,
    "deadline": _deadline,
    "cancelled": _cancelled,
    "replay": _of_kind("replay", 1),
    "repeat": _of_kind("repeat", 2),
    "conflict": _of_kind("conflict", 1),
    "other_files": _of_kind("other_files", 3),
}
KINDS: Final = (*_KINDS, "unreadable")
_DECK: Final = [
    *(kind for kind in _KINDS if kind != "large"),
    "plain",
    "plain",
    "shared",
    "twins",
    "synchronous",
]


def _followers(request: Request) -> Sequence[Record]:
    """The records that follow on a request, under its key."""
    if request.kind == "cancelled":
        cancel = {"request_id": request.request_id, "action": "cancel"}
        return [_record(request, cancel, "cancel")]
    if request.kind == "replay":
        return [_again(request).record()]
    if request.kind == "repeat":
        return [request.record()]
    if request.kind == "conflict":
        return [_record(request, {**request.value(), "model": "fun-asr-mtl"}, "conflict")]
    if request.kind == "other_files":
        return [_record(request, {**request.value(), "file_indexes": [0]}, "other_files")]
    return []


def _record(request: Request, value: Mapping[str, object], purpose: str) -> Record:
    return Record(request.request_id, json.dumps(value).encode(), purpose)


def _again(request: Request) -> Request:
    """The same work under the next number: its outcomes and its bills come on top."""
    files = tuple(
        replace(file, id=f"{request.request_id}/1/{index}") for index, file in enumerate(request.files)
    )
    return replace(request, files=files, fields={**request.fields, "replay": 1}, kind="replayed")
