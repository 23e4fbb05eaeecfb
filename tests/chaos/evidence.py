"""What is known of a run, what it was allowed, and what is said of it: data without rules."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.chaos.load import File

Mode = Literal["at_least_once", "exactly_once"]
Kind = Literal[
    "lost", "duplicates", "wrong", "billed", "quota", "cursor", "lag", "memory", "left_behind", "stalls"
]
WORDS: Final[Mapping[Kind, str]] = {
    "lost": "lost",
    "duplicates": "duplicate outcome ids",
    "wrong": "wrong outcomes",
    "billed": "billed duplicates",
    "quota": "quota violations",
    "cursor": "cursor violations",
    "lag": "lagging partitions",
    "memory": "over memory",
    "left_behind": "left behind",
    "stalls": "stalls",
}
"""Every kind of complaint, as a run's line names it."""


@dataclass(frozen=True)
class Delivery:
    """One record of an outcome topic; `code` is a failure's, "" for a result.

    `ended` is the summary of the whole request, how many files succeeded and failed, in its last outcome.
    """

    id: str
    code: str
    text: str
    task_id: str | None = None
    ended: tuple[int, int] | None = None


@dataclass(frozen=True)
class Asked:
    """One record of the request topic: where it lies, the job keys it names, and its purpose."""

    partition: int
    offset: int
    keys: tuple[str, ...]
    purpose: str = "request"
    topic: str = "requests"

    @property
    def origin(self) -> str:
        """The id of an outcome that answers the record itself."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Entry:
    """One record of the journal, in the order of its partition."""

    partition: int
    key: str
    value: bytes | None
    epoch: int


@dataclass(frozen=True)
class Quota:
    """What the account may call of a kind, as the vendor counts it: in any second, in any minute."""

    per_second: int
    per_minute: int | None = None


QUOTAS: Final[Mapping[str, Quota]] = {
    "submit": Quota(10, 600),
    "transcribe": Quota(2, 100),
    "query": Quota(20),
    "list": Quota(20),
    "cancel": Quota(20),
}
"""The vendor's numbers for the two models of `load`; submits a second are a sixtieth of those a minute."""


@dataclass(frozen=True)
class Rules:
    """What the run allows.

    `resubmissions` is how many files may be in more than one billed submit by the table of the provider's
    codes, or by a hole that docs/guarantees.md names. `known` names the violations of `tests.chaos.known`
    that are told apart.
    """

    mode: Mode = "at_least_once"
    quotas: Mapping[str, Quota] = field(default_factory=lambda: QUOTAS)
    resubmissions: int = 0
    resident_mib: int = 400
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run at its end, or at a moment of it.

    `committed` holds the group's offsets, `calls` the moments of each kind of call at the provider, `gaps`
    the spans in which this process itself, and so the simulator in it, stood still. `trouble` is what
    processes left or logged that they must not, `stalls` what the probes saw, `peaks` the most MiB that each
    worker had in memory, `acts` how often each act was carried out, `crashes` how many workers were killed,
    `unknown_tasks` those of whom the provider once said that it knows them not.
    """

    files: Sequence[File]
    deliveries: Sequence[Delivery]
    billed_urls: Sequence[str] = ()
    calls: Mapping[str, Sequence[float]] = field(default_factory=dict)
    gaps: Sequence[tuple[float, float]] = ()
    asked: Sequence[Asked] = ()
    journal: Sequence[Entry] = ()
    committed: Mapping[int, int] = field(default_factory=dict)
    left_behind: Sequence[str] = ()
    stalls: Sequence[str] = ()
    peaks: Mapping[str, int] = field(default_factory=dict)
    acts: Mapping[str, int] = field(default_factory=dict)
    crashes: int = 0
    unknown_tasks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Complaint:
    """One thing that must not be: about whom (an outcome's id, a URL, a kind of call), and the codes seen."""

    kind: Kind
    subject: str
    words: str
    codes: frozenset[str] = frozenset()
    times: float = 1.0
    """Of a quota: how many times what is allowed."""

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Judgement:
    """What is held against a run; it is clean when `complaints` is empty.

    `known` holds what today's engine is known to do, by its name; `repeats` counts the further bills of
    synchronous calls that docs/guarantees.md allows.
    """

    requests: int
    outcomes: int
    complaints: Sequence[Complaint]
    known: Mapping[str, Sequence[Complaint]] = field(default_factory=dict)
    repeats: int = 0
    peak_mib: int = 0

    def counts(self) -> Mapping[Kind, int]:
        """The complaints of each kind that there is one of."""
        return Counter(complaint.kind for complaint in self.complaints)

    def line(self, seed: int) -> str:
        """The run in one line."""
        counts = self.counts()
        said = ", ".join(f"{words} {counts.get(kind, 0)}" for kind, words in WORDS.items())
        known = "".join(f", known {name} {len(those)}" for name, those in sorted(self.known.items()))
        return (
            f"requests {self.requests}, outcomes {self.outcomes}, {said}, synchronous calls repeated "
            f"{self.repeats}, most memory {self.peak_mib} MiB{known}, seed {seed}"
        )
