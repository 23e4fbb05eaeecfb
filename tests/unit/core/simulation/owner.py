"""One owner of a shard: what `service/pipeline` does around the core, as steps that a scheduler picks."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.contract.request_decoder import DecodedRequest, RequestLimits, read_request
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.events import (
    CancelTask,
    DeadlinePassed,
    Fetch,
    FetchFailed,
    Intended,
    JobEvent,
    Poll,
    Polled,
    PollFailed,
    Posted,
    QueueSubmit,
    Reconcile,
    Step,
    SubmissionEvent,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
)
from service.core.job.identity import JobRef, Position, SubmissionKey, read_key
from service.core.job.job import Job, JobState
from service.core.job.request_record import Record
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import COMMIT_WAIT_SECONDS, INTENT_SECONDS, Context, Rules
from service.core.limits.schedule import DueQueue
from service.core.provider.answers import (
    Accepted,
    Answered,
    Lost,
    NotSent,
    ProviderError,
    SubmitAnswer,
    TaskView,
)
from service.core.provider.answers import Refused as RefusedAnswer
from service.core.shard.admission import AdmissionRules, admit
from service.core.shard.batches import Appended, BatchRefused, Change, Committed, Group, Pending
from service.core.shard.shard import Shard
from service.core.time.trusted_time import TrustedReading, TrustedTime
from service.core.time.vendor_clock import VendorClock
from service.errors import InvalidRecord
from service.pipeline.collecting.transcripts import answered, read_transcript
from service.pipeline.shard.subjects import subject_of, writes
from tests.unit.core.simulation.hotwords import Hotwords
from tests.unit.core.simulation.packing import companions, is_of_several
from tests.unit.core.simulation.port import TOPIC, Error, Place, Post, Published, check
from tests.unit.core.simulation.records import CURSOR, intent_name
from tests.unit.core.simulation.translate import answer_of, error_of, view_of
from tests.unit.core.simulation.uncertain import Uncertain
from tests.unit.core.simulation.writing import Flight, Pen

RULES = Rules()
INTENT_MS = round(1000 * INTENT_SECONDS)
LATEST_MS = round(1000 * (COMMIT_WAIT_SECONDS + INTENT_SECONDS))
"""From the intent to its POST, however late it was sealed."""
TOO_LATE = NotSent(ProviderError("intent_too_old", "too old"))
COPIED = frozenset({"traceparent"})
CHORES = ("expire", "follow")
WRITING = ("write", "seal", "receive")
"""What an owner that drains still does."""
OPEN_STATES = (JobState.WAITING, JobState.SUBMITTED)
Key = JobRef | SubmissionKey


@dataclass(slots=True)
class PendingPost:
    """A POST that waits for its intent. Times are of both clocks: (wall, boot)."""

    key: SubmissionKey
    files: int
    intent: Group
    intended_ms: tuple[int, int]
    sealed_ms: tuple[int, int] | None = None
    """Of the batch that holds the intent, once that is durable."""
    journal_offset: int = -1


@dataclass(frozen=True, slots=True)
class PollRequest:
    """The one poll of a submission that counts."""

    key: SubmissionKey
    task_id: str
    due_ms: int
    is_last: bool


@dataclass(slots=True)
class Answer:
    """Something on the wire to this owner."""

    name: str
    """What it answers, and for the how manieth time."""
    due_ms: int
    keys: Sequence[Key]
    arrive: Callable[[], None]


class ShardOwner:
    """An owner at work, by the name of its epoch."""

    rules = RULES

    def __init__(self, place: Place, shard: Shard, producer: int, claim_offset: int) -> None:
        self.place = place
        self.shard = shard
        self.epoch = shard.epoch
        self.is_open = True
        self.is_draining = False
        self.tail = claim_offset + 1
        self.pending = Pending()
        self.vendor = VendorClock()
        self.time = TrustedTime(self.vendor)
        # As `pipeline/guards/vendor_time` does, which asks while no answer has told the date.
        self.hear()
        self.flight: Flight | None = None
        self.batches = 0
        self.pen = Pen(place, shard.epoch, producer, claim_offset)
        self.admission = AdmissionRules(copied_headers=COPIED)
        self.submits: DueQueue[SubmissionKey] = DueQueue()
        self.looks: DueQueue[PollRequest] = DueQueue()
        self.asked: dict[SubmissionKey, PollRequest] = {}
        self.fetches: DueQueue[tuple[JobRef, str]] = DueQueue()
        self.lists: DueQueue[str] = DueQueue()
        self.hotwords = Hotwords(lambda: place.boot_ms, self._is_waiting, self._list_refused)
        self.taken: SubmissionKey | None = None
        """Taken for a submit that waits for its budget."""
        self.uncertain = Uncertain(self)
        self.posting: list[PendingPost] = []
        self.wire: list[Answer] = []
        self.answered: Counter[str] = Counter()
        self.acts: Mapping[str, Callable[[], None]] = {
            "write": self.write,
            "seal": self.seal,
            "accept": self.accept,
            "send_taken": self.send_taken,
            "take_submit": self.take_submit,
            "post": self.post,
            "look": self.look,
            "fetch": self.fetch,
            "ask_list": self.ask_list,
            "read": self.uncertain.read,
            "conclude": self.uncertain.conclude,
            "receive": self.receive,
            "expire": self.expire,
            "follow": self.follow,
        }

    # What the scheduler needs to know

    def check_awake(self) -> None:
        """Something is queued, or on its way, for each job and submission: nothing else would wake it."""
        awake: set[Key] = {*self.submits, *self.asked, *(ref for ref, _ in self.fetches)}
        awake.update(self.uncertain.asked, self.hotwords.waiting(), (pending.key for pending in self.posting))
        awake.update([self.taken] if self.taken else [])
        awake.update(*(answer.keys for answer in self.wire))
        for group in self._groups():
            awake.update(group.ended, (key for step in group.steps if (key := subject_of(step)) is not None))
        asleep = [ref for ref, job in self.shard.jobs.items() if not self._watch(ref, job) & awake]
        followed = [each for each in self.shard.submissions.values() if each.is_followed]
        told = [*map(self._told, asleep), *(str(each.key) for each in followed if each.key not in awake)]
        check(not told, f"N1: nothing will ever happen to {sorted(told)}")

    def _watch(self, ref: JobRef, job: Job) -> set[Key]:
        return {job.submission} if job.state in OPEN_STATES else {ref}

    def _told(self, ref: JobRef) -> str:
        return str(self.shard.jobs[ref].key)

    def _groups(self) -> Iterator[Group]:
        yield from self.flight.batch.groups if self.flight else ()
        yield from self.pending.groups

    @property
    def _is_written(self) -> bool:
        return not self.pending and self.flight is None

    @property
    def is_clean(self) -> bool:
        """Whether all it decided is durable and all it may have to mend is read."""
        return self._is_written and self.tail == self.place.journal_end(self.place.partition)

    @property
    def is_done(self) -> bool:
        """Whether nothing is open, all is taken, and all of it is durable."""
        is_idle = not (self.wire or self.posting or self.taken or self.shard.jobs or self.shard.submissions)
        is_read = self.shard.durable_cursor.next_offset == len(self.place.records)
        return is_idle and is_read and self._is_written

    @property
    def is_drained(self) -> bool:
        """Whether it was told to stop, and may."""
        return self.is_draining and self._is_written

    def drain(self) -> None:
        """Begin nothing any more."""
        self.is_draining = True

    @property
    def writes(self) -> str:
        """What is on its way."""
        if self.flight is None:
            return ""
        return "result" if any(each.is_result for each in self.flight.batch.outcomes) else "records"

    def told_states(self) -> dict[str, str]:
        """What it has open, for a message."""
        jobs = {str(job.key): str(job.state) for job in self.shard.jobs.values()}
        return jobs | {str(key): str(each.state) for key, each in self.shard.submissions.items()}

    def judge_memory(self) -> None:
        """N8: with nothing open, it remembers no more than the window holds."""
        shard = self.shard
        while shard.expired_tombstones(self.ending_ms).groups:
            pass
        remembered = sum(finished.job_count for finished in shard.finished.values())
        check(remembered <= shard.window.jobs, f"N8: {remembered} jobs are remembered")
        check(remembered == shard.finished_jobs, f"N8: {remembered} jobs count as {shard.finished_jobs}")
        left = [*shard.progress, *shard.requests, *shard.unwritten]
        left += [origin for origin in shard.by_id.values() if origin not in shard.finished]
        check(not left, f"N8: {left} will never be forgotten")

    def next_due_ms(self) -> int | None:
        """When the next thing happens by itself, by the boot clock."""
        queues = (self.submits, self.looks, self.fetches, self.lists)
        walls = [due_ms for queue in queues if (due_ms := queue.next_due_ms()) is not None]
        times = [due_ms - self._skew_ms for due_ms in walls]
        times += [answer.due_ms for answer in self.wire] + self.uncertain.due_ms()
        return min(times, default=None)

    @property
    def now_ms(self) -> int:
        """The trusted time (`core.time.trusted_time`)."""
        return self._read_time().now_ms

    @property
    def ending_ms(self) -> int:
        """The time by which things end."""
        return self._read_time().confirmed_ms

    def _read_time(self) -> TrustedReading:
        reading, _event = self.time.read(self.place.wall_ms, self.place.boot_ms / 1000)
        return reading

    def hear(self) -> None:
        """Learn the vendor's time from the `Date` of an answer.

        In runs that were recorded earlier the vendor is minutes off, which no promise covers: there its
        `Date` says what the wall clock says.
        """
        place = self.place
        boot_seconds = place.boot_ms / 1000
        is_right = abs(place.settings.ahead_ms) < 1000
        date_ms = (place.provider.vendor_ms if is_right else place.wall_ms) // 1000 * 1000
        self.vendor.observe(boot_seconds, boot_seconds, date_ms)
        self._read_time()

    @property
    def _skew_ms(self) -> int:
        return self.now_ms - self.place.boot_ms

    @property
    def ahead_ms(self) -> int:
        """How far the vendor's clock is ahead of this machine's."""
        return self.place.provider.vendor_ms - self.now_ms

    def actions(self) -> list[str]:
        """What it could do now, the likelier the more often."""
        if self.is_draining:
            return [name for name in (*self._writing(), *self._stages()) if name in WRITING]
        return [*self._writing(), *self._stages()]

    def chores(self) -> list[str]:
        """Look for deadlines, and at the journal's tail."""
        is_behind = self.tail < self.place.journal_end(self.place.partition)
        return [name for name, may in zip(CHORES, (bool(self.shard.jobs), is_behind), strict=True) if may]

    def _writing(self) -> list[str]:
        if self.flight is not None:
            return ["write"] * 3
        return ["seal"] * 3 if self.pending else []

    def _stages(self) -> Iterator[str]:
        place = self.place
        if self.shard.cursor.next_offset < len(place.records) and len(self.shard.jobs) < place.settings.room:
            yield "accept"
        if self.taken:
            yield "send_taken"
        elif self._is_due(self.submits.next_due_ms()):
            yield "take_submit"
        if any(pending.sealed_ms for pending in self.posting):
            yield "post"
        for name, queue in (("look", self.looks), ("fetch", self.fetches), ("ask_list", self.lists)):
            if self._is_due(queue.next_due_ms()):
                yield name
        yield from self.uncertain.actions()
        if any(answer.due_ms <= place.boot_ms for answer in self.wire):
            yield from ("receive", "receive")

    def _is_due(self, due_ms: int | None) -> bool:
        return due_ms is not None and due_ms <= self.now_ms

    def can(self, name: str) -> bool:
        """Whether there is anything to do by this name; a chore can always be done."""
        return name in (*CHORES, *self.actions())

    def act(self, name: str) -> None:
        """Do one thing by its name."""
        self.acts[name]()

    # Changes and their batches

    def context(self) -> Context:
        """The world as the core is told of it."""
        return Context(self.now_ms, self._draw(), self.rules, self.ending_ms)

    def _draw(self) -> float:
        return self.place.chance.ask("jitter", "", lambda rng: rng.random(), 0.5)

    def on_submission(self, key: SubmissionKey, event: SubmissionEvent) -> Change:
        """Let a submission meet an event; a closed owner drops it."""
        if not self.is_open:
            return Change()
        change = self.shard.on_submission(key, event, self.context())
        self.put(change)
        return change

    def on_job(self, ref: JobRef, event: JobEvent) -> None:
        """Let a job meet an event; a closed owner drops it."""
        if self.is_open:
            self.put(self.shard.on_job(ref, event, self.context()))

    def put(self, change: Change) -> None:
        """Queue the groups, carry out the free steps."""
        self.pending.add(change.groups)
        for step in change.steps:
            self.carry_out(step)

    def carry_out(self, step: Step) -> None:
        """Queue a step where it belongs."""
        match step:
            case QueueSubmit(key, due_ms):
                self.submits.push(due_ms, key)
            case Reconcile(key, due_ms, settled_ms):
                self.uncertain.ask(key, due_ms - self._skew_ms, settled_ms - self._skew_ms)
            case Poll(key, task_id, due_ms, is_last):
                self._queue_poll(PollRequest(key, task_id, due_ms, is_last))
            case Fetch(ref, url, due_ms):
                self.fetches.push(due_ms, (ref, url))
            case CancelTask(task_id):
                if self.place.chance.ask("cancel", task_id, lambda rng: rng.random() < 0.8, True):
                    self.place.provider.cancel(task_id)

    def seal(self) -> None:
        """Close what is queued into a batch, with tombstones for what has left the window."""
        self.put(self.shard.expired_tombstones(self.ending_ms))
        self.batches += 1
        batch = self.pending.take(self.batches)
        self.flight = Flight(batch, self._now_ms(), self.pen.writer.append(batch))
        self._end(self.flight, self.flight.go_on(None))

    def _now_ms(self) -> tuple[int, int]:
        return (self.place.wall_ms, self.place.boot_ms)

    def write(self) -> None:
        """Let the broker take a few records of the stage, or a transaction; or read the journal back."""
        flight = self.flight
        assert flight is not None
        if flight.proof is not None:
            self.follow(flight.proof + 1)
            if self.is_open:
                self._end(flight, flight.go_on(True))
            else:
                self.place.count("fenced before its outcomes")
            return
        most = 1
        if not self.pen.is_atomic:
            most = self.place.chance.ask("records", "", lambda rng: rng.choice((1, 1, 2, 8)), 1)
        self.pen.write(flight, most)
        if len(flight.answers) == len(flight.records):
            self._end(flight, flight.go_on(flight.answers))

    def _end(self, flight: Flight, appended: Appended | None) -> None:
        while appended is not None and not isinstance(appended, Committed):
            if isinstance(appended, BatchRefused):
                self.place.count("batch refused")
                self._close()
                return
            self.place.count("batch sent again")
            flight.append = self.pen.writer.append(flight.batch)
            appended = flight.go_on(None)
        if isinstance(appended, Committed):
            self._committed(flight, appended.journal_offset)

    def _close(self) -> None:
        self.is_open, self.flight = False, None
        self.place.count("fenced")

    def _committed(self, flight: Flight, journal_offset: int) -> None:
        self.flight = None
        for group in flight.batch.groups:
            for pending in self.posting:
                if pending.intent is group:
                    pending.sealed_ms, pending.journal_offset = flight.sealed_ms, journal_offset
            self._release(group)

    def _release(self, group: Group) -> None:
        self.shard.durable_cursor = group.cursor or self.shard.durable_cursor
        for ref in group.ended:
            self.shard.forget_job(ref, self.context())
        for step in group.steps:
            self.carry_out(step)

    # Accepting

    def accept(self) -> None:
        """Take the next records, and perhaps begin their submits in the same batch."""
        for _ in range(self.place.chance.ask("records", "", lambda rng: rng.choice((1, 1, 3)), 1)):
            offset = self.shard.cursor.next_offset
            if offset >= len(self.place.records):
                return
            of = self.place.records[offset]
            record = Record(Position(TOPIC, of.partition, of.offset, of.at_ms), of.key, of.value, of.headers)
            admission = admit(self.shard, record, read(of), self.admission, self.context())
            self.place.count(f"record {admission.kind}")
            self.put(admission.change)
            if admission.submissions and self._intends_at_once(admission.submissions[0]):
                for key in admission.submissions:
                    self.intend(key)

    def _intends_at_once(self, key: SubmissionKey) -> bool:
        request = self._request_of(key)
        if request is None or not self.hotwords.is_at_hand(request) or self.place.settings.is_quota_short:
            return False
        ask = self.place.chance.ask
        return ask("intend at once", request.request_id, lambda rng: rng.random() < 0.5, False)

    def expire(self) -> None:
        """Tell jobs that their deadline is over."""
        for ref in self.shard.overdue(self.ending_ms):
            self.on_job(ref, DeadlinePassed())

    # Submits

    def _submission(self, key: SubmissionKey, state: SubmissionState) -> Submission | None:
        submission = self.shard.submissions.get(key)
        return submission if submission is not None and submission.state is state else None

    def _is_waiting(self, key: SubmissionKey) -> bool:
        return self.is_open and self._submission(key, SubmissionState.WAITING) is not None

    def _request_of(self, key: SubmissionKey) -> AcceptedRequest | None:
        """Whose options a waiting submission has."""
        jobs = self.shard.open_jobs(key) if self._is_waiting(key) else ()
        return jobs[0].request if jobs else None

    def take_submit(self) -> None:
        """Take a due submission, once its hotword list is at hand."""
        key = self.submits.pop_due(self.now_ms)
        assert key is not None
        self.taken = key if self._is_ready(key) else None

    def _is_ready(self, key: SubmissionKey) -> bool:
        request = self._request_of(key)
        if request is None:
            return False
        if not self.hotwords.is_at_hand(request):
            if name := self.hotwords.want(key, request):
                self.lists.push(self.now_ms, name)
            return False
        return True

    def send_taken(self) -> None:
        """The budget allows it; meanwhile jobs may have been cancelled, or its list be too old."""
        key, self.taken = self.taken, None
        assert key is not None
        if self._is_ready(key):
            self.intend(key, self._companions(key))

    def _companions(self, key: SubmissionKey) -> tuple[SubmissionKey, ...]:
        """As if quota were short, often: the submissions that may share the POST."""
        others, ask = companions(self.shard, key), self.place.chance.ask
        if not others or not ask("pack", self._names(key), lambda rng: rng.random() < 0.9, False):
            return ()
        return others

    def ask_list(self) -> None:
        """Ask for a hotword list that submissions wait for."""
        name = self.lists.pop_due(self.now_ms)
        assert name is not None
        if not self.hotwords.is_wanted(name):
            return
        wanted = self.hotwords.wanted[name]
        words = [word.text for word in wanted.need.words]
        answer = self.place.provider.vocabulary(wanted.need.model, words)
        self._later(f"list {name}", [*wanted.waiting], lambda: self._listed(name, answer))

    def _listed(self, name: str, answer: str | Error) -> None:
        if not isinstance(answer, Error):
            for key in self.hotwords.had(name, answer):
                self.submits.push(self.now_ms, key)
            return
        wait_ms = self.hotwords.not_had(name, error_of(answer), self._draw())
        if wait_ms is not None:
            self.lists.push(self.now_ms + wait_ms, name)

    def _list_refused(self, key: SubmissionKey, event: SubmissionEvent) -> None:
        self.place.count("hotword list refused")
        self.on_submission(key, event)

    def intend(self, key: SubmissionKey, companions: tuple[SubmissionKey, ...] = ()) -> None:
        """Write the intent down; the pending waits for its batch."""
        subject, ask = self._names(key), self.place.chance.ask
        is_known = ask("vendor clock known", subject, lambda rng: bool(rng.choice((0, 1))), True)
        most = ask("most files", subject, lambda rng: rng.choice((None,) * 9 + (2,)), None)
        intended = Intended(self.now_ms, self.ahead_ms if is_known else None, most, companions)
        change = self.on_submission(key, intended)
        submission = self._submission(key, SubmissionState.INTENDED)
        if submission is not None:
            [intent] = [group for group in change.groups if writes(group, key)]
            self.posting.append(PendingPost(key, len(submission.jobs), intent, self._now_ms()))

    def _names(self, key: SubmissionKey) -> str:
        submission = self.shard.submissions.get(key)
        refs = submission.jobs if submission else ()
        return " ".join(str(self.shard.jobs[ref].key) for ref in refs if ref in self.shard.jobs)

    def post(self) -> None:
        """Send a POST whose intent is durable, if the journal and the clocks allow."""
        ready = [pending for pending in self.posting if pending.sealed_ms]
        names = [self._names(pending.key) for pending in ready]
        name = self.place.chance.ask("which", "", lambda rng: rng.choice(names), names[0])
        if name not in names:
            return
        pending = ready[names.index(name)]
        self.posting.remove(pending)
        self.follow(pending.journal_offset + 1)
        if not self.is_open:
            self.place.count("fenced before its POST")
            return
        jobs = self._jobs_to_post(pending)
        answer = self.submit(pending.key, jobs) if jobs and self._is_fresh(pending) else TOO_LATE
        self._later(f"post {name}", [pending.key], lambda: self._answered(pending.key, jobs, answer))

    def _jobs_to_post(self, pending: PendingPost) -> list[Job]:
        """The jobs whose files go out: all of the intent's, or none."""
        submission = self._submission(pending.key, SubmissionState.INTENDED)
        found = [self.shard.jobs.get(ref) for ref in submission.jobs] if submission else []
        jobs = [job for job in found if job is not None and _is_to_be_posted(job, pending.key)]
        return jobs if len(jobs) == len(found) == pending.files else []

    def _is_fresh(self, pending: PendingPost) -> bool:
        assert pending.sealed_ms is not None
        ages = zip(self._now_ms(), pending.sealed_ms, pending.intended_ms, strict=True)
        return all(
            now - sealed <= INTENT_MS and now - intended <= LATEST_MS for now, sealed, intended in ages
        )

    def submit(self, key: SubmissionKey, jobs: Sequence[Job]) -> SubmitAnswer:
        """The POST."""
        submission = self.shard.submissions[key]
        assert submission.intent is not None
        intent = intent_name(
            (key.epoch, key.number), submission.counters.submits, submission.intent.intended_ms
        )
        post = Post(
            model=jobs[0].request.model,
            files={str(job.key): job.file_url for job in jobs},
            intents={str(job.key): intent for job in jobs},
            epoch=self.epoch,
            vocabulary_id=self.hotwords.list_of(jobs[0].request),
        )
        return answer_of(self.place.provider.submit(post))

    def _answered(self, key: SubmissionKey, jobs: Sequence[Job], answer: SubmitAnswer) -> None:
        if is_of_several(self.shard, key):
            self.place.count(f"answer for several requests: {type(answer).__name__}")
        self.on_submission(key, _event(answer, jobs[0].request.model if jobs else ""))

    # Polls and fetches

    def _queue_poll(self, request: PollRequest) -> None:
        """One poll counts for each submission: what is asked for already, unless it is later."""
        asked = self.asked.get(request.key)
        due_ms, is_last = request.due_ms, request.is_last
        if asked is not None and asked.task_id == request.task_id:
            if asked.due_ms <= due_ms and asked.is_last >= is_last:
                return
            due_ms, is_last = min(due_ms, asked.due_ms), is_last or asked.is_last
        counting = PollRequest(request.key, request.task_id, due_ms, is_last)
        self.asked[request.key] = counting
        self.looks.push(due_ms, counting)

    def look(self) -> None:
        """Poll a due task; now and then the answer comes twice."""
        request = self.looks.pop_due(self.now_ms)
        assert request is not None
        if self.asked.get(request.key) is not request:
            return
        del self.asked[request.key]
        submission = self._submission(request.key, SubmissionState.RUNNING)
        if submission is None or submission.task_id != request.task_id:
            return
        asked_ms, answer = self.now_ms, view_of(self.place.provider.query(request.task_id))
        for _ in range(self._copies(f"look {request.task_id}")):
            name = f"look {request.task_id}"
            self._later(name, [request.key], lambda: self._looked(request, answer, asked_ms))

    def _looked(self, request: PollRequest, answer: TaskView | ProviderError, asked_ms: int) -> None:
        if isinstance(answer, TaskView):
            self.on_submission(request.key, Polled(answer, asked_ms, request.is_last))
        else:
            self.on_submission(request.key, PollFailed(answer))

    def fetch(self) -> None:
        """Fetch a due result file; now and then the answer comes twice."""
        item = self.fetches.pop_due(self.now_ms)
        assert item is not None
        ref, url = item
        job = self.shard.jobs.get(ref)
        if job is None or job.state is not JobState.COLLECTING:
            return
        body = self.place.provider.fetch(url)
        event: JobEvent
        if isinstance(body, Error):
            event = FetchFailed(error_of(body))
        else:
            event = read_transcript(body, job.request.model)
        for _ in range(self._copies(f"fetch {job.key}")):
            self._later(f"fetch {job.key}", [ref], lambda: self.on_job(ref, event))

    def receive(self) -> None:
        """Let one answer arrive, whichever."""
        arrived = [answer for answer in self.wire if answer.due_ms <= self.place.boot_ms]
        names = [answer.name for answer in arrived]
        name = self.place.chance.ask("which", "", lambda rng: rng.choice(names), names[0])
        if name not in names:
            return
        answer = arrived[names.index(name)]
        self.wire.remove(answer)
        self.hear()
        answer.arrive()

    def _later(self, what: str, keys: Sequence[Key], arrive: Callable[[], None]) -> None:
        delay_ms = 10
        if not self.place.calm:
            delay_ms = self.place.chance.ask(
                "delay", what, lambda rng: rng.choice((10, 50, 400, 3_000)), delay_ms
            )
        self.answered[what] += 1
        name = f"{what} {self.answered[what]}"
        self.wire.append(Answer(name, self.place.boot_ms + delay_ms, keys, arrive))

    def _copies(self, what: str) -> int:
        if self.place.calm:
            return 1
        return self.place.chance.ask("copies", what, lambda rng: 1 if rng.random() > 0.05 else 2, 1)

    # The journal's tail

    def follow(self, until: int | None = None) -> None:
        """Read the journal's tail: be fenced by a higher epoch, mend what a stranger wrote."""
        partition = self.place.partition
        end = self.place.journal_end(partition) if until is None else until
        strangers = []
        for entry in self.place.journal(partition):
            if not self.tail <= entry.offset < end:
                continue
            if entry.epoch > self.epoch:
                self._close()
                break
            if entry.epoch < self.epoch and _is_of_ours(entry.key):
                strangers.append(entry.key)
        self.tail = max(self.tail, end)
        if self.is_open and strangers:
            self.place.count("mended")
            for key in strangers:
                self.put(self.shard.rewrite([key]))


def _is_of_ours(key: str) -> bool:
    try:
        return key.startswith((CURSOR, "~spend/")) or bool(read_key(key))
    except ValueError:
        return False


def _is_to_be_posted(job: Job, key: SubmissionKey) -> bool:
    return job.submission == key and job.state is JobState.SUBMITTED and not job.cancelled


def _event(answer: SubmitAnswer, model: str) -> SubmissionEvent:
    match answer:
        case Accepted(task_id):
            return Posted(task_id)
        case Answered():
            return answered(answer, model)
        case RefusedAnswer(provider_error):
            return SubmitRefused(provider_error)
        case Lost(provider_error):
            return SubmitLost(provider_error)
        case NotSent(provider_error):
            return SubmitNotSent(provider_error)


def read(of: Published) -> DecodedRequest | InvalidRecord:
    """Decode a request record."""
    try:
        return read_request(of.value, of.headers, RequestLimits())
    except InvalidRecord as error:
        return error
