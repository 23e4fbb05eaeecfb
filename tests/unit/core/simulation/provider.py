"""The provider of the simulation: tasks with a fate, and a ledger of every submit it billed."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
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
from tests.unit.core.simulation.chance import Chance, Json
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
FETCH_TROUBLES = (Trouble("timeout", "slow"), Trouble("http_error", "busy", 503))
Answer = Mapping[str, Json]
"""What a POST meets: the word for its answer, and the fate of the task that it makes."""
TAKEN: Answer = {
    "answer": "accepted",
    "pending_ms": 0,
    "running_ms": 5_000,
    "hidden_ms": 0,
    "trouble": False,
    "forgotten": False,
    "failed": False,
}
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

    chance: Chance
    unfetched: float
    ahead_ms: int = 0
    """How far its clock is ahead."""
    calm: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    by_key: dict[str, list[Task]] = field(default_factory=dict)
    lost_after_accept: int = 0
    posted: dict[str, list[frozenset[str]]] = field(default_factory=dict)
    """The files of each POST that a job was in."""
    rejected: set[str] = field(default_factory=set)
    """Jobs of a POST that was refused for good."""
    noted: set[str] = field(default_factory=set)
    """Tasks that a record of the journal names, if it is no stranger's."""
    readings: list[int] = field(default_factory=list)
    """When the list was read whole."""

    def check_submit(self, files: Mapping[str, str], jobs_of_url: Mapping[str, int], now_ms: int) -> None:
        """N3 and N10: no earlier task of the jobs may still succeed, and the number is bounded.

        Tasks of equal files are as good as each other: it counts how many of them may still succeed.
        """
        for key, url in files.items():
            billed = [task for task in self.by_key.get(key, []) if not self._is_nobodys(task, url, now_ms)]
            check(len(billed) < MOST_SUBMITS, f"N10: {key} is billed more often than the table allows")
            alive = [task.id for task in self.tasks_of(url) if self._may_succeed(task, url, now_ms)]
            told = f"N3: {key} is submitted again, and one of {alive} may still succeed"
            check(len(alive) < jobs_of_url[url], told)

    def judge_bill(self, jobs_of_url: Mapping[str, int], now_ms: int) -> None:
        """N10, at the end: for each file one bill, and one more for each that the table allows."""
        for url, jobs in jobs_of_url.items():
            excess = sum(self._may_succeed(task, url, now_ms) for task in self.tasks_of(url)) - jobs
            check(excess <= 0, f"N10: {url} is billed {excess} times too often")

    def tasks_of(self, url: str) -> list[Task]:
        """Those with the file, of whatever job."""
        return [task for task in self.tasks.values() if url in task.files.values()]

    def tasks_for(self, key: str, url: str) -> list[Task]:
        """Those that may be a job's: with just the files of a POST of its, or, without any, with its file."""
        posted = self.posted.get(key)
        tasks = self.tasks_of(url)
        return [task for task in tasks if not posted or frozenset(task.files.values()) in posted]

    def _may_succeed(self, task: Task, url: str, now_ms: int) -> bool:
        trouble = task.trouble_of(url)
        redone = task.is_over(now_ms) and trouble is not None and trouble.code in REDONE
        return not redone and not self._is_nobodys(task, url, now_ms)

    def _is_nobodys(self, task: Task, url: str, now_ms: int) -> bool:
        """Which the provider has lost, and no owner that counts has written down; or which ended without
        naming the file.

        Of the latter nothing can come for the file. Of neither anybody can tell that it was its task.
        """
        is_gone = task.is_lost and task.id not in self.noted
        return is_gone or (task.is_over(now_ms) and not task.names(url))

    def submit(self, files: dict[str, str], now_ms: int) -> SubmitAnswer:
        """Take a submit of job keys and their URLs."""
        check(len(set(files.values())) == len(files), "N1: one URL twice in a task")
        for key in files:
            self.posted.setdefault(key, []).append(frozenset(files.values()))
        troubles = {url: self._fate(key, url) for key, url in files.items()}
        met = self.chance.ask(
            "submit", " ".join(sorted(files)), lambda rng: self._draw(rng, all(troubles.values())), TAKEN
        )
        match met["answer"]:
            case "not sent":
                return NotSent(Trouble("connect_failed", "no route"))
            case "refused":
                if met["code"] == "InvalidParameter":
                    self.rejected.update(files)
                return Refused(_by_code(REFUSALS, met["code"]))
            case "lost":
                return Lost(Trouble("timeout", "no answer"))
        task = self._accept(files, troubles, met, now_ms)
        if met["answer"] == "lost afterwards":
            self.lost_after_accept += 1
            return Lost(Trouble("connection_lost", "reset"))
        return Accepted(task.id)

    def _draw(self, rng: random.Random, is_hopeless: bool) -> Answer:
        draw = 1.0 if self.calm else rng.random()
        if draw < 0.03:
            return {"answer": "not sent"}
        if draw < 0.12:
            return {"answer": "refused", "code": rng.choice(REFUSALS).code}
        if draw < 0.14:
            return {"answer": "lost"}
        pending_ms = rng.choice((0, 2_000, 20_000))
        running_ms = rng.choice((500, 5_000, 60_000))
        trouble = rng.random() < 0.05 and not self.calm
        return {
            "answer": "lost afterwards" if draw < 0.17 else "accepted",
            "pending_ms": pending_ms,
            "running_ms": running_ms,
            "trouble": trouble,
            "hidden_ms": rng.choice((0, 0, 0, 5_000)),
            "forgotten": rng.random() < 0.02 and not self.calm,
            "failed": trouble or is_hopeless or rng.random() < 0.05,
        }

    def _accept(
        self, files: dict[str, str], troubles: Mapping[str, Trouble | None], met: Answer, now_ms: int
    ) -> Task:
        starts_ms = now_ms + _number(met["pending_ms"])
        trouble = FAULT if met["trouble"] else None
        task = Task(
            id=f"t{len(self.tasks)}",
            files=dict(files),
            created_ms=now_ms,
            visible_ms=now_ms + _number(met["hidden_ms"]),
            starts_ms=starts_ms,
            ends_ms=starts_ms + _number(met["running_ms"]),
            trouble=trouble,
            troubles=dict(troubles),
            is_lost=bool(met["forgotten"]),
            is_failed=bool(met["failed"]) or trouble is not None or all(troubles.values()),
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
        trouble = self._trouble("list", f"page {page_no}", 0.1, LOOK_TROUBLES)
        if trouble is not None:
            return trouble
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

    def query(self, task_id: str, now_ms: int) -> TaskView | Trouble:
        """One look at any task."""
        trouble = self._trouble("look", task_id, 0.06, LOOK_TROUBLES)
        if trouble is not None:
            return trouble
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
        order = self.chance.ask("order", task.id, _shuffled(len(views)), list(range(len(views))))
        files = tuple(views[number] for number in order if number < len(views))
        return TaskView(task.id, status, files, billed_seconds=10 * len(task.files), end_time="then")

    def cancel(self, task_id: str, now_ms: int) -> None:
        """Drop a task that has not begun."""
        task = self.tasks[task_id]
        if now_ms < task.starts_ms:
            task.cancelled = self.calm or self.chance.ask(
                "drop", task_id, lambda rng: rng.random() < 0.8, True
            )

    def _trouble(
        self, question: str, subject: str, share: float, troubles: Sequence[Trouble]
    ) -> Trouble | None:
        """What stands in place of an answer, None for nothing."""
        if self.calm:
            return None
        code = self.chance.ask(
            question, subject, lambda rng: rng.choice(troubles).code if rng.random() < share else None, None
        )
        return None if code is None else _by_code(troubles, code)

    def fetch(self, transcription_url: str, now_ms: int) -> bytes | Trouble:
        """The result file behind a URL."""
        trouble = self._trouble("fetch", transcription_url, self.unfetched, FETCH_TROUBLES)
        if trouble is not None:
            return trouble
        task_id, number = transcription_url.split("/")[3:5]
        task = self.tasks[task_id]
        if task.is_expired(now_ms):
            return Trouble("http_error", "expired", 403)
        url = list(task.troubles)[int(number)]
        return b'{"no": "transcript"}' if "/garbage/" in url else result_file(url)


def _number(value: Json) -> int:
    assert isinstance(value, int)
    return value


def _by_code(troubles: Sequence[Trouble], code: Json) -> Trouble:
    return next(trouble for trouble in troubles if trouble.code == code)


def _shuffled(count: int) -> Callable[[random.Random], list[int]]:
    def shuffled(rng: random.Random) -> list[int]:
        order = list(range(count))
        rng.shuffle(order)
        return order

    return shuffled


def text_of(url: str) -> str:
    """What is said in the file."""
    return f"text of {url.partition('?')[0]}"


def result_file(url: str) -> bytes:
    """The result file of one audio file: three seconds of speech."""
    sentence = {"begin_time": 0, "end_time": 3000, "text": text_of(url), "sentence_id": 1}
    channel = {"channel_id": 0, "content_duration_in_milliseconds": 3000, "sentences": [sentence]}
    return json.dumps({"transcripts": [channel]}).encode()
