"""Submissions that are due and wait for the guards of their kind: in turns, one of each request.

Rule this module guarantees: what is remembered of a submission besides its turn is forgotten when it leaves.
"""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from service.core.job.identity import Origin, SubmissionKey
from service.core.limits.fair_queue import FairQueue
from service.pipeline.shard.shard_runner import ShardRunner

MOST_COMPANIONS = 200
"""Offered for one POST: twice as many as it may hold, since some may have a URL in common."""

Queued = tuple[ShardRunner, SubmissionKey]
RequestTurn = tuple[ShardRunner, Origin]
"""A request, as far as the order of submits goes; that of a submission's first job."""
Alike = tuple[ShardRunner, str]
"""A shard, and what a POST sends besides its files (`core.job.packing.content_of`)."""


class _Place(NamedTuple):
    turn: RequestTurn
    alike: Alike | None


class SubmitQueue:
    """The submissions of one kind that wait, and which of them may share a POST."""

    def __init__(self) -> None:
        self._turns: FairQueue[RequestTurn, Queued] = FairQueue()
        self._places: dict[Queued, _Place] = {}
        """Of those that may share a POST, and those of several requests, whose turn must not change."""
        self._alike: dict[Alike, dict[RequestTurn, Queued]] = {}
        """One of each request: those of one request have a URL in common, or are full."""
        self._runners: set[ShardRunner] = set()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, queued: Queued, turn: RequestTurn, content: str | None, *, is_of_several: bool) -> None:
        """Add a submission, unless it waits already; with `content` it may share its POST."""
        if queued in self._places:
            return
        self._runners.add(queued[0])
        self._turns.add(turn, queued)
        if is_of_several:
            self._places[queued] = _Place(turn, None)
        if content is None:
            return
        alike = (queued[0], content)
        waiting = self._alike.setdefault(alike, {})
        if turn not in waiting:
            waiting[turn] = queued
            self._places[queued] = _Place(turn, alike)

    def holds(self, queued: Queued, turn: RequestTurn) -> bool:
        """Whether the submission waits; `turn` is that of its first job now."""
        place = self._places.get(queued)
        return self._turns.holds(place.turn if place else turn, queued)

    def pop(self) -> tuple[Queued, tuple[Queued, ...]]:
        """Remove and return the next submission, and tell which may share its POST, by their turns."""
        queued = self._turns.pop()
        place = self._places.pop(queued, None)
        if place is None or place.alike is None:
            return queued, ()
        self._forget(place)
        return queued, tuple(islice(self._alike.get(place.alike, {}).values(), MOST_COMPANIONS))

    def remove(self, companion: Queued) -> None:
        """Remove a submission that `pop` has named and whose jobs were taken along."""
        place = self._places.pop(companion)
        self._turns.remove(place.turn, companion)
        self._forget(place)

    def keep_apart(self, companions: Iterable[Queued]) -> None:
        """Let these wait on, each for a POST of its own."""
        for companion in companions:
            self._forget(self._places.pop(companion))

    def forget_closed(self) -> None:
        """Remove the submissions of closed shards."""
        if all(runner.is_open for runner in self._runners):
            return
        self._runners = {runner for runner in self._runners if runner.is_open}
        self._turns.drop(lambda turn: not turn[0].is_open)
        self._places = {queued: place for queued, place in self._places.items() if queued[0].is_open}
        self._alike = {alike: waiting for alike, waiting in self._alike.items() if alike[0].is_open}

    def _forget(self, place: _Place) -> None:
        if place.alike is not None:
            waiting = self._alike[place.alike]
            del waiting[place.turn]
            if not waiting:
                del self._alike[place.alike]
