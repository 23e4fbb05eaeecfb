"""The provider's ledger: every task and every call that it billed, and what may not have been billed.

Jobs stand in it under the oracle's names: an id that is used again after the window is another job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.unit.core.simulation.files import nature_of
from tests.unit.core.simulation.port import Error, check

DAY_MS = 24 * 3600 * 1000
REDONE = {"FILE_DOWNLOAD_FAILED", "InternalError"}
"""Codes on a file after which its job may be submitted again."""
MOST_SUBMITS = 3
MOST_CALLS = 3
"""Of a synchronous model, for one file: a lost call is made again at most twice."""
SYNCHRONOUS = ("qwen3-asr-flash",)


@dataclass(slots=True)
class Task:
    """One provider task and what will become of it."""

    id: str
    files: dict[str, str]
    """Job to URL."""
    created_ms: int
    visible_ms: int
    starts_ms: int
    ends_ms: int
    provider_error: Error | None
    provider_errors: dict[str, Error | None]
    """By URL; None: it is transcribed."""
    is_lost: bool
    is_failed: bool
    cancelled: bool = False

    def error_of(self, url: str) -> Error | None:
        """Why the file has no result, None where it has one."""
        return self.provider_error or self.provider_errors[url]

    def is_over(self, now_ms: int) -> bool:
        """Whether nothing changes any more."""
        return self.cancelled or now_ms >= self.ends_ms

    def status(self, now_ms: int) -> str:
        """The vendor's word."""
        if self.cancelled:
            return "CANCELED"
        if now_ms < self.ends_ms:
            return "PENDING" if now_ms < self.starts_ms else "RUNNING"
        return "FAILED" if self.is_failed else "SUCCEEDED"

    def names(self, url: str) -> bool:
        """Whether it names the file in the end."""
        return self.provider_error is None and nature_of(url) != "missing"

    def is_expired(self, now_ms: int) -> bool:
        """Whether the result is gone."""
        return now_ms > self.ends_ms + DAY_MS


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a synchronous model: who made it, and whether its answer was given."""

    epoch: int
    is_billed: bool
    is_heard: bool


@dataclass(slots=True)
class Ledger:
    """All that was billed, by the names of the jobs and by the files."""

    noted: set[str]
    """Tasks that a record of a journal names, if it is no stranger's."""
    tasks: dict[str, Task] = field(default_factory=dict)
    by_name: dict[str, list[Task]] = field(default_factory=dict)
    by_url: dict[str, list[Task]] = field(default_factory=dict)
    posted: dict[str, list[frozenset[str]]] = field(default_factory=dict)
    """The files of each POST that a job was in."""
    calls: dict[str, list[Call]] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    """Jobs of a POST that was refused for good."""
    refused: set[str] = field(default_factory=set)
    """Jobs of a POST that was refused at all."""
    readings: list[int] = field(default_factory=list)
    """When the list was read whole."""
    lists: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Hotword lists: model and words."""
    lost_after_accept: int = 0

    @staticmethod
    def is_call(model: str) -> bool:
        """Whether the model answers at once."""
        return model in SYNCHRONOUS

    def add(self, task: Task) -> None:
        """A task was made."""
        self.tasks[task.id] = task
        for name, url in task.files.items():
            self.by_name.setdefault(name, []).append(task)
            self.by_url.setdefault(url, []).append(task)

    def add_call(self, name: str, call: Call) -> None:
        """A call was made."""
        self.calls.setdefault(name, []).append(call)

    def list_of(self, model: str, words: Sequence[str]) -> str:
        """The id of a hotword list, made if there is none yet."""
        content = (model, tuple(sorted(words)))
        found = next((each for each, of in self.lists.items() if of == content), None)
        made = found or f"vocab-{len(self.lists)}"
        self.lists[made] = content
        return made

    def check_submit(self, files: Mapping[str, str], jobs_of_url: Mapping[str, int], now_ms: int) -> None:
        """N3 and N10: no earlier task of the jobs may still succeed, and the number is bounded.

        Tasks of equal files are as good as each other, and one job may have taken another's: it counts how
        many there are, and how many of them may still succeed.
        """
        for name, url in files.items():
            tasks = self.by_url.get(url, [])
            billed = [task for task in tasks if not self._is_nobodys(task, url, now_ms)]
            is_bounded = len(billed) < MOST_SUBMITS * jobs_of_url[url]
            check(is_bounded, f"N10: {name} is billed more often than the table allows")
            alive = [task.id for task in tasks if self._may_succeed(task, url, now_ms)]
            told = f"N3: {name} is submitted again, and one of {alive} may still succeed"
            check(len(alive) < jobs_of_url[url], told)

    def check_call(self, name: str, epoch: int) -> None:
        """N3 and N10 for a synchronous model: only what was lost is called for again, and not for ever."""
        calls = self.calls.get(name, [])
        heard = [call for call in calls if call.is_heard and call.epoch == epoch]
        check(not heard, f"N3: {name} is called for again by the owner that was answered")
        billed = sum(call.is_billed for call in calls)
        check(billed < MOST_CALLS, f"N10: {name} is called for again after {billed} calls that were billed")

    def judge_bill(self, jobs_of_url: Mapping[str, int], now_ms: int) -> None:
        """N10, at the end: for each file one bill, and one more for each that the table allows."""
        for url, jobs in jobs_of_url.items():
            excess = sum(self._may_succeed(task, url, now_ms) for task in self.by_url.get(url, [])) - jobs
            check(excess <= 0, f"N10: {url} is billed {excess} times too often")

    def tasks_for(self, name: str, url: str) -> list[Task]:
        """Those that may be a job's: with just the files of a POST of its, or, without any, with its file."""
        posted, tasks = self.posted.get(name), self.by_url.get(url, [])
        return [task for task in tasks if not posted or frozenset(task.files.values()) in posted]

    def _may_succeed(self, task: Task, url: str, now_ms: int) -> bool:
        provider_error = task.error_of(url)
        redone = task.is_over(now_ms) and provider_error is not None and provider_error.code in REDONE
        return not redone and not self._is_nobodys(task, url, now_ms)

    def _is_nobodys(self, task: Task, url: str, now_ms: int) -> bool:
        """Which the provider has lost, and no owner that counts has written down; or which ended without
        naming the file.

        Of the latter nothing can come for the file. Of neither anybody can tell that it was its task.
        """
        is_gone = task.is_lost and task.id not in self.noted
        return is_gone or (task.is_over(now_ms) and not task.names(url))
