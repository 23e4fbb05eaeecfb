"""The provider of the simulation: tasks with a fate, and a ledger of every submit it billed."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.core.task import (
    Accepted,
    FileView,
    Lost,
    NotSent,
    Refused,
    SubmitAnswer,
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

    def check_submit(self, keys: Sequence[str], now_ms: int) -> None:
        """N3 and N10: no earlier task of the jobs may still succeed, and the number is bounded."""
        for key in keys:
            earlier = self.by_key.get(key, [])
            check(len(earlier) < MOST_SUBMITS, f"N10: {key} is billed more often than the table allows")
            for task in earlier:
                trouble = task.trouble_of(task.files[key])
                redone = task.is_over(now_ms) and trouble is not None and trouble.code in REDONE
                check(redone, f"N3: {key} is submitted again, and {task.id} may still succeed")

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

    def query(self, task_id: str, now_ms: int) -> TaskView | Trouble:
        """One look at a task."""
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
