"""Reconcile: find out in the account's list what became of submits whose answer was lost.

One pass at a time serves all uncertain jobs of the process: read the list, read the journals of all shards,
look at tasks that nobody knows, then decide. Whatever goes wrong on the way leaves the jobs uncertain.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Protocol

from service.clock import Clock
from service.core.budget import Budget
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.listing import Reading, Span
from service.core.moment import Moment, Rules
from service.core.outage import TOO_MANY_REQUESTS
from service.core.reconcile import Evidence, Submit, decide, submits_of, window_of, witness_of
from service.core.retry import Backoff
from service.core.sightings import Sightings
from service.core.survey import IN_DOUBT, Survey
from service.core.task import TaskPage, TaskView, Trouble
from service.errors import ServiceError
from service.pipeline.budgets import Budgets
from service.pipeline.due import SHORTEST_WAIT_SECONDS, Due, OnTurn, turning
from service.pipeline.fetch_memory import FetchMemory
from service.pipeline.observer import Faults
from service.pipeline.publish import OwnedShard
from service.provider.api import Provider
from service.provider.isolation import answer_of

PAGE_ATTEMPTS = 3
"""A list of thousands of pages must not begin anew for one answer that was lost."""
PAGE_BACKOFF = Backoff(1.0, 10.0)
MAX_PAGES = 20_000
"""Two million tasks a day; what has more pages than that has no end."""
MAX_LOOKS = 200
"""Unknown tasks looked at in one pass; the rest waits for the next."""
MAX_WITNESSES = 1_000
MAX_NAMES = 20
"""Result files read in one pass for the name of a task's file alone."""

OpenShards = Callable[[], Iterable[OwnedShard]]


class Surveyor(Protocol):
    """Who reads the journals of all shards, also of those that other members own."""

    async def survey(self, wanted: Set[str]) -> Sequence[Survey]:
        """What each says of these tasks; raises `ServiceError` when one cannot be read whole."""
        ...


@dataclass(slots=True)
class Asked:
    """An uncertain job; times are the boot clock's milliseconds, which do not jump."""

    first_ms: int
    due_ms: int
    settled_ms: int


