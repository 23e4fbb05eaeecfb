"""A journal that the broker compacts while it is written, and what a new owner restores from it."""

import asyncio
from pathlib import Path

import pytest

from sandbox.simulator import Fault
from tests.chaos.brokers import Broker, own_broker
from tests.chaos.evidence import Rules
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.load import make_requests
from tests.chaos.oracle import judge
from tests.chaos.reading import end_offsets
from tests.chaos.setting import Setting
from tests.chaos.topics import Compaction

PARTITIONS = 2
DONE_SECONDS = 120.0
COMPACTED_SECONDS = 120.0
READY_SECONDS = 120.0


@pytest.mark.timeout(600)
@pytest.mark.needs_java
async def test_a_new_owner_restores_open_and_ended_jobs_from_a_compacted_journal(tmp_path: Path) -> None:
    with own_broker("kafka", nodes=1) as broker:
        setting = Setting(
            "kafka", broker.bootstrap, "exactly_once", PARTITIONS, compaction=Compaction(lag_ms=0)
        )
        async with fleet(setting, "compacted", tmp_path) as made:
            await _compact_kill_and_restore(made, broker)
            words = [str(each) for each in judge(await made.evidence(), Rules("exactly_once")).complaints]
            assert not words, f"{words}\n{made.stack.logs()}"


async def _compact_kill_and_restore(made: Fleet, broker: Broker) -> None:
    first = await made.launch()
    await made.until_ready(READY_SECONDS)
    ended = make_requests("ended", 6, run_seconds=(0.1,))
    await made.publish(ended)
    await made.until_done(DONE_SECONDS)

    # Whatever comes from now on is submitted, and cannot end before this is over.
    faults = made.stack.sim.state.faults
    faults.add(Fault(on="result", kind="status", status=503, times=None))
    await made.publish(make_requests("open", 6, run_seconds=(0.1,)))
    wanted = {file.url for request in made.requests for file in request.files}
    await made.stack.until(lambda: wanted <= set(made.stack.sim.ledger().submitted_urls()))
    await _until_compacted(made, broker)

    await made.kill(first)
    faults.clear()
    await made.launch()
    await made.send([request.record() for request in ended])
    await made.until_done(DONE_SECONDS)
    await made.until_level(DONE_SECONDS)
    await made.end()


async def _until_compacted(made: Fleet, broker: Broker) -> None:
    """Go on publishing, so that segments roll, until all that is there now has been compacted."""
    journal, number = made.stack.topics["journal"], 0
    ends = await end_offsets(made.setting.bootstrap, journal, PARTITIONS)
    async with asyncio.timeout(COMPACTED_SECONDS):
        while any(broker.compacted(journal).get(partition, 0) < end for partition, end in ends.items()):
            await made.publish(make_requests(f"more{number}", 3, run_seconds=(0.1,)))
            await asyncio.sleep(0.5)
            number += 1
