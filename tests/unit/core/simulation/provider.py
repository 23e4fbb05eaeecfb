"""The provider of the simulation: tasks with a fate, and a ledger of every submit it billed."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.task import (
    Accepted,
    FileView,
    ListedTask,
    Lost,
    NotSent,
    Refused,
    SubmitAnswer,
    TaskPage,
    TaskStatus,
    TaskView,
    Trouble,
)
from tests.unit.core.simulation.journal import check

DAY_MS = 24 * 3600 * 1000
DOWNLOAD_FAILED = Trouble("FILE_DOWNLOAD_FAILED", "no answer from the origin")
FAULT = Trouble("InternalError", "an error of the provider's own")
FORBIDDEN = Trouble("FILE_403_FORBIDDEN", "the origin said 403")
SILENT = Trouble("ASR_RESPONSE_HAVE_NO_WORDS", "no words")
REDONE = {"FILE_DOWNLOAD_FAILED", "InternalError"}
"""Codes on a file after which its job may be submitted again."""
REFUSALS = (
    Trouble("Throttling.RateQuota", "slow down", 429, 2.0),
    Trouble("InvalidApiKey", "no such key", 401),
    Trouble("InternalError", "oops", 500),
    Trouble("InvalidParameter", "no", 400),
)
LOOK_TROUBLES = (
    Trouble("timeout", "no answer"),
    Trouble("Throttling.RateQuota", "slow down", 429, 1.5),
    Trouble("http_error", "bad gateway", 502),
)
MOST_SUBMITS = 3
LIST_PAGE = 7


@dataclass(slots=True)
class Task:
    """One provider task and what will become of it."""

    id: str
    files: dict[str, str]
    """Job key to URL."""
    created_ms: int
    visible_ms: int
    starts_ms: int
    ends_ms: int
    trouble: Trouble | None
    troubles: dict[str, Trouble | None]
    """By URL; None: it is transcribed."""
    is_lost: bool
    is_failed: bool
    cancelled: bool = False

    def trouble_of(self, url: str) -> Trouble | None:
        """Why the file has no result, None where it has one."""
        return self.trouble or self.troubles[url]

    def is_over(self, now_ms: int) -> bool:
        """Whether nothing changes any more."""
        return self.cancelled or now_ms >= self.ends_ms

    def names(self, url: str) -> bool:
        """Whether it names the file in the end."""
        return self.trouble is None and "/missing/" not in url

    def is_expired(self, now_ms: int) -> bool:
        """Whether the result is gone."""
        return now_ms > self.ends_ms + DAY_MS


@dataclass(slots=True)
class ProviderModel:
    """One account. `calm` ends all faults."""

    rng: random.Random
    unfetched: float
    calm: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    by_key: dict[str, list[Task]] = field(default_factory=dict)
    lost_after_accept: int = 0
    ahead_ms: int = field(init=False)
    """How far its clock is ahead."""
    watched: set[str] = field(default_factory=set)
    """Tasks that some owner has known as its own."""
    readings: list[int] = field(default_factory=list)
    """When the list was read whole."""

    def __post_init__(self) -> None:
        self.ahead_ms = self.rng.choice((0, 420_000, -90_000))

    def check_submit(self, files: Mapping[str, str], jobs_of_url: Mapping[str, int], now_ms: int) -> None:
        """N3 and N10: no earlier task of the jobs may still succeed, and the number is bounded.

        Tasks of equal files are as good as each other: it counts how many of them may still succeed.
        """
        for key, url in files.items():
            billed = [task for task in self.by_key.get(key, []) if not self._is_nobodys(task, url, now_ms)]
            check(len(billed) < MOST_SUBMITS, f"N10: {key} is billed more often than the table allows")
            alive = [task.id for task in self._tasks_of(url) if self._may_succeed(task, url, now_ms)]
            told = f"N3: {key} is submitted again, and one of {alive} may still succeed"
            check(len(alive) < jobs_of_url[url], told)

    def judge_bill(self, jobs_of_url: Mapping[str, int], now_ms: int) -> None:
        """N10, at the end: for each file one bill, and one more for each that the table allows."""
        for url, jobs in jobs_of_url.items():
            excess = sum(self._may_succeed(task, url, now_ms) for task in self._tasks_of(url)) - jobs
            check(excess <= 0, f"N10: {url} is billed {excess} times too often")

    def _tasks_of(self, url: str) -> list[Task]:
        return [task for task in self.tasks.values() if url in task.files.values()]

    def _may_succeed(self, task: Task, url: str, now_ms: int) -> bool:
        trouble = task.trouble_of(url)
        redone = task.is_over(now_ms) and trouble is not None and trouble.code in REDONE
        return not redone and not self._is_nobodys(task, url, now_ms)

    def _is_nobodys(self, task: Task, url: str, now_ms: int) -> bool:
        """Whose answer was lost, and which the provider has lost; or which ended without naming the file.

        Of the latter nothing can come for the file, and nobody can tell that it was its task.
        """
        is_gone = task.is_lost and task.id not in self.watched
        return is_gone or (task.is_over(now_ms) and not task.names(url))

    def submit(self, files: dict[str, str], now_ms: int) -> SubmitAnswer:
        """Take a submit of job keys and their URLs."""
        check(len(set(files.values())) == len(files), "N1: one URL twice in a task")
        draw = 1.0 if self.calm else self.rng.random()
        if draw < 0.03:
            return NotSent(Trouble("connect_failed", "no route"))
        if draw < 0.12:
            return Refused(self.rng.choice(REFUSALS))
        if draw < 0.14:
            return Lost(Trouble("timeout", "no answer"))
        task = self._accept(files, now_ms)
        if draw < 0.17:
            self.lost_after_accept += 1
            return Lost(Trouble("connection_lost", "reset"))
        return Accepted(task.id)

    def _accept(self, files: dict[str, str], now_ms: int) -> Task:
        rng = self.rng
        pending_ms = rng.choice((0, 2_000, 20_000))
        running_ms = rng.choice((500, 5_000, 60_000))
        trouble = FAULT if rng.random() < 0.05 and not self.calm else None
        troubles = {url: self._fate(key, url) for key, url in files.items()}
        task = Task(
            id=f"t{len(self.tasks)}",
            files=dict(files),
            created_ms=now_ms,
            visible_ms=now_ms + rng.choice((0, 0, 0, 5_000)),
            starts_ms=now_ms + pending_ms,
            ends_ms=now_ms + pending_ms + running_ms,
            trouble=trouble,
            troubles=troubles,
            is_lost=rng.random() < 0.02 and not self.calm,
            is_failed=trouble is not None or all(troubles.values()) or rng.random() < 0.05,
        )
        self.tasks[task.id] = task
        for key in files:
            self.by_key.setdefault(key, []).append(task)
        return task

    def _fate(self, key: str, url: str) -> Trouble | None:
        nature = url.split("/")[3]
        if nature.startswith("flaky"):
            return DOWNLOAD_FAILED if len(self.by_key.get(key, [])) < int(nature[5:]) else None
        return {"forbidden": FORBIDDEN, "silent": SILENT}.get(nature)

    def list(self, page_no: int, now_ms: int) -> TaskPage | Trouble:
        """A page of the tasks of the last day, the newest first."""
        if not self.calm and self.rng.random() < 0.1:
            return self.rng.choice(LOOK_TROUBLES)
        begin_ms = now_ms - DAY_MS
        shown = [
            task
            for task in reversed(self.tasks.values())
            if not task.is_lost and task.visible_ms <= now_ms and task.created_ms >= begin_ms
        ]
        page = shown[(page_no - 1) * LIST_PAGE : page_no * LIST_PAGE]
        rows = (
            ListedTask(each.id, self._status(each, now_ms), each.created_ms + self.ahead_ms) for each in page
        )
        if not page:
            self.readings.append(now_ms)
        return TaskPage(tuple(rows), len(shown))

    def _status(self, task: Task, now_ms: int) -> TaskStatus:
        if task.cancelled:
            return TaskStatus.CANCELED
        if now_ms < task.ends_ms:
            return TaskStatus.PENDING if now_ms < task.starts_ms else TaskStatus.RUNNING
        return TaskStatus.FAILED if task.is_failed else TaskStatus.SUCCEEDED

    def look(self, task_id: str, now_ms: int) -> TaskView | Trouble:
        """One look at a task that is one's own."""
        self.watched.add(task_id)
        return self.query(task_id, now_ms)

    def query(self, task_id: str, now_ms: int) -> TaskView | Trouble:
        """One look at any task."""
        if not self.calm and self.rng.random() < 0.06:
            return self.rng.choice(LOOK_TROUBLES)
        task = self.tasks[task_id]
        if task.is_lost or now_ms < task.visible_ms or task.is_expired(now_ms):
            return TaskView(task_id, TaskStatus.UNKNOWN)
        if task.cancelled:
            return TaskView(task_id, TaskStatus.CANCELED)
        if now_ms < task.ends_ms:
            return TaskView(task_id, TaskStatus.PENDING if now_ms < task.starts_ms else TaskStatus.RUNNING)
        return self._ended(task)

    def _ended(self, task: Task) -> TaskView:
        status = TaskStatus.FAILED if task.is_failed else TaskStatus.SUCCEEDED
        if task.trouble is not None:
            return TaskView(task.id, status, trouble=task.trouble, billed_seconds=0)
        views = [
            FileView(url, None if trouble else f"https://r.example/{task.id}/{number}", trouble)
            for number, (url, trouble) in enumerate(task.troubles.items())
            if "/missing/" not in url
        ]
        self.rng.shuffle(views)
        return TaskView(task.id, status, tuple(views), billed_seconds=10 * len(task.files), end_time="then")

    def cancel(self, task_id: str, now_ms: int) -> None:
        """Drop a task that has not begun."""
        task = self.tasks[task_id]
        if now_ms < task.starts_ms and (self.calm or self.rng.random() < 0.8):
            task.cancelled = True

    def fetch(self, transcription_url: str, now_ms: int) -> bytes | Trouble:
        """The result file behind a URL."""
        if not self.calm and self.rng.random() < self.unfetched:
            return self.rng.choice((Trouble("timeout", "slow"), Trouble("http_error", "busy", 503)))
        task_id, number = transcription_url.split("/")[3:5]
        task = self.tasks[task_id]
        if task.is_expired(now_ms):
            return Trouble("http_error", "expired", 403)
        url = list(task.troubles)[int(number)]
        return b'{"no": "transcript"}' if "/garbage/" in url else result_file(url)


def text_of(url: str) -> str:
    """What is said in the file."""
    return f"text of {url.partition('?')[0]}"


def result_file(url: str) -> bytes:
    """The result file of one audio file: three seconds of speech."""
    sentence = {"begin_time": 0, "end_time": 3000, "text": text_of(url), "sentence_id": 1}
    channel = {"channel_id": 0, "content_duration_in_milliseconds": 3000, "sentences": [sentence]}
    return json.dumps({"transcripts": [channel]}).encode()
