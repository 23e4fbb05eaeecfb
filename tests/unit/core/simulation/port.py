"""The port between the simulation and an engine: who connects another engine reads this file alone.

An engine provides `Engine`, and with it `Taking`, `Owner` and `Reader`. It finds a `Place`, and through it
the records of its partition, its broker and the provider. Both sides know topics, records, the provider's API
and the promises of docs/contract.md and docs/guarantees.md, and nothing else of each other.

How a run goes: the scheduler lets somebody take a partition over (`Engine.take`), read its journal
(`Taking.read`) and claim it (`Taking.claim`), then asks the owner what it could do (`Owner.actions`) and lets
it do one of that (`Owner.act`), again and again. Between any two of these calls anything may happen: the
owner is dropped without a word (a crash), it rests while another takes its partition over and goes on later
(a freeze), time passes, a clock steps, the journal is compacted, records are published. A call must not wait
for anything: an answer that takes its time is kept by the owner, becomes due, and is received by an act.

Rules for an owner:

1. All that chance decides goes through `Place.chance`, with a subject that another engine would name too
   (job keys, task ids, record keys), so that a recorded script can be replayed on it.
2. The acts' names are the engine's own. Those that recorded scripts contain should mean the same: `accept`,
   `take_submit`, `send_taken`, `post`, `look`, `fetch`, `read`, `conclude`, `receive`, `seal`, `write`,
   `expire`, `follow`. A line of a script that an engine has no act for is left out, and counted.
3. A job is named `request_id/replay/file_index` at this port, whatever the engine calls it inside.
4. `Place.wall_ms` may step and may be wrong by days; `Place.boot_ms` never steps and runs on while an owner
   is frozen. Due times at this port are of the boot clock. The vendor's clock is `Provider.vendor_ms`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from tests.unit.core.simulation.chance import Chance

TOPIC = "transcription.requests"
JOURNAL, RESULTS, FAILURES = "transcription.journal", "transcription.results", "transcription.failures"


class Violation(AssertionError):
    """A rule that must hold did not; the message begins with its number or name."""


def check(holds: bool, rule: str) -> None:
    """Raise `Violation` unless `holds`."""
    if not holds:
        raise Violation(rule)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for a whole run: scripts begin with it, so a new field has a default."""

    files_per_task: int
    room: int
    """Open jobs with which an owner takes no more records."""
    remembered_jobs: int
    """How many finished jobs the window holds."""
    ahead_ms: int
    """How far the vendor's clock is ahead of true time."""
    window_seconds: float = 1e9
    """How long a finished job stays in the window."""
    partitions: int = 1
    delivery: str = "at_least_once"
    """Or `exactly_once`."""
    clock_slack_ms: int = 0
    """How early a deadline may end a job where clocks step: `Date` says the time, in whole seconds."""
    is_quota_short: bool = False
    """Whether submits wait for one another, so that there is something to pack."""

    @property
    def remembers(self) -> bool:
        """Whether no request ever leaves the window: nothing new is published once a day has passed."""
        return self.remembered_jobs >= 10**6 and self.window_seconds >= 86_400


# What the provider says


