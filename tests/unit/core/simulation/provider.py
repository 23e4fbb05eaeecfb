"""The provider of the simulation: tasks with a fate, and a ledger of every submit it billed."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.unit.core.simulation.chance import Chance, Json
from tests.unit.core.simulation.files import chat_answer, nature_of, result_file
from tests.unit.core.simulation.ledger import DAY_MS, Call, Ledger, Task
from tests.unit.core.simulation.port import (
    Error,
    FileSaid,
    Heard,
    Lost,
    Made,
    NotSent,
    Page,
    Post,
    Posted,
    Refused,
    Row,
    View,
)

DOWNLOAD_FAILED = Error("FILE_DOWNLOAD_FAILED", "no answer from the origin")
FAULT = Error("InternalError", "an error of the provider's own")
FORBIDDEN = Error("FILE_403_FORBIDDEN", "the origin said 403")
SILENT = Error("ASR_RESPONSE_HAVE_NO_WORDS", "no words")
REFUSALS = (
    Error("Throttling.RateQuota", "slow down", 429, 2.0),
    Error("InvalidApiKey", "no such key", 401),
    Error("InternalError", "oops", 500),
    Error("InvalidParameter", "no", 400),
)
POLL_ERRORS = (
    Error("timeout", "no answer"),
    Error("Throttling.RateQuota", "slow down", 429, 1.5),
    Error("http_error", "bad gateway", 502),
)
FETCH_ERRORS = (Error("timeout", "slow"), Error("http_error", "busy", 503))
FULL = Error("Throttling.AllocationQuota", "no place for one more list", 400)
NOT_READY = Error("vocabulary_not_ready", "the list is being made")
LATE = {"late": 3, "never": 10**9}
"""How often a list with such a word is not ready yet."""
Answer = Mapping[str, Json]
"""What a POST meets: the word for its answer, and the fate of the task that it makes."""
TAKEN: Answer = {
    "answer": "accepted",
    "pending_ms": 0,
    "running_ms": 5_000,
    "hidden_ms": 0,
    "provider_error": False,
    "forgotten": False,
    "failed": False,
}
LIST_PAGE = 7


class Judge(Protocol):
    """Says of a POST what is wrong with it, and under which name the ledger keeps each job."""

    def __call__(self, post: Post) -> Mapping[str, str]:
        """The ledger's name of each job."""
        ...


