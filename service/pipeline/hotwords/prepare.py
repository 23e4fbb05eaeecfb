"""Prepare: find or create the hotword lists that submits need, one at a time.

A list is created once for the account and found again by its name (`core.provider.hotword_lists`). A lookup
is valid for an hour. Submissions that need a list wait here before their intent, and are never sent without
it.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

from pydantic import JsonValue

from service.clock import Clock
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.events import HotwordListRefused
from service.core.job.identity import SubmissionKey
from service.core.job.submission import SubmissionState
from service.core.job.transition_context import may_try_again
from service.core.limits.backoff import Backoff
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action, ErrorPolicy
from service.core.provider.hotword_lists import Need, need_of, needs_list, with_list
from service.errors import FailureCode
from service.pipeline.guards.account_hold import AccountHold
from service.pipeline.guards.wait_reasons import WaitReason
from service.pipeline.hotwords.directory import HotwordListFinder
from service.pipeline.shard.fault_boundary import Key
from service.pipeline.shard.observer import BoundaryName, Faults
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.timers import Timers
from service.provider.answer_boundary import UNREAD, answer_of

BELIEVED_SECONDS = 3600.0
"""After this a list is checked again: its user may have deleted it, and ours must be touched."""
MAX_REMEMBERED = 1_024
"""Limit for found lists and for names of needs; the least recently used are forgotten."""
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=60.0)
"""The wait before a list is looked up again after an error; its submissions wait as long."""

T = TypeVar("T")
WaitingSubmission = tuple[ShardRunner, SubmissionKey]


@dataclass(slots=True)
class Waiter:
    """A waiting submission: how it continues, and how often each bounded error occurred."""

    go_on: Callable[[], None]
    attempts: Counter[FailureCode] = field(default_factory=Counter)

    def count_error(self, policy: ErrorPolicy) -> bool:
        """Count the error; return whether it ends the submission's jobs."""
        if policy.action is Action.HOLD:
            return False
        if policy.max_attempts is not None:
            self.attempts[policy.code] += 1
        return policy.action is not Action.RETRY or not may_try_again(self.attempts[policy.code], policy)


@dataclass(slots=True)
class Wanted:
    """A list that submissions wait for: failed attempts so far, and the latest error."""

    need: Need
    waiting: dict[WaitingSubmission, Waiter] = field(default_factory=dict)
    attempts: int = 0
    provider_error: ProviderError | None = None


class HotwordListStage:
    """Remembers found lists and finds the others."""

    def __init__(self, finder: HotwordListFinder, clock: Clock, hold: AccountHold, faults: Faults) -> None:
        self._finder = finder
        self._clock = clock
        self._hold = hold
        self._report = partial(faults.internal_error, BoundaryName.ANSWER, "hotwords")
        self._names: OrderedDict[str, str] = OrderedDict()
        """Names of needs by request digest: naming a long list takes a millisecond."""
        self._found: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._wanted: dict[str, Wanted] = {}
        self._due: Timers[str] = Timers(clock)

    def is_at_hand(self, request: AcceptedRequest) -> bool:
        """Whether the submit needs no list, or its list was found within the last hour."""
        if not needs_list(request.options):
            return True
        _, until = self._found.get(self._name(request), ("", 0.0))
        return self._clock.boot_seconds() < until

    def options_to_send(self, request: AcceptedRequest) -> Mapping[str, JsonValue] | None:
        """The options with the list in place of the words.

        None if the list is no longer remembered.
        """
        if not needs_list(request.options):
            return request.options
        found = self._found.get(self._name(request))
        return None if found is None else with_list(request.options, found[0])

    def waiting(self) -> Counter[tuple[str, WaitReason]]:
        """How many submissions wait for lists, by model; those of the first lists alone if there are many."""
        found: Counter[tuple[str, WaitReason]] = Counter()
        for wanted in islice(self._wanted.values(), MAX_REMEMBERED):
            found[wanted.need.model, WaitReason.HOTWORDS] += len(wanted.waiting)
        return found

    def reason(self, request: AcceptedRequest) -> str:
        """Why the request's list is not available yet, as text; empty without an error."""
        wanted = self._wanted.get(self._name(request)) if needs_list(request.options) else None
        if wanted is None or wanted.provider_error is None:
            return ""
        return f"its hotword list could not be obtained: {wanted.provider_error.message}"

    def want(
        self, runner: ShardRunner, key: SubmissionKey, request: AcceptedRequest, go_on: Callable[[], None]
    ) -> None:
        """Find the submission's list, then call `go_on`.

        End its jobs if the list cannot be provided.
        """
        name = self._name(request)
        if name not in self._wanted:
            self._wanted[name] = Wanted(need_of(request.model, request.options))
            self._due.push(self._clock.now_ms(), name)
        self._wanted[name].waiting.setdefault((runner, key), Waiter(go_on))

    def _name(self, request: AcceptedRequest) -> str:
        name = self._names.get(request.digest)
        return _remembered(self._names, request.digest, name or need_of(request.model, request.options).name)

    def holds(self, runner: ShardRunner, key: Key) -> bool:
        """Whether the submission is waiting for a list here."""
        return any((runner, key) in wanted.waiting for wanted in self._wanted.values())

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Find lists until cancelled."""
        while True:
            on_tick()
            name = await self._due.take()
            if name is not None:
                await self._attempt(name, self._wanted[name])

    async def _attempt(self, name: str, wanted: Wanted) -> None:
        wait_seconds = self._hold.poll_wait_seconds()
        wanted.waiting = {at: waiter for at, waiter in wanted.waiting.items() if _still_waits(*at)}
        if not wanted.waiting:
            del self._wanted[name]
        elif wait_seconds > 0:
            self._again(name, wait_seconds)
        else:
            self._hold.poll_leaves()
            asked_at = self._clock.boot_seconds()
            found = await answer_of(self._finder.find(wanted.need), UNREAD, self._report)
            if isinstance(found, ProviderError):
                self._not_had(name, wanted, found)
            else:
                self._had(name, found, asked_at)

    def _had(self, name: str, vocabulary_id: str, asked_at: float) -> None:
        _remembered(self._found, name, (vocabulary_id, asked_at + BELIEVED_SECONDS))
        for waiter in self._wanted.pop(name).waiting.values():
            waiter.go_on()

    def _not_had(self, name: str, wanted: Wanted, provider_error: ProviderError) -> None:
        """Retry if that may help; end the jobs of submissions whose attempts are used up."""
        policy = error_table.on_hotword_list(provider_error)
        ended = [at for at, waiter in wanted.waiting.items() if waiter.count_error(policy)]
        for runner, key in ended:
            del wanted.waiting[runner, key]
            runner.on_submission(key, HotwordListRefused(provider_error))
        if not wanted.waiting:
            del self._wanted[name]
            return
        wanted.attempts += 1
        wanted.provider_error = provider_error
        wait_ms = BACKOFF.wait_ms(wanted.attempts, self._clock.draw(), provider_error.retry_after_seconds)
        self._again(name, wait_ms / 1000)

    def _again(self, name: str, wait_seconds: float) -> None:
        self._due.push(self._clock.now_ms() + round(1000 * wait_seconds), name)


def _still_waits(runner: ShardRunner, key: SubmissionKey) -> bool:
    submission = runner.state.submissions.get(key)
    return runner.is_open and submission is not None and submission.state is SubmissionState.WAITING


def _remembered(memory: OrderedDict[str, T], key: str, value: T) -> T:
    """Store the value as the newest; forget the oldest if there are too many."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
    return value
