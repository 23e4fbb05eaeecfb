"""What the account's list says of our running tasks: which need no poll yet, and which to poll at once.

A hint, never more: the task's own query decides, and its answer says whether the list is to be trusted.
"""

from enum import StrEnum
from typing import Protocol

from service.clock import Clock
from service.core.job.submission import Submission
from service.core.polling.list_trust import ListTrust
from service.core.polling.listed_tasks import ListedTasks, Place, order_of, span_of
from service.core.polling.run_times import run_ms
from service.core.provider.answers import ListedTask, TaskPage, TaskStatus, TaskView
from service.pipeline.polling.poll_requests import PollRequest, PollRequests, Rest

UNFINISHED = frozenset({TaskStatus.PENDING, TaskStatus.RUNNING})
ENDED = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED})


class HintResult(StrEnum):
    """What the query of a task says of the list's statement about it."""

    RIGHT = "right"
    """The list said that the task had ended, and it has."""
    WRONG = "wrong"
    """The task runs, or the list still showed it as running long after its end."""


class ListObserver(Protocol):
    """Counts and logs how the list is used; its methods decide nothing and never raise."""

    def list_swept(self, seconds: float) -> None:
        """A sweep took so long; 0: tasks are polled by schedule alone."""
        ...

    def list_hint(self, result: HintResult) -> None:
        """A query confirmed or refuted what the list said of its task."""
        ...

    def list_distrusted(self, seconds: float) -> None:
        """The list misled too often and is not used for so long."""
        ...


LAG_SECONDS = 10.0
"""An ended task may be listed as running for so long, or for as long as polls without the list take."""


class ListHints:
    """Turns pages of the list into postponed and hinted polls, and judges the list by the answers."""

    def __init__(self, clock: Clock, requests: PollRequests, observer: ListObserver) -> None:
        self._clock = clock
        self._observer = observer
        self._requests = requests
        self._listed = ListedTasks()
        self._trust = ListTrust()
        self._is_newest_first: bool | None = None
        self._lag_seconds = LAG_SECONDS

    @property
    def is_trusted(self) -> bool:
        """Whether the list is used."""
        return self._trust.is_trusted(self._clock.boot_seconds())

    def use(self, rest: Rest, lag_seconds: float, took_seconds: float) -> None:
        """Let tasks rest after a sweep that took so long; the list may lag by `lag_seconds` behind them."""
        self._requests.rest = rest
        self._observer.list_swept(took_seconds)
        self._lag_seconds = max(LAG_SECONDS, lag_seconds)

    def leave(self) -> None:
        """Poll by schedule alone."""
        self.use(Rest(), LAG_SECONDS, 0.0)

    def take(self, page: TaskPage, asked: TaskStatus | None, *, is_first: bool, is_last: bool) -> int:
        """Use one page of tasks with the status asked for; how many unfinished ones of ours it shows."""
        if not self.is_trusted:
            return 0
        own_order = order_of(page)
        is_newest_first = self._is_newest_first if own_order is None else own_order
        span = span_of(page, Place(is_first, is_last, is_newest_first))
        self._is_newest_first = is_newest_first if span is not None else None
        is_running_only = asked is TaskStatus.RUNNING and all(row.status is asked for row in page.tasks)
        is_proof = is_running_only and span is not None
        shown = sum(self._take_row(row, is_proof=is_proof) for row in page.tasks)
        if is_running_only and span is not None:
            for task_id in self._listed.take_missing(span, (row.task_id for row in page.tasks)):
                self._requests.hint(task_id)
        return shown

    def answered(self, request: PollRequest, task: TaskView, submission: Submission | None) -> None:
        """Judge the list by the answer of a poll."""
        now = self._clock.boot_seconds()
        if task.status in UNFINISHED:
            if request.is_hinted:
                self._misled(now)
        elif task.status in ENDED:
            if self._is_late(request, task, submission, now):
                self._misled(now)
            elif request.is_hinted:
                self._trust.helped()
                self._observer.list_hint(HintResult.RIGHT)

    def _take_row(self, row: ListedTask, *, is_proof: bool) -> bool:
        if row.status in ENDED:
            self._requests.hint(row.task_id)
        if row.status not in UNFINISHED:
            return False
        is_new = self._requests.note_listed(row.task_id, round(1000 * self._clock.boot_seconds()))
        if is_new and is_proof:
            self._listed.add(row.task_id, row.created_ms)
        return is_new is not None

    def _is_late(
        self, request: PollRequest, task: TaskView, submission: Submission | None, now: float
    ) -> bool:
        """Whether the list still showed the task as running long after its end."""
        took_ms = run_ms(task)
        if took_ms is None or request.listed_ms is None or submission is None:
            return False
        if submission.submitted_ms is None:
            return False
        ended_ago_seconds = (self._clock.now_ms() - submission.submitted_ms - took_ms) / 1000
        listed_ago_seconds = now - request.listed_ms / 1000
        return ended_ago_seconds - listed_ago_seconds > self._lag_seconds

    def _misled(self, now: float) -> None:
        self._observer.list_hint(HintResult.WRONG)
        if not self._trust.is_trusted(now):
            return
        self._trust.misled(now)
        if not self._trust.is_trusted(now):
            self._observer.list_distrusted(self._trust.seconds_left(now))
            self._listed.clear()
            self._requests.forget_hints()
            self.leave()
