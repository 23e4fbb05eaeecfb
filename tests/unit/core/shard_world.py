"""A shard's whole life without a pipeline: records in, batches into a journal, a provider that makes tasks.

What is durable is a list of items, in the order in which a writer would have made them durable; a crash is a
prefix of it.
"""

import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from service.contract.request_decoder import RequestLimits, read_request
from service.core.job.events import (
    Adopted,
    DeadlinePassed,
    Fetch,
    Fetched,
    Intended,
    NotFound,
    Poll,
    Polled,
    Posted,
    QueueSubmit,
    Reconcile,
    Step,
    SubmissionEvent,
    SubmitAnswered,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
)
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.request_record import Cursor, Record
from service.core.job.submission import SubmissionState
from service.core.job.transition_context import Context, Successor
from service.core.journal.entries import OwnerEntry, encode_cursor, encode_owner
from service.core.journal.replay import Restore
from service.core.journal.stamp import Stamp, cursor_key, owner_key
from service.core.outcome.build import Outcome
from service.core.provider.answers import FileView, ProviderError, TaskStatus, TaskView
from service.core.shard.admission import Admission, AdmissionRules, admit
from service.core.shard.batches import Batch, Change, Group, JournalRecord
from service.core.shard.draft import Draft
from service.core.shard.shard import Shard
from service.core.shard.state import Window
from service.errors import InvalidRecord
from tests.unit.core.samples import NO_ANSWER, NOW_MS, context, transcript

Mode = Literal["exactly_once", "at_least_once"]
BAD = ProviderError("FILE_404_NOT_FOUND", "404")
THROTTLED = ProviderError("Throttling", "slow down", 429)


def take(shard: Shard, taken: Record, rules: AdmissionRules | None = None, now_ms: int = NOW_MS) -> Admission:
    """Decode a record and admit it."""
    try:
        read = read_request(taken.value, taken.headers, RequestLimits())
    except InvalidRecord as error:
        return admit(shard, taken, error, rules or AdmissionRules(), context(now_ms))
    return admit(shard, taken, read, rules or AdmissionRules(), context(now_ms))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in the journal."""

    key: str
    value: bytes | None
    epoch: int


Item = Entry | Outcome


def items_of(groups: Sequence[Group], mode: Mode, epoch: int) -> list[list[Item]]:
    """What becomes durable of a batch, in its order; each list stands or falls as one."""
    if mode == "exactly_once":
        return [_atomic(group, epoch) for group in groups]
    batch = Batch(1, tuple(groups))
    records = (*batch.records, *batch.retracting)
    last = [] if batch.spend is None else [batch.spend]
    if batch.cursor is not None:
        last.append(JournalRecord(cursor_key(epoch), encode_cursor(batch.cursor)))
    announced: list[Item] = _entries(batch.announcing, epoch)
    written: list[Item] = [*announced, *batch.outcomes, *_entries((*records, *last), epoch)]
    return [[item] for item in written]


def _atomic(group: Group, epoch: int) -> list[Item]:
    records = [*group.records, *([group.spend] if group.spend else [])]
    if group.cursor is not None:
        records.append(JournalRecord(cursor_key(epoch), encode_cursor(group.cursor)))
    return [*group.outcomes, *_entries(records, epoch)]


def _entries(records: Sequence[JournalRecord], epoch: int) -> list[Item]:
    return [Entry(record.key, record.value, epoch) for record in records]


@dataclass(frozen=True, slots=True)
class Task:
    """A task at the provider; only the test knows which submission made it."""

    task_id: str
    key: SubmissionKey
    refs: tuple[JobRef, ...]
    urls: tuple[str, ...]
    made_at: int


@dataclass(slots=True)
class World:
    """What outlives an owner: the topic, the journal with the outcomes, and the provider."""

    topic: list[Record]
    mode: Mode
    log: list[list[Item]] = field(default_factory=list)
    batches: list[int] = field(default_factory=lambda: [0])
    """Where each batch begins."""
    tasks: list[Task] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """Of a synchronous model, by URL."""

    def after_a_crash(self, size: int) -> "World":
        """The world in which so much became durable, and nothing was posted that follows from more."""
        begun = max(start for start in self.batches if start <= size)
        tasks = [task for task in self.tasks if task.made_at <= begun]
        return World(self.topic, self.mode, self.log[:size], [*self.batches], tasks)

    def entries(self) -> list[Entry]:
        """The journal's records."""
        return [item for items in self.log for item in items if isinstance(item, Entry)]

    def outcomes(self) -> list[Outcome]:
        """Every delivery of an outcome."""
        return [item for items in self.log for item in items if isinstance(item, Outcome)]

    def last(self) -> dict[str, bytes]:
        """What a compacted journal holds."""
        found: dict[str, bytes | None] = {entry.key: entry.value for entry in self.entries()}
        return {key: value for key, value in found.items() if value is not None}