@dataclass(slots=True)
class ProviderModel:
    """One account. `calm` ends all faults."""

    chance: Chance
    ledger: Ledger
    clock: Callable[[], int]
    """True time."""
    judge: Judge
    unfetched: float
    ahead_ms: int = 0
    """How far its clock is ahead."""
    calm: bool = False
    asked_for: dict[str, int] = field(default_factory=dict)
    """How often each hotword list was asked for."""

    @property
    def vendor_ms(self) -> int:
        """What its `Date` says."""
        return self.clock() + self.ahead_ms

    # Submits

    def submit(self, post: Post) -> Posted:
        """Take a POST."""
        names = self.judge(post)
        files = {names[job]: url for job, url in post.files.items()}
        subject = " ".join(sorted(post.files))
        if self.ledger.is_call(post.model):
            return self._call(files, subject, post.epoch)
        provider_errors = {url: self._fate(name, url) for name, url in files.items()}
        cannot_be_read = all(provider_errors.values())
        met = self.chance.ask("submit", subject, lambda rng: self._draw(rng, cannot_be_read), TAKEN)
        refused = self._refused(met, files)
        if refused is not None:
            return refused
        task = self._accept(files, provider_errors, met)
        if met["answer"] == "lost afterwards":
            self.ledger.lost_after_accept += 1
            return Lost(Error("connection_lost", "reset"))
        return Made(task.id)

    def _refused(self, met: Answer, files: Mapping[str, str]) -> Posted | None:
        match met["answer"]:
            case "not sent":
                return NotSent(Error("connect_failed", "no route"))
            case "refused":
                if met["code"] == "InvalidParameter" and len(files) == 1:
                    # Of several files each is to be tried alone first.
                    self.ledger.rejected.update(files)
                self.ledger.refused.update(files)
                return Refused(_by_code(REFUSALS, met["code"]))
            case "lost":
                return Lost(Error("timeout", "no answer"))
        return None

    def _draw(self, rng: random.Random, cannot_be_read: bool) -> Answer:
        draw = 1.0 if self.calm else rng.random()
        if draw < 0.03:
            return {"answer": "not sent"}
        if draw < 0.12:
            return {"answer": "refused", "code": rng.choice(REFUSALS).code}
        if draw < 0.14:
            return {"answer": "lost"}
        pending_ms = rng.choice((0, 2_000, 20_000))
        running_ms = rng.choice((500, 5_000, 60_000))
        provider_error = rng.random() < 0.05 and not self.calm
        return {
            "answer": "lost afterwards" if draw < 0.17 else "accepted",
            "pending_ms": pending_ms,
            "running_ms": running_ms,
            "provider_error": provider_error,
            "hidden_ms": rng.choice((0, 0, 0, 5_000)),
            "forgotten": rng.random() < 0.02 and not self.calm,
            "failed": provider_error or cannot_be_read or rng.random() < 0.05,
        }

    def _accept(
        self, files: dict[str, str], provider_errors: Mapping[str, Error | None], met: Answer
    ) -> Task:
        now_ms = self.clock()
        starts_ms = now_ms + _number(met["pending_ms"])
        provider_error = FAULT if met["provider_error"] else None
        task = Task(
            id=f"t{len(self.ledger.tasks)}",
            files=files,
            created_ms=now_ms,
            visible_ms=now_ms + _number(met["hidden_ms"]),
            starts_ms=starts_ms,
            ends_ms=starts_ms + _number(met["running_ms"]),
            provider_error=provider_error,
            provider_errors=dict(provider_errors),
            is_lost=bool(met["forgotten"]),
            is_failed=bool(met["failed"]) or provider_error is not None or all(provider_errors.values()),
        )
        self.ledger.add(task)
        return task

    def _call(self, files: Mapping[str, str], subject: str, epoch: int) -> Posted:
        """A synchronous model: the answer is the transcript, and what was lost is billed all the same."""
        [(name, url)] = files.items()
        met = self.chance.ask("call", subject, self._draw_call, TAKEN)
        refused = self._refused(met, files)
        if refused is not None and not isinstance(refused, Lost):
            return refused
        is_billed = met["answer"] != "lost"
        self.ledger.add_call(name, Call(epoch, is_billed, is_heard=met["answer"] == "accepted"))
        if refused is not None or met["answer"] == "lost afterwards":
            return refused or Lost(Error("connection_lost", "reset"))
        return Heard(chat_answer(url), 3)

    def _draw_call(self, rng: random.Random) -> Answer:
        draw = 1.0 if self.calm else rng.random()
        if draw < 0.03:
            return {"answer": "not sent"}
        if draw < 0.12:
            return {"answer": "refused", "code": rng.choice(REFUSALS).code}
        if draw < 0.18:
            return {"answer": "lost" if draw < 0.14 else "lost afterwards"}
        return TAKEN

    def _fate(self, name: str, url: str) -> Error | None:
        nature = nature_of(url)
        if nature.startswith("flaky"):
            return DOWNLOAD_FAILED if len(self.ledger.by_name.get(name, [])) < int(nature[5:]) else None
        return {"forbidden": FORBIDDEN, "silent": SILENT}.get(nature)

    # Lists and looks

    def list(self, page_no: int) -> Page | Error:
        """A page of the tasks of the last day, the newest first."""
        provider_error = self._provider_error("list", f"page {page_no}", 0.1, POLL_ERRORS)
        if provider_error is not None:
            return provider_error
        now_ms = self.clock()
        shown = [
            task
            for task in reversed(self.ledger.tasks.values())
            if not task.is_lost and task.visible_ms <= now_ms and task.created_ms >= now_ms - DAY_MS
        ]
        page = shown[(page_no - 1) * LIST_PAGE : page_no * LIST_PAGE]
        rows = (Row(each.id, each.status(now_ms), each.created_ms + self.ahead_ms) for each in page)
        if not page:
            self.ledger.readings.append(now_ms)
        return Page(tuple(rows), len(shown))

    def query(self, task_id: str) -> View | Error:
        """One look at any task."""
        provider_error = self._provider_error("look", task_id, 0.06, POLL_ERRORS)
        if provider_error is not None:
            return provider_error
        task, now_ms = self.ledger.tasks[task_id], self.clock()
        if task.is_lost or now_ms < task.visible_ms or task.is_expired(now_ms):
            return View(task_id, "UNKNOWN")
        if not task.is_over(now_ms) or task.cancelled:
            return View(task_id, task.status(now_ms))
        return self._ended(task, now_ms)

    def _ended(self, task: Task, now_ms: int) -> View:
        status = task.status(now_ms)
        if task.provider_error is not None:
            return View(task.id, status, error=task.provider_error, billed_seconds=0)
        files = [
            FileSaid(url, None if provider_error else f"https://r.example/{task.id}/{number}", provider_error)
            for number, (url, provider_error) in enumerate(task.provider_errors.items())
            if nature_of(url) != "missing"
        ]
        order = self.chance.ask("order", task.id, _shuffled(len(files)), list(range(len(files))))
        return View(
            task.id,
            status,
            tuple(files[number] for number in order if number < len(files)),
            billed_seconds=10 * len(task.files),
        )

    def cancel(self, task_id: str) -> None:
        """Drop a task that has not begun."""
        task = self.ledger.tasks[task_id]
        if self.clock() < task.starts_ms:
            task.cancelled = self.calm or self.chance.ask(
                "drop", task_id, lambda rng: rng.random() < 0.8, True
            )

    def fetch(self, result_url: str) -> bytes | Error:
        """The result file behind a URL."""
        provider_error = self._provider_error("fetch", result_url, self.unfetched, FETCH_ERRORS)
        if provider_error is not None:
            return provider_error
        task_id, number = result_url.split("/")[3:5]
        task = self.ledger.tasks[task_id]
        if task.is_expired(self.clock()):
            return Error("http_error", "expired", 403)
        url = list(task.provider_errors)[int(number)]
        return b'{"no": "transcript"}' if nature_of(url) == "garbage" else result_file(url)

    def vocabulary(self, model: str, words: Sequence[str]) -> str | Error:
        """A word of the list says what becomes of it."""
        name = f"{model} {' '.join(sorted(words))}"
        provider_error = self._provider_error("vocabulary", name, 0.1, POLL_ERRORS)
        if provider_error is not None:
            return provider_error
        if "full" in words:
            return FULL
        self.asked_for[name] = self.asked_for.get(name, 0) + 1
        if self.asked_for[name] <= max(LATE.get(word, 0) for word in words):
            return NOT_READY
        return self.ledger.list_of(model, words)

    def _provider_error(
        self, question: str, subject: str, share: float, provider_errors: Sequence[Error]
    ) -> Error | None:
        """What stands in place of an answer, None for nothing."""
        if self.calm:
            return None
        code = self.chance.ask(
            question,
            subject,
            lambda rng: rng.choice(provider_errors).code if rng.random() < share else None,
            None,
        )
        return None if code is None else _by_code(provider_errors, code)


def _number(value: Json) -> int:
    assert isinstance(value, int)
    return value


def _by_code(provider_errors: Sequence[Error], code: Json) -> Error:
    return next(provider_error for provider_error in provider_errors if provider_error.code == code)


def _shuffled(count: int) -> Callable[[random.Random], list[int]]:
    def shuffled(rng: random.Random) -> list[int]:
        order = list(range(count))
        rng.shuffle(order)
        return order

    return shuffled
