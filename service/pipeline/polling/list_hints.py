"""What the account's list says of our running tasks: which need no poll yet, and which to poll at once.

A hint, never more: the task's own query decides, and its answer says whether the list is to be trusted.
"""

from collections import OrderedDict
from collections.abc import Iterable

from service.clock import Clock
from service.core.polling.list_trust import ListTrust
from service.core.polling.listed_tasks import ListedTasks, Place, order_of, span_of
from service.core.provider.answers import ListedTask, TaskPage, TaskStatus, TaskView
from service.pipeline.polling.poll_requests import PollRequest, PollRequests, Rest
from service.pipeline.shard.observer import HintResult, ListObserver

UNFINISHED = frozenset({TaskStatus.PENDING, TaskStatus.RUNNING})
ENDED = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED})
MAX_ENDED = 1_000
"""Tasks remembered that a query has shown as ended: the list must not show them as running for long."""


class ListHints:
    """Turns pages of the list into postponed and hinted polls, and judges the list by the answers."""

    def __init__(self, clock: Clock, requests: PollRequests, observer: ListObserver) -> None:
        self._clock = clock
        self._observer = observer
        self._requests = requests
        self._listed = ListedTasks()
        self._trust = ListTrust()
        self._is_newest_first: bool | None = None
        self._ended: OrderedDict[str, float] = OrderedDict()
        """When queries showed tasks as ended, by the boot clock; the latest ones."""

    @property
    def is_trusted(self) -> bool:
        """Whether the list is used."""
        return self._trust.is_trusted(self._clock.boot_seconds())

    def use(self, rest: Rest, took_seconds: float) -> None:
        """Let tasks rest after a sweep that took so long."""
        self._requests.use_rest(rest)
        self._observer.list_swept(took_seconds)

    def leave(self) -> None:
        """Poll by schedule alone."""
        self.use(Rest(), 0.0)

    def take(
        self, page: TaskPage, asked: TaskStatus | None, lag_seconds: float, *, is_first: bool, is_last: bool
    ) -> tuple[int, list[str]]:
        """Use one page of tasks with the status asked for; it may lag by `lag_seconds` behind the tasks.

        How many tasks of ours it shows, and the tasks that it shows, or by their absence proves, to have
        ended: `hint` them.
        """
        self._requests.trust_list(is_trusted=self.is_trusted)
        if not self.is_trusted:
            return 0, []
        own_order = order_of(page)
        is_newest_first = self._is_newest_first if own_order is None else own_order
        span = span_of(page, Place(is_first, is_last, is_newest_first))
        self._is_newest_first = is_newest_first if span is not None else None
        is_running_only = asked is TaskStatus.RUNNING and all(row.status is asked for row in page.tasks)
        ours = [row for row in page.tasks if self._requests.knows(row.task_id)]
        ended = [row.task_id for row in ours if row.status in ENDED]
        for row in page.tasks:
            if row.status in UNFINISHED:
                self._take_unfinished(row, lag_seconds, is_proof=is_running_only and span is not None)
        if is_running_only and span is not None:
            ended += self._listed.take_missing(span, (row.task_id for row in page.tasks))
        return len(ours), ended

    def hint(self, task_ids: Iterable[str]) -> None:
        """Poll these tasks at once."""
        for task_id in task_ids:
            self._requests.hint(task_id)

    def answered(self, request: PollRequest, task: TaskView) -> None:
        """Judge the list by the answer of a poll."""
        if task.status in ENDED:
            self._ended[request.task_id] = self._clock.boot_seconds()
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
            if request.is_hinted:
                self._trust.helped()
                self._observer.list_hint(HintResult.RIGHT)
        elif task.status in UNFINISHED and request.is_hinted:
            self._misled()

    def _take_unfinished(self, row: ListedTask, lag_seconds: float, *, is_proof: bool) -> None:
        now = self._clock.boot_seconds()
        ended = self._ended.get(row.task_id)
        if ended is not None and now - ended > lag_seconds:
            del self._ended[row.task_id]
            self._misled()
        elif self._requests.note_listed(row.task_id, round(1000 * now)) and is_proof:
            self._listed.add(row.task_id, row.created_ms)

    def _misled(self) -> None:
        now = self._clock.boot_seconds()
        was_trusted = self._trust.is_trusted(now)
        self._trust.misled(now)
        self._observer.list_hint(HintResult.WRONG)
        if was_trusted and not self._trust.is_trusted(now):
            self._observer.list_distrusted(self._trust.seconds_left(now))
            self._listed.clear()
            self._requests.trust_list(is_trusted=False)
            self.leave()
