"""The phases of the storm, in their order, and the alerts that each is for.

`may` are alerts that a phase rightly fires besides. Each phase leaves healthy replicas without open work.
"""

import asyncio
import signal
import time

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from tests.brokers import admin
from tests.integration.stack import CHECK_SECONDS
from tests.integration.test_clock_steps import faked
from tests.integration.test_main_job import HELLO
from tests.watch.storm import Phase, Storm
from tests.watch.worker import BUG, FORGET, LATE_RESTORE, REFUSED, STICK, UNSURE

PARTITIONS = 6
LIMIT_SECONDS = 20_000
"""The day's limit of billed seconds."""
OPEN_JOBS = 20
FEW = 6
"""Too few late results for an alert on them."""
SETTINGS = {
    "SCRIBE_SPEND__SECONDS_PER_DAY": str(LIMIT_SECONDS),
    "SCRIBE_SPEND__PRICES": "fun-asr=0.01",
    "SCRIBE_SUBMIT__SETTLE_SECONDS": "2",
    "SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": "3",
    "SCRIBE_LIMITS__OPEN_JOBS": str(OPEN_JOBS),
    "SCRIBE_TOPICS__PARTITIONS": str(PARTITIONS),
}
"""Of all replicas."""
LONG = HELLO.replace("run=0.2", "run=800")
"""A task of 80 s at the simulator's speed."""
STARTS = ("ScribeNotReady", "ScribeReplicaMissing")
"""While several replicas start, on a busy machine."""
BURNS = ("ScribeFilesFailFast", "ScribeFilesFailSlow")
LATE = ("ScribeResultsLateFast", "ScribeResultsLateSlow")
"""Their windows of up to six minutes reach into later phases: one more late result may make them fire."""


async def health(storm: Storm) -> None:
    """Results, failures that requesters have to mend, and enough running tasks for the list to be used.

    Shards move while Prometheus looks on: it shows no change of a counter before it has read it once.
    """
    await storm.start(*storm.names[1:])
    await storm.publish(20, HELLO.replace("run=0.2", "run=50"))
    await storm.publish(10)
    await storm.publish(3, f"{HELLO}&fail=FILE_404_NOT_FOUND")
    await storm.all_end()


async def hold(storm: Storm) -> None:
    """The account is in arrears."""
    storm.fault("submit", "status", status=403, code="Arrearage")
    await storm.publish(5)
    await storm.server.until_fires("ScribeHold")
    await storm.server.until_fires("ScribeNothingMoves")
    storm.mend()
    await storm.all_end()


async def throttling(storm: Storm) -> None:
    """The provider refuses most submits."""
    begin = time.time()
    storm.fault("submit", "status", status=429, code="Throttling.RateQuota", match="throttled=1")
    await storm.publish(FEW, f"{HELLO}&throttled=1")
    await storm.server.until_has_fired("ScribeThrottled", begin)
    storm.mend()
    await storm.all_end()


async def lost_answers(storm: Storm) -> None:
    """A submit gets no answer, and there is no task of it."""
    storm.fault("submit", "drop_before", times=1)
    await storm.publish()
    await storm.all_end()


async def outage(storm: Storm) -> None:
    """The provider fails each submit."""
    storm.fault("submit", "status", status=500)
    await storm.publish(6)
    await storm.server.until_fires("ScribeOutage")
    storm.mend()
    await storm.all_end()


async def slow_polls(storm: Storm) -> None:
    """Each query of a task takes seconds, and some fail."""
    storm.fault("query", "slow", seconds=2.0)
    await storm.publish(12, HELLO.replace("run=0.2", "run=50"))
    await storm.all_end()


async def garbled_results(storm: Storm) -> None:
    """A finished task's result is no transcript, as often as it is fetched."""
    storm.fault("result", "garbage")
    await storm.publish(2)
    await storm.all_end()