@dataclass(frozen=True, slots=True)
class Error:
    """Why there is no answer; `code` is the vendor's, or one of: timeout, connect_failed, connection_lost,
    http_error."""

    code: str
    message: str
    http_status: int | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """The POST made a task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A synchronous model answered with its document."""

    document: Mapping[str, object]
    billed_seconds: int


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no task, and no bill."""

    error: Error


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows: there may be a task, or a bill."""

    error: Error


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte left this machine."""

    error: Error


Posted = Made | Heard | Refused | Lost | NotSent


@dataclass(frozen=True, slots=True)
class FileSaid:
    """One file of a task that is over: the URL of its result, or why it has none."""

    url: str
    result_url: str | None = None
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A task as a query shows it; `status` is the vendor's word."""

    task_id: str
    status: str
    files: tuple[FileSaid, ...] = ()
    error: Error | None = None
    billed_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A task as the account's list shows it; the time is the vendor's."""

    task_id: str
    status: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list; one without rows is behind the last."""

    rows: tuple[Row, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Post:
    """One POST as it goes out: any set of files, of as many requests as the engine likes.

    The oracle asks of it: one URL once; one model, and one hotword list, which is that of each job; of each
    job an intent that is durable before every higher claim, named by `intents`; no other task of the job that
    may still succeed; no job whose deadline has passed.
    """

    model: str
    files: Mapping[str, str]
    """Job to URL."""
    intents: Mapping[str, str]
    """Job to the name of its intent, as `Said.intent` tells it of the journal's record."""
    epoch: int
    vocabulary_id: str | None = None


class Provider(Protocol):
    """One account. Every answer is drawn when the call is made; the owner delays what it hears."""

    @property
    def vendor_ms(self) -> int:
        """The `Date` that an answer carries now."""
        ...

    def submit(self, post: Post) -> Posted:
        """The POST, judged at this very moment."""
        ...

    def query(self, task_id: str) -> View | Error:
        """One look at any task."""
        ...

    def list(self, page_no: int) -> Page | Error:
        """A page of the tasks of the last day, the newest first; pages count from 1."""
        ...

    def cancel(self, task_id: str) -> None:
        """Drop a task that has not begun, perhaps."""
        ...

    def fetch(self, result_url: str) -> bytes | Error:
        """The result file behind a URL."""
        ...

    def vocabulary(self, model: str, words: Sequence[str]) -> str | Error:
        """Find or make the hotword list of these words for this model; its id once it can be used."""
        ...


# What Kafka takes and gives


class Written(Protocol):
    """A record on its way to Kafka."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]: ...


@dataclass(frozen=True, slots=True)
class Lies:
    """A record as it lies in a journal partition; `at_ms` is when the broker took it, in true time."""

    offset: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    at_ms: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Published:
    """A record of the request topic."""

    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


Headers = tuple[tuple[str, bytes | None], ...]


class End(Enum):
    """What an owner hears of a transaction that it cannot rely on."""

    UNKNOWN = "all of it is there, or nothing: only the journal can say, and a new producer comes first"
    TOO_LARGE = "nothing of it is there, and never will be in one piece"
    FENCED = "nothing of it is there: a later producer of the partition was made"


class Broker(Protocol):
    """The topics, as one owner of one partition writes to them."""

    def append(self, record: Written) -> int | None:
        """`at_least_once`: durable, and its offset; None: not acknowledged, durable or not."""
        ...

    def fence(self) -> int:
        """`exactly_once`: a new producer for the partition; whatever earlier ones had begun is taken back."""
        ...

    def commit(self, producer: int, records: Sequence[Written]) -> list[int] | End:
        """`exactly_once`: all records in one transaction; the offsets of all of them."""
        ...


# What an engine finds, and what it provides


class Place(Protocol):
    """Where somebody takes a partition over and owns it: one process on one machine."""

    partition: int
    settings: Settings
    chance: Chance

    @property
    def calm(self) -> bool:
        """Whether the last fault is over: nothing is delayed or doubled by chance any more."""
        ...

    @property
    def wall_ms(self) -> int:
        """This machine's wall clock."""
        ...

    @property
    def boot_ms(self) -> int:
        """This machine's boot clock."""
        ...

    @property
    def is_member(self) -> bool:
        """Whether the group gives the partition to this process; not for one that froze for long."""
        ...

    @property
    def records(self) -> Sequence[Published]:
        """The request partition, by offset."""
        ...

    @property
    def provider(self) -> Provider:
        """The account."""
        ...

    @property
    def broker(self) -> Broker:
        """The topics."""
        ...

    def journal(self, partition: int) -> Sequence[Lies]:
        """What a reader of committed records finds in any journal partition now, in order."""
        ...

    def journal_end(self, partition: int) -> int:
        """The offset behind the last record; compaction leaves it as it is."""
        ...

    def history(self, partition: int) -> Sequence[Lies]:
        """Every record there ever was, as if nothing had been compacted: to judge a restore by."""
        ...

    def count(self, what: str) -> None:
        """Note that something worth testing happened."""
        ...


class Owner(Protocol):
    """A partition's owner at work. What its calls raise as `Violation` is a broken rule of the engine's own,
    anything else a fault."""

    epoch: int
    is_open: bool
    """False once it knows that it was fenced: it is dropped."""

    def actions(self) -> list[str]:
        """What it could do now, the likelier the more often; empty: it waits for time to pass."""
        ...

    def chores(self) -> list[str]:
        """What it could do at any time and does now and then: look for deadlines, read its journal's tail."""
        ...

    def can(self, name: str) -> bool:
        """Whether there is anything to do by this name."""
        ...

    def act(self, name: str) -> None:
        """Do one thing by its name."""
        ...

    def next_due_ms(self) -> int | None:
        """When something happens by itself, by the boot clock; None: nothing ever will."""
        ...

    def drain(self) -> None:
        """Begin nothing any more, and write down what is decided."""
        ...

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to be written: it may be dropped, whatever is still on the wire."""
        ...

    @property
    def is_clean(self) -> bool:
        """Whether all it decided is durable, and its journal read to the end: compaction may begin."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether every record is taken, no job is open, and all of that is durable."""
        ...

    @property
    def writes(self) -> str:
        """What is on its way to the broker: nothing, `records`, or `result` if a result is among them."""
        ...

    def check_awake(self) -> None:
        """Raise `Violation` if an open job has nothing queued and nothing on its way."""
        ...

    def judge_memory(self) -> None:
        """With nothing open: raise `Violation` if it remembers more than the window holds (N8)."""
        ...

    def told_states(self) -> Mapping[str, str]:
        """What it has open, for a message."""
        ...


class Taking(Protocol):
    """A take-over on its way; whoever does it may freeze between `read` and `claim`."""

    def read(self) -> None:
        """Read the journal to its end."""
        ...

    def claim(self) -> Owner:
        """Claim the partition, read on to the claim, and become its owner.

        The claim goes out through the broker like any record, and again with a higher epoch where somebody
        else's came first. An engine judges here that what it restored is what the records of the `history`
        say whose epoch counts: that compaction and strangers changed nothing (N6).
        """
        ...


class Word(Enum):
    """What a journal record says of a job."""

    INTENT = "is about to be submitted"
    UNCERTAIN = "may have been submitted"
    AGAIN = "waits for a submit"
    ANNOUNCED = "has an ending that is not sent yet"
    DONE = "has an outcome"
    FORGOTTEN = "has left the window"
    OPEN = "anything else"


@dataclass(frozen=True, slots=True)
class Said:
    """What a record says of one job; an INTENT names itself, as `Post.intents` will."""

    job: str
    word: Word
    intent: str = ""


class Reader(Protocol):
    """Reads one journal partition for the oracle, with a codec of its own: it sees each record once, in the
    order of the offsets, strangers' too, before any compaction."""

    def epoch(self, record: Written) -> int:
        """The owner epoch of the record's writer."""
        ...

    def batch(self, record: Written) -> object:
        """What records of one batch have in common, and no others; one that is written again has it too."""
        ...

    def is_claim(self, record: Written) -> bool:
        """Whether it claims the partition."""
        ...

    def said(self, record: Written) -> Sequence[Said]:
        """What it says of jobs: of each that it is about, tombstones included."""
        ...

    def tasks(self, record: Written) -> set[str]:
        """The provider's tasks that it names."""
        ...

    def cursor(self, record: Written) -> int | None:
        """The next offset to be read, if it says that."""
        ...


class Engine(Protocol):
    """An engine."""

    def take(self, place: Place) -> Taking:
        """Begin to take the place's partition over."""
        ...

    def reader(self) -> Reader:
        """A reader for one journal partition."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One outcome record as a consumer sees it. `fenced` is false for one that only a stale owner decided."""

    id: str
    is_result: bool
    body: dict[str, object] = field(hash=False)
    fenced: bool
    at_ms: int

    @property
    def kind(self) -> str:
        """What it says: a result, or why there is none."""
        return self.code or "result"

    @property
    def summary(self) -> dict[str, int] | None:
        """Its `request_summary`."""
        found = self.body["request_summary"]
        return found if isinstance(found, dict) else None

    @property
    def code(self) -> str | None:
        """A failure's code."""
        return None if self.is_result else str(self.body["code"])

    @property
    def billed_seconds(self) -> int:
        """What a result says that its file cost; failures do not say."""
        usage = self.body.get("usage")
        return int(usage["billed_seconds"] or 0) if isinstance(usage, dict) else 0
