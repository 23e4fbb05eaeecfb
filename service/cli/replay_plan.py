"""Decides which failures become requests again, and under which replay number; it reads and writes nothing.

Rules this module guarantees:

1. A file whose work was done again since, or is being done, is left out; so is one of which nobody can know.
2. All failed files of a request go together, under the number after the highest that is used. Failures that
   cannot be of one request make none.
3. The same failures make the same request, whoever makes it and however often: the service then recognises
   the second one as a repeat, and does not bill it.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass as mutable
from dataclasses import field
from enum import StrEnum

from pydantic import JsonValue

from service.cli.encoding import encode
from service.contract.redaction import without_query
from service.contract.request_decoder import RequestLimits, read_request
from service.errors import FailureCode, InvalidRecord
from service.frozen import dataclass

NEVER = frozenset(
    {
        FailureCode.ALREADY_FINISHED,
        FailureCode.REQUEST_ID_CONFLICT,
        FailureCode.CANCELLED,
        FailureCode.CANCEL_UNKNOWN_REQUEST,
    }
)
"""Codes of answers, and of work that somebody has given up: nothing is to be done again."""
Headers = tuple[tuple[str, bytes | None], ...]


class Skip(StrEnum):
    """Why a selected file is left out."""

    AGAIN = "done again already"
    OPEN = "its request, or a replay of it, is still open"
    UNKNOWN = "older than the results that Kafka has: they may have been done again"
    LOOP = "replayed too often already (--max-replays)"
    MIXED = "failures of different requests under one id"
    NO_REQUEST = "the failure does not hold its request"
    INVALID = "the request made of it would be refused"


@dataclass(frozen=True, slots=True)
class FailedFile:
    """One failure of a file, or of a whole record: then `file_index` is None."""

    request_id: str
    replay: int
    file_index: int | None
    file_count: int
    code: str
    retryable: bool
    model: str | None
    time_ms: int
    request: Mapping[str, JsonValue] | None = None
    """The request reduced to this file."""
    headers: Headers = ()
    record: tuple[int, int] | None = None
    """Partition and offset of the request's record."""


@mutable(slots=True)
class Evidence:
    """The replay numbers that are used, with the files of each; None for all files."""

    used: dict[str, dict[int, set[int] | None]] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    """Ids with work that has not ended."""
    ended_ms: dict[tuple[str, int | None], dict[int, float]] = field(default_factory=dict)
    """When a file of a request last ended, by the number."""
    results_since_ms: Mapping[str, float] = field(default_factory=dict)
    """From when on no result was deleted, by request id."""
    remembered: set[tuple[str, int, tuple[int, int]]] = field(default_factory=set)
    """Id, number and record of ended requests in the journal, which has all that ended later, too."""

    def note(self, request_id: str, replay: int, indexes: Iterable[int] | None) -> None:
        """A request with this number was published, for these files."""
        numbers = self.used.setdefault(request_id, {})
        known = numbers.get(replay, set())
        numbers[replay] = None if indexes is None or known is None else {*known, *indexes}

    def note_end(self, request_id: str, replay: int, index: int | None, time_ms: float) -> None:
        """A file, or a whole record, got its outcome under this number."""
        # The answer to a record used up no number, but may name one that is used.
        self.note(request_id, replay, () if index is None else (index,))
        times = self.ended_ms.setdefault((request_id, index), {})
        times[replay] = max(time_ms, times.get(replay, 0))

    def is_done_again(self, failed: FailedFile) -> bool:
        """Whether a higher number covers the file, or it ended later under the same one.

        After the deduplication window a request under the same number is new work.
        """
        ended_ms = self.ended_ms.get((failed.request_id, failed.file_index), {}).get(failed.replay, 0)
        numbers = self.used.get(failed.request_id, {})
        return ended_ms > failed.time_ms or any(
            number > failed.replay and (indexes is None or failed.file_index in indexes)
            for number, indexes in numbers.items()
        )

    def is_unknown(self, failed: FailedFile) -> bool:
        """Whether the result of a replay may have been deleted, and the journal have forgotten it."""
        if failed.time_ms >= self.results_since_ms.get(failed.request_id, 0):
            return False
        return (failed.request_id, failed.replay, failed.record) not in self.remembered

    def next_number(self, request_id: str) -> int:
        """The number after the highest that is used."""
        return max(self.used.get(request_id, {0: set()}), default=0) + 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator asked for."""

    codes: frozenset[str] = frozenset()
    """Empty: those that the failure says may succeed."""
    max_replays: int = 3
    ttl_seconds: int | None = None
    edit: Callable[[str], str] = str
    limits: RequestLimits = RequestLimits()

    def takes(self, failed: FailedFile) -> bool:
        """Whether the failure is selected by its code."""
        if failed.file_index is None or failed.code in NEVER:
            return False
        return failed.code in self.codes if self.codes else failed.retryable


_DIFFERENT = "its failures are of different requests: take those of one, with --since, --until or --model"


@dataclass(frozen=True, slots=True)
class PlannedReplay:
    """One request to publish."""

    request_id: str
    number: int
    indexes: tuple[int, ...]
    model: str
    body: Mapping[str, JsonValue]
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests to publish, in the order of their oldest failure, and why files are left out."""

    replays: tuple[PlannedReplay, ...]
    skipped: Mapping[Skip, int]
    refusals: tuple[str, ...] = ()
    """Why requests would be refused, or are not made."""


