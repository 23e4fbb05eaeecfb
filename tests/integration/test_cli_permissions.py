"""The operator's commands on a Kafka with an authorizer: what they need, and what they say without it."""

import asyncio

import pytest
import typer.testing
from aiokafka import AIOKafkaProducer

from sandbox.simulator import SimulatorConfig, serve
from service.cli.commands import app
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client.cluster import ClusterConfig
from tests.brokers import TopicNames
from tests.integration.stack import ROLES, settings_for
from tests.permissions import needed
from tests.plugins.environment import NO_TRUST
from tests.secured import Grant, Secured

pytestmark = pytest.mark.needs_java
PARTITIONS = 2


@pytest.fixture
async def topics(secured: Secured, topic_names: TopicNames) -> dict[str, str]:
    names = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    await prepare(ClusterConfig(secured.bootstrap), Topics(**names), Creation(PARTITIONS, 1))
    return names


async def scribe(
    secured: Secured, topics: dict[str, str], user: str, *arguments: str
) -> typer.testing.Result:
    async with serve(SimulatorConfig()) as sim:
        settings = settings_for(secured.bootstrap, topics, sim, 6_000, transactions=True)
    run = typer.testing.CliRunner().invoke
    done = await asyncio.to_thread(
        run, app, arguments, env={**NO_TRUST, **settings, **secured.settings(user)}
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


async def test_the_permissions_of_the_service_are_enough_for_the_list_of_jobs(
    secured: Secured, topics: dict[str, str]
) -> None:
    user = secured.user()
    secured.grant(user, needed({"always", "exactly_once"}, topics))
    done = await scribe(secured, topics, user, "jobs")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "0 jobs; 0 records are not accepted yet\n"


@pytest.mark.parametrize(
    ("command", "role"),
    [(("jobs", "show", "r-1"), "results"), (("replay",), "failures"), (("jobs",), "journal")],
    ids=lambda each: each if isinstance(each, str) else " ".join(each),
)
async def test_a_topic_that_may_not_be_read_is_named(
    secured: Secured, topics: dict[str, str], command: tuple[str, ...], role: str
) -> None:
    user = secured.user()
    read = [Grant("Read", "topic", name) for each, name in topics.items() if each != role]
    secured.grant(user, [*read, Grant("Describe", "topic", topics[role])])
    async with AIOKafkaProducer(bootstrap_servers=secured.bootstrap) as producer:
        for partition in range(PARTITIONS):
            await producer.send_and_wait(topics[role], b"x", b"k", partition=partition)
    done = await scribe(secured, topics, user, *command)
    assert done.exit_code in (1, 6), done.output
    assert f"no permission for topic {topics[role]}" in done.stderr


@pytest.mark.parametrize(
    ("command", "role", "words"),
    [
        (("submit", "https://example.org/a.wav"), "requests", "no permission for topic {}"),
        (("cancel", "r-1", "--wait", "--timeout", "5"), "requests", "no permission for topic {}"),
        (("cancel", "r-1", "--wait", "--timeout", "5"), "failures", "no permission for topic {}"),
        (("watch", "--since", "60", "--count", "1"), "results", "no permission for topic {}"),
        (
            ("submit", "https://example.org/a.wav", "--wait", "--timeout", "5"),
            "journal",
            "no permission for topic {}",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) and each.islower() and " " not in each else None,
)
async def test_what_a_user_may_not_do_is_a_sentence(
    secured: Secured, topics: dict[str, str], command: tuple[str, ...], role: str, words: str
) -> None:
    user = secured.user()
    open_to = [Grant("Read", "topic", name) for each, name in topics.items() if each != role]
    may_write = [Grant("Write", "topic", topics["requests"])] if role != "requests" else []
    secured.grant(user, [*open_to, *may_write, Grant("Describe", "topic", topics[role])])
    async with AIOKafkaProducer(bootstrap_servers=secured.bootstrap) as producer:
        for partition in range(PARTITIONS):
            await producer.send_and_wait(topics[role], b"x", b"k", partition=partition)
    done = await scribe(secured, topics, user, *command)
    assert done.exit_code in (1, 78), done.output
    assert words.format(topics[role]) in done.stderr
    assert "Traceback" not in done.output


async def test_a_bundle_needs_no_more_than_the_service_and_says_what_it_may_not_see(
    secured: Secured, topics: dict[str, str]
) -> None:
    user = secured.user()
    secured.grant(user, [Grant("Read", "topic", topics["requests"])])
    done = await scribe(secured, topics, user, "bundle", "--file", "-")
    assert done.exit_code == 0, done.stderr
    assert "doctor.json     failed: permissions" in done.stderr
    assert "topics.json     " in done.stderr
    assert secured.settings(user)["SCRIBE_KAFKA__SASL_PASSWORD"] not in done.stderr


async def test_topics_that_a_user_may_not_see_are_a_sentence(
    secured: Secured, topics: dict[str, str]
) -> None:
    user = secured.user()
    for command in (("jobs",), ("jobs", "show", "r-1"), ("replay",)):
        done = await scribe(secured, topics, user, *command)
        assert done.exit_code == 78, command
        assert done.stderr.startswith("scribe: missing topics: "), command
