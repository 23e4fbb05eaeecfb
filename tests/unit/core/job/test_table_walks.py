"""Both tables walked at random: whatever happens in whatever order, no rule breaks and every job ends."""

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from service.core.job.accepted_request import RequestFile
from service.core.job.events import (
    Adopted,
    CancelAsked,
    CancelTask,
    DeadlinePassed,
    Fetch,
    Fetched,
    FetchFailed,
    HandlingFailed,
    HotwordListRefused,
    Intended,
    JobEvent,
    JobRestored,
    NotFound,
    OutOfReach,
    Poll,
    Polled,
    PollFailed,
    Posted,
    Published,
    QueueSubmit,
    Reconcile,
    Step,
    SubmissionEvent,
    SubmissionRestored,
    SubmitAnswered,
    SubmitLost,
    SubmitNotSent,
    SubmitRefused,
)
from service.core.job.file_matching import files_digest
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Context, Rules
from service.core.job.urgency import RETENTION_MS
from service.core.provider.answers import FileView, ProviderError, TaskStatus, TaskView
from tests.unit.core.job.tables import Tables
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    job,
    request,
    request_of,
    submission_of,
    transcript,
)

STATE_OF_JOB = {
    JobState.WAITING: {SubmissionState.WAITING},
    JobState.SUBMITTED: {SubmissionState.INTENDED, SubmissionState.RUNNING, SubmissionState.UNCERTAIN},
    JobState.COLLECTING: {SubmissionState.RUNNING},
}
ERRORS = [
    ProviderError("Throttling", "slow", 429, 2.0),
    ProviderError("InvalidApiKey", "no key", 401),
    ProviderError("InvalidParameter", "file_urls exceeds the max number 1", 400),
    ProviderError("InvalidURL", "no", 400),
    ProviderError("ModelNotFound", "no", 400),
    ProviderError("InternalError", "oops", 500),
    ProviderError("ASR_RESPONSE_HAVE_NO_WORDS", "silence", 400),
    ProviderError("timeout", "no answer"),
    ProviderError("data_inspection_failed", "no"),
]
FILES = [
    ProviderError("FILE_DOWNLOAD_FAILED", "no answer"),
    ProviderError("FILE_403_FORBIDDEN", "403"),
    ProviderError("ASR_RESPONSE_HAVE_NO_WORDS", "silence"),
    None,
]
FETCHES = [
    ProviderError("http_error", "busy", 503),
    ProviderError("http_error", "gone", 403),
    ProviderError("fetch_host_refused", "a host"),
    ProviderError("not_a_transcript", "garbage"),
]


