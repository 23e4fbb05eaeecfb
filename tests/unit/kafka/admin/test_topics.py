"""Brokers that answer from metadata of different ages: what one of them does not know yet is not missing."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat

import pytest

from service.clock import SystemClock
from service.errors import ConfigError
from service.kafka.admin import topics as module
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client import terminal_client
from service.kafka.client.cluster import ClusterConfig

TOPICS = Topics("requests", "results", "failures", "journal")
WHOLE = dict.fromkeys(TOPICS.all(), 2)
GROWN = {**WHOLE, "journal": 4, "requests": 4}
LAGGING = {**WHOLE, "requests": 4}
"""As a broker sees them that has learned of the growth of one topic only."""


@dataclass
class StubAdmin:
    """aiokafka's admin client on a cluster whose brokers take turns: each look sees the next `views`."""

    views: Iterator[Mapping[str, int]]
    seen: Mapping[str, int] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)

    async def start(self) -> None: ...

    async def list_topics(self) -> list[str]:
        self.seen = next(self.views)
        return list(self.seen)

    async def describe_topics(self, names: list[str]) -> list[dict[str, object]]:
        return [
            {
                "topic": name,
                "partitions": [{"partition": n, "replicas": [1, 2, 3]} for n in range(self.seen[name])],
            }
            for name in names
        ]

    async def create_topics(self, new: list[object], *, validate_only: bool) -> "StubAdmin":
        assert not validate_only
        self.created += [str(topic) for topic in new]
        return self

    @property
    def topic_errors(self) -> list[tuple[str, int, str]]:
        return []

    async def describe_configs(self, _resources: object) -> list[object]:
        return []


class QuickClock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


CLOCK = QuickClock()


async def _close(_admin: StubAdmin) -> None: ...


def cluster_of(monkeypatch: pytest.MonkeyPatch, *views: Mapping[str, int]) -> StubAdmin:
    """A cluster whose looks see these in turn, and the last one for ever."""
    admin = StubAdmin(chain(views[:-1], repeat(views[-1])))
    for where in (module, terminal_client):
        monkeypatch.setattr(where, "AIOKafkaAdminClient", lambda **_: admin)
        monkeypatch.setattr(where, "close_admin", _close)
    return admin


@pytest.mark.parametrize(
    "views",
    [
        ({}, WHOLE),
        (*20 * [{}], WHOLE),
        ({"requests": 2}, WHOLE),
        (LAGGING, GROWN),
    ],
    ids=["none", "none for two seconds", "one", "one has grown"],
)
async def test_a_broker_that_lags_behind_refuses_no_start(
    monkeypatch: pytest.MonkeyPatch, views: tuple[Mapping[str, int], ...]
) -> None:
    cluster_of(monkeypatch, *views)
    layout = await prepare(ClusterConfig("h:1"), TOPICS, None, CLOCK)
    assert layout.partitions == views[-1]["requests"]


async def test_topics_that_were_just_made_may_be_unknown_to_the_next_broker_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = cluster_of(monkeypatch, {}, WHOLE, *100 * [{}], WHOLE)
    assert (await prepare(ClusterConfig("h:1"), TOPICS, Creation(2, 3), CLOCK)).partitions == 2
    # The four, and that of shared pages.
    assert len(cluster.created) == 5


@pytest.mark.parametrize(
    ("view", "words"), [({}, "missing topics: requests, results"), (LAGGING, "grow the journal first")]
)
async def test_what_stays_wrong_is_refused(
    monkeypatch: pytest.MonkeyPatch, view: Mapping[str, int], words: str
) -> None:
    cluster_of(monkeypatch, view)
    with pytest.raises(ConfigError, match=words):
        await prepare(ClusterConfig("h:1"), TOPICS, None, CLOCK)


async def test_a_client_checks_again_before_it_reports_a_missing_topic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster_of(monkeypatch, {}, {}, WHOLE)
    found = await terminal_client._partitions(ClusterConfig("h:1"), ["results"], CLOCK)
    assert len(found) == 2
    cluster_of(monkeypatch, {})
    with pytest.raises(ConfigError, match=r"missing topics: results; `scribe topics` creates them"):
        await terminal_client._partitions(ClusterConfig("h:1"), ["results"], CLOCK)
