"""The oracle of the tests: every accepted (so billed) submit and every call with its time. Only the
simulator writes it; nothing is ever removed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

from sandbox.simulator.tasks import Task


@dataclass
class SubmitEntry:
    """One accepted submit. `answered` is False when the client never got the whole answer."""

    task: Task
    at: float
    wall: float
    answered: bool = False

    def as_dict(self) -> dict[str, object]:
        submission = self.task.submission
        return {
            "task_id": self.task.task_id,
            "model": submission.model,
            "file_urls": list(submission.file_urls),
            "parameters": submission.parameters,
            "at": self.at,
            "wall": self.wall,
            "account": self.task.account,
            "billed_seconds": self.task.billed_seconds(),
            "answered": self.answered,
        }


@dataclass
class CallEntry:
    """One HTTP call, refused or not. `status` 0 means that no answer was sent, or none yet.

    `at` is the simulator's epoch time, `wall` real seconds since its start, `action` what a call on hotword
    lists asked for. `leaked_key` marks a result download or an upload that carried credentials. `prompt` is
    what the user wrote beside the audio of a synchronous call, `context` what the system message says.
    """

    kind: str
    at: float
    wall: float
    status: int = 0
    task_id: str | None = None
    account: str | None = None
    model: str | None = None
    action: str | None = None
    fault: str | None = None
    leaked_key: bool = False
    prompt: str | None = None
    context: str | None = None


@dataclass(frozen=True)
class AudioEntry:
    """One audio file that the recogniser fetched, or had at hand; `code` is the subtask code if it failed."""

    url: str
    at: float
    bytes: int
    code: str | None


@dataclass
class Ledger:
    """Everything that happened, in order. Read it; the simulator alone adds to it."""

    submits: list[SubmitEntry] = field(default_factory=list)
    calls: list[CallEntry] = field(default_factory=list)
    audio: list[AudioEntry] = field(default_factory=list)

    def calls_of(self, kind: str) -> list[CallEntry]:
        return [call for call in self.calls if call.kind == kind]

    def submitted_urls(self) -> Counter[str]:
        """How often each file was in an accepted submit: more than once is money spent twice."""
        return Counter(url for entry in self.submits for url in entry.task.submission.file_urls)

    def leaked_keys(self) -> int:
        return sum(call.leaked_key for call in self.calls)

    def peak(self, kind: str, span_seconds: float = 1.0, account: str | None = None) -> int:
        """The most calls of a kind, refused ones too, in any span of real seconds."""
        walls = [call.wall for call in self.calls_of(kind) if account in (None, call.account)]
        return _densest(sorted(walls), span_seconds)

    def as_dict(self) -> dict[str, object]:
        """What `GET /_sim/ledger` answers."""
        return {
            "submits": [entry.as_dict() for entry in self.submits],
            "calls": [asdict(call) for call in self.calls],
            "audio": [asdict(entry) for entry in self.audio],
            "counts": self._counts(),
        }

    def _counts(self) -> Mapping[str, object]:
        return {
            "submits": len(self.submits),
            "files": sum(self.submitted_urls().values()),
            "billed_seconds": sum(entry.task.billed_seconds() or 0 for entry in self.submits),
            "calls": dict(Counter(call.kind for call in self.calls)),
            "statuses": dict(Counter(str(call.status) for call in self.calls)),
            "peak_per_second": {
                kind: self.peak(kind) for kind in cast(set[str], {c.kind for c in self.calls})
            },
            "leaked_keys": self.leaked_keys(),
        }


def _densest(walls: Sequence[float], span_seconds: float) -> int:
    most = first = 0
    for last, wall in enumerate(walls):
        while walls[first] <= wall - span_seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
