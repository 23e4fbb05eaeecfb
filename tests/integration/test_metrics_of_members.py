"""What the metrics of several members add up to is true while shards move between them."""

import asyncio
import signal
from collections.abc import Callable, Collection
from contextlib import suppress

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.stack import CHECK_SECONDS, Scribe, Stack
from tests.integration.test_failover import SETTLING, all_end_well, traffic
from tests.integration.test_members import PARTITIONS, SIX, settled, started

pytestmark = [
    pytest.mark.needs_java,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("broker_name", ["kafka"]),
]

BILLED = "scribe_billed_seconds_today"
MEMBER = {**SIX, **SETTLING}
OFFSETS_SECONDS = 30.0
"""The ends of topics are asked for once in ten seconds."""


async def by_partition(scribes: Collection[Scribe], name: str) -> dict[str, float]:
    """`max by (partition)` of a metric over the members that answer."""
    found: dict[str, float] = {}
    for scribe in scribes:
        with suppress(httpx.HTTPError):
            page = (await scribe.get("metrics")).text
            for family in text_string_to_metric_families(page):
                for sample in family.samples:
                    if sample.name == name:
                        partition = sample.labels["partition"]
                        found[partition] = max(sample.value, found.get(partition, 0.0))
    return found


class Watch:
    """Scrapes the members for as long as it runs; `falls` are figures that a sum would have lied with."""

    def __init__(self, scribes: list[Scribe]) -> None:
        self.scribes = scribes
        self.highest: dict[str, float] = {}
        self.falls: list[tuple[str, float, float]] = []
        self.scrapes = 0

    async def run(self) -> None:
        """Scrape until cancelled."""
        while True:
            for partition, seconds in (await by_partition(self.scribes, BILLED)).items():
                before = self.highest.get(partition, 0.0)
                if seconds < before:
                    self.falls.append((partition, before, seconds))
                self.highest[partition] = max(before, seconds)
            self.scrapes += 1
            await asyncio.sleep(CHECK_SECONDS)


async def test_what_was_billed_never_falls_while_members_join_and_stop_and_is_whole_after_a_kill(
    stack: Stack,
) -> None:
    first, second = await started(stack, MEMBER, MEMBER)
    scribes = [first, second]
    watch = Watch(scribes)
    watching = asyncio.create_task(watch.run())
    async with traffic(stack) as flowing:
        await flowing.goes_on()
        third = await stack.start(**MEMBER)
        scribes.append(third)
        await settled(*scribes)
        await flowing.goes_on()
        assert await first.end(signal.SIGTERM) == 0
        scribes.remove(first)
        await settled(*scribes)
        watching.cancel()
        # What a killed member had counted and not committed is counted again by the next owner.
        await second.end(signal.SIGKILL)
        scribes.remove(second)
        await settled(*scribes)
        await flowing.goes_on()
    await all_end_well(stack, flowing.published, "exactly_once")
    assert watch.falls == []
    assert watch.scrapes > 10
    ended = await stack.all_outcomes()
    billed = sum(each.body["usage"]["billed_seconds"] for each in ended if each.kind == "result")
    # Members renew what they show once a second.
    await until_shown(scribes, BILLED, lambda shown: sum(shown.values()) == billed)
    await until_shown(scribes, "scribe_open_jobs", lambda shown: not any(shown.values()))
    await until_shown(scribes, "scribe_request_lag_records", lambda shown: not any(shown.values()))
    await until_shown(scribes, "scribe_journal_offsets", lambda shown: all(shown.values()))


async def until_shown(
    scribes: Collection[Scribe], name: str, is_so: Callable[[dict[str, float]], bool]
) -> None:
    """Wait until the metric shows all partitions, and this of them."""
    shown: dict[str, float] = {}
    try:
        async with asyncio.timeout(OFFSETS_SECONDS):
            while len(shown) < PARTITIONS or not is_so(shown):
                await asyncio.sleep(CHECK_SECONDS)
                shown = await by_partition(scribes, name)
    except TimeoutError:
        raise AssertionError(f"{name}: {shown}") from None
