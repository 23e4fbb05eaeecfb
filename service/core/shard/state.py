"""The state of one shard.

Its open requests, jobs and submissions, remembered requests, and cursor.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import field

from service.contract.models import model_info
from service.core.job.accepted_request import FinishedRequest
from service.core.job.identity import CompactKey, Origin, SubmissionKey
from service.core.job.packing import files_per_task
from service.core.job.request_record import Cursor
from service.core.job.submission import Submission
from service.core.job.tables import Submissions
from service.core.job.urgency import RETENTION_MS
from service.core.journal.open_work import OpenJobs, OpenProgress, OpenRequests
from service.core.limits.price import Price
from service.core.limits.spend_limit import DaySpend
from service.core.outcome.build import OutcomeRules
from service.frozen import dataclass

ENDED_RETENTION_MS = RETENTION_MS
"""How long a submission's record stays after its task was created: as long as the provider keeps tasks."""
SLOT_MS = 600_000
"""Records of one slot expire together, so a record may stay this much longer."""


@dataclass(slots=True)
class EndedSubmissions:
    """The keys of submissions that are over, grouped by the time they were made: 16 bytes each."""

    _slots: "dict[int, array[int]]" = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values()) // 2

    def __iter__(self) -> Iterator[SubmissionKey]:
        for slot in self._slots.values():
            yield from (SubmissionKey(*pair) for pair in zip(slot[::2], slot[1::2], strict=True))

    def add(self, made_ms: int, key: SubmissionKey) -> None:
        """Add a key."""
        slot = self._slots.get(made_ms // SLOT_MS)
        if slot is None:
            slot = self._slots[made_ms // SLOT_MS] = array("q")
        slot.extend((key.epoch, key.number))

    def has(self, key: SubmissionKey) -> bool:
        """Whether the key is kept; scans all keys."""
        wanted = array("q", (key.epoch, key.number)).tobytes()
        return any(_is_in(wanted, slot.tobytes()) for slot in self._slots.values())

    def take(self, now_ms: int, limit: int) -> list[SubmissionKey]:
        """Remove and return the oldest expired keys, at most `limit`."""
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
    """For how long, and how many, finished jobs are remembered for de-duplication."""

    seconds: float = 24 * 3600.0
    jobs: int = 100_000


@dataclass(slots=True)
class ShardState:
    """The state of one shard; `core.shard.shard` changes it."""

    partition: int
    epoch: int = 0
    """The owner epoch; new submissions are numbered within it."""
    cursor: Cursor = Cursor(0)
    """The next record to admit, in memory; its `generation` is the topic's."""
    window: Window = Window()
    outcomes: OutcomeRules = OutcomeRules()
    prices: Mapping[str, Price] = field(default_factory=dict)
    files_per_task: int | None = None
    """None: the model table's number."""
    requests: OpenRequests = field(default_factory=OpenRequests)
    """Open requests."""
    progress: OpenProgress = field(init=False)
    """The progress of each open request."""
    jobs: OpenJobs = field(init=False)
    """Jobs whose outcome is not durable yet."""
    submissions: Submissions = field(default_factory=Submissions)
    """Submissions with open jobs, and those that are followed until their task's bill is known."""
    finished: OrderedDict[Origin, FinishedRequest] = field(default_factory=OrderedDict)
    """Remembered finished requests, oldest first."""
    by_id: dict[CompactKey, Origin] = field(default_factory=dict)
    """The latest request of an id, open or remembered."""
    spend: DaySpend = field(default_factory=DaySpend)
    ended_submissions: EndedSubmissions = field(default_factory=EndedSubmissions)
    """Submissions that are over, until their tombstones."""
    unwritten: dict[SubmissionKey, bool] = field(default_factory=dict)
    """WAITING submissions that were never tried: a restore plans them again from the request."""
    answered_ms: dict[tuple[Origin, str], int] = field(default_factory=dict)
    """When a repeat or cancel of an ended request was last answered; rarely set."""
    finished_jobs: int = 0
    """Number of jobs of the remembered requests."""
    last_number: int = 0
    """The last number given to a submission of this epoch."""
    durable_cursor: Cursor = field(init=False)
    """The cursor up to which requests are in the journal."""

    def __post_init__(self) -> None:
        self.progress = OpenProgress(self.requests)
        self.jobs = OpenJobs(self.requests, self.submissions)
        self.durable_cursor = self.cursor

    def most_files(self, model: str) -> int:
        """How many files one POST of the model may hold."""
        info = model_info(model)
        return 1 if info is None else files_per_task(info, self.files_per_task)

    def may_share(self, submission: Submission) -> bool:
        """Whether files of other requests may join its POST: it was never tried, and has room."""
        if self.files_per_task == 1 or submission.key not in self.unwritten:
            return False
        return len(submission.jobs) < self.most_files(submission.model)

    @property
    def generation(self) -> int:
        """How often reading the request topic has started over."""
        return self.cursor.generation

    def origin(self, offset: int) -> Origin:
        """The identity of the request at that offset in the current generation."""
        return Origin(self.cursor.generation, offset)
