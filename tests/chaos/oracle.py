"""What must be true of a run, judged by what was asked, the topics, the provider's ledger and the logs alone.

Pure: `evidence` gathers, this judges. Every complaint names the invariant that it breaks.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.core.entry import CURSOR_KEY, decode
from tests.chaos.load import File

Mode = Literal["at_least_once", "exactly_once"]
ALREADY_FINISHED = "already_finished"
SPAN_SECONDS = 5.0
"""Over this span a rate is counted: calls that a busy machine delivers in a bunch do not decide."""


@dataclass(frozen=True)
class Delivery:
    """One record of an outcome topic; `code` is a failure's, "" for a result."""

    id: str
    code: str
    text: str


@dataclass(frozen=True)
class Asked:
    """One record of the request topic: where it lies, and the job keys it opens."""

    partition: int
    offset: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One record of the journal, in the order of its partition."""

    partition: int
    key: str
    value: bytes | None
    epoch: int


@dataclass(frozen=True)
class Rules:
    """What the run allows.

    `resubmissions` is how many files may be in more than one billed submit by the table of the provider's
    codes, or by a hole that docs/guarantees.md names.
    """

    mode: Mode = "at_least_once"
    submits_per_second: float = 10.0
    calls_per_second: float = 20.0
    resubmissions: int = 0


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run at its end, or at a moment of it.

    `committed` holds the group's offsets, `calls` the moments of each kind of call at the provider,
    `trouble` what processes left or logged that they must not, `stalls` what the probes saw.
    """

    files: Sequence[File]
    deliveries: Sequence[Delivery]
    billed_urls: Sequence[str] = ()
    calls: Mapping[str, Sequence[float]] = field(default_factory=dict)
    asked: Sequence[Asked] = ()
    journal: Sequence[Entry] = ()
    committed: Mapping[int, int] = field(default_factory=dict)
    trouble: Sequence[str] = ()
    stalls: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """The complaints by what they are about; a run is clean when there is none."""

    requests: int
    outcomes: int
    lost: Sequence[str]
    duplicates: Sequence[str]
    wrong: Sequence[str]
    billed: Sequence[str]
    quota: Sequence[str]
    cursor: Sequence[str]
    trouble: Sequence[str]
    stalls: Sequence[str]

    @property
    def complaints(self) -> list[str]:
        """All of them."""
        kinds = (self.lost, self.duplicates, self.wrong, self.billed, self.quota, self.cursor)
        return [*(each for kind in kinds for each in kind), *self.trouble, *self.stalls]

    def line(self, seed: int) -> str:
        """The run in one line."""
        return (
            f"requests {self.requests}, outcomes {self.outcomes}, lost {len(self.lost)}, "
            f"duplicate outcome ids {len(self.duplicates)}, wrong outcomes {len(self.wrong)}, "
            f"billed duplicates {len(self.billed)}, quota violations {len(self.quota)}, "
            f"cursor violations {len(self.cursor)}, left behind {len(self.trouble)}, "
            f"stalls {len(self.stalls)}, seed {seed}"
        )


def judge(evidence: Evidence, rules: Rules) -> Verdict:
    """The verdict on a run that has come to its end."""
    by_id: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in evidence.deliveries:
        by_id[delivery.id].append(delivery)
    return Verdict(
        requests=len({file.id.partition("/")[0] for file in evidence.files}),
        outcomes=len(by_id),
        lost=[f"N1: nothing came of {file.id}" for file in evidence.files if file.id not in by_id],
        duplicates=list(_duplicates(by_id, rules.mode)),
        wrong=list(_wrong(evidence, by_id)),
        billed=list(_billed_twice(evidence.billed_urls, rules.resubmissions)),
        quota=list(_too_fast(evidence.calls, rules)),
        cursor=list(judge_cursor(evidence)),
        trouble=evidence.trouble,
        stalls=evidence.stalls,
    )