def make_plan(selected: Sequence[FailedFile], evidence: Evidence, rules: Rules) -> Plan:
    """What to publish for these failures."""
    replays: list[PlannedReplay] = []
    skipped: Counter[Skip] = Counter()
    refusals: list[str] = []
    for request_id, files in _latest(selected).items():
        outstanding: list[FailedFile] = []
        for failed in files:
            why = _why_not(failed, evidence, rules)
            if why is None:
                outstanding.append(failed)
            else:
                skipped[why] += 1
        if not outstanding:
            continue
        if not _is_one_request(outstanding):
            skipped[Skip.MIXED] += len(outstanding)
            refusals.append(f"{request_id}: {_DIFFERENT}")
            continue
        try:
            replays.append(_replay(request_id, outstanding, evidence.next_number(request_id), rules))
        except InvalidRecord as error:
            skipped[Skip.INVALID] += len(outstanding)
            refusals.append(f"{request_id}: {error.message}")
    return Plan(tuple(replays), skipped, tuple(refusals))


def _latest(selected: Sequence[FailedFile]) -> dict[str, list[FailedFile]]:
    """The last failure of each file, by request id; ids in the order of their oldest failure."""
    found: dict[str, dict[int, FailedFile]] = {}
    for failed in sorted(selected, key=lambda each: (each.time_ms, each.request_id)):
        if failed.file_index is not None:
            files = found.setdefault(failed.request_id, {})
            known = files.get(failed.file_index)
            files[failed.file_index] = failed if known is None or failed.replay >= known.replay else known
    return {request_id: [files[index] for index in sorted(files)] for request_id, files in found.items()}


def _why_not(failed: FailedFile, evidence: Evidence, rules: Rules) -> Skip | None:
    if failed.request_id in evidence.open:
        return Skip.OPEN
    if evidence.is_done_again(failed):
        return Skip.AGAIN
    if evidence.is_unknown(failed):
        return Skip.UNKNOWN
    if evidence.next_number(failed.request_id) > rules.max_replays:
        return Skip.LOOP
    return Skip.NO_REQUEST if _url(failed) is None else None


def _is_one_request(files: Sequence[FailedFile]) -> bool:
    """Whether they ask for the same work, and each number has one record."""
    records = {(each.replay, each.record) for each in files}
    return len({_work(each) for each in files}) == 1 and len(records) == len({each.replay for each in files})


def _work(failed: FailedFile) -> str:
    """What the request says besides the file, in one form."""
    said = {name: value for name, value in (failed.request or {}).items() if name != "file_urls"}
    return json.dumps([failed.file_count, said], sort_keys=True)


def _replay(request_id: str, files: Sequence[FailedFile], number: int, rules: Rules) -> PlannedReplay:
    """The request for these files; raises `InvalidRecord` if the service would refuse it."""
    last = max(files, key=lambda each: each.replay)
    indexes = tuple(each.file_index for each in files if each.file_index is not None)
    urls = {each.file_index: rules.edit(_url(each) or "") for each in files}
    count = max(last.file_count, max(indexes) + 1)
    # The URLs of files that are not wanted are not used, nor known; a repeat must have the same ones.
    filler = without_query(urls[indexes[0]])
    body: dict[str, JsonValue] = {
        **(last.request or {}),
        "request_id": request_id,
        "file_urls": [urls.get(index, filler) for index in range(count)],
        "replay": number,
    }
    if len(indexes) < count:
        body["file_indexes"] = [*indexes]
    if rules.ttl_seconds is not None:
        body["ttl_seconds"] = rules.ttl_seconds
    read_request(encode(body), (), rules.limits)
    return PlannedReplay(request_id, number, indexes, str(body.get("model")), body, last.headers)


def _url(failed: FailedFile) -> str | None:
    urls = (failed.request or {}).get("file_urls")
    return urls[0] if isinstance(urls, list) and urls and isinstance(urls[0], str) else None
