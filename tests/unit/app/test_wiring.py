"""What a process has opened is closed again, however far its start came."""

import asyncio
from collections.abc import Coroutine

import pytest

from service.app import wiring
from service.app.wiring import Process, connected
from service.core.limits.spend_limit import DaySpend
from service.errors import ClusterError
from service.kafka.admin.topics import Layout
from service.observability.instrumentation import PipelineInstrumentation
from service.observability.metrics import Metrics
from service.settings import load
from tests.fakes.clock import FakeClock


class StubProducer:
    """Notes what becomes of it."""

    def __init__(self, *_given: object, **_named: object) -> None:
        self.notes: list[str] = []
        made.append(self)

    async def start(self) -> None:
        self.notes.append("start")

    async def stop(self) -> None:
        self.notes.append("stop")


made: list[StubProducer] = []


class LostReader:
    """The broker went away after the producer had connected."""

    def __init__(self, *_given: object) -> None:
        pass

    async def __aenter__(self) -> None:
        raise ClusterError("the cluster does not answer")

    async def __aexit__(self, *_given: object) -> None:
        raise AssertionError("never entered")


def _spawn(coroutine: Coroutine[None, None, None], *, name: str) -> "asyncio.Task[None]":
    return asyncio.create_task(coroutine, name=name)


async def test_a_start_that_fails_halfway_closes_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    monkeypatch.setattr(wiring, "Producer", StubProducer)
    monkeypatch.setattr(wiring, "ReconnectingReader", LostReader)
    settings = load(
        {"SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one", "SCRIBE_KAFKA__DELIVERY": "at_least_once"}
    )
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    process = Process(settings, clock, metrics, PipelineInstrumentation(metrics, {}), _spawn)
    with pytest.raises(ClusterError, match="does not answer"):
        async with connected(process, Layout(partitions=1, limits={}, warnings=())):
            raise AssertionError("a process without a reader works")
    assert [each.notes for each in made] == [["start", "stop"]]


def test_partitions_that_are_added_later_take_their_part_of_a_days_limit() -> None:
    settings = load(
        {"SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one", "SCRIBE_SPEND__SECONDS_PER_DAY": "1000"}
    )
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    process = Process(settings, clock, metrics, PipelineInstrumentation(metrics, {}), _spawn)
    ours = [DaySpend().count(clock.confirmed_ms(), 500)]
    guards = wiring._guards(process, Layout(partitions=1, limits={}, warnings=()), lambda: ours, lambda _: 0)
    assert guards.spend_guard.wait_seconds() == 0
    guards.limiter.partitioned(2)
    assert guards.spend_guard.wait_seconds() > 0
