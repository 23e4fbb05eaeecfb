"""What a process does each second does not grow with the number of its open jobs."""

from collections.abc import Iterator
from typing import Any

import pytest

from service.app import status_collector
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.job.tables import Submissions
from service.core.journal.open_work import OpenJobs, OpenRequests
from service.pipeline.expire import expire
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.test_memory import journal, take_over
from tests.unit.pipeline.world import ARREARS, Limits, World

SOME, MANY = 10, 500
SECONDS = 30


class Noting(dict[Any, Any]):
    """The values of a table; notes each key or value that is visited."""

    def __init__(self, visits: list[object]) -> None:
        super().__init__()
        self.visits = visits

    def noted(self, found: Any) -> Iterator[Any]:
        for each in found:
            self.visits.append(each)
            yield each

    def __getitem__(self, key: object) -> Any:
        self.visits.append(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.visits.append(key)
        return super().__contains__(key)

    def get(self, key: object, default: object = None) -> Any:
        self.visits.append(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[Any]:
        return self.noted(super().__iter__())

    def values(self) -> Any:
        return self.noted(super().values())

    def items(self) -> Any:
        return self.noted(super().items())


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is visited in the tables of requests, jobs and submissions."""
    found: list[object] = []

    def note(kind: type[Any], name: str) -> None:
        begin = kind.__init__

        def noting(self: Any, *of: object) -> None:
            begin(self, *of)
            setattr(self, name, Noting(found))

        monkeypatch.setattr(kind, "__init__", noting)

    note(Submissions, "_values")
    note(OpenJobs, "_kept")
    note(OpenRequests, "_kept")
    return found


async def visits_in_a_while(jobs: int, visits: list[object]) -> int:
    """How many values the sweep of deadlines and the status visit while the tasks of so many jobs run."""
    world = World(Limits())
    try:
        member = Member(world)
        await member.own(0)
        [shard] = member.assignment.open_shards()
        await take_over(shard, [each for number in range(1, jobs + 1) for each in journal(number)])
        world.hold.judge(ARREARS)
        visits.clear()
        sweep = expire(
            member.assignment.open_shards, world.clock, world.breaker, lambda: None, lambda *_: "no reason"
        )
        world.spawn(sweep, name="expire")
        sources = status_collector.Sources(
            "m", member.assignment, world.guards, world.breaker, world.clock, world.stages
        )
        for _ in range(SECONDS):
            await world.clock.sleep(1)
            seen = status_collector.collect(sources)
            assert seen.jobs == {JobState.SUBMITTED: jobs}
            assert seen.submissions == {SubmissionState.RUNNING: jobs}
            assert [held.jobs_waiting for held in seen.holds] == [0]
        return len(visits)
    finally:
        await world.end()


async def test_the_deadlines_and_the_status_do_not_visit_every_open_job(visits: list[object]) -> None:
    assert await visits_in_a_while(MANY, visits) == await visits_in_a_while(SOME, visits) <= 4 * SECONDS
