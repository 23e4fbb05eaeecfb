"""One process from its start to its end: the order of a stop, crashes, and what the probes say."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import pytest
import structlog

from service import __version__
from service.app import from_settings, wiring
from service.app import process as app
from service.app.from_settings import fingerprint_of
from service.app.process import CLOSING_SECONDS, COMMIT_SECONDS, Service
from service.app.wiring import Parts, Process
from service.core.job.submission import SubmissionState
from service.errors import ConfigError, RestoreError
from service.kafka.admin.topics import Layout
from service.kafka.client.group_leave import LEAVE_SECONDS
from service.kafka.client.lifecycle import STOP_SECONDS
from service.kafka.group.consumer import RequestConsumer
from service.kafka.group.partition_offsets import PartitionOffsets
from service.kafka.journal.tail import Tail
from service.observability.health import Heartbeat, MetricsPage
from service.observability.log import Secrets
from service.observability.status import Status
from service.pipeline.audit import Audit
from service.pipeline.shard.stage_breaker import StageName
from service.settings import Settings, load
from tests.fakes.clock import FakeClock, LeapingLoop, settle
from tests.unit.pipeline.member import Member
from tests.unit.pipeline.world import World, journalled, state

GRACE_SECONDS = 25.0
Turn = Callable[[], None]


@dataclass
class FakeConsumer:
    """The group consumer; it notes what is asked of it. `break_at` raises there, `hang_at` waits there."""

    stage: "Stage"
    break_at: str = ""
    hang_at: str = ""
    is_leaving: bool = False

    def release_name(self) -> None:
        self.is_leaving = True

    async def start(self) -> None:
        await self._note("consumer started")

    async def run(self, on_tick: Turn) -> None:
        try:
            await _turns(on_tick)
        finally:
            self.stage.notes.append("consumer loop ended")

    async def commit_last(self) -> None:
        await self._note(f"committed {dict(self.stage.member.assignment.durable_offsets())}")

    async def stop(self, *, is_final: bool) -> None:
        await self._note("consumer left" if is_final else "consumer stopped")
        await settle()
        self.stage.notes.append(f"{len(self.stage.member.assignment.open_shards())} shards open")

    async def _note(self, word: str) -> None:
        if self.break_at and word.startswith(self.break_at):
            raise ConfigError(word)
        if self.hang_at and word.startswith(self.hang_at):
            await asyncio.Event().wait()
        self.stage.notes.append(word)


class FakeTail:
    """The journal's tail: it turns and reads nothing."""

    async def run(self, on_tick: Turn) -> None:
        await _turns(on_tick)


class FakeOffsets:
    """The ends of topics: nothing is known of them."""

    async def run(self, on_tick: Turn) -> None:
        await _turns(on_tick)

    def lag(self, _partition: int, _next_offset: int) -> None:
        return None

    def journal_offsets(self, _partition: int) -> None:
        return None


async def _turns(on_tick: Turn) -> None:
    while True:
        on_tick()
        await asyncio.sleep(1)


@dataclass
class FakeHealth:
    """The health port without its port."""

    stage: "Stage"

    def __call__(
        self,
        host: str,
        port: int,
        status: Callable[[], Status],
        metrics_page: MetricsPage,
        ready: Callable[[], tuple[bool, str]],
        beat: Heartbeat,
    ) -> "FakeHealth":
        self.status, self.page, self.ready, self.beat = status, metrics_page, ready, beat
        return self

    def start(self) -> None:
        self.stage.notes.append("health started")

    def stop(self) -> None:
        self.stage.notes.append("health stopped")