async def files_fail(storm: Storm) -> None:
    """The provider fails file after file."""
    begin = time.time()
    while not set(BURNS) <= await storm.server.fired(begin, time.time()):
        if storm.published - len(storm.ended) < OPEN_JOBS:
            await storm.publish(OPEN_JOBS // 4, f"{HELLO}&fail=InternalError")
        await asyncio.sleep(1.0)
        assert time.time() < begin + 120, "no alert for files that fail"
    await storm.all_end()


async def full(storm: Storm) -> None:
    """All replicas have as many jobs as they may, so that requests wait in Kafka and come late."""
    await storm.publish(4 * OPEN_JOBS, LONG)
    await storm.publish(3 * OPEN_JOBS)
    await storm.all_end()


async def uncertain(storm: Storm) -> None:
    """An answer is lost, and the list fails, so that nobody can say whether there is a task."""
    storm.fault("list", "status", status=500)
    storm.fault("submit", "drop_after", times=2)
    await storm.publish(2)
    await storm.server.until_fires("ScribeUncertain")
    storm.mend()
    await storm.all_end()


async def internal_error(storm: Storm) -> None:
    """Reading one result meets a fault of ours, three times."""
    storm.switch(BUG)
    await storm.publish()
    await storm.all_end()


async def stopped_stage(storm: Storm) -> None:
    """Reading any result does, so that each replica stops."""
    storm.switch(BUG)
    await storm.publish(OPEN_JOBS)
    await storm.server.until_fires("ScribeStageStopped")
    storm.mend()
    await storm.all_end()


async def lost_track(storm: Storm) -> None:
    """A replica forgets to fetch a result."""
    storm.switch(FORGET)
    await storm.publish()
    await storm.server.until('sum(scribe:open_jobs:sum{state="collecting"}) == 1')
    storm.mend()
    await storm.server.until("sum(scribe_work_restored_total) > 0", seconds=200)
    await storm.all_end()


async def stuck_loop(storm: Storm) -> None:
    """One loop of each replica stands still."""
    storm.switch(STICK)
    await storm.server.until_fires("ScribeLoopStuck")


async def late_event_loop(storm: Storm) -> None:
    """A replica gets a processor for half a second in three."""
    begin = time.time()
    while "ScribeEventLoopLate" not in await storm.server.fired(begin, time.time()):
        storm.send("scribe-1", signal.SIGSTOP)
        await asyncio.sleep(2.0)
        storm.send("scribe-1", signal.SIGCONT)
        await asyncio.sleep(0.7)
        assert time.time() < begin + 120, "no alert for a late event loop"


async def clock(storm: Storm) -> None:
    """The wall clock of a machine steps by three days."""
    path = storm.folder / "clock"
    path.write_text("+0")
    await storm.restart("scribe-1", **faked(path))
    path.write_text("+3d")
    await storm.server.until_fires("ScribeClock")
    path.write_text("+0")
    await storm.restart("scribe-1")


async def settings_differ(storm: Storm) -> None:
    """One replica is started with another setting, and the others are not."""
    await storm.restart("scribe-1", SCRIBE_LIMITS__OPEN_JOBS=str(OPEN_JOBS + 1))
    await storm.server.until_fires("ScribeSettingsDiffer")
    await storm.restart("scribe-1")


async def freeze(storm: Storm) -> None:
    """A machine stands still for longer than its session."""
    # The alert compares with the last hours, in steps of five seconds here.
    await storm.server.until(f"count(scribe_build_info offset 6s) == {len(storm.names)}")
    await storm.publish(12, HELLO.replace("run=0.2", "run=50"))
    storm.send("scribe-0", signal.SIGSTOP)
    await storm.server.until_fires("ScribeReplicaMissing")
    storm.send("scribe-0", signal.SIGCONT)
    await storm.all_end()


async def kill(storm: Storm) -> None:
    """A replica is killed while work runs, and started again."""
    await storm.publish(12, HELLO.replace("run=0.2", "run=50"))
    await storm.stop("scribe-1", how=signal.SIGKILL)
    await storm.start("scribe-1")
    await storm.all_end()


async def restarts(storm: Storm) -> None:
    """A replica ends as often as it starts."""
    begin = time.time()
    while "ScribeRestarts" not in await storm.server.fired(begin, time.time()):
        await storm.stop("scribe-1", how=signal.SIGKILL)
        before = time.time()
        await storm.launch("scribe-1")
        await storm.server.until(f'process_start_time_seconds{{instance="scribe-1"}} > {before - 2}')
        assert time.time() < begin + 120, "no alert for restarts"
    await storm.restart("scribe-1")


async def late_restore(storm: Storm) -> None:
    """A replica that starts is very long in reading its journals."""
    storm.switch(LATE_RESTORE)
    await storm.stop("scribe-1")
    await storm.launch("scribe-1")
    await storm.server.until_fires("ScribeNotReady")
    storm.mend()
    await storm.stack.until_ready(storm.replicas["scribe-1"])


async def refused(storm: Storm) -> None:
    """The group's client of each replica stops, and Kafka lets no other in."""
    storm.switch(REFUSED)
    await storm.server.until_fires("ScribeGroupLost")
    await storm.server.until_fires("ScribeNotReady")
    storm.mend()
    await storm.publish(FEW)
    await storm.all_end()


async def unsure(storm: Storm) -> None:
    """Kafka takes each batch, and its answer is lost."""
    begin = time.time()
    storm.switch(UNSURE)
    while "ScribeKafkaWrites" not in await storm.server.fired(begin, time.time()):
        await storm.publish(FEW)
        await asyncio.sleep(1.0)
        assert time.time() < begin + 120, "no alert for batches of which nothing is known"
    storm.mend()
    await storm.all_end()


async def near_edge(storm: Storm) -> None:
    """Results lie on a host that the settings do not allow, until the vendor is about to delete them.

    All replicas start with a clock that is ahead: they believe it, as it is all that they have.
    """
    state = storm.stack.sim.state
    origin, state.origin = state.origin, "https://results.invalid"
    await storm.publish(4)
    await storm.server.until_fires("ScribeResultsHeld")
    path = storm.folder / "near-edge"
    path.write_text("+21h")
    await storm.restart(**faked(path))
    await storm.server.until_fires("ScribeNearLoss")
    await storm.server.until_fires("ScribeOldJob")
    state.origin = origin
    await storm.restart()
    await storm.all_end()


async def kafka_frozen(storm: Storm) -> None:
    """Kafka keeps its connections and answers nobody."""
    assert storm.cluster is not None
    await storm.publish(FEW, HELLO.replace("run=0.2", "run=50"))
    begin = time.time()
    storm.cluster.nodes[0].freeze()
    try:
        for alert in ("ScribeNoMembership", "ScribeShardUnserved"):
            await storm.server.until_has_fired(alert, begin)
    finally:
        storm.cluster.nodes[0].thaw()
    await storm.all_end()


async def spend_limit(storm: Storm) -> None:
    """One file bills the whole day."""
    await storm.publish(1, HELLO.replace("duration=4", f"duration={LIMIT_SECONDS}"))
    await storm.all_end()
    await storm.publish(3)
    await storm.server.until_fires("ScribeSpendLimitReached")
    await storm.server.until_fires("ScribeSpendNearLimit")
    await storm.server.until("sum(scribe:waiting_jobs:sum{reason='spend_limit'}) > 0")
    storm.settings = {**storm.settings, "SCRIBE_SPEND__SECONDS_PER_DAY": str(10 * LIMIT_SECONDS)}
    await storm.restart()
    await storm.all_end()


async def all_away(storm: Storm) -> None:
    """No replica runs."""
    await storm.stop()
    await storm.server.until_fires("ScribeAbsent")
    await storm.start()


async def requests_deleted(storm: Storm) -> None:
    """Kafka deletes requests while nobody reads."""
    await storm.stop()
    await storm.publish(30, is_counted=False)
    requests = storm.stack.topics["requests"]
    async with admin(storm.stack.bootstrap) as client:
        every = [TopicPartition(requests, partition) for partition in range(PARTITIONS)]
        await client.delete_records({each: RecordsToDelete(-1) for each in every})
    await storm.start()
    await storm.server.until_fires("ScribeRequestsLost")
    await storm.restart()


async def foreign_record(storm: Storm) -> None:
    """Something else wrote to the journal."""
    await storm.stop("scribe-2")
    await storm.stack.write_to("journal", b"not ours", key=b"not ours")
    await storm.start("scribe-2")
    begin = time.time()
    while not await storm.server.rows('max(scribe_shard_state{state="refused"}) == 1'):
        assert time.time() < begin + 60, "no shard is refused"
        await asyncio.sleep(CHECK_SECONDS)
    await storm.server.until_fires("ScribeShardRefused")


KAFKA = ("ScribeKafkaWrites", "ScribeNotReady", *LATE)
PHASES = (
    Phase("health", health),
    Phase("hold", hold, ("ScribeHold", "ScribeNothingMoves")),
    Phase("throttling", throttling, ("ScribeThrottled",)),
    Phase("lost answers", lost_answers, ("ScribeMayHaveBilledTwice",)),
    Phase("outage", outage, ("ScribeOutage",)),
    Phase("slow polls", slow_polls),
    Phase("garbled results", garbled_results, ("ScribePaidWithoutTranscript",)),
    Phase("internal error", internal_error, ("ScribeInternalError",)),
    Phase(
        "stopped stage",
        stopped_stage,
        ("ScribeStageStopped",),
        ("ScribeInternalError", *LATE, *BURNS),
    ),
    Phase("files fail", files_fail, BURNS),
    Phase("stuck loop", stuck_loop, ("ScribeLoopStuck",)),
    Phase("clock", clock, ("ScribeClock",), STARTS),
    Phase("uncertain", uncertain, ("ScribeUncertain",), ("ScribeMayHaveBilledTwice", *LATE)),
    Phase("lost track", lost_track, ("ScribeWorkRestored",), LATE),
    Phase("late event loop", late_event_loop, ("ScribeEventLoopLate",), ("ScribeNotReady",)),
    Phase("kill", kill, (), STARTS),
    Phase("restarts", restarts, ("ScribeRestarts",), STARTS),
    Phase("settings differ", settings_differ, ("ScribeSettingsDiffer",), STARTS),
    Phase("freeze", freeze, ("ScribeReplicaMissing",), ("ScribeNotReady",)),
    Phase("late restore", late_restore, ("ScribeNotReady",), STARTS),
    Phase("refused by the group", refused, ("ScribeGroupLost", "ScribeNotReady"), LATE),
    Phase("unsure batches", unsure, ("ScribeKafkaWrites",), LATE),
    Phase(
        "near the edge",
        near_edge,
        ("ScribeResultsHeld", "ScribeNearLoss", "ScribeOldJob"),
        (*STARTS, *LATE),
    ),
    Phase("Kafka frozen", kafka_frozen, ("ScribeNoMembership", "ScribeShardUnserved"), KAFKA),
    Phase("full", full, ("ScribeRequestLag", *LATE)),
    Phase("spend limit", spend_limit, ("ScribeSpendNearLimit", "ScribeSpendLimitReached"), (*STARTS, *LATE)),
    Phase("all away", all_away, ("ScribeAbsent",), STARTS),
    Phase("requests deleted", requests_deleted, ("ScribeRequestsLost",), STARTS),
    Phase("foreign record", foreign_record, ("ScribeShardRefused",), STARTS, is_last=True),
)
SYNTHETIC = {"ScribeSpendAboveLastWeek": "it compares with a week ago"}
"""Alerts that cannot be had in minutes: only `tests/contract/test_alerts.py` plays them."""