def _duplicates(by_id: Mapping[str, Sequence[Delivery]], mode: Mode) -> Iterator[str]:
    """A repeat is one only of the same kind, and with exactly_once there is none."""
    for identity, found in by_id.items():
        kinds = {delivery.code for delivery in found}
        if len(kinds) > 1:
            yield f"N1: {identity} has outcomes of more than one kind: {sorted(kinds)}"
        elif mode == "exactly_once" and len(found) > 1:
            yield f"N1: a read_committed reader sees {identity} {len(found)} times"


def _wrong(evidence: Evidence, by_id: Mapping[str, Sequence[Delivery]]) -> Iterator[str]:
    texts = {file.id: file.text for file in evidence.files}
    repeats = _repeats(evidence.asked)
    for identity in by_id.keys() - texts.keys():
        is_answer = {delivery.code for delivery in by_id[identity]} == {ALREADY_FINISHED}
        if not is_answer or identity.partition("/")[2] not in repeats:
            yield f"N1: nobody asked for {identity}"
    for identity, text in texts.items():
        for delivery in by_id.get(identity, ()):
            if delivery.code:
                yield f"{identity} failed: {delivery.code}"
            elif delivery.text != text:
                yield f"{identity} has another file's text: {delivery.text!r}"


def _repeats(asked: Iterable[Asked]) -> set[str]:
    """Where the records lie that ask for a request once more."""
    seen: set[tuple[str, ...]] = set()
    repeats = set()
    for record in sorted(asked, key=lambda each: (each.partition, each.offset)):
        if record.keys in seen:
            repeats.add(f"{record.partition}/{record.offset}")
        seen.add(record.keys)
    return repeats


def _billed_twice(urls: Sequence[str], allowed: int) -> Iterator[str]:
    """N10, in files: one complaint for each file and each time too many, beyond what is allowed."""
    excess = [url for url, times in Counter(urls).items() for _ in range(times - 1)]
    for url in excess[allowed:]:
        yield f"N10: billed more than once: {url}"


def _too_fast(calls: Mapping[str, Sequence[float]], rules: Rules) -> Iterator[str]:
    for kind, moments in calls.items():
        rate = rules.submits_per_second if kind == "submit" else rules.calls_per_second
        most = _densest(sorted(moments), SPAN_SECONDS)
        if most > rate * SPAN_SECONDS:
            yield f"N7: {most} calls of {kind} in {SPAN_SECONDS:g} s, at most {rate * SPAN_SECONDS:g}"


def _densest(moments: Sequence[float], span_seconds: float) -> int:
    return max(
        (last - bisect_left(moments, at - span_seconds) + 1 for last, at in enumerate(moments)), default=0
    )


def judge_cursor(evidence: Evidence) -> Iterator[str]:
    """N5: of each record behind the cursor, and behind the group's offset, the jobs are durable.

    Holds at any moment of a run, if the journal was read after the group's offsets.
    """
    cursors, keys = _cursors(evidence.journal), {entry.key for entry in evidence.journal}
    for partition, offset in evidence.committed.items():
        if offset > cursors.get(partition, 0):
            yield f"N5: committed is {offset} of {partition}, past the cursor {cursors.get(partition)}"
    for record in evidence.asked:
        if record.offset < cursors.get(record.partition, 0):
            for key in record.keys:
                if key not in keys:
                    yield f"N5: the cursor of {record.partition} passed {record.offset}, {key} is not durable"


def _cursors(journal: Iterable[Entry]) -> Mapping[int, int]:
    """The cursor of each partition, by the rule of a restore: behind a claim lower epochs do not count."""
    cursors: dict[int, int] = {}
    claims: dict[int, int] = defaultdict(int)
    for entry in journal:
        claims[entry.partition] = max(claims[entry.partition], entry.epoch)
        if entry.key == CURSOR_KEY and entry.value is not None and entry.epoch == claims[entry.partition]:
            cursors[entry.partition] = _next_offset(entry.value)
    return cursors


def _next_offset(value: bytes) -> int:
    cursor = decode(CURSOR_KEY, value)
    offset = getattr(cursor, "next_offset", None)
    assert isinstance(offset, int), "a cursor's entry is a cursor"
    return offset
