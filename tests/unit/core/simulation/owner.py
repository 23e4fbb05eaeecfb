"""One owner of the shard: what `service/pipeline` does around the core, as steps that a scheduler picks.

The writer is the real one: its coroutine is driven by hand, so that a crash can come between any two records.
"""

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, cast

from service.core.admission import AdmissionRules, admit
from service.core.batch import Appended, Batch, Committed, without_superseded
from service.core.entry import OWNER_KEY
from service.core.events import (
    CancelTask,
    DeadlinePassed,
    Event,
    Fetch,
    Intended,
    Looked,
    LookFailed,
    QueueSubmit,
    Reconcile,
    Step,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
    Submitted,
    Watch,
)
from service.core.events import FetchFailed as FetchFailedEvent
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.moment import Moment, Rules
from service.core.record import Cursor
from service.core.schedule import DueQueue
from service.core.shard import Change, Move, Shard
from service.core.task import Accepted, Answered, Lost, NotSent, Refused, SubmitAnswer, TaskView, Trouble
from service.errors import InvalidRecord, PublishError
from service.kafka.addressed import Addressed
from service.kafka.outgoing import Outgoing
from service.kafka.topics import Topics
from service.kafka.writer import AtLeastOnceWriter
from service.messages import DecodedRequest, RequestLimits, read_request
from service.pipeline.poll import file_of
from service.pipeline.transcripts import read_transcript
from tests.unit.core.simulation.chance import Chance
from tests.unit.core.simulation.doubtful import Doubtful
from tests.unit.core.simulation.journal import JournalModel, check
from tests.unit.core.simulation.plan import Plan
from tests.unit.core.simulation.provider import ProviderModel
from tests.unit.core.simulation.records import CURSOR
from tests.unit.core.simulation.weather import Weather

TOPICS = Topics()
RULES = Rules()
INTENT_MS = 2_000
LATEST_MS = 12_000
"""From the intent to its POST, however late it was sealed."""
Answers = list[int | PublishError]


class Surroundings(Protocol):
    """What an owner meets outside of itself."""

    now_ms: int
    chance: Chance
    journal: JournalModel
    plan: Plan
    provider: ProviderModel
    admission: AdmissionRules
    calm: bool
    room: int
    weather: Weather

    def deliver(self, record: Outgoing, epoch: int) -> int:
        """Take a record into its topic."""
        ...

    def posting(self, keys: Sequence[JobKey], epoch: int, attempts: Sequence[int]) -> None:
        """Judge a POST before it goes out."""
        ...

    def count(self, what: str) -> None:
        """Note that something worth testing happened."""
        ...


class Ask:
    """Hands the records of one `send` to whoever drives the writer, and returns its answers."""

    def __init__(self, records: Sequence[Outgoing]) -> None:
        self.records = list(records)

    def __await__(self) -> Generator[list[Outgoing], Answers, Answers]:
        return (yield self.records)


class SteppedProducer:
    """The producer as the writer sees it."""

    async def send(self, records: Sequence[Outgoing]) -> Answers:
        """Wait until the driver has answered for each record."""
        return await Ask(records)


@dataclass(slots=True)
class Flight:
    """A batch on its way."""

    batch: Batch
    taken: list[Move]
    cursor: Cursor
    sealed_ms: int
    append: Coroutine[list[Outgoing], Answers, Appended]
    records: list[Outgoing] = field(default_factory=list)
    answers: Answers = field(default_factory=list)


@dataclass(slots=True)
class Errand:
    """Jobs that share a submit; ready once `batch` is durable."""

    keys: list[JobKey]
    batch: int
    intended_ms: int
    sealed_ms: int = -1
    journal_offset: int = -1


@dataclass(slots=True)
class Answer:
    """Something on the wire to this owner."""

    name: str
    """What it answers, and for the how manieth time."""
    due_ms: int
    keys: list[JobKey]
    arrive: Callable[[], None]


