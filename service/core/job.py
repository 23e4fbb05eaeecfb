"""A job: the work for one audio file of one request, as immutable data.

Every change of a job is a new `Job` made by `core.transitions`; nothing else makes one, except
`core.grouping` at accept and `core.entry` at restore. All times are wall-clock milliseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pydantic import JsonValue

from service.contract.models import model_info
from service.contract.output import OutputFormat
from service.core.ending import Ending, Tallied
from service.core.identity import JobKey, Position
from service.core.task import Bill, Trouble


class State(StrEnum):
    """Where a job stands; docs/states.md draws the way between them."""

    ACCEPTED = "accepted"
    """In the journal, to be submitted when the budget allows."""
    SUBMITTING = "submitting"
    """The intent is in the journal; the POST may be on the wire."""
    UNCERTAIN = "uncertain"
    """The POST's answer is lost, so there may be a task: it is looked for, from `due_ms` on."""
    WAITING = "waiting"
    """To be submitted again, not before `due_ms`."""
    RUNNING = "running"
    """The provider has a task for it."""
    COLLECTING = "collecting"
    """The task is finished and its result file is being fetched. Not journalled: a restore looks again."""
    FINISHING = "finishing"
    """How it ends is decided; the outcome is on its way to its topic."""
    DONE = "done"
    """The outcome is published; what is left is a marker."""


WITHOUT_TASK = (State.ACCEPTED, State.SUBMITTING, State.WAITING)
"""What a hold keeps waiting."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What all jobs of one request share; `options` are validated and in the contract's form.

    `file_count` counts the request's files, `job_count` those that are transcribed: fewer, where the request
    names `file_indexes`. `headers` are the ones an outcome repeats, values in latin-1 so that any byte fits.
    """

    request_id: str
    replay: int
    file_count: int
    job_count: int
    model: str
    options: Mapping[str, JsonValue]
    metadata: Mapping[str, JsonValue] | None
    headers: tuple[tuple[str, str], ...]
    deadline_ms: int
    origin: Position
    digest: str
    duplicates_detected: bool
    accepted_ms: int
    formats: tuple[OutputFormat, ...] = ()
    """The renderings that a result carries."""
    has_fixed_deadline: bool = False
    """Whether the deadline is a time that the request names: the same request has the same one again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job at one moment.

    `group` numbers the files of a request that may share a provider task. `sealed_ms` is when the batch
    with the current intent was closed, `vendor_offset_ms` how far the vendor's clock was ahead of ours then,
    as far as it was known. `task_files` is how many files the task holds, or the intent is for: with more
    than one, a file's share of the bill is an estimate. `former_tasks` are the tasks it had and gave up.
    `refusals` counts the submits that were refused for a reason
    which the table bounds, `tasks_made` those that were accepted: what may still be tried depends on these,
    not on `submit_attempts`, which throttling drives up as well. `lost_calls` counts the calls of a
    synchronous model whose answers were lost. `unfinished_ms` is when a look last found the task at work,
    `url_looks` how often its result's URL was asked for anew; neither is journalled, nor are the fields from
    `completed_ms` to `bill` (of a synchronous model; of a task only its tokens), which are set when the
    provider has finished. `held` is why its result waits for the operator.
    """

    spec: Spec
    file_index: int
    file_url: str
    group: int
    state: State = State.ACCEPTED
    due_ms: int = 0
    submit_attempts: int = 0
    refusals: int = 0
    tasks_made: int = 0
    poll_attempts: int = 0
    fetch_attempts: int = 0
    cancelled: bool = False
    sealed_ms: int | None = None
    vendor_offset_ms: int | None = None
    task_id: str | None = None
    task_files: int = 0
    former_tasks: tuple[str, ...] = ()
    submitted_ms: int | None = None
    must_be_result: bool = False
    lost_calls: int = 0
    unfinished_ms: int | None = None
    url_looks: int = 0
    completed_ms: int | None = None
    transcription_url: str | None = None
    held: Trouble | None = None
    task_billed_seconds: int | None = None
    provider_times: tuple[str | None, str | None, str | None] = (None, None, None)
    bill: Bill = Bill()
    ending: Ending | None = None
    tallied: Tallied | None = None
    fetch_trouble: str = field(default="", compare=False)
    """What the last fetch of its result met, in words; not journalled."""

    @property
    def key(self) -> JobKey:
        """The job's identity."""
        return JobKey(self.spec.request_id, self.spec.replay, self.file_index)

    @property
    def is_synchronous(self) -> bool:
        """Whether its model answers a submit with the transcript."""
        info = model_info(self.spec.model)
        return info is not None and info.is_synchronous

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Every task that was made for it, as far as we know."""
        return self.former_tasks if self.task_id is None else (*self.former_tasks, self.task_id)

    def with_spec(self, spec: Spec) -> "Job":
        """The same job, sharing `spec` with its siblings."""
        return replace(self, spec=spec)
