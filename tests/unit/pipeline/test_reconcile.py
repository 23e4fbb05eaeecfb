"""Reconcile: what becomes of a submission whose answer was lost, whatever list and journals are like."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from service.core.job.events import Adopted, NotFound, OutOfReach, SubmissionEvent
from service.core.job.file_matching import files_digest
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.submission import Intent, Submission, SubmissionState
from service.core.job.tables import Submissions
from service.core.job.transition_context import Rules
from service.core.journal.entries import encode_submission
from service.core.journal.stamp import Stamp
from service.core.provider.answers import ProviderError, TaskPage, TaskStatus, UnreadableRow
from service.core.reconciliation import candidates
from service.core.reconciliation.journal_scan import PartitionScan
from service.core.reconciliation.unanswered import Unanswered, unanswered_of
from service.errors import ClusterError, ServiceError
from service.kafka.journal.scanner import JournalScanner
from service.pipeline import task_lookup
from service.pipeline.collecting.fetch_memory import SMALL_BYTES, FetchMemory, MemoryLimits
from service.pipeline.guards.call_limiter import CallKind, CallLimiter, Quota
from service.pipeline.reconcile import ReconcileStage
from service.pipeline.shard import timers
from service.pipeline.shard.shard_runner import ShardRunner
from tests.fakes.clock import BEGIN_MS, FakeClock, settle
from tests.fakes.provider import AfterWork, FakeProvider, FakeTask
from tests.unit.pipeline.world import KnownTime, serve

RULES = Rules()
LONG = 900.0
SOON = 5.0
"""Time for a first look, not for a submission to settle."""
THROTTLED = ProviderError("Throttling.RateQuota", "Requests rate limit exceeded.", 429)
GARBAGE = ProviderError("unexpected_answer", "no task")
URL = "https://h.example/a.wav?Signature=secret"
OTHER = "https://other/x.wav"
FILETRANS = "qwen3-asr-flash-filetrans"
RUNNING, INTENDED = SubmissionState.RUNNING, SubmissionState.INTENDED
WAITING, UNCERTAIN = SubmissionState.WAITING, SubmissionState.UNCERTAIN


@dataclass
class FakeState:
    """What the stage asks of a shard's state."""

    submissions: Submissions = field(default_factory=Submissions)
    urls: dict[SubmissionKey, list[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def file_urls(self, submission: Submission) -> list[str]:
        return self.urls.get(submission.key, [])

    def task_ids(self) -> set[str]:
        return {each.task_id for each in self.submissions.values() if each.task_id} | self.known


@dataclass(eq=False)
class FakeRunner:
    """A shard's runner that writes nothing down: what a submission hears happens to it at once."""

    partition: int = 0
    state: FakeState = field(default_factory=FakeState)
    is_open: bool = True
    heard: list[tuple[SubmissionKey, SubmissionEvent]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    bugs: set[SubmissionKey] = field(default_factory=set)
    """Submissions that can hear of nothing."""

    @property
    def boundary(self) -> "FakeRunner":
        return self

    def isolate(self, subject: str) -> AbstractContextManager[None]:
        return self._kept(subject)

    @contextmanager
    def _kept(self, subject: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, AttributeError) as error:
            self.faults.append(f"{subject}: {type(error).__name__}")

    def on_submission(self, key: SubmissionKey, event: SubmissionEvent) -> None:
        if key in self.bugs:
            raise RuntimeError("a bug")
        self.heard.append((key, event))
        if isinstance(event, Adopted):
            adopted = replace(self.state.submissions[key], state=RUNNING, task_id=event.task_id)
            self.state.submissions[key] = adopted
        else:
            del self.state.submissions[key]

    def told(self) -> list[SubmissionEvent]:
        return [event for _, event in self.heard]


@dataclass
class FakeScanner(JournalScanner):
    """The journals, by partition; `provider_errors` come first."""

    journals: dict[int, list[tuple[str, bytes]]] = field(default_factory=dict)
    behind: set[int] = field(default_factory=set)
    provider_errors: deque[ServiceError] = field(default_factory=deque)
    asked: list[tuple[float, float]] = field(default_factory=list)
    guards: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.guards.set()

    def write(self, partition: int, submission: Submission, value: bytes | None = None) -> None:
        record = (str(submission.key), value or encode_submission(submission))
        self.journals.setdefault(partition, []).append(record)

    async def scan(self, since_ms: float, now_ms: float) -> Sequence[PartitionScan]:
        self.asked.append((since_ms, now_ms))
        await self.guards.wait()
        await asyncio.sleep(0)
        if self.provider_errors:
            raise self.provider_errors.popleft()
        return [self._scan(number, since_ms, now_ms) for number in sorted({*self.journals, *self.behind})]

    def _scan(self, number: int, since_ms: float, now_ms: float) -> PartitionScan:
        found = PartitionScan(number, RULES, since_ms)
        for offset, (key, value) in enumerate(self.journals.get(number, ())):
            found.add(offset, key, value, Stamp(1, 1).encode(), BEGIN_MS)
        if number not in self.behind:
            found.complete(now_ms)
        return found


@dataclass
class Numbers:
    """What the stage may do."""

    calls_per_second: float = 40.0
    share: float = 1.0
    memory: MemoryLimits = MemoryLimits()


@dataclass
class ReconcileWorld:
    """The stage at work, and what it works on."""

    numbers: Numbers
    clock: FakeClock = field(default_factory=FakeClock)
    provider: FakeProvider = field(default_factory=FakeProvider)
    scanner: FakeScanner = field(default_factory=FakeScanner)
    runners: list[FakeRunner] = field(default_factory=lambda: [FakeRunner()])
    faults: list[str] = field(default_factory=list)
    turns: int = 0
    numbered: int = 0

    def __post_init__(self) -> None:
        self.provider.now_ms = self.clock.now_ms
        self.provider.offset_ms = 0
        self.provider.statuses = (TaskStatus.SUCCEEDED,)
        self.limiter = CallLimiter(self.clock, Quota(0.5, self.numbers.calls_per_second), KnownTime())
        serve(self.limiter, self.numbers.share)
        memory = FetchMemory(self.numbers.memory)
        self.stage = ReconcileStage(
            self.provider, self.scanner, self.clock, self.limiter, RULES, memory, self
        )

    @property
    def runner(self) -> FakeRunner:
        return self.runners[0]

    def internal_error(self, boundary: str, subject: str, error: Exception) -> None:
        self.faults.append(f"{boundary} {subject} {type(error).__name__}")

    def open_shards(self) -> list[ShardRunner]:
        return [cast(ShardRunner, each) for each in self.runners if each.is_open]

    def turn(self) -> None:
        self.turns += 1

    def submission(
        self, *urls: str, state: SubmissionState = UNCERTAIN, model: str = "fun-asr"
    ) -> Submission:
        """A submission that is posted now."""
        self.numbered += 1
        jobs = tuple(JobRef(Origin(0, self.numbered), index) for index in range(len(urls)))
        now_ms = self.clock.now_ms()
        intent = Intent(now_ms, self.provider.offset_ms, len(urls), files_digest(urls))
        return Submission(SubmissionKey(1, self.numbered), model, jobs, now_ms, state=state, intent=intent)

    async def lost(
        self, *urls: str, made: bool = True, model: str = "fun-asr", runner: FakeRunner | None = None
    ) -> SubmissionKey:
        """An uncertain submission of ours, whose task was made or not."""
        urls = urls or (URL,)
        if made:
            self.provider.next_submits.append(AfterWork.LOSE_ANSWER)
            await self.provider.submit(model, urls, {})
        submission = self.submission(*urls, model=model)
        (runner or self.runner).state.submissions[submission.key] = submission
        self.queue(submission.key, runner)
        return submission.key

    def queue(self, key: SubmissionKey, runner: FakeRunner | None = None) -> None:
        """As its step does, when the answer is lost."""
        now_ms = self.clock.now_ms()
        settled_ms = now_ms + round(1000 * RULES.settle_seconds)
        self.stage.queue(cast(ShardRunner, runner or self.runner), key, now_ms + 2_000, settled_ms)

    def running(self, task: FakeTask, runner: FakeRunner | None = None) -> None:
        """A submission of ours that has this task."""
        submission = replace(
            self.submission(URL, state=RUNNING), task_id=task.task_id, submitted_ms=self.clock.now_ms()
        )
        (runner or self.runner).state.submissions[submission.key] = submission


@pytest.fixture
def numbers() -> Numbers:
    """A test that needs others parametrizes this one."""
    return Numbers()


@pytest.fixture
async def world(numbers: Numbers) -> AsyncIterator[ReconcileWorld]:
    made = ReconcileWorld(numbers)
    running = asyncio.create_task(made.stage.run(made.open_shards, made.turn))
    await asyncio.sleep(0)
    yield made
    is_alive = not running.done()
    running.cancel()
    await asyncio.wait({running})
    assert is_alive
    assert made.faults == []


# A task that was made is found, and one that was not is known not to be there.


async def test_a_task_that_leaves_a_file_out_is_not_made_again(world: ReconcileWorld) -> None:
    key = await world.lost(URL, OTHER)
    world.runner.state.urls[key] = [URL, OTHER]
    world.provider.submits[0].file_urls = (URL,)
    await world.clock.sleep(LONG)
    assert world.runner.heard == [(key, Adopted("task-1"))]


async def test_a_submission_that_the_list_does_not_reach_any_more_is_out_of_reach(
    world: ReconcileWorld,
) -> None:
    key = await world.lost(made=False)
    world.provider.stranger(OTHER, status=TaskStatus.RUNNING)
    # The vendor's clock tells the time, not ours.
    world.clock.jump(3 * 24 * 3600)
    world.provider.offset_ms = -3 * 24 * 3_600_000
    await world.clock.sleep(LONG)
    assert world.runner.heard == []
    world.provider.offset_ms += 25 * 3_600_000
    await world.clock.sleep(60)
    assert world.runner.heard == [(key, OutOfReach())]


async def test_files_that_shared_the_post_share_the_task(world: ReconcileWorld) -> None:
    await world.lost("https://h/a%20b", "https://h/c")
    world.provider.submits[0].file_urls = ("https://h/c", "https://h/a b")
    await world.clock.sleep(SOON)
    assert world.runner.told() == [Adopted("task-1")]


async def test_a_task_that_names_its_file_in_the_result_alone_is_adopted(world: ReconcileWorld) -> None:
    await world.lost("https://h/same", model=FILETRANS)
    await world.lost("https://h/same", model=FILETRANS)
    world.provider.stranger(OTHER).model = FILETRANS
    await world.clock.sleep(LONG)
    assert world.runner.told() == [Adopted("task-1"), Adopted("task-2")]


@pytest.mark.parametrize(
    "body", [ProviderError("http_error", "gone", 404), b"{", b"[]", b"{}", b'{"file_url":7}']
)
async def test_a_task_whose_result_names_no_file_may_belong_to_any_submission(
    world: ReconcileWorld, body: ProviderError | bytes
) -> None:
    await world.lost(model=FILETRANS)
    world.provider.next_fetches.extend([body] * 50)
    await world.clock.sleep(LONG)
    assert world.runner.heard == []
    world.provider.next_fetches.clear()
    await world.clock.sleep(LONG)
    assert world.runner.told() == [Adopted("task-1")]


@pytest.mark.parametrize("numbers", [Numbers(memory=MemoryLimits(16 * 1024**2, SMALL_BYTES))])
async def test_a_result_that_takes_more_memory_than_there_is_is_not_read_for_its_name(
    world: ReconcileWorld,
) -> None:
    await world.lost(model=FILETRANS)
    world.provider.next_fetches.extend([b"[" * 100_000] * 50)
    await world.clock.sleep(LONG)
    assert world.runner.heard == []


async def test_only_so_many_results_are_read_for_a_name_in_a_pass(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_lookup, "MAX_NAMES", 2)
    for number in range(3):
        await world.lost(f"https://h/{number}", model=FILETRANS)
    await world.clock.sleep(2.5)
    assert world.provider.count("fetch") == 2
    await world.clock.sleep(SOON)
    assert len(world.runner.heard) == 3


async def test_a_foreign_tasks_failed_file_without_a_url_keeps_no_submission_uncertain(
    world: ReconcileWorld,
) -> None:
    await world.lost(made=False)
    stranger = world.provider.stranger("", status=TaskStatus.FAILED)
    world.provider.file_errors[""] = ProviderError("FILE_DOWNLOAD_FAILED", "no")
    await world.clock.sleep(LONG)
    assert ("query", stranger.task_id) in world.provider.calls
    assert world.runner.told() == [NotFound()]
    assert world.provider.count("fetch") == 0


async def test_of_two_equal_submissions_and_one_task_one_is_adopted(world: ReconcileWorld) -> None:
    await world.lost()
    await world.lost(made=False)
    await world.clock.sleep(LONG)
    assert Counter(world.runner.told()) == Counter([Adopted("task-1"), NotFound()])


async def test_a_submission_without_an_open_job_leaves_the_task_to_one_that_has_some(
    world: ReconcileWorld,
) -> None:
    ended, wanted = await world.lost(made=False), await world.lost()
    submissions = world.runner.state.submissions
    submissions[ended] = replace(submissions[ended], is_followed=True)
    await world.clock.sleep(LONG)
    assert world.runner.heard == [(wanted, Adopted("task-1")), (ended, NotFound())]


async def test_a_shard_that_closes_takes_its_uncertain_submissions_along(world: ReconcileWorld) -> None:
    await world.lost()
    world.runner.is_open = False
    await world.clock.sleep(LONG)
    assert world.provider.count("list") == 0


# A fault stays with its submission.


async def test_a_fault_in_one_uncertain_submission_leaves_the_others_alone(world: ReconcileWorld) -> None:
    broken = await world.lost("https://h/broken", made=False)
    world.runner.state.submissions[broken] = replace(
        world.runner.state.submissions[broken], intent=cast(Intent, "none")
    )
    deaf, fine = await world.lost("https://h/b"), await world.lost()
    world.runner.bugs.add(deaf)
    await world.clock.sleep(SOON)
    assert world.runner.heard == [(fine, Adopted("task-2"))]
    assert set(world.runner.faults) == {
        f"submission {broken} of partition 0: AttributeError",
        f"submission {deaf} of partition 0: RuntimeError",
    }


async def test_a_fault_in_a_pass_is_reported_and_the_next_pass_runs(world: ReconcileWorld) -> None:
    await world.lost()
    world.scanner.provider_errors.append(cast(ServiceError, RuntimeError("a bug")))
    await world.clock.sleep(20)
    assert world.faults == ["answer list RuntimeError"]
    assert world.runner.told() == [Adopted("task-1")]
    world.faults.clear()


# Tasks of others.


async def test_a_task_that_runs_and_may_be_ours_keeps_the_submission_waiting(world: ReconcileWorld) -> None:
    await world.lost(made=False)
    stranger = world.provider.stranger(OTHER, status=TaskStatus.RUNNING)
    await world.clock.sleep(LONG)
    assert world.runner.heard == []
    stranger.statuses = (TaskStatus.FAILED,)
    await world.clock.sleep(120)
    assert world.runner.told() == [NotFound()]


async def test_a_foreign_task_is_polled_once(world: ReconcileWorld) -> None:
    await world.lost(made=False)
    over = world.provider.stranger(OTHER)
    world.provider.stranger("https://other/y.wav", status=TaskStatus.RUNNING)
    await world.clock.sleep(LONG)
    assert world.runner.heard == []
    assert world.provider.calls.count(("query", over.task_id)) == 1


async def test_a_task_that_another_members_journal_knows_is_not_polled(world: ReconcileWorld) -> None:
    await world.lost(made=False)
    theirs = world.provider.stranger(URL)
    running = replace(world.submission(URL, state=RUNNING), task_id=theirs.task_id)
    world.scanner.write(7, running)
    await world.clock.sleep(LONG)
    assert world.provider.count("query") == 0
    assert world.runner.told() == [NotFound()]


async def test_a_submission_of_another_member_without_an_open_job_leaves_the_task_to_ours(
    world: ReconcileWorld,
) -> None:
    world.scanner.write(7, replace(world.submission(URL), is_followed=True))
    await world.clock.sleep(1)
    await world.lost()
    await world.clock.sleep(LONG)
    assert world.runner.told() == [Adopted("task-1")]


@pytest.mark.parametrize("standing", [INTENDED, UNCERTAIN])
async def test_a_task_that_another_members_submission_may_have_made_is_not_taken_from_it(
    world: ReconcileWorld, standing: SubmissionState
) -> None:
    world.scanner.write(7, world.submission(URL, state=standing))
    await world.clock.sleep(1)
    await world.lost(made=False)
    world.provider.stranger(URL)
    await world.clock.sleep(SOON)
    assert world.runner.heard == []
    await world.clock.sleep(LONG)
    # Whose it is is clear once both are uncertain: it is taken by the one that was first.
    assert world.runner.told() == ([] if standing is INTENDED else [NotFound()])


async def test_a_synchronous_call_of_another_member_cannot_have_made_the_task(world: ReconcileWorld) -> None:
    """Its URL is the same and its answer is awaited; it does not keep the submission from its own task."""
    await world.lost()
    world.scanner.write(7, world.submission(URL, state=INTENDED, model="qwen3-asr-flash"))
    await world.clock.sleep(LONG)
    assert world.runner.told() == [Adopted("task-1")]


async def test_a_task_of_ours_whose_id_is_not_written_down_yet_is_known(world: ReconcileWorld) -> None:
    """Its shard cannot write: the journal still says that its answer is awaited."""
    await world.lost(made=False)
    world.runners.append(FakeRunner(1))
    intended = world.submission(URL, state=INTENDED)
    world.scanner.write(1, intended)
    task = world.provider.stranger(URL)
    running = replace(intended, state=RUNNING, task_id=task.task_id)
    world.runners[1].state.submissions[running.key] = running
    await world.clock.sleep(LONG)
    assert world.runner.told() == [NotFound()]
    assert world.runners[1].heard == []


async def test_a_submission_of_ours_that_is_over_since_its_journal_was_read_may_have_the_task(
    world: ReconcileWorld,
) -> None:
    await world.lost(made=False)
    world.provider.stranger(URL)
    world.scanner.write(0, world.submission(URL, state=INTENDED))
    await world.clock.sleep(LONG)
    assert world.runner.heard == []


async def test_a_submission_of_ours_that_ended_uncertain_takes_no_task_from_the_others(
    world: ReconcileWorld,
) -> None:
    world.scanner.write(0, world.submission(URL))
    await world.lost()
    await world.clock.sleep(LONG)
    assert world.runner.told() == [Adopted("task-1")]


async def test_the_answer_to_a_post_that_is_still_out_is_not_anticipated(world: ReconcileWorld) -> None:
    intended = world.submission(URL, state=INTENDED)
    world.runner.state.submissions[intended.key] = intended
    await world.lost()
    await world.clock.sleep(LONG)
    assert world.runner.heard == []


async def test_a_decision_reads_only_the_submissions_whose_answer_is_missing(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[SubmissionState] = []

    def noting(partition: int, submission: Submission, *others: Any) -> Unanswered | None:
        read.append(submission.state)
        return unanswered_of(partition, submission, *others)

    monkeypatch.setattr("service.pipeline.reconcile.unanswered_of", noting)
    for state in (RUNNING, WAITING, INTENDED):
        other = world.submission(OTHER, state=state)
        world.runner.state.submissions[other.key] = other
    await world.lost(made=False)
    await world.clock.sleep(LONG)
    assert set(read) == {INTENDED, UNCERTAIN}


async def test_a_task_whose_poll_is_unreadable_again_and_again_is_unknown_for_good(
    world: ReconcileWorld,
) -> None:
    await world.lost(made=False)
    world.provider.stranger(OTHER)
    world.provider.next_queries.extend([GARBAGE] * 50)
    await world.clock.sleep(LONG)
    assert world.provider.count("query") == candidates.MAX_UNREADABLE_TASKS
    assert world.runner.heard == []


async def test_foreign_tasks_leave_most_queries_to_our_own(world: ReconcileWorld) -> None:
    await world.lost(made=False)
    for number in range(100):
        world.provider.stranger(f"https://other/{number}.wav")
    await world.clock.sleep(2 + 5)
    # A quarter of 20 a second, and a burst of one.
    assert 10 <= world.provider.count("query") <= 5 * 5 + 1


# The list is not to be relied on.


async def test_a_list_that_is_down_leads_to_no_second_submission(world: ReconcileWorld) -> None:
    world.provider.next_lists.extend([ProviderError("http_error", "bad gateway", 502)] * 2_000)
    await world.lost(made=False)
    await world.clock.sleep(LONG)
    assert world.runner.heard == []
    world.provider.next_lists.clear()
    await world.clock.sleep(120)
    assert world.runner.told() == [NotFound()]


async def test_a_page_that_failed_is_asked_for_again(world: ReconcileWorld) -> None:
    world.provider.next_lists.append(THROTTLED)
    await world.lost()
    await world.clock.sleep(SOON)
    assert world.provider.calls.count(("list", "1")) == 2
    assert world.runner.told() == [Adopted("task-1")]
    rate = next(each for each in world.limiter.rates() if each.kind is CallKind.LIST)
    assert rate.rate_per_second < rate.share_per_second


async def test_a_list_without_an_end_is_given_up(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_lookup, "MAX_PAGES", 2)
    world.provider.page_size = 1
    for number in range(3):
        world.provider.stranger(f"https://other/{number}.wav")
    await world.lost(made=False)
    await world.clock.sleep(LONG)
    assert world.runner.heard == []


@pytest.mark.parametrize("offset_ms", [0, None])
async def test_a_list_that_hides_a_running_task_of_ours_is_not_believed(
    world: ReconcileWorld, offset_ms: int | None
) -> None:
    hidden = world.provider.stranger("https://h/ours", status=TaskStatus.RUNNING)
    # The vendor's clock may not have been known when it was made.
    world.provider.offset_ms = offset_ms
    world.running(hidden)
    world.provider.offset_ms = 0
    hidden.is_unlisted = True
    await world.clock.sleep(RULES.settle_seconds)
    await world.lost(made=False)
    await world.clock.sleep(LONG)
    assert world.runner.heard == []
    hidden.is_unlisted = False
    await world.clock.sleep(120)
    assert world.runner.told() == [NotFound()]


async def test_a_task_that_the_list_shows_only_later_is_adopted(world: ReconcileWorld) -> None:
    await world.lost()
    world.provider.submits[0].is_unlisted = True
    await world.clock.sleep(RULES.settle_seconds - 10)
    assert world.runner.heard == []
    world.provider.submits[0].is_unlisted = False
    await world.clock.sleep(60)
    assert world.runner.told() == [Adopted("task-1")]


async def test_a_task_that_the_query_does_not_know_may_be_ours(world: ReconcileWorld) -> None:
    await world.lost()
    world.provider.submits[0].is_forgotten = True
    await world.clock.sleep(LONG)
    assert world.runner.heard == []


async def test_a_query_that_fails_is_repeated_with_the_next_pass(world: ReconcileWorld) -> None:
    world.provider.next_queries.append(THROTTLED)
    await world.lost()
    await world.clock.sleep(20)
    assert world.runner.told() == [Adopted("task-1")]


async def test_a_list_of_the_future_leads_to_no_second_submission(world: ReconcileWorld) -> None:
    await world.lost(made=False)
    world.provider.stranger(OTHER).created_ms += 3_600_000
    await world.clock.sleep(LONG)
    assert world.runner.heard == []


async def test_a_row_that_cannot_be_read_holds_up_who_may_have_made_its_task_alone(
    world: ReconcileWorld,
) -> None:
    now_ms = world.clock.now_ms()
    rows = (UnreadableRow(0, None, now_ms), UnreadableRow(0, None, now_ms - 3_600_000))
    world.provider.next_lists.extend([TaskPage((), 2, rows), TaskPage((), 2)] * 5)
    await world.lost(made=False)
    await world.clock.sleep(RULES.settle_seconds + 5)
    assert world.runner.heard == []
    old = (rows[1],)
    world.provider.next_lists.clear()
    world.provider.next_lists.extend([TaskPage((), 1, old), TaskPage((), 1)] * 50)
    await world.clock.sleep(120)
    assert world.runner.told() == [NotFound()]


async def test_the_vendors_clock_counts_for_its_tasks(world: ReconcileWorld) -> None:
    world.provider.vendor_ahead_ms = world.provider.offset_ms = 7 * 60_000
    await world.lost()
    await world.clock.sleep(SOON)
    assert world.runner.told() == [Adopted("task-1")]


async def test_without_the_vendors_clock_a_task_is_adopted_but_none_counts_as_lost(
    world: ReconcileWorld,
) -> None:
    world.provider.offset_ms = None
    await world.lost()
    other = await world.lost("https://h/b", made=False)
    await world.clock.sleep(LONG)
    assert world.runner.told() == [Adopted("task-1")]
    assert other in world.runner.state.submissions


# The journals.


async def test_while_the_journals_are_read_the_loop_turns(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is away keeps a reader waiting within its bounds; nobody must take that for a stall."""
    monkeypatch.setattr(timers, "TICK_SECONDS", 0.001)
    world.scanner.guards.clear()
    await world.lost()
    while not world.scanner.asked:
        await world.clock.sleep(1)
    turns = world.turns
    async with asyncio.timeout(60):
        while world.turns < turns + 5:
            await asyncio.sleep(0.001)
    world.scanner.guards.set()
    while not world.runner.heard:
        await world.clock.sleep(1)
        await asyncio.sleep(0.001)


async def test_while_no_journal_can_be_read_nothing_is_decided(world: ReconcileWorld) -> None:
    world.scanner.provider_errors.extend([ClusterError("away")] * 200)
    await world.lost()
    await world.clock.sleep(LONG)
    assert world.runner.heard == []
    world.scanner.provider_errors.clear()
    await world.clock.sleep(60)
    assert world.runner.told() == [Adopted("task-1")]


async def test_one_journal_that_cannot_be_read_holds_up_what_it_may_know_of_and_nothing_else(
    world: ReconcileWorld,
) -> None:
    world.scanner.behind.add(7)
    equal, other = await world.lost(), await world.lost("https://h/b", made=False)
    await world.clock.sleep(LONG)
    assert world.runner.heard == [(other, NotFound())]
    world.scanner.behind.clear()
    await world.clock.sleep(60)
    assert world.runner.heard[1:] == [(equal, Adopted("task-1"))]


async def test_a_record_of_our_own_journal_that_cannot_be_read_holds_up_its_submissions(
    world: ReconcileWorld,
) -> None:
    world.runners.append(FakeRunner(1))
    await world.lost()
    theirs = await world.lost("https://h/b", runner=world.runners[1])
    damaged = world.submission("https://h/c")
    world.scanner.write(0, damaged, b"{")
    await world.clock.sleep(LONG)
    assert (world.runner.heard, world.runners[1].heard) == ([], [])
    assert theirs in world.runners[1].state.submissions
    world.scanner.write(0, replace(damaged, state=WAITING))
    await world.clock.sleep(60)
    assert (world.runner.told(), world.runners[1].told()) == ([Adopted("task-1")], [Adopted("task-2")])


async def test_the_journals_are_read_only_for_tasks_that_may_be_a_submissions(world: ReconcileWorld) -> None:
    await world.lost(made=False)
    await world.clock.sleep(LONG)
    assert world.scanner.asked == []


async def test_the_journals_are_read_from_the_first_uncertain_submission_on(world: ReconcileWorld) -> None:
    await world.lost()
    begun_ms = world.clock.now_ms()
    await world.clock.sleep(SOON)
    [(since_ms, now_ms)] = world.scanner.asked
    assert since_ms == begun_ms - 1000 * RULES.skew_seconds
    assert begun_ms - 1000 * RULES.skew_seconds <= now_ms < world.clock.now_ms() - 1000 * RULES.skew_seconds


# Bounds.


@pytest.mark.parametrize("numbers", [Numbers(calls_per_second=2.0)])
async def test_lists_keep_to_their_budget_and_the_loop_turns_meanwhile(world: ReconcileWorld) -> None:
    world.provider.page_size = 1
    for number in range(60):
        world.provider.stranger(f"https://other/{number}.wav")
    await world.lost(made=False)
    turns = world.turns
    await world.clock.sleep(30)
    assert world.provider.count("list") <= 31
    assert world.turns >= turns + 20


@pytest.mark.parametrize("numbers", [Numbers(share=0.0)])
async def test_without_a_budget_a_pass_ends_with_the_last_uncertain_submission(world: ReconcileWorld) -> None:
    key = await world.lost()
    await world.clock.sleep(10)
    del world.runner.state.submissions[key]
    await world.clock.sleep(10)
    assert world.provider.count("list") == 0
    assert not world.stage.holds(cast(ShardRunner, world.runner), key)


async def test_only_so_many_unknown_tasks_are_polled_in_a_pass(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_lookup, "MAX_POLLS", 2)
    await world.lost(made=False)
    for number in range(5):
        world.provider.stranger(f"https://other/{number}.wav")
    await world.clock.sleep(2.5)
    assert world.provider.count("query") == 2
    await world.clock.sleep(LONG)
    assert world.provider.count("query") == 5
    assert world.runner.told() == [NotFound()]


async def test_one_pass_serves_all_uncertain_submissions(world: ReconcileWorld) -> None:
    world.provider.statuses = (TaskStatus.RUNNING,)
    for _ in range(20):
        await world.lost()
    await world.clock.sleep(3)
    assert world.provider.count("list") <= 4


async def test_a_wall_clock_that_jumps_lets_no_submission_settle_early(world: ReconcileWorld) -> None:
    await world.lost(made=False)
    world.clock.jump(3_600)
    world.provider.offset_ms = -3_600_000
    await world.clock.sleep(RULES.settle_seconds - 5)
    assert world.runner.heard == []


async def test_an_empty_page_is_asked_for_once_each_pass(world: ReconcileWorld) -> None:
    world.provider.next_lists.append(TaskPage((), 0))
    await world.lost(made=False)
    await world.clock.sleep(3)
    assert world.provider.count("list") == 1
    await settle()