@dataclass
class Stage:
    """A service whose Kafka, provider and health port are played; `notes` is what happened, in order."""

    notes: list[str] = field(default_factory=list)
    layout: Layout = field(default_factory=lambda: Layout(4, ()))
    prepared: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: ConfigError | None = None
    lacking: ConfigError | None = None

    def __post_init__(self) -> None:
        self.prepared.set()
        self.clock = FakeClock()
        self.consumer = FakeConsumer(self)
        self.health = FakeHealth(self)
        self.service = Service(settings(), self.clock, Secrets())

    async def require_acls(self, *_given: object) -> None:
        if self.lacking is not None:
            raise self.lacking

    async def prepare(self, *_given: object) -> Layout:
        try:
            await self.prepared.wait()
        except asyncio.CancelledError:
            self.notes.append("preparation ended")
            raise
        if self.refusal is not None:
            raise self.refusal
        return self.layout

    @asynccontextmanager
    async def connected(self, process: Process, layout: Layout) -> AsyncIterator[Parts]:
        self.world = World(clock=self.clock)
        self.member = Member(self.world, spawn=process.spawn)
        world = self.world
        consumer = cast("RequestConsumer", self.consumer)
        try:
            yield Parts(
                self.member.assignment,
                consumer,
                cast("Tail", FakeTail()),
                cast("PartitionOffsets", FakeOffsets()),
                world.stages,
                world.guards,
                world.breaker,
                Audit(self.member.assignment.open_shards, world.stages, world.clock, world.seen),
                _never,
            )
        finally:
            self.notes.append("connections closed")
            await world.spawn.end()

    async def start(self) -> "asyncio.Task[int]":
        """The service at work."""
        serving = asyncio.create_task(self.service.serve())
        await self.clock.sleep(0.1)
        return serving

    async def start_busy(self) -> "asyncio.Task[int]":
        """The service with a POST on the wire, which is not answered before `submit_gate` is set."""
        serving = await self.start()
        await self.member.own(0)
        self.world.provider.submit_gate.clear()
        self.member.deliver(0, "r")
        await self.clock.sleep(1)
        return serving


async def _never(on_tick: Callable[[], None]) -> None:
    """Ask nobody for the time."""
    on_tick()


def settings() -> Settings:
    return load(
        {
            "SCRIBE_SHUTDOWN__GRACE_SECONDS": str(GRACE_SECONDS),
            "SCRIBE_PROVIDER__API_KEY": "sk-not-a-real-one",
            "SCRIBE_KAFKA__GROUP_INSTANCE_ID": "scribe-7",
            "SCRIBE_HTTP__PORT": "0",
            "SCRIBE_HTTP__HOST": "127.0.0.1",
        }
    )


Scene = Callable[["Stage"], Coroutine[None, None, None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], "Stage"]:
    """Run a scene on a loop whose time leaps, and give its stage back."""

    def run(scene: Scene) -> Stage:
        stages: list[Stage] = []

        async def act() -> None:
            stage = Stage()
            stages.append(stage)
            monkeypatch.setattr(app, "require_acls", stage.require_acls)
            monkeypatch.setattr(app, "prepare", stage.prepare)
            monkeypatch.setattr(wiring, "connected", stage.connected)
            monkeypatch.setattr(app, "HealthServer", stage.health)
            await scene(stage)

        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(act())
        return stages[0]

    return run


Play = Callable[[Scene], Stage]


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


# A stop.


def test_a_signal_stops_everything_in_the_order_that_loses_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start_busy()
        terminate()
        await stage.clock.sleep(5)
        assert stage.notes[-1] == "consumer loop ended"
        assert not serving.done()
        stage.world.provider.submit_gate.set()
        assert await serving == 0
        assert journalled(stage.world.broker, "r/0/0") == ["accepted", "intended", "running"]

    stage = play(scene)
    assert stage.consumer.is_leaving
    assert stage.notes == [
        "health started",
        "consumer started",
        "consumer loop ended",
        "committed {0: 1}",
        "consumer stopped",
        "0 shards open",
        "connections closed",
        "health stopped",
    ]