@dataclass
class Walk:
    """A shard's tables on their way, with what a provider has made and what waits to be done."""

    data: DataObject
    tables: Tables
    rules: Rules
    now_ms: int = NOW_MS
    made: int = 0
    alive: set[str] = field(default_factory=set)
    """Tasks that may still succeed."""
    awaited: dict[object, set[type[Step]]] = field(default_factory=dict)
    endings: dict[JobRef, object] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        return Context(self.now_ms, 0.5, self.rules)

    def _one_of(self, *events: SubmissionEvent) -> SubmissionEvent:
        return self.data.draw(st.sampled_from(events))

    def step(self) -> None:
        """One thing happens."""
        self.now_ms += self.data.draw(st.sampled_from([0, 1_000, 61_000, 600_000]))
        on_job = self.tables.jobs and self.data.draw(st.integers(0, 3)) == 0
        if on_job or not self.tables.submissions:
            self._job_event()
        else:
            key = self.data.draw(st.sampled_from(sorted(self.tables.submissions)))
            self._meet(key, self._event_of(self.tables.submissions[key]))
        self.check()

    def _job_event(self) -> None:
        ref = self.data.draw(st.sampled_from(sorted(self.tables.jobs)))
        job = self.tables.jobs[ref]
        events: list[JobEvent] = [CancelAsked(), DeadlinePassed("why"), HandlingFailed("KeyError")]
        if job.state is JobState.COLLECTING:
            events += [Fetched(transcript()), *map(FetchFailed, FETCHES)] * 3
        if job.state is JobState.FINISHING:
            events = [Published(), CancelAsked()]
        event = self.data.draw(st.sampled_from(events))
        if isinstance(event, (Fetched, FetchFailed)):
            self.awaited.pop(ref, None)
        self.tables.on_job(ref, event, self.context)
        self._note()

    def _event_of(self, where: Submission) -> SubmissionEvent:
        provider_error = self.data.draw(st.sampled_from(ERRORS))
        match where.state:
            case SubmissionState.WAITING:
                intended = Intended(self.now_ms, None, self.data.draw(st.sampled_from([None, 2])))
                return self._one_of(*[intended] * 6, HotwordListRefused(provider_error))
            case SubmissionState.INTENDED:
                lost: list[SubmissionEvent] = [SubmitLost(provider_error), SubmissionRestored()]
                no_route = ProviderError("connect_failed", "no route")
                no_task: list[SubmissionEvent] = [SubmitRefused(provider_error), SubmitNotSent(no_route)]
                made = SubmitAnswered(transcript()) if where.is_synchronous else Posted(self._new_task())
                return self._one_of(made, made, *lost, *no_task)
            case SubmissionState.UNCERTAIN:
                found = Adopted(self._new_task())
                return self._one_of(found, NotFound(), OutOfReach(), SubmissionRestored())
            case SubmissionState.RUNNING:
                return self._poll(where)

    def _new_task(self) -> str:
        return f"t{self.made + 1}"

    def _poll(self, where: Submission) -> SubmissionEvent:
        assert where.task_id is not None
        status = self.data.draw(st.sampled_from([*TaskStatus, TaskStatus.SUCCEEDED, TaskStatus.SUCCEEDED]))
        files: tuple[FileView, ...] = ()
        if status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED):
            files = tuple(self._file(self.tables.jobs[ref]) for ref in where.jobs)
        view = TaskView(where.task_id, status, files, billed_seconds=3)
        answer = Polled(view, self.now_ms, is_foreign=self.data.draw(st.booleans()))
        return self._one_of(answer, PollFailed(FETCHES[0]), SubmissionRestored())

    def _file(self, job: Job) -> FileView:
        provider_error = self.data.draw(st.sampled_from(FILES))
        return FileView(job.file_url, None if provider_error else "https://r.example/1", provider_error)

    def _meet(self, key: SubmissionKey, event: SubmissionEvent) -> None:
        before = self.tables.submissions[key]
        if isinstance(event, (Posted, Adopted)):
            self.made += 1
            self.alive.add(event.task_id)
        if isinstance(event, Polled) and before.task_id and event.task.is_terminal:
            self.alive.discard(before.task_id)
        if isinstance(event, SubmissionRestored):
            self._restore(key)
        self.awaited.pop(key, None)
        self.tables.on_submission(key, event, self.context)
        self._note()

    def _restore(self, key: SubmissionKey) -> None:
        """What is not in the journal is gone."""
        for ref, each in self.tables.jobs.items():
            if each.submission == key and each.state is JobState.COLLECTING:
                self.tables.jobs[ref] = replace(each, state=JobState.SUBMITTED)
                self.awaited.pop(ref, None)
            if each.submission == key and each.is_open:
                self.tables.on_job(ref, JobRestored(), self.context)

    def _note(self) -> None:
        for step in self.tables.steps:
            match step:
                case QueueSubmit(key) | Reconcile(key) | Poll(key):
                    self.awaited.setdefault(key, set()).add(type(step))
                case Fetch(ref):
                    self.awaited.setdefault(ref, set()).add(Fetch)
                case CancelTask(task_id):
                    [owner] = [each for each in self.tables.submissions.values() if each.task_id == task_id]
                    assert not self.tables.open_jobs(owner.key), "cancelled under a job that wants it"
        self.tables.steps.clear()

    def check(self) -> None:
        """What must always hold."""
        for ref, each in self.tables.jobs.items():
            if each.ending is not None:
                assert self.endings.setdefault(ref, each.ending) == each.ending, "ends in two ways"
            if each.is_open:
                self._check_job(each)
        for where in self.tables.submissions.values():
            self._check_submission(where)

    def _check_job(self, each: Job) -> None:
        where = self.tables.submissions[each.submission]
        assert each.ref in where.jobs
        assert where.state in STATE_OF_JOB[each.state]
        if each.state is JobState.WAITING:
            assert not self.alive & set(each.task_ids), "N3: its task may still succeed"
            assert not each.cancelled
        if where.state is SubmissionState.RUNNING:
            assert each.task_id == where.task_id, "a task is known for all its jobs or for none"
        if each.state is JobState.COLLECTING:
            assert Fetch in self.awaited[each.ref], "nothing will happen"

    def _check_submission(self, where: Submission) -> None:
        waits = self.awaited.get(where.key, set())
        urls = [self.tables.jobs[ref].file_url for ref in where.jobs]
        assert len(set(urls)) == len(urls)
        match where.state:
            case SubmissionState.WAITING:
                assert where.intent is None
                assert self.tables.open_jobs(where.key)
                assert QueueSubmit in waits or where.counters.submits == 0, "nothing will happen"
            case SubmissionState.INTENDED:
                assert where.intent is not None
                assert (where.intent.files, where.intent.files_digest) == (len(urls), files_digest(urls))
            case SubmissionState.UNCERTAIN:
                assert self.rules.uncertain == "reconcile"
                assert Reconcile in waits, "nothing will happen"
            case SubmissionState.RUNNING:
                assert where.intent is not None
                assert not where.intent.files_digest
                is_followed = not self.tables.open_jobs(where.key)
                assert where.is_followed == is_followed
                is_collected = not is_followed and where.is_task_over
                assert Poll in waits or is_collected, "nothing will happen"

    def drive(self) -> None:
        """Let the deadlines pass and the calls be answered: all comes to its end within a few turns."""
        self.now_ms = DEADLINE_MS + 2 * RETENTION_MS
        for _ in range(4):
            for key in sorted(self.tables.submissions):
                if key in self.tables.submissions:
                    self._meet(key, self._last(self.tables.submissions[key]))
                    self.check()
            for ref in sorted(self.tables.jobs):
                each = self.tables.jobs[ref]
                event = FetchFailed(FETCHES[2]) if each.state is JobState.COLLECTING else DeadlinePassed()
                self.tables.on_job(ref, event, self.context)
                self._note()
                self.check()
            self.now_ms += 61_000
        assert not self.tables.submissions
        assert not any(each.is_open for each in self.tables.jobs.values())

    def _last(self, where: Submission) -> SubmissionEvent:
        match where.state:
            case SubmissionState.WAITING:
                return Intended(self.now_ms)
            case SubmissionState.INTENDED:
                return SubmitRefused(ProviderError("ModelNotFound", "no", 400))
            case SubmissionState.UNCERTAIN:
                return OutOfReach()
            case SubmissionState.RUNNING:
                return Polled(TaskView(where.task_id or "", TaskStatus.UNKNOWN), self.now_ms)


