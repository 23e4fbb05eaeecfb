"""What is known of one shard: its open requests, jobs and submissions, what it remembers, and its cursor."""

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from service.core.job.identity import JobRef, Origin, RequestKey, SubmissionKey
from service.core.job.job import Job
from service.core.job.request import AcceptedRequest, FinishedRequest
from service.core.job.request_progress import RequestProgress
from service.core.job.request_record import Cursor
from service.core.job.submission import Submission
from service.core.job.urgency import RETENTION_MS
from service.core.limits.price import Price
from service.core.limits.spend_limit import DaySpend
from service.core.outcome.build import OutcomeRules

ENDED_RETENTION_MS = RETENTION_MS
"""How long a submission's record stays after its task was made: the provider knows the task as long."""
SLOT_MS = 600_000
"""Records go up to so much later: those of one slot go together."""


@dataclass(slots=True)
class EndedSubmissions:
    """The keys of submissions that are over, by when they were made: 16 bytes each."""

    _slots: "dict[int, array[int]]" = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values()) // 2

    def __iter__(self) -> Iterator[SubmissionKey]:
        for slot in self._slots.values():
            yield from (SubmissionKey(*pair) for pair in zip(slot[::2], slot[1::2], strict=True))

    def add(self, made_ms: int, key: SubmissionKey) -> None:
        """Keep one."""
        slot = self._slots.get(made_ms // SLOT_MS)
        if slot is None:
            slot = self._slots[made_ms // SLOT_MS] = array("q")
        slot.extend(key)

    def has(self, key: SubmissionKey) -> bool:
        """Whether it is kept; reads all of them."""
        wanted = array("q", key).tobytes()
        return any(_is_in(wanted, slot.tobytes()) for slot in self._slots.values())

    def take(self, now_ms: int, limit: int) -> list[SubmissionKey]:
        """Forget the oldest of those whose time is over, at most `limit`, and say which."""
        taken: list[SubmissionKey] = []
        for number in sorted(self._slots):
            if (number + 1) * SLOT_MS + ENDED_RETENTION_MS > now_ms or len(taken) >= limit:
                break
            slot = self._slots[number]
            while slot and len(taken) < limit:
                second, first = slot.pop(), slot.pop()
                taken.append(SubmissionKey(first, second))
            if not slot:
                del self._slots[number]
        return taken


def _is_in(wanted: bytes, ended_submissions: bytes) -> bool:
    at = ended_submissions.find(wanted)
    while at % len(wanted) and at >= 0:
        at = ended_submissions.find(wanted, at + 1)
    return at >= 0


@dataclass(frozen=True, slots=True)
class Window:
    """How long, and how many, finished jobs are remembered for de-duplication."""

    seconds: float = 24 * 3600.0
    jobs: int = 100_000


@dataclass(slots=True)
class ShardState:
    """All that is known of one shard; `core.shard.shard` changes it."""

    partition: int
    epoch: int = 0
    """The owner's: the numbers of new submissions belong to it."""
    cursor: Cursor = Cursor(0)
    """The next record to be admitted, in memory; its `generation` is the topic's."""
    window: Window = Window()
    outcomes: OutcomeRules = OutcomeRules()
    prices: Mapping[str, Price] = field(default_factory=dict)
    files_per_task: int | None = None
    """None means the model table's number."""
    requests: dict[Origin, AcceptedRequest] = field(default_factory=dict)
    """The open ones."""
    progress: dict[Origin, RequestProgress] = field(default_factory=dict)
    """How far each open request has come."""
    jobs: dict[JobRef, Job] = field(default_factory=dict)
    """Those whose outcome is not durable yet."""
    submissions: dict[SubmissionKey, Submission] = field(default_factory=dict)
    """Those that open jobs are in, and those whose task is followed until its bill is known."""
    finished: OrderedDict[Origin, FinishedRequest] = field(default_factory=OrderedDict)
    """The remembered ones, the oldest first."""
    by_id: dict[RequestKey, Origin] = field(default_factory=dict)
    """The latest request of an id, open or remembered."""
    spend: DaySpend = field(default_factory=DaySpend)
    ended_submissions: EndedSubmissions = field(default_factory=EndedSubmissions)
    """Submissions that are over, until their tombstones."""
    unwritten: dict[SubmissionKey, bool] = field(default_factory=dict)
    """Waiting submissions that were never tried: the request tells them."""
    answered_ms: dict[tuple[Origin, str], int] = field(default_factory=dict)
    """When a repeat, or a cancel, was last told that its request has ended; most never are."""
    finished_jobs: int = 0
    """How many jobs the remembered requests had."""
    last_number: int = 0
    """Of the epoch's submissions."""
    durable_cursor: Cursor = field(init=False)
    """How far records are in the journal: whoever commits a batch with a cursor sets it."""

    def __post_init__(self) -> None:
        self.durable_cursor = self.cursor

    @property
    def generation(self) -> int:
        """How often the request topic was started over."""
        return self.cursor.generation

    def origin(self, offset: int) -> Origin:
        """The identity of the request at that offset of the topic as it is now."""
        return Origin(self.cursor.generation, offset)
