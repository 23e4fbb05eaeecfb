"""Vocabulary: have the hotword lists at hand that submits need, one look or change at a time.

A list is made once for the account and found again by its name (`core.vocabulary`); what was resolved is
believed for an hour. Jobs that need a list wait here, before their intent, and never go without it.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import JsonValue

from service.clock import Clock
from service.core import verdicts
from service.core.events import VocabularyRefused
from service.core.identity import JobKey
from service.core.job import Job
from service.core.moment import may_try_again
from service.core.retry import Backoff
from service.core.task import Trouble
from service.core.verdict import Action
from service.core.vocabulary import (
    ListedVocabulary,
    Need,
    chosen,
    need_of,
    needs_touch,
    unused,
    with_list,
)
from service.errors import FailureCode
from service.pipeline.due import Due
from service.pipeline.hold import Hold
from service.pipeline.publish import OwnedShard
from service.provider.api import Vocabularies

BELIEVED_SECONDS = 3600.0
"""After this a list is looked at again: its user may have deleted it, and ours must be touched."""
MOST_RESOLVED = 256
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=60.0)

T = TypeVar("T")
Waiting = tuple[OwnedShard, JobKey]


@dataclass(slots=True)
class Wanted:
    """A list that jobs wait for, each with what lets it go on, and how often it could not be had."""

    jobs: dict[Waiting, Callable[[], None]] = field(default_factory=dict)
    attempts: int = 0


class VocabularyStage:
    """Resolves hotword lists.

    `vendor_offset_ms` says how far the vendor's clock is ahead of ours, None while nobody knows.
    """

    def __init__(
        self,
        vocabularies: Vocabularies,
        clock: Clock,
        hold: Hold,
        vendor_offset_ms: Callable[[], int | None],
    ) -> None:
        self._lists = vocabularies
        self._vendor_offset_ms = vendor_offset_ms
        self._clock = clock
        self._hold = hold
        self._resolved: OrderedDict[Need, tuple[str, float]] = OrderedDict()
        self._wanted: dict[Need, Wanted] = {}
        self._due: Due[Need] = Due(clock)

    def is_at_hand(self, model: str, options: Mapping[str, JsonValue]) -> bool:
        """Whether the submit needs no list, or one that was resolved within the hour."""
        need = need_of(model, options)
        if need is None:
            return True
        _, until = self._resolved.get(need, ("", 0.0))
        return self._clock.boot_seconds() < until

    def as_sent(self, model: str, options: Mapping[str, JsonValue]) -> Mapping[str, JsonValue] | None:
        """The options with their list in place of the words; None where it is not at hand any more."""
        need = need_of(model, options)
        if need is None:
            return options
        found = self._resolved.get(need)
        return None if found is None else with_list(options, found[0])

    def want(self, shard: OwnedShard, job: Job, go_on: Callable[[], None]) -> None:
        """Resolve the job's list, then let it go on; or end the job, if its list cannot be had."""
        need = need_of(job.spec.model, job.spec.options)
        assert need is not None, "the job needs no list"
        if need not in self._wanted:
            self._wanted[need] = Wanted()
            self._due.push(self._clock.now_ms(), need)
        self._wanted[need].jobs[shard, job.key] = go_on

    async def run(self, on_turn: Callable[[], None]) -> None:
        """Resolve until cancelled."""
        while True:
            on_turn()
            need = await self._due.take()
            if need is not None:
                await self._attempt(need)

    async def _attempt(self, need: Need) -> None:
        wait_seconds = self._hold.look_wait_seconds()
        if wait_seconds > 0:
            self._again(need, wait_seconds)
            return
        self._hold.look()
        found = await self._resolve(need)
        if isinstance(found, Trouble):
            self._not_had(need, found)
            return
        self._resolved[need] = (found, self._clock.boot_seconds() + BELIEVED_SECONDS)
        self._resolved.move_to_end(need)
        if len(self._resolved) > MOST_RESOLVED:
            self._resolved.popitem(last=False)
        for go_on in self._wanted.pop(need).jobs.values():
            go_on()

    def _not_had(self, need: Need, trouble: Trouble) -> None:
        """Try again where that may help, else end the jobs that wait."""
        verdict = verdicts.on_vocabulary(trouble)
        wanted = self._wanted[need]
        wanted.attempts += 1
        wanted.jobs = {job: go_on for job, go_on in wanted.jobs.items() if job[0].is_open}
        is_retried = verdict.action is Action.RETRY and may_try_again(wanted.attempts, verdict)
        if wanted.jobs and (is_retried or verdict.action is Action.HOLD):
            asked = trouble.retry_after_seconds
            self._again(need, BACKOFF.wait_ms(wanted.attempts, self._clock.draw(), asked) / 1000)
            return
        for shard, key in self._wanted.pop(need).jobs:
            shard.apply(key, VocabularyRefused(trouble))

    def _again(self, need: Need, wait_seconds: float) -> None:
        self._due.push(self._clock.now_ms() + round(1000 * wait_seconds), need)

    # One list.

    async def _resolve(self, need: Need) -> str | Trouble:
        """The id of a list that is there, ready and made for the model."""
        if need.vocabulary_id is not None:
            return await self._checked(need, need.vocabulary_id)
        lists = await self._all()
        if isinstance(lists, Trouble):
            return lists
        listed = chosen(lists, need.prefix) or await self._make(need, lists)
        if isinstance(listed, Trouble):
            return listed
        found = await self._touched(need, listed)
        if isinstance(found, Trouble) and found.code == "NotFound":
            return Trouble(
                "vocabulary_not_ready", f"hotword list {listed.vocabulary_id} has just been deleted"
            )
        return found

    async def _touched(self, need: Need, listed: ListedVocabulary) -> str | Trouble:
        """Touch what is about to be used, so that nobody takes it for unused meanwhile."""
        if needs_touch(listed, self._vendor_ms()):
            trouble = self._judged(await self._lists.update(listed.vocabulary_id, need.words))
            if trouble is not None:
                return trouble
        return await self._checked(need, listed.vocabulary_id)

    async def _checked(self, need: Need, vocabulary_id: str) -> str | Trouble:
        """The vendor passes over a list of another model without a word: look at it before."""
        found = self._judged(await self._lists.query(vocabulary_id))
        if isinstance(found, Trouble):
            return found
        if found.target_model != need.model:
            made_for = found.target_model or "no model that it names"
            told = f"hotword list {vocabulary_id} was made for {made_for}, not for {need.model}"
            return Trouble("vocabulary_other_model", told)
        if not found.is_ready:
            return Trouble("vocabulary_not_ready", f"hotword list {vocabulary_id} is not ready for use")
        return vocabulary_id

    async def _make(self, need: Need, lists: tuple[ListedVocabulary, ...]) -> ListedVocabulary | Trouble:
        """Make the list, in the place of an unused one where there is none free."""
        made = self._judged(await self._lists.create(need.model, need.prefix, need.words))
        if isinstance(made, Trouble):
            return await self._make_room(made, lists)
        # Another replica may have made one at the same time: all take the first, and its twin is dropped
        # by who made it, before anybody used it.
        lists_now = await self._all()
        if isinstance(lists_now, Trouble):
            return lists_now
        listed = chosen(lists_now, need.prefix) or ListedVocabulary(made)
        if listed.vocabulary_id != made:
            self._judged(await self._lists.delete(made))
        return listed

    async def _make_room(self, trouble: Trouble, lists: tuple[ListedVocabulary, ...]) -> Trouble:
        """Delete a list that nobody uses, if the account is full; the next attempt finds its place."""
        is_full = verdicts.on_vocabulary(trouble).code is FailureCode.VOCABULARY_QUOTA
        old = unused(lists, self._vendor_ms())
        if is_full and old is not None:
            self._judged(await self._lists.delete(old.vocabulary_id))
        return trouble

    async def _all(self) -> tuple[ListedVocabulary, ...] | Trouble:
        return self._judged(await self._lists.list_all())

    def _judged(self, answer: T) -> T:
        self._hold.judge_look(answer)
        return answer

    def _vendor_ms(self) -> int:
        return self._clock.now_ms() + (self._vendor_offset_ms() or 0)