def test_the_log_tells_of_start_and_stop(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.layout = Layout(4, ("replication is 1",))
        serving = await stage.start()
        terminate()
        await serving

    with structlog.testing.capture_logs() as lines:
        play(scene)
    assert [line["event"] for line in lines] == [
        "topics_warning",
        "service_started",
        "draining",
        "drained",
        "service_stopped",
    ]
    assert lines[0]["detail"] == "replication is 1"
    assert [line["member"] for line in lines if "member" in line] == ["scribe-7"] * 3


def test_the_first_line_says_what_the_process_works_with(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        terminate()
        await serving

    with structlog.testing.capture_logs() as lines:
        play(scene)
    [started] = [line for line in lines if line["event"] == "service_started"]
    assert started == {
        "event": "service_started",
        "log_level": "info",
        "version": __version__,
        "member": "scribe-7",
        "brokers": "127.0.0.1:9092",
        "group": "scribe",
        "topics": {
            "requests": "transcription.requests",
            "results": "transcription.results",
            "failures": "transcription.failures",
            "journal": "transcription.journal",
        },
        "delivery": "exactly_once",
        "provider": urlsplit(str(settings().provider.base_url)).netloc,
    }
    assert "sk-not-a-real-one" not in repr(lines)


def test_two_processes_on_one_host_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = from_settings.member_of(load({"SCRIBE_PROVIDER__API_KEY": "k"}))
    assert mine == from_settings.member_of(load({"SCRIBE_PROVIDER__API_KEY": "k"}))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert mine != from_settings.member_of(load({"SCRIBE_PROVIDER__API_KEY": "k"}))


@pytest.mark.parametrize("each", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_stops_an_idle_service_at_once(play: Play, each: signal.Signals) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        await stage.member.own(0, 1)
        began = stage.clock.boot_seconds()
        os.kill(os.getpid(), each)
        await serving
        assert stage.clock.boot_seconds() - began < 0.1

    play(scene)


def test_a_stop_ends_within_the_grace_whatever_is_on_the_wire(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start_busy()
        began = stage.clock.boot_seconds()
        terminate()
        assert await serving == 0
        assert 15 < stage.clock.boot_seconds() - began <= GRACE_SECONDS

    assert play(scene).notes[-1] == "health stopped"


def test_what_is_kept_of_the_grace_is_enough_for_every_goodbye() -> None:
    """The last commit, leaving, then the group's consumer, the producer and the tail."""
    assert COMMIT_SECONDS + LEAVE_SECONDS + 3 * STOP_SECONDS <= CLOSING_SECONDS


def test_a_static_member_leaves_after_its_drain_if_the_setting_says_so(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start_busy()
        terminate()
        await stage.clock.sleep(5)
        assert "consumer left" not in stage.notes
        stage.world.provider.submit_gate.set()
        assert await serving == 0

    with pytest.MonkeyPatch.context() as patch:
        leaving = load({"SCRIBE_SHUTDOWN__LEAVE_GROUP": "always"}).shutdown
        whole = settings().model_copy(update={"shutdown": leaving})
        patch.setitem(globals(), "settings", lambda: whole)
        stage = play(scene)
    assert stage.notes[3:5] == ["committed {0: 1}", "consumer left"]


def test_a_second_signal_skips_the_wait(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start_busy()
        terminate()
        await stage.clock.sleep(1)
        assert not serving.done()
        began = stage.clock.boot_seconds()
        terminate()
        assert await serving == 0
        assert stage.clock.boot_seconds() - began < 0.1

    assert "committed {0: 1}" in play(scene).notes


def test_tasks_at_the_provider_are_not_waited_for(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        [shard] = await stage.member.own(0)
        stage.member.deliver(0, *(f"r{number}" for number in range(30)))
        await stage.clock.sleep(1)
        assert {state(shard, f"r{number}") for number in range(30)} == {SubmissionState.RUNNING}
        began = stage.clock.boot_seconds()
        terminate()
        await serving
        assert stage.clock.boot_seconds() - began < 0.1

    play(scene)


def test_a_last_commit_that_hangs_is_not_waited_for(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.consumer.hang_at = "committed"
        serving = await stage.start()
        began = stage.clock.boot_seconds()
        terminate()
        assert await serving == 0
        assert stage.clock.boot_seconds() - began == pytest.approx(COMMIT_SECONDS, abs=0.1)

    assert "consumer stopped" in play(scene).notes


def test_a_rebalance_during_the_stop_begins_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start_busy()
        terminate()
        await stage.clock.sleep(1)
        stage.member.assignment.assigned([0, 1])
        await stage.clock.sleep(1)
        assert stage.member.assignment.partitions == {}
        stage.world.provider.submit_gate.set()
        assert await serving == 0

    play(scene)


def test_a_signal_during_the_start_ends_it(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.prepared.clear()
        serving = await stage.start()
        terminate()
        assert await serving == 0

    assert play(scene).notes == ["health started", "preparation ended", "health stopped"]


def test_signals_have_no_handler_after_the_end(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        terminate()
        await serving
        assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    play(scene)


# A start that fails, and a crash.


def test_a_service_without_its_permissions_makes_no_topics(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.lacking = ConfigError("no permission for Write on topic t")
        stage.refusal = ConfigError("prepared all the same")
        with pytest.raises(ConfigError, match="no permission for Write"):
            await stage.service.serve()

    assert play(scene).notes == ["health started", "health stopped"]


def test_a_start_that_is_refused_says_why(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.refusal = ConfigError("no such topic")
        with pytest.raises(ConfigError, match="no such topic"):
            await stage.service.serve()

    assert play(scene).notes == ["health started", "health stopped"]


def test_a_group_that_cannot_be_joined_ends_the_start(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.consumer.break_at = "consumer started"
        with pytest.raises(ExceptionGroup) as caught:
            await stage.service.serve()
        assert isinstance(caught.value.exceptions[0], ConfigError)

    assert play(scene).notes[-4:] == [
        "consumer stopped",
        "0 shards open",
        "connections closed",
        "health stopped",
    ]


LOOPS = {
    "submit": "service.pipeline.submit.SubmitStage.run",
    "poll": "service.pipeline.poll.PollStage.run",
    "sweep": "service.pipeline.polling.list_sweep.ListSweepStage.run",
    "collect": "service.pipeline.collect.CollectStage.run",
    "expire": "service.app.process.expire",
    "tail": "tests.unit.app.test_process.FakeTail.run",
    "offsets": "tests.unit.app.test_process.FakeOffsets.run",
    "consume": "tests.unit.app.test_process.FakeConsumer.run",
    "beat": "service.app.process.status_collector.collect",
}


async def _crash(*_given: object) -> None:
    await asyncio.sleep(0.5)
    raise ZeroDivisionError


def _crash_at_once(*_given: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("name", LOOPS)
def test_a_crash_of_any_loop_ends_the_service_with_the_error(
    play: Play, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(LOOPS[name], _crash_at_once if name == "beat" else _crash)

    async def scene(stage: Stage) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await stage.service.serve()
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]

    assert play(scene).notes[-4:] == [
        "consumer stopped",
        "0 shards open",
        "connections closed",
        "health stopped",
    ]


def test_a_crash_of_a_shard_ends_the_service_and_leaves_the_group(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        await stage.member.own(0)
        stage.world.seen.bug = ZeroDivisionError()
        stage.member.deliver(0, "r")
        with pytest.raises(ExceptionGroup):
            await serving

    assert "consumer stopped" in play(scene).notes


def test_a_crash_during_the_stop_is_not_swallowed(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start_busy()
        terminate()
        await stage.clock.sleep(1)
        stage.world.seen.bug = ZeroDivisionError()
        stage.world.provider.submit_gate.set()
        with pytest.raises(ExceptionGroup):
            await serving

    assert "consumer stopped" in play(scene).notes


# What the probes and pages show.


def test_readiness_says_what_it_waits_for(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.service._ready == (False, "starting")
        serving = await stage.start()
        ready = stage.health.ready
        await stage.clock.sleep(2)
        said = [ready()]
        gates = [stage.member.journal.hang(partition) for partition in (2, 0)]
        stage.member.journal.refusals.append(RestoreError("x"))
        stage.member.assignment.assigned([2, 1, 0])
        await stage.clock.sleep(2)
        said.append(ready())
        gates[1].set()
        await stage.clock.sleep(2)
        said.append(ready())
        gates[0].set()
        await stage.clock.sleep(2)
        said.append(ready())
        terminate()
        await serving
        assert said == [
            (False, "no assignment yet"),
            (False, "restoring partitions 0, 2"),
            (False, "restoring partitions 2"),
            (True, "ready"),
        ]

    play(scene)


def test_a_member_that_the_group_has_lost_is_not_ready_until_it_is_back(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        shards = stage.member.assignment
        shards.assigned([])
        await stage.clock.sleep(2)
        said = [stage.health.ready()]
        shards.lost("user u may not read topic requests; https://u:canary@h/")
        await stage.clock.sleep(2)
        said.append(stage.health.ready())
        shards.assigned([])
        await stage.clock.sleep(2)
        said.append(stage.health.ready())
        terminate()
        await serving
        assert [is_ready for is_ready, _ in said] == [True, False, True]
        assert said[1][1].startswith("the group is lost: user u may not read topic requests")
        assert "canary" not in said[1][1]

    play(scene)


def test_a_stage_that_is_stopped_shows_in_readiness_and_leaves_the_member_ready(play: Play) -> None:
    """An unready process would hold up the roll-out of the fix."""

    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        stage.member.assignment.assigned([])
        for request in "abcde":
            stage.world.breaker.failed(StageName.POLL, request)
        await stage.clock.sleep(2)
        is_ready, told = stage.health.ready()
        assert (is_ready, told) == (True, "ready, but stopped for faults of Scribe itself: poll")
        assert stage.health.status().stopped_stages == ("poll",)
        terminate()
        await serving

    play(scene)


def test_a_member_without_partitions_is_ready(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        stage.member.assignment.assigned([])
        await stage.clock.sleep(2)
        assert stage.health.ready() == (True, "ready")
        terminate()
        await serving

    play(scene)


def test_a_refused_shard_does_not_keep_the_others_from_being_ready(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        stage.member.journal.refusals.extend([RestoreError("not this topic's")] * 100)
        stage.member.assignment.assigned([0])
        await stage.clock.sleep(2)
        assert stage.health.ready() == (True, "ready")
        [shard] = stage.health.status().shards
        assert (shard.state, shard.detail) == ("refused", "not this topic's")
        terminate()
        await serving

    play(scene)


def test_the_loop_beats_and_renews_the_picture_once_a_second(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        await stage.member.own(0)
        stage.member.deliver(0, "a", "b")
        await stage.clock.sleep(1)
        assert stage.health.status().submissions == {"running": 2}
        for _ in range(50):
            await stage.clock.sleep(0.5)
            assert stage.health.beat.age_seconds() <= 1.01
        terminate()
        await serving

    play(scene)


def test_readiness_and_the_lag_of_the_loop_are_metrics(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        await stage.clock.sleep(2)
        assert "\nscribe_ready 0.0" in stage.health.page("")[1].decode()
        await stage.member.own(0)
        await stage.clock.sleep(2)
        page = stage.health.page("")[1].decode()
        assert "\nscribe_ready 1.0" in page
        assert 'scribe_event_loop_lag_seconds_bucket{le="0.001"}' in page
        assert f'scribe_settings_info{{hash="{fingerprint_of(settings())}"}} 1.0' in page
        terminate()
        await serving

    play(scene)


def test_every_loop_shows_its_turns(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        serving = await stage.start()
        await stage.clock.sleep(5)
        page = stage.health.page("")[1].decode()
        for name in LOOPS:
            line = f'scribe_loop_age_seconds{{loop="{name}"}}'
            [age] = [each.split()[1] for each in page.splitlines() if each.startswith(line)]
            assert float(age) <= 1.01
        terminate()
        await serving

    play(scene)


def test_a_run_gives_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the machine's own clock, with a real health port."""

    async def prepare(*_given: object) -> Layout:
        terminate()
        await asyncio.Event().wait()
        raise AssertionError

    async def require_acls(*_given: object) -> None:
        return

    monkeypatch.setattr(app, "require_acls", require_acls)
    monkeypatch.setattr(app, "prepare", prepare)
    assert app.run(settings(), Secrets()) == 0
