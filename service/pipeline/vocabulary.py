"""Vocabulary: have the hotword lists at hand that submits need, one at a time.

A list is made once for the account and found again by its name (`core.vocabulary`); what was found is
believed for an hour. Jobs that need a list wait here, before their intent, and never go without it.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pydantic import JsonValue

from service.clock import Clock
from service.core import verdicts
from service.core.events import VocabularyRefused
from service.core.identity import JobKey
from service.core.job import Job, Spec, State
from service.core.moment import may_try_again
from service.core.retry import Backoff
from service.core.task import Trouble
from service.core.verdict import Action, Verdict
from service.core.vocabulary import Need, need_of, needs_list, with_list
from service.errors import FailureCode
from service.pipeline.due import Due
from service.pipeline.hold import Hold
from service.pipeline.lists import ListFinder
from service.pipeline.observer import Faults
from service.pipeline.publish import OwnedShard
from service.provider.isolation import UNREAD, answer_of

BELIEVED_SECONDS = 3600.0
"""After this a list is looked at again: its user may have deleted it, and ours must be touched."""
MOST_REMEMBERED = 1_024
"""Lists that were found, and names of needs; what was asked for longest ago is forgotten."""
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=60.0)

T = TypeVar("T")
Waiting = tuple[OwnedShard, JobKey]


@dataclass(slots=True)
class Waiter:
    """A job that waits: what lets it go on, and how often each bounded trouble has met it."""

    go_on: Callable[[], None]
    attempts: Counter[FailureCode] = field(default_factory=Counter)

    def must_end(self, verdict: Verdict) -> bool:
        """Whether the trouble ends the job, this being one more time."""
        if verdict.action is Action.HOLD:
            return False
        if verdict.max_attempts is not None:
            self.attempts[verdict.code] += 1
        return verdict.action is not Action.RETRY or not may_try_again(self.attempts[verdict.code], verdict)


@dataclass(slots=True)
class Wanted:
    """A list that jobs wait for, how often it could not be had, and why it could not the last time."""

    need: Need
    jobs: dict[Waiting, Waiter] = field(default_factory=dict)
    attempts: int = 0
    trouble: Trouble | None = None


class VocabularyStage:
    """Keeps what is at hand, and has the rest found."""

    def __init__(self, finder: ListFinder, clock: Clock, hold: Hold, faults: Faults) -> None:
        self._finder = finder
        self._clock = clock
        self._hold = hold
        self._report = partial(faults.internal_error, "answer", "vocabulary")
        self._names: OrderedDict[str, str] = OrderedDict()
        """The names of needs by their requests' digests: a long list takes a millisecond to name."""
        self._found: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._wanted: dict[str, Wanted] = {}
        self._due: Due[str] = Due(clock)

    def is_at_hand(self, spec: Spec) -> bool:
        """Whether the submit needs no list, or one that was found within the hour."""
        if not needs_list(spec.options):
            return True
        _, until = self._found.get(self._name(spec), ("", 0.0))
        return self._clock.boot_seconds() < until

    def as_sent(self, spec: Spec) -> Mapping[str, JsonValue] | None:
        """The options with their list in place of the words; None where it is not at hand any more."""
        if not needs_list(spec.options):
            return spec.options
        found = self._found.get(self._name(spec))
        return None if found is None else with_list(spec.options, found[0])

    def reason(self, spec: Spec) -> str:
        """Why the list of such a job could not be had so far, in words; empty where nothing is known."""
        wanted = self._wanted.get(self._name(spec)) if needs_list(spec.options) else None
        if wanted is None or wanted.trouble is None:
            return ""
        return f"its hotword list could not be had: {wanted.trouble.message}"

    def want(self, shard: OwnedShard, job: Job, go_on: Callable[[], None]) -> None:
        """Have the job's list found, then let it go on; or end the job, if its list cannot be had."""
        name = self._name(job.spec)
        if name not in self._wanted:
            self._wanted[name] = Wanted(need_of(job.spec.model, job.spec.options))
            self._due.push(self._clock.now_ms(), name)
        self._wanted[name].jobs.setdefault((shard, job.key), Waiter(go_on))

    def _name(self, spec: Spec) -> str:
        name = self._names.get(spec.digest)
        return _remembered(self._names, spec.digest, name or need_of(spec.model, spec.options).name)

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Find lists until cancelled."""
        while True:
            on_turn()
            name = await self._due.take()
            if name is not None:
                await self._attempt(name, self._wanted[name])

    async def _attempt(self, name: str, wanted: Wanted) -> None:
        wait_seconds = self._hold.look_wait_seconds()
        wanted.jobs = {at: waiter for at, waiter in wanted.jobs.items() if _still_waits(*at)}
        if not wanted.jobs:
            del self._wanted[name]
        elif wait_seconds > 0:
            self._again(name, wait_seconds)
        else:
            self._hold.look()
            found = await answer_of(self._finder.find(wanted.need), UNREAD, self._report)
            if isinstance(found, Trouble):
                self._not_had(name, wanted, found)
            else:
                self._had(name, found)

    def _had(self, name: str, vocabulary_id: str) -> None:
        _remembered(self._found, name, (vocabulary_id, self._clock.boot_seconds() + BELIEVED_SECONDS))
        for waiter in self._wanted.pop(name).jobs.values():
            waiter.go_on()

    def _not_had(self, name: str, wanted: Wanted, trouble: Trouble) -> None:
        """Try again where that may help, and end the jobs that have waited long enough."""
        verdict = verdicts.on_vocabulary(trouble)
        ended = [at for at, waiter in wanted.jobs.items() if waiter.must_end(verdict)]
        for shard, key in ended:
            del wanted.jobs[shard, key]
            shard.apply(key, VocabularyRefused(trouble))
        if not wanted.jobs:
            del self._wanted[name]
            return
        wanted.attempts += 1
        wanted.trouble = trouble
        wait_ms = BACKOFF.wait_ms(wanted.attempts, self._clock.draw(), trouble.retry_after_seconds)
        self._again(name, wait_ms / 1000)

    def _again(self, name: str, wait_seconds: float) -> None:
        self._due.push(self._clock.now_ms() + round(1000 * wait_seconds), name)


def _still_waits(shard: OwnedShard, key: JobKey) -> bool:
    job = shard.state.jobs.get(key)
    return shard.is_open and job is not None and job.state in (State.ACCEPTED, State.WAITING)


def _remembered(memory: OrderedDict[str, T], key: str, value: T) -> T:
    """Keep it as the newest, and forget the oldest where there are too many."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MOST_REMEMBERED:
        memory.popitem(last=False)
    return value