class ReconcileStage:
    """Looks for the tasks of uncertain submits."""

    def __init__(
        self,
        provider: Provider,
        surveyor: Surveyor,
        clock: Clock,
        budgets: Budgets,
        rules: Rules,
        memory: FetchMemory,
        faults: Faults,
    ) -> None:
        self._provider = provider
        self._memory = memory
        self._surveyor = surveyor
        self._clock = clock
        self._budgets = budgets
        self._rules = rules
        self._report = partial(faults.internal_error, "answer", "list")
        self._alarm: Due[None] = Due(clock)
        self._asked: dict[tuple[OwnedShard, JobKey], Asked] = {}
        self._sightings = Sightings()
        self._evidence = Evidence()
        self._names_left = MAX_NAMES

    def queue(self, shard: OwnedShard, key: JobKey, due_ms: int, settled_ms: int) -> None:
        """Look for the job's task from `due_ms` on; before `settled_ms` it may be on its way."""
        ahead_ms = self._boot_ms() - self._clock.now_ms()
        self._asked[shard, key] = Asked(due_ms + ahead_ms, due_ms + ahead_ms, settled_ms + ahead_ms)
        self._alarm.push(due_ms, None)

    async def run(self, shards: OpenShards, on_turn: OnTurn) -> None:
        """Reconcile until cancelled."""
        while True:
            on_turn()
            await self._alarm.take()
            self._forget_settled()
            if any(asked.due_ms <= self._boot_ms() for asked in self._asked.values()):
                await answer_of(self._pass(shards, on_turn), None, self._report)
                self._look_again()

    def _forget_settled(self) -> None:
        self._asked = {at: asked for at, asked in self._asked.items() if _is_uncertain(*at)}

    def _look_again(self) -> None:
        """The normal schedule of looks, from the first on."""
        self._forget_settled()
        now_ms = self._boot_ms()
        for asked in self._asked.values():
            asked.due_ms = self._rules.look_schedule.next_look_ms(asked.first_ms, now_ms)
        if self._asked:
            wait_ms = min(asked.due_ms for asked in self._asked.values()) - now_ms
            self._alarm.push(self._clock.now_ms() + wait_ms, None)

    async def _pass(self, shards: OpenShards, on_turn: OnTurn) -> None:
        begun_ms = self._boot_ms()
        reading = await self._read(shards, on_turn)
        apart_ms = round(1000 * self._rules.readings_apart_seconds)
        self._evidence = self._evidence.after(begun_ms, is_complete=reading.is_complete, apart_ms=apart_ms)
        self._sightings.take(reading, self._spans())
        self._sightings.note_shared(self._shared())
        surveys = await turning(self._survey(), on_turn)
        if surveys is None:
            return
        await self._look_at_unknown(on_turn)
        self._decide({shard.partition: shard for shard in shards()}, surveys)

    # The list.

    async def _read(self, shards: OpenShards, on_turn: OnTurn) -> Reading:
        """All pages; it ends early where a page cannot be had, or nobody waits any more."""
        reading = Reading(self._spans(), dict(islice(self._witnesses(shards()), MAX_WITNESSES)))
        for page_no in range(1, MAX_PAGES + 1):
            page = await self._page(page_no, on_turn)
            if page is None:
                reading.fail()
                break
            reading.add(page, self._latest_ms())
            if reading.is_over:
                break
        return reading

    async def _page(self, page_no: int, on_turn: OnTurn) -> TaskPage | None:
        for attempt in range(1, PAGE_ATTEMPTS + 1):
            if not await self._is_allowed(self._budgets.listing, on_turn):
                return None
            page = await self._provider.list_tasks(page_no)
            if isinstance(page, TaskPage):
                return page
            self._heed(page, self._budgets.listing)
            wait_ms = PAGE_BACKOFF.wait_ms(attempt, self._clock.draw(), page.retry_after_seconds)
            await self._clock.sleep(min(wait_ms / 1000, PAGE_BACKOFF.longest_seconds))
        return None

    def _spans(self) -> list[Span]:
        """When tasks were made that matter."""
        offset_ms = self._provider.clock_offset_ms()
        jobs = (shard.state.jobs.get(key) for shard, key in self._asked)
        return list({window_of(job, offset_ms, self._rules) for job in jobs if job is not None})

    def _witnesses(self, shards: Iterable[OwnedShard]) -> Iterator[tuple[str, Span]]:
        """Tasks of ours that the list must show."""
        offset_ms, now_ms = self._provider.clock_offset_ms(), self._clock.now_ms()
        oldest_ms = now_ms - round(1000 * self._rules.list_reach_seconds)
        youngest_ms = now_ms - round(1000 * self._rules.settle_seconds)
        for job in (job for shard in shards for job in shard.state.jobs.values()):
            is_listed = job.state is State.RUNNING and oldest_ms <= (job.submitted_ms or 0) <= youngest_ms
            if is_listed and offset_ms is not None and job.task_id is not None:
                yield job.task_id, witness_of(job, offset_ms, self._rules)

    def _shared(self) -> dict[str, tuple[str, int]]:
        """Tasks of requests that have an uncertain job."""
        requests = {(shard, key.request) for shard, key in self._asked}
        return {each: request for shard, request in requests for each in shard.state.tasks_of(request)}

    def _latest_ms(self) -> float:
        offset_ms = self._provider.clock_offset_ms()
        if offset_ms is None:
            return float("inf")
        return self._clock.now_ms() + offset_ms + 1000 * self._rules.skew_seconds

    # What else is known of the tasks.

    async def _survey(self) -> Sequence[Survey] | None:
        """The journals, read after the list: an intent is in there before its POST, so before its task."""
        wanted = {each.task_id for each in self._sightings.candidates()}
        if not wanted:
            return ()
        try:
            surveys = await self._surveyor.survey(wanted)
        except ServiceError:
            return None
        for survey in surveys:
            self._sightings.note_known(survey.known())
        return surveys

    async def _look_at_unknown(self, on_turn: OnTurn) -> None:
        """One look is enough for a task that is over: its files are remembered."""
        self._names_left = MAX_NAMES
        for task_id in self._sightings.to_look_at()[:MAX_LOOKS]:
            if not await self._is_allowed(self._budgets.query, on_turn):
                return
            task = await self._provider.query(task_id)
            if isinstance(task, Trouble):
                self._heed(task, self._budgets.query)
            elif (named := await turning(self._named(task), on_turn)) is not None:
                self._sightings.note_look(named)

    async def _named(self, task: TaskView) -> TaskView | None:
        """The task with its files' URLs: a Qwen-ASR task tells its own in the result file alone.

        None where the file cannot be read for now: the task stays one that may be anybody's. A file that
        failed without a name never tells it, and is nobody's.
        """
        files = []
        for file in (each for each in task.files if each.file_url or each.transcription_url):
            file_url = file.file_url or await self._url_in(file.transcription_url or "")
            if file_url is None:
                return None
            files.append(replace(file, file_url=file_url))
        return replace(task, files=tuple(files))

    async def _url_in(self, transcription_url: str) -> str | None:
        if not self._names_left:
            return None
        self._names_left -= 1
        return await self._memory.file_url_in(self._provider, transcription_url)

    # The decision; nothing is waited for from here on.

    def _decide(self, shards: Mapping[int, OwnedShard], surveys: Sequence[Survey]) -> None:
        ours = [job for shard in shards.values() for job in shard.state.jobs.values()]
        self._sightings.note_known(task_id for job in ours for task_id in job.task_ids)
        jobs = [job for job in ours if job.state in IN_DOUBT]
        for survey in surveys:
            jobs += _of_others(survey, shards.get(survey.partition))
        submits = submits_of(jobs, self._provider.clock_offset_ms(), self._rules)
        settled_ms = {key: asked.settled_ms for (_, key), asked in self._asked.items()}
        moment = Moment(self._clock.now_ms(), self._clock.draw(), self._rules)
        answers = decide(submits, self._sightings.candidates(), self._evidence, settled_ms, moment)
        for submit, event in answers.items():
            for shard, key in self._waiting(submit, shards):
                shard.apply(key, event)

    def _waiting(
        self, submit: Submit, shards: Mapping[int, OwnedShard]
    ) -> Iterator[tuple[OwnedShard, JobKey]]:
        """The submit's jobs that are ours and durably uncertain."""
        shard = shards.get(submit.partition)
        if shard is not None:
            yield from ((shard, key) for key in submit.keys if (shard, key) in self._asked)

    # Calls.

    async def _is_allowed(self, budget: Budget, on_turn: OnTurn) -> bool:
        """Wait for the budget; False once nobody is uncertain any more."""
        while not budget.try_take(self._clock.boot_seconds()):
            on_turn()
            wait_seconds = budget.wait_seconds(self._clock.boot_seconds())
            await self._clock.sleep(min(1.0, max(SHORTEST_WAIT_SECONDS, wait_seconds)))
            self._forget_settled()
            if not self._asked:
                return False
        on_turn()
        return True

    def _heed(self, trouble: Trouble, budget: Budget) -> None:
        if trouble.http_status == TOO_MANY_REQUESTS:
            budget.penalise(self._clock.boot_seconds())

    def _boot_ms(self) -> int:
        return round(1000 * self._clock.boot_seconds())


def _is_uncertain(shard: OwnedShard, key: JobKey) -> bool:
    job = shard.state.jobs.get(key)
    return shard.is_open and job is not None and job.state is State.UNCERTAIN


def _of_others(survey: Survey, shard: OwnedShard | None) -> list[Job]:
    """Jobs in doubt that are not ours; of a shard of ours the memory counts.

    But one that was SUBMITTING when its journal was read may have got its task, and ended, since.
    """
    found = survey.in_doubt()
    if shard is None:
        return found
    return [job for job in found if job.state is State.SUBMITTING and job.key not in shard.state.jobs]
