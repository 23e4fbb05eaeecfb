"""What is known of one shard: its open requests, jobs and submissions, what it remembers, and its cursor."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.identity import JobRef, Origin, RequestKey, SubmissionKey
from service.core.job import Job
from service.core.kept import KeptSubmissions
from service.core.outcomes import OutcomeRules
from service.core.price import Price
from service.core.progress import RequestProgress
from service.core.record import Cursor
from service.core.request import AcceptedRequest, FinishedRequest
from service.core.spend import DaySpend
from service.core.submission import Submission


@dataclass(frozen=True, slots=True)
class Window:
    """How long, and how many, finished jobs are remembered for de-duplication."""

    seconds: float = 24 * 3600.0
    jobs: int = 100_000


@dataclass(slots=True)
class ShardState:
    """All that is known of one shard; `core.shard` changes it."""

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
    kept: KeptSubmissions = field(default_factory=KeptSubmissions)
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
