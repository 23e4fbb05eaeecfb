"""A Kafka with an authorizer: the listed permissions are enough, and none of them is missed in silence."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.simulator import SimulatorConfig, serve
from service.kafka.admin.acls import needs_of
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client.cluster import ClusterConfig
from tests.brokers import TopicNames
from tests.integration.deliveries import DELIVERIES
from tests.integration.stack import ROLES, Stack, settings_for, standing
from tests.integration.test_main_job import HELLO, request
from tests.integration.test_restart import SLOW, until_running
from tests.permissions import listed, needed
from tests.secured import Grant, Secured

needs_java = pytest.mark.needs_java
WRONG_SURROUNDINGS = 78
SOON_SECONDS = 60.0


@pytest.fixture(params=DELIVERIES)
def delivery(request: pytest.FixtureRequest) -> str:
    """The delivery mode that the service runs in."""
    mode: str = request.param
    return mode


@pytest.fixture
async def guarded(
    secured: Secured, delivery: str, topic_names: TopicNames, tmp_path: Path
) -> AsyncIterator[Stack]:
    """A stack whose tests are administrators, and whose services log in as users that may do nothing yet."""
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    async with serve(SimulatorConfig(speed=10)) as sim:
        settings = settings_for(secured.bootstrap, topics, sim, 6_000, transactions=True)
        settings |= {"SCRIBE_TOPICS__PARTITIONS": "1", **DELIVERIES[delivery]}
        async with standing(Stack(secured.bootstrap, topics, sim, tmp_path, settings)) as stack:
            yield stack


async def make_topics(stack: Stack) -> None:
    await prepare(ClusterConfig(stack.bootstrap), Topics(**stack.topics), Creation(1, 1))


def test_the_page_lists_what_the_service_asks_for_at_its_start() -> None:
    always = [row.grant for row in listed() if row.when == "always" and row.grant.resource == "topic"]
    asked = {
        Grant(operation.title, "topic", topic)
        for topic, operations in needs_of(Topics()).items()
        for operation in operations
    }
    assert set(always) == asked
    assert len(always) == len(asked)
    assert {row.when for row in listed()} == {"always", "creating", "exactly_once", "sharing"}


@needs_java
async def test_with_the_listed_permissions_a_request_becomes_a_result(
    secured: Secured, guarded: Stack, delivery: str
) -> None:
    user = secured.user()
    secured.grant(user, needed({"always", "creating", delivery}, guarded.topics))
    scribe = await guarded.start(**secured.settings(user))
    await guarded.publish(request("p-1", HELLO))
    [outcome] = await guarded.outcomes(1)
    assert (outcome.kind, outcome.id) == ("result", "p-1/0/0")
    assert await scribe.end() == 0
    assert "uthoriz" not in guarded.logs()


@needs_java
async def test_without_one_of_them_the_service_ends_and_names_it(
    secured: Secured, guarded: Stack, delivery: str
) -> None:
    """All at once, each as another user: what is missing is told before a request is taken."""
    await make_topics(guarded)
    grants = needed({"always", delivery}, guarded.topics)
    said = await asyncio.gather(*(refusal(secured, guarded, grants, missing) for missing in grants))
    for missing, log in zip(grants, said, strict=True):
        words = log.splitlines()[-1]
        verb = (
            f"{missing.operation} on topic"
            if missing.resource == "topic"
            else missing.resource.replace("-", " ")
        )
        assert words.startswith("scribe: "), log
        assert f"no permission for {verb} {missing.name}" in words
        assert missing.operation in words
        assert "docs/security.md" in words


async def refusal(secured: Secured, stack: Stack, grants: list[Grant], missing: Grant) -> str:
    """All that a service says that has all permissions but one: the reason is its last line."""
    user = secured.user()
    secured.grant(user, [grant for grant in grants if grant != missing])
    scribe = await stack.launch(**secured.settings(user), SCRIBE_TOPICS__CREATE="false")
    assert await scribe.ended() == WRONG_SURROUNDINGS, scribe.log_path.read_text()
    return scribe.log_path.read_text()


@needs_java
async def test_topics_that_it_may_not_create_are_named(
    secured: Secured, guarded: Stack, delivery: str
) -> None:
    user = secured.user()
    secured.grant(user, needed({"always", delivery}, guarded.topics))
    scribe = await guarded.launch(**secured.settings(user))
    assert await scribe.ended() == WRONG_SURROUNDINGS
    [*_, words] = scribe.log_path.read_text().splitlines()
    assert "no permission to see, or to create" in words
    assert all(topic in words for topic in guarded.topics.values())


@needs_java
async def test_what_is_withdrawn_meanwhile_is_named_and_all_goes_on_when_it_is_back(
    secured: Secured, guarded: Stack, delivery: str
) -> None:
    await make_topics(guarded)
    user = secured.user()
    grants = needed({"always", delivery}, guarded.topics)
    secured.grant(user, grants)
    await guarded.start(**secured.settings(user))
    only_at_a_start, only_by_a_failure = "DescribeConfigs", guarded.topics["failures"]
    used = [
        grant
        for grant in grants
        if grant.resource == "topic"
        and grant.operation != only_at_a_start
        and grant.name != only_by_a_failure
    ]
    for number, grant in enumerate(used):
        secured.withdraw(user, grant)
        await guarded.publish(request(f"w-{number}", HELLO))
        await guarded.until(lambda grant=grant: is_told(guarded.logs(), grant.name), SOON_SECONDS)
        secured.grant(user, [grant])
        await guarded.outcomes(number + 1)
    outcomes = await guarded.all_outcomes()
    assert sorted({outcome.id for outcome in outcomes}) == [f"w-{number}/0/0" for number in range(len(used))]
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert len(guarded.sim.ledger().submits) == len(used)


def is_told(log: str, name: str) -> bool:
    """Whether a line says that the resource is not ours to use."""
    return any(name in line and ("uthoriz" in line or "no permission" in line) for line in log.splitlines())


@needs_java
async def test_a_group_that_is_withdrawn_ends_the_service_and_the_next_one_goes_on(
    secured: Secured, guarded: Stack, delivery: str
) -> None:
    await make_topics(guarded)
    user = secured.user()
    grants = needed({"always", delivery}, guarded.topics)
    [group] = [grant for grant in grants if grant.resource == "group"]
    secured.grant(user, grants)
    scribe = await guarded.start(**secured.settings(user))
    await guarded.publish(request("g-1", SLOW))
    await until_running(guarded, 1)
    secured.withdraw(user, group)
    assert await scribe.ended() == WRONG_SURROUNDINGS
    assert f"no permission for group {group.name}; grant Read on it" in guarded.logs()
    secured.grant(user, [group])
    await guarded.start(**secured.settings(user))
    [outcome] = await guarded.outcomes(1)
    assert (outcome.kind, outcome.id) == ("result", "g-1/0/0")
    assert len(guarded.sim.ledger().submits) == 1