def restore_of(entries: Sequence[Entry]) -> Restore:
    """The journal read back."""
    restore = Restore("journal", 0)
    for offset, entry in enumerate(entries):
        restore.add(offset, entry.key, entry.value, Stamp(entry.epoch, 1).encode())
    return restore


def compacted(entries: Sequence[Entry], chance: random.Random) -> list[Entry]:
    """Some of the records that a later one of the same key makes dispensable are gone."""
    last = {entry.key: index for index, entry in enumerate(entries)}
    return [
        entry for index, entry in enumerate(entries) if index == last[entry.key] or (chance.random() < 0.5)
    ]


class Worker:
    """An owner of the shard: restores, admits, and carries out steps once they are durable."""

    def __init__(
        self,
        world: World,
        chance: random.Random,
        entries: list[Entry] | None = None,
        *,
        provider_error: bool = True,
    ) -> None:
        self.world = world
        self.chance = chance
        self.provider_error = provider_error
        """Whether anything goes wrong at the provider."""
        self.now_ms = NOW_MS
        self.pending: deque[Group] = deque()
        self.steps: list[Step] = []
        self.intended: list[SubmissionKey] = []
        restored = restore_of(world.entries() if entries is None else entries)
        epoch = restored.epoch + 1
        world.log.append([Entry(owner_key(epoch), encode_owner(OwnerEntry(epoch, "m")), epoch)])
        self.shard = Shard(0, epoch, restored.cursor or Cursor(0), Window(3600.0), files_per_task=2)
        self.take(self.shard.load(restored, self.context()))

    def context(self) -> Context:
        """A second later than the last one."""
        self.now_ms += 1000
        return context(self.now_ms, self.chance.random())

    def take(self, change: Change) -> None:
        """What an event came to."""
        self.pending.extend(change.groups)
        self.steps += change.steps

    def commit(self) -> None:
        """Make everything durable that waits, and release what follows from it."""
        groups = tuple(self.pending)
        self.pending.clear()
        self.world.batches.append(len(self.world.log))
        self.world.log += items_of(groups, self.world.mode, self.shard.epoch)
        for group in groups:
            self.shard.durable_cursor = group.cursor or self.shard.durable_cursor
            self.steps += group.steps
            for ref in group.ended:
                self.shard.forget_job(ref, self.context())
        intended, self.intended = self.intended, []
        for key in intended:
            self.post(key)

    def act(self) -> bool:
        """Do one thing, if anything is left to do."""
        choices = [
            *([self.admit] if self.shard.cursor.next_offset < len(self.world.topic) else []),
            *([self.step] * 3 if self.steps else []),
            *([self.commit] if self.pending or self.intended else []),
        ]
        if self.chance.random() < 0.1:
            self.pack()
        if not choices:
            return False
        self.chance.choice(choices)()
        return True

    def pack(self) -> None:
        """Put the jobs of two waiting submissions, of whatever requests, into one."""
        draft = Draft(self.shard)
        waiting = [self.shard.submissions[key] for key in self.shard.unwritten]
        if len(waiting) < 2:
            return
        one, other = self.chance.sample(waiting, 2)
        refs = (*one.jobs, *other.jobs)
        urls = {self.shard.jobs[ref].file_url for ref in refs}
        if one.model != other.model or one.is_synchronous or len(urls) < len(refs):
            return
        packed = draft.new_submission(Successor(refs, one.model, one.counters, one.due_ms), self.now_ms)
        for ref in refs:
            draft.jobs[ref] = replace(draft.jobs[ref], submission=packed.key)
        draft.end_submission(one)
        draft.end_submission(other)
        draft.adopt()
        self.steps.append(QueueSubmit(packed.key, packed.due_ms))

    def run(self, most: int = 5_000) -> None:
        """Work until nothing is left."""
        for _ in range(most):
            if not self.act():
                return
        raise AssertionError("never idle")

    def admit(self) -> None:
        """Take the next record of the topic."""
        taken = self.world.topic[self.shard.cursor.next_offset]
        self.take(take(self.shard, taken, now_ms=self.now_ms).change)

    def step(self) -> None:
        """Carry out any step."""
        match self.steps.pop(self.chance.randrange(len(self.steps))):
            case QueueSubmit(key):
                submission = self.shard.submissions.get(key)
                if submission is not None and submission.state is SubmissionState.WAITING:
                    self.take(self.shard.on_submission(key, Intended(self.now_ms), self.context()))
                    self.intended.append(key)
            case Poll(key, task_id):
                answer = Polled(self.view(task_id), self.now_ms)
                self.take(self.shard.on_submission(key, answer, self.context()))
            case Reconcile(key):
                made = [task.task_id for task in self.world.tasks if task.key == key]
                found = Adopted(made[0]) if made else NotFound()
                self.take(self.shard.on_submission(key, found, self.context()))
            case Fetch(ref):
                self.take(self.shard.on_job(ref, Fetched(transcript()), self.context()))
            case _:
                pass
        self.expire()

    def expire(self) -> None:
        """Jobs whose deadline has passed."""
        for ref in self.shard.overdue(self.now_ms):
            self.take(self.shard.on_job(ref, DeadlinePassed(), self.context()))

    def post(self, key: SubmissionKey) -> None:
        """Send the POST of a durable intent; its answer may be lost, with or without a task."""
        submission = self.shard.submissions.get(key)
        if submission is None or submission.state is not SubmissionState.INTENDED:
            return
        word = (
            self.chance.choice(["ok"] * 4 + ["lost", "nothing", "unsent", "refused"])
            if self.provider_error
            else "ok"
        )
        urls = tuple(self.shard.jobs[ref].file_url for ref in submission.jobs)
        if submission.is_synchronous:
            self.world.calls.update(urls)
            event: SubmissionEvent = SubmitAnswered(transcript()) if word == "ok" else SubmitLost(NO_ANSWER)
            self.take(self.shard.on_submission(key, event, self.context()))
            return
        task = Task(f"t{len(self.world.tasks)}", key, submission.jobs, urls, len(self.world.log))
        if word in ("ok", "lost"):
            self.world.tasks.append(task)
        answers: dict[str, SubmissionEvent] = {
            "ok": Posted(task.task_id),
            "lost": SubmitLost(NO_ANSWER),
            "nothing": SubmitLost(NO_ANSWER),
            "unsent": SubmitNotSent(NO_ANSWER),
            "refused": SubmitRefused(THROTTLED),
        }
        self.take(self.shard.on_submission(key, answers[word], self.context()))

    def view(self, task_id: str) -> TaskView:
        """What a poll says."""
        if self.provider_error and self.chance.random() < 0.3:
            return TaskView(task_id, TaskStatus.RUNNING)
        [task] = [task for task in self.world.tasks if task.task_id == task_id]
        files = tuple(map(partial(self.file, task), task.refs, task.urls))
        return TaskView(task_id, TaskStatus.SUCCEEDED, files, billed_seconds=3 * len(files))

    def file(self, task: Task, ref: JobRef, url: str) -> FileView:
        """What the task says of a file: one that is bad, or that the first task for it did not manage."""
        is_first = task == next(each for each in self.world.tasks if ref in each.refs)
        if "bad" in url:
            return FileView(url, provider_error=BAD)
        return FileView(url, provider_error=THROTTLED) if "flaky" in url and is_first else FileView(url, url)