class Owner:
    """An owner at work, by the name of its epoch."""

    def __init__(self, around: Surroundings, shard: Shard, epoch: int, claim_offset: int) -> None:
        self.around = around
        self.shard = shard
        self.epoch = epoch
        self.is_open = True
        self.tail = claim_offset
        self.pending: list[Move] = []
        self.flight: Flight | None = None
        self.durable_cursor = shard.cursor
        self.cursor_written_over = False
        self.batches = 0
        self.writer = AtLeastOnceWriter(SteppedProducer(), Addressed(TOPICS, 0, epoch, f"member {epoch}"))
        self.submits: DueQueue[JobKey] = DueQueue()
        self.looks: DueQueue[str] = DueQueue()
        self.watched: dict[str, set[JobKey]] = {}
        self.fetches: DueQueue[tuple[JobKey, str]] = DueQueue()
        self.taken: list[JobKey] = []
        """Taken for a submit that waits for its budget."""
        self.doubtful = Doubtful(self)
        self.errands: list[Errand] = []
        self.wire: list[Answer] = []
        self.answered: Counter[str] = Counter()

    # What the scheduler needs to know

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be written and nobody is awaited."""
        return not (self.pending or self.flight or self.wire or self.errands or self.taken)

    def check_awake(self) -> None:
        """Something is queued, or on its way, for each open job: nothing else would ever wake it."""
        awake = {*self.submits, *self.taken, *(key for key, _ in self.fetches)}
        awake.update(self.doubtful.asked, *self.watched.values(), *(errand.keys for errand in self.errands))
        awake.update(*(answer.keys for answer in self.wire))
        moves = (*self.pending, *(self.flight.taken if self.flight else ()))
        asleep = {str(key) for key in self.shard.jobs.keys() - awake} - {move.key for move in moves}
        check(not asleep, f"N1: nothing will ever happen to {sorted(asleep)}")

    @property
    def is_rightful(self) -> bool:
        """Whether nobody has claimed the shard since."""
        return self.epoch == self.around.journal.highest

    @property
    def is_clean(self) -> bool:
        """Whether all it decided is durable and all it may have to mend is read."""
        is_written = not (self.pending or self.flight or self.cursor_written_over)
        return is_written and self.tail == self.around.journal.end

    @property
    def is_done(self) -> bool:
        """Whether nothing is open and all of it is durable."""
        return self.is_idle and not self.shard.jobs

    def told_states(self) -> dict[str, str]:
        """What it has open, for a message."""
        return {str(key): str(job.state) for key, job in self.shard.jobs.items()}

    def judge_memory(self) -> None:
        """N8: with nothing open, it remembers no more than the window holds."""
        shard = self.shard
        shard.sweep(self.around.now_ms)
        remembered = shard.remembered_jobs
        check(remembered <= shard.window.jobs, f"N8: {remembered} jobs are remembered")
        forgotten = set(shard.tallies) - set(shard.remembered)
        check(not forgotten, f"N8: {forgotten} will never be forgotten")

    def next_due_ms(self) -> int | None:
        """When the next thing happens by itself."""
        times = [self.submits.next_due_ms(), self.looks.next_due_ms(), self.fetches.next_due_ms()]
        times += [answer.due_ms for answer in self.wire] + self.doubtful.due_ms()
        return min((time for time in times if time is not None), default=None)

    def actions(self) -> list[str]:
        """What it could do now, the likelier the more often."""
        return [*self._writing(), *self._stages()]

    def _writing(self) -> list[str]:
        if self.flight is not None:
            return ["write"] * 3
        is_behind = self.shard.cursor != self.durable_cursor or self.cursor_written_over
        return ["seal"] * 3 if self.pending or is_behind else []

    def _stages(self) -> list[str]:
        around = self.around
        now_ms = around.now_ms
        found: list[str] = []
        if self.shard.cursor.next_offset < len(around.plan.records) and len(self.shard.jobs) < around.room:
            found.append("accept")
        if self.taken:
            found.append("send_taken")
        elif _is_due(self.submits, now_ms):
            found.append("take_submit")
        if any(errand.sealed_ms >= 0 for errand in self.errands):
            found.append("post")
        if _is_due(self.looks, now_ms):
            found.append("look")
        if _is_due(self.fetches, now_ms):
            found.append("fetch")
        found += self.doubtful.actions()
        if any(answer.due_ms <= now_ms for answer in self.wire):
            found += ["receive"] * 2
        return found

    def can(self, name: str) -> bool:
        """Whether there is anything to do by this name; `expire` and `follow` can always be done."""
        return name in ("expire", "follow", *self.actions())

    def act(self, name: str) -> None:
        """Do one thing by its name."""
        acts: dict[str, Callable[[], None]] = {
            "write": self.write,
            "seal": self.seal,
            "accept": self.accept,
            "send_taken": self.send_taken,
            "take_submit": self.take_submit,
            "post": self.post,
            "look": self.look,
            "fetch": self.fetch,
            "read": self.doubtful.read,
            "conclude": self.doubtful.conclude,
            "receive": self.receive,
            "expire": self.expire,
            "follow": self.follow,
        }
        acts[name]()

    @property
    def may_expire(self) -> bool:
        """Whether a job could meet its deadline."""
        return bool(self.shard.jobs)

    @property
    def may_follow(self) -> bool:
        """Whether the journal has a tail."""
        return self.tail < self.around.journal.end

    # Changes and their batches

    def moment(self) -> Moment:
        """The world as the core is told of it."""
        jitter = self.around.chance.ask("jitter", "", lambda rng: rng.random(), 0.5)
        return Moment(self.around.now_ms, jitter, RULES)

    def apply(self, key: JobKey, event: Event) -> None:
        """Let a job meet an event; a closed owner drops it."""
        if self.is_open:
            self.put(self.shard.apply(key, event, self.moment()))

    def put(self, change: Change) -> None:
        """Queue the moves, carry out the free steps."""
        self.pending.extend(change.moves)
        for step in change.steps:
            self.carry_out(step)

    def carry_out(self, step: Step) -> None:
        """Queue a step where it belongs."""
        match step:
            case QueueSubmit(key, due_ms):
                self.submits.push(due_ms, key)
            case Reconcile(key, due_ms, settled_ms):
                self.doubtful.ask(key, due_ms, settled_ms)
            case Watch(key, task_id, due_ms):
                if task_id not in self.watched:
                    self.watched[task_id] = set()
                    self.looks.push(due_ms, task_id)
                self.watched[task_id].add(key)
            case Fetch(key, url, due_ms):
                self.fetches.push(due_ms, (key, url))
            case CancelTask(task_id):
                if self.around.chance.ask("cancel", task_id, lambda rng: rng.random() < 0.8, True):
                    self.around.provider.cancel(task_id, self.around.now_ms)

    def seal(self) -> None:
        """Close what is queued into a batch."""
        taken, self.pending = self.pending, []
        moves = (*without_superseded(taken), *self.shard.sweep(self.around.now_ms))
        remembered = self.shard.remembered_jobs
        check(remembered <= self.shard.window.jobs, f"N8: {remembered} jobs are remembered")
        self.batches += 1
        changed = self.shard.cursor != self.durable_cursor or self.cursor_written_over
        self.cursor_written_over = False
        batch = Batch(self.batches, moves, self.shard.cursor if changed else None)
        self.flight = Flight(batch, taken, self.shard.cursor, self.around.now_ms, self.writer.append(batch))
        self._go_on(self.flight, None)

    def write(self) -> None:
        """Let the broker take a few records of the stage."""
        flight = self.flight
        assert flight is not None
        for _ in range(self.around.chance.ask("records", "", lambda rng: rng.choice((1, 1, 2, 8)), 1)):
            if len(flight.answers) < len(flight.records):
                flight.answers.append(self._send(flight.records[len(flight.answers)]))
        if len(flight.answers) == len(flight.records):
            self._go_on(flight, flight.answers)

    def _send(self, record: Outgoing) -> int | PublishError:
        """Durable and acknowledged, or durable and not acknowledged, or neither."""
        fate = "acknowledged"
        if not self.around.calm:
            fate = self.around.chance.ask("send", _name_of(record), self._fate, fate)
        if fate == "refused":
            return PublishError("refused")
        offset = self.around.deliver(record, self.epoch)
        return PublishError("no acknowledgement") if fate == "unacknowledged" else offset

    def _fate(self, rng: random.Random) -> str:
        draw, unacknowledged = rng.random(), self.around.weather.unacknowledged
        if draw < unacknowledged / 2:
            return "refused"
        return "unacknowledged" if draw < unacknowledged else "acknowledged"

    def _go_on(self, flight: Flight, answers: Answers | None) -> None:
        """Drive the writer to its next stage or to its end."""
        try:
            # The first `send` of a coroutine takes None.
            flight.records = flight.append.send(cast(Answers, answers))
            flight.answers = []
        except StopIteration as stop:
            self._end(flight, stop.value)

    def _end(self, flight: Flight, appended: Appended) -> None:
        if not isinstance(appended, Committed):
            self.around.count("batch sent again")
            flight.append = self.writer.append(flight.batch)
            self._go_on(flight, None)
            return
        self.flight = None
        self.durable_cursor = flight.cursor
        for errand in self.errands:
            if errand.batch == flight.batch.number:
                errand.sealed_ms, errand.journal_offset = flight.sealed_ms, appended.journal_offset
        for move in flight.taken:
            if move.job_key is not None:
                self.shard.settle(move.job_key, self.moment())
            for step in move.steps:
                self.carry_out(step)

    # Stages

    def accept(self) -> None:
        """Take the next records, and perhaps begin their submits in the same batch."""
        records = self.around.plan.records
        for _ in range(self.around.chance.ask("records", "", lambda rng: rng.choice((1, 1, 3)), 1)):
            offset = self.shard.cursor.next_offset
            if offset >= len(records):
                return
            record = records[offset].record
            decoded = read(record.value)
            admission = admit(self.shard, record, decoded, self.around.admission, self.moment())
            self.around.count(f"record {admission.word}")
            if admission.jobs and len(admission.jobs) < admission.jobs[0].spec.job_count:
                self.around.count("record completed")
            self.put(admission.change)
            if admission.jobs and self._intends_at_once(admission.jobs[0]):
                for group in sorted({job.group for job in admission.jobs}):
                    self.intend([job.key for job in admission.jobs if job.group == group])

    def _intends_at_once(self, first: Job) -> bool:
        request_id = first.spec.request_id
        return self.around.chance.ask("intend at once", request_id, lambda rng: rng.random() < 0.5, False)

    def take_submit(self) -> None:
        """Take a due job and its siblings for a submit."""
        key = self.submits.pop_due(self.around.now_ms)
        job = self.shard.jobs.get(key) if key is not None else None
        if job is None or not _is_unsent(job):
            return
        siblings = [each for each in self.shard.jobs.values() if each.key.request == job.key.request]
        due = [each for each in siblings if each.group == job.group and _is_unsent(each)]
        self.taken = [each.key for each in due if each.due_ms <= self.around.now_ms or each.key == job.key]

    def send_taken(self) -> None:
        """The budget allows it; meanwhile a job may have been cancelled, or be gone."""
        keys, self.taken = self.taken, []
        self.intend(keys)

    def intend(self, keys: list[JobKey]) -> None:
        """Write the intent down; the errand waits for its batch."""
        ahead_ms = self.around.provider.ahead_ms
        is_known = self.around.chance.ask(
            "vendor clock known", _joined(keys), lambda rng: bool(rng.choice((0, 1))), True
        )
        offset_ms = ahead_ms if is_known else None
        for key in keys:
            self.apply(key, Intended(self.around.now_ms, len(keys), offset_ms))
        jobs = [job for key in keys if (job := self.shard.jobs.get(key))]
        intended = [job.key for job in jobs if job.state is State.SUBMITTING]
        if intended:
            self.errands.append(Errand(intended, self.batches + 1, self.around.now_ms))

    def post(self) -> None:
        """Send a POST whose intent is durable, if the journal and the clock allow."""
        ready = [errand for errand in self.errands if errand.sealed_ms >= 0]
        names = [_joined(errand.keys) for errand in ready]
        name = self.around.chance.ask("which", "", lambda rng: rng.choice(names), names[0])
        if name not in names:
            return
        errand = ready[names.index(name)]
        self.errands.remove(errand)
        self.follow(errand.journal_offset + 1)
        if not self.is_open:
            self.around.count("fenced before its POST")
            return
        now_ms = self.around.now_ms
        if now_ms - errand.sealed_ms > INTENT_MS or now_ms - errand.intended_ms > LATEST_MS:
            answer: SubmitAnswer = NotSent(Trouble("intent_too_old", "too old"))
        else:
            answer = self.submit(errand.keys)
        self._later(f"post {name}", errand.keys, lambda: self._answered(errand.keys, answer))

    def submit(self, keys: list[JobKey]) -> SubmitAnswer:
        """The POST."""
        jobs = [self.shard.jobs[key] for key in keys]
        self.around.posting(keys, self.epoch, [job.submit_attempts for job in jobs])
        return self.around.provider.submit({str(job.key): job.file_url for job in jobs}, self.around.now_ms)

    def _answered(self, keys: list[JobKey], answer: SubmitAnswer) -> None:
        for key in keys:
            self.apply(key, _event(answer, len(keys)))

    def look(self) -> None:
        """Look at a due task; now and then the answer comes twice."""
        task_id = self.looks.pop_due(self.around.now_ms)
        assert task_id is not None
        keys = sorted(self.watched.pop(task_id))
        answer = self.around.provider.query(task_id, self.around.now_ms)
        for _ in range(self._copies(f"look {task_id}")):
            self._later(f"look {task_id}", keys, lambda: self._looked(task_id, keys, answer))

    def _looked(self, task_id: str, keys: list[JobKey], answer: TaskView | Trouble) -> None:
        for key in keys:
            job = self.shard.jobs.get(key)
            if job is not None and job.task_id == task_id:
                self.apply(key, _seen(answer, job))

    def fetch(self) -> None:
        """Fetch a due result file; now and then the answer comes twice."""
        item = self.fetches.pop_due(self.around.now_ms)
        assert item is not None
        key, url = item
        body = self.around.provider.fetch(url, self.around.now_ms)
        event = FetchFailedEvent(body) if isinstance(body, Trouble) else read_transcript(body, "fun-asr")
        for _ in range(self._copies(f"fetch {key}")):
            self._later(f"fetch {key}", [key], lambda: self.apply(key, event))

    def receive(self) -> None:
        """Let one answer arrive, whichever."""
        arrived = [answer for answer in self.wire if answer.due_ms <= self.around.now_ms]
        names = [answer.name for answer in arrived]
        name = self.around.chance.ask("which", "", lambda rng: rng.choice(names), names[0])
        if name not in names:
            return
        answer = arrived[names.index(name)]
        self.wire.remove(answer)
        answer.arrive()

    def expire(self) -> None:
        """Tell jobs that their deadline is over."""
        for key in self.shard.overdue(self.around.now_ms):
            self.apply(key, DeadlinePassed())

    def follow(self, until: int | None = None) -> None:
        """Read the journal's tail: be fenced by a higher claim, mend what a stranger wrote."""
        end = self.around.journal.end if until is None else until
        strangers = []
        for entry in self.around.journal.log:
            if not self.tail <= entry.offset < end:
                continue
            if entry.key == OWNER_KEY and entry.epoch > self.epoch:
                self.is_open = False
                self.around.count("fenced")
            elif entry.epoch < self.epoch:
                strangers.append(entry.key)
        self.tail = max(self.tail, end)
        if self.is_open and strangers:
            self.around.count("mended")
            self.put(Change(self.shard.mend(strangers)))
            self.cursor_written_over |= CURSOR in strangers or OWNER_KEY in strangers

    def _later(self, what: str, keys: list[JobKey], arrive: Callable[[], None]) -> None:
        delay_ms = 10
        if not self.around.calm:
            delay_ms = self.around.chance.ask(
                "delay", what, lambda rng: rng.choice((10, 50, 400, 3_000)), delay_ms
            )
        self.answered[what] += 1
        name = f"{what} {self.answered[what]}"
        self.wire.append(Answer(name, self.around.now_ms + delay_ms, keys, arrive))

    def _copies(self, what: str) -> int:
        if self.around.calm:
            return 1
        return self.around.chance.ask("copies", what, lambda rng: 1 if rng.random() > 0.05 else 2, 1)


