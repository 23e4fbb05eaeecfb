"""Provider tasks and their states as a function of time. Nothing here waits: a task's answer is worked
out when somebody asks.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.simulator.clock import result_folder
from sandbox.simulator.models import FILE_MODELS
from sandbox.simulator.recording import Heard, Outcome, Unusable
from sandbox.simulator.wire import JsonObject

DURING = frozenset({"PENDING", "RUNNING", "SUSPENDED"})


@dataclass(frozen=True)
class Submission:
    """A submit that passed validation; `parameters` is None when the body had none.

    `doom` is what its task fails with as soon as it is accepted; `hotwords`, casefolded, are in force.
    """

    model: str
    file_urls: tuple[str, ...]
    parameters: JsonObject | None
    doom: Unusable | None = None
    hotwords: frozenset[str] = frozenset()

    def asked(self, name: str) -> object:
        """A parameter as sent; None where it was not, or where the model heeds none of that name."""
        row = FILE_MODELS.get(self.model)
        heeded = row is None or name in row.parameters
        return (self.parameters or {}).get(name) if heeded else None

    def channel_ids(self) -> tuple[int, ...]:
        """The channels to recognise, `[0]` unless asked otherwise."""
        asked = self.asked("channel_id")
        return tuple(asked) if isinstance(asked, list) else (0,)

    def wants_speakers(self) -> bool:
        """Diarization works on single-channel jobs alone."""
        return self.asked("diarization_enabled") is True and len(self.channel_ids()) == 1


@dataclass
class TaskFile:
    """One file of a task; `outcome` is None until the engine knows it."""

    number: int
    file_url: str
    outcome: Outcome | None = None
    lost: str | None = None
    """The subtask code of an `oss://` URL that stood for nothing when the task was accepted."""

    content: bytes | None = None
    """The audio itself, where it was uploaded or came in the call."""

    limit_bytes: int | None = None
    """Of the model, where it has a limit of its own."""

    result_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def has_encoded_url(self) -> bool:
        """Whether spaces and non-ASCII are percent-escaped; the vendor cannot download others."""
        return all("!" <= character <= "~" for character in self.file_url)

    @property
    def result_name(self) -> str:
        return f"{self.result_id}-{self.number}.json"


@dataclass
class Task:
    """One submit. The engine writes times and outcomes, cancel writes `cancelled_at`; all else is fixed."""

    account: str
    api_key_id: str
    submission: Submission
    submitted_at: float
    files: Sequence[TaskFile]
    task_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    hidden_until: float = 0.0
    scheduled_at: float | None = None
    ended_at: float | None = None
    failure: Unusable | None = None
    keeps_results: bool = False
    stuck_state: str | None = None
    cancelled_at: float | None = None
    charged_seconds: int | None = None
    """What a synchronous call costs: the length of the file, not of the speech in it."""

    def state(self, now: float) -> str:
        """The status word, without regard to visibility and retention."""
        if self.cancelled_at is not None:
            return "CANCELED"
        if self.scheduled_at is None or now < self.scheduled_at:
            return "PENDING"
        if self.stuck_state is not None:
            return self.stuck_state
        if self.ended_at is None or now < self.ended_at:
            return "RUNNING"
        return "SUCCEEDED" if self.failure is None else "FAILED"

    def final_at(self, now: float) -> float | None:
        """When it reached a final state, if it has by `now`."""
        if self.cancelled_at is not None:
            return self.cancelled_at
        return self.ended_at if self.state(now) in ("SUCCEEDED", "FAILED") else None

    def is_visible(self, now: float, retention_seconds: float) -> bool:
        """Whether its account can see it: not yet during a scripted delay, no more after the retention."""
        if self.stuck_state == "UNKNOWN":
            return False
        ended = self.final_at(now)
        return now >= self.hidden_until and (ended is None or now < ended + retention_seconds)

    def heard(self) -> Iterator[Heard]:
        """Files that were transcribed, of a task whose results count."""
        if self.failure is None or self.keeps_results:
            yield from (file.outcome for file in self.files if isinstance(file.outcome, Heard))

    def billed_seconds(self) -> int | None:
        """Speech seconds, rounded up once for the task; None until the engine knows, 0 when cancelled."""
        if self.charged_seconds is not None:
            return self.charged_seconds
        if self.cancelled_at is not None or self.stuck_state is not None:
            return 0
        if self.failure is None and any(file.outcome is None for file in self.files):
            return None
        return -(-sum(heard.speech_ms for heard in self.heard()) // 1000)

    def result_path(self, file: TaskFile) -> str:
        """The raw path of a file's result; only for ended tasks."""
        return (
            f"/results/prod/{self.submission.model}/{result_folder(self.ended_at or 0.0)}/{file.result_name}"
        )


class TaskStore:
    """Every task since the start, by id and by result file name. It forgets nothing."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._results: dict[str, tuple[Task, TaskFile]] = {}

    def add(self, task: Task) -> None:
        self._tasks[task.task_id] = task
        self._results.update({file.result_name: (task, file) for file in task.files})

    def get(self, task_id: str) -> Task | None:
        return self._tasks.get(task_id)

    def by_result(self, result_name: str) -> tuple[Task, TaskFile] | None:
        return self._results.get(result_name)

    def of_account(self, account: str) -> list[Task]:
        """An account's tasks, newest first."""
        return [task for task in reversed(self._tasks.values()) if task.account == account]

    def all(self) -> Mapping[str, Task]:
        return self._tasks