MODELS = st.sampled_from(["fun-asr", "fun-asr", "qwen3-asr-flash"])
POLICIES = st.sampled_from(["reconcile", "reconcile", "resubmit", "fail"])


@given(st.data(), MODELS, POLICIES, st.integers(1, 4), st.integers(0, 1))
@settings(max_examples=2 * settings().max_examples)
def test_every_job_ends_once_and_no_task_is_forgotten_or_paid_for_twice_whatever_happens(
    data: DataObject, model: str, policy: str, files: int, promised: int
) -> None:
    count = 1 if model == "qwen3-asr-flash" else files
    first = request_of(count, model=model)
    elsewhere = (RequestFile(0, "https://h.example/other.wav"),)
    packed = request(model=model, origin=Origin(0, 99), request_id="other", files=elsewhere)
    asked = [first] if model == "qwen3-asr-flash" else [first, packed]
    refs = [each.ref(file.index) for each in asked for file in each.files]
    where = replace(submission_of(first), jobs=tuple(refs))
    jobs = {
        each.ref(file.index): job(ref=each.ref(file.index), request=each)
        for each in asked
        for file in each.files
    }
    jobs[refs[0]] = replace(jobs[refs[0]], must_be_result=bool(promised))
    walk = Walk(data, Tables(jobs, {where.key: where}), Rules(uncertain=policy))  # type: ignore[arg-type]
    for _ in range(data.draw(st.integers(1, 25))):
        walk.step()
    walk.drive()