def _joined(keys: Sequence[JobKey]) -> str:
    return " ".join(map(str, keys))


def _name_of(record: Outgoing) -> str:
    headers = dict(record.headers)
    return f"outcome {headers['ce_id'].decode()}" if "ce_id" in headers else record.key.decode()


def _is_due(queue: DueQueue[JobKey] | DueQueue[str] | DueQueue[tuple[JobKey, str]], now_ms: int) -> bool:
    due_ms = queue.next_due_ms()
    return due_ms is not None and due_ms <= now_ms


def _is_unsent(job: Job) -> bool:
    return job.state in (State.ACCEPTED, State.WAITING)


def _event(answer: SubmitAnswer, task_files: int) -> Event:
    match answer:
        case Accepted(task_id):
            return Submitted(task_id, task_files)
        case Answered():
            raise AssertionError("the simulation has no synchronous model")
        case Refused(trouble):
            return SubmitRefused(trouble)
        case Lost(trouble):
            return SubmitLost(trouble)
        case NotSent(trouble):
            return SubmitNotSent(trouble)


def _seen(answer: TaskView | Trouble, job: Job) -> Event:
    return LookFailed(answer) if isinstance(answer, Trouble) else Looked(answer, file_of(answer, job))


@lru_cache(maxsize=1_000)
def read(value: bytes | None) -> DecodedRequest | InvalidRecord:
    """Decode a request record."""
    try:
        return read_request(value, (), RequestLimits())
    except InvalidRecord as error:
        return error
