"""Topics before the service starts: made where they are missing, refused where they would lose jobs."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from sandbox.kafka import real_kafka
from service.errors import ConfigError
from service.kafka.admin.acls import require_acls
from service.kafka.admin.topics import (
    DAY_MS,
    JOURNAL_CONFIG,
    PAGES_CONFIG,
    Creation,
    Topics,
    configs,
    prepare,
)
from service.kafka.client.cluster import ClusterConfig
from tests.brokers import TopicNames, admin, create_topics
from tests.contract.cluster import BreakableEmbedded, breakable_embedded, connections_to, new_tasks

needs_java = pytest.mark.needs_java
FAR_SECONDS = 30.0
SMALL = Creation(partitions=3, replication=1)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def topics(topic_names: TopicNames) -> Topics:
    return Topics(*topic_names("requests", "results", "failures", "journal"))


@pytest.fixture
def embedded() -> Iterator[BreakableEmbedded]:
    with breakable_embedded() as broker:
        yield broker
        broker.thaw()


async def settings_of(bootstrap: str, topic: str) -> dict[str, str]:
    async with admin(bootstrap) as client:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in answer.resources[0][-1]}


async def partitions_of(bootstrap: str, topics: Topics) -> dict[str, int]:
    async with admin(bootstrap) as client:
        existing = set(await client.list_topics()) & set(topics.all())
        described = await client.describe_topics(sorted(existing)) if existing else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def make(bootstrap: str, topics: Topics, partitions: int = 2, **journal: str) -> None:
    """All four topics by hand; `journal` are the journal's own settings, dots as underscores."""
    own = {name.replace("_", "."): value for name, value in journal.items()}
    usual = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
    await create_topics(bootstrap, {topics.journal: partitions}, {**usual, **own})
    await create_topics(bootstrap, {name: partitions for name in topics.all() if name != topics.journal})


async def refusal(bootstrap: str, topics: Topics, creation: Creation | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        await prepare(ClusterConfig(bootstrap), topics, creation)
    return str(error.value)


# -- making them ----------------------------------------------------------------------------------------


async def test_missing_topics_are_made_with_their_settings(bootstrap: str, topics: Topics) -> None:
    layout = await prepare(ClusterConfig(bootstrap), topics, SMALL)
    assert layout.partitions == 3
    assert await partitions_of(bootstrap, topics) == dict.fromkeys(topics.all(), 3)
    for name, wanted in configs(topics, SMALL).items():
        found = await settings_of(bootstrap, name)
        assert {key: found.get(key) for key in wanted} == wanted


async def test_the_topic_of_shared_pages_is_made_and_kept_for_minutes(bootstrap: str, topics: Topics) -> None:
    layout = await prepare(ClusterConfig(bootstrap), topics, SMALL)
    assert layout.has_pages
    # Nothing waits until the broker shows this topic, as `prepare` does with the four others.
    async with asyncio.timeout(FAR_SECONDS):
        while not (found := await settings_of(bootstrap, topics.pages)):
            await asyncio.sleep(0.05)
    assert {key: found.get(key) for key in PAGES_CONFIG} == PAGES_CONFIG
    assert (await prepare(ClusterConfig(bootstrap), topics, None)).has_pages


async def test_without_the_topic_of_shared_pages_the_service_starts_with_a_word(
    bootstrap: str, topics: Topics
) -> None:
    await make(bootstrap, topics)
    layout = await prepare(ClusterConfig(bootstrap), topics, None)
    assert not layout.has_pages
    assert f"no topic {topics.pages}: each replica reads" in layout.warnings[-1]


@needs_java
async def test_a_topic_of_shared_pages_that_the_broker_does_not_create_is_worth_a_word(
    kafka_bootstrap: str, topics: Topics
) -> None:
    await make(kafka_bootstrap, topics)
    layout = await prepare(ClusterConfig(kafka_bootstrap), topics, Creation(partitions=1, replication=3))
    assert not layout.has_pages
    assert f"no topic {topics.pages}" in layout.warnings[-1]
    assert "did not create" in layout.warnings[-1]


def test_the_journal_is_kept_for_ever_and_compacted_soon() -> None:
    assert JOURNAL_CONFIG["cleanup.policy"] == "compact"
    assert int(JOURNAL_CONFIG["segment.ms"]) == int(JOURNAL_CONFIG["max.compaction.lag.ms"]) == 3_600_000
    assert "retention.ms" not in JOURNAL_CONFIG
    assert JOURNAL_CONFIG["message.timestamp.type"] == "LogAppendTime"


@needs_java
async def test_settings_that_the_brokers_refuse_are_left_out_and_named(
    kafka_bootstrap: str, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A managed Kafka refuses some, and caps sizes; here a name that Kafka does not know, and a number."""
    monkeypatch.setitem(JOURNAL_CONFIG, "segment.moons", "7")
    monkeypatch.setattr("service.kafka.admin.topics.RESULT_BYTES", 4_000_000_000)
    layout = await prepare(ClusterConfig(kafka_bootstrap), topics, SMALL)
    said = "the brokers refuse settings of"
    assert set(layout.warnings) >= {
        f"{said} {topics.journal}: it has no segment.moons=7",
        f"{said} {topics.results}: it has max.message.bytes=2000000000 for 4000000000",
    }
    assert layout.limits[topics.results] == 2_000_000_000
    journal = await settings_of(kafka_bootstrap, topics.journal)
    usual = {name: value for name, value in JOURNAL_CONFIG.items() if name != "segment.moons"}
    assert {name: journal.get(name) for name in usual} == usual


@needs_java
async def test_a_topic_that_takes_smaller_outcomes_is_named_with_what_they_lose(
    kafka_bootstrap: str, topics: Topics
) -> None:
    """As on a managed Kafka, whose topics take 1 MiB."""
    await create_topics(kafka_bootstrap, {topics.results: 3}, {"max.message.bytes": "1048576"})
    layout = await prepare(ClusterConfig(kafka_bootstrap), topics, SMALL)
    [warning] = [each for each in layout.warnings if f"{topics.results} has max.message.bytes" in each]
    assert warning.startswith(f"{topics.results} has max.message.bytes=1048576, not 16777216")
    assert "lose their words" in warning


async def test_what_is_made_is_served_at_once(bootstrap: str, topics: Topics) -> None:
    """Kafka answers a creation before it knows the topic itself: an answer of ours means that it does."""
    await prepare(ClusterConfig(bootstrap), topics, SMALL)
    assert (await prepare(ClusterConfig(bootstrap), topics, None)).partitions == 3


async def test_a_second_run_changes_nothing(bootstrap: str, topics: Topics) -> None:
    first = await prepare(ClusterConfig(bootstrap), topics, SMALL)
    again = await prepare(ClusterConfig(bootstrap), topics, Creation(partitions=7, replication=1))
    assert again == first
    assert await partitions_of(bootstrap, topics) == dict.fromkeys(topics.all(), 3)


async def test_topics_that_are_missing_get_as_many_partitions_as_the_requests_have(
    bootstrap: str, topics: Topics
) -> None:
    await create_topics(bootstrap, {topics.requests: 5})
    assert (await prepare(ClusterConfig(bootstrap), topics, SMALL)).partitions == 5
    assert await partitions_of(bootstrap, topics) == dict.fromkeys(topics.all(), 5)


async def test_many_that_prepare_at_once_agree(bootstrap: str, topics: Topics) -> None:
    layouts = await asyncio.gather(*(prepare(ClusterConfig(bootstrap), topics, SMALL) for _ in range(6)))
    assert {layout.partitions for layout in layouts} == {3}


PREPARE = """
import asyncio, sys
from service.kafka.client.cluster import ClusterConfig
from service.kafka.admin.topics import Creation, Topics, prepare
bootstrap, *names = sys.argv[1:]
sys.stdin.read()
print(asyncio.run(prepare(ClusterConfig(bootstrap), Topics(*names), Creation(3, 1))).partitions)
"""


async def test_two_processes_that_prepare_at_once_agree(bootstrap: str, topics: Topics) -> None:
    both = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", PREPARE, bootstrap, *topics.all()),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    answers = await asyncio.gather(*(process.communicate(b"") for process in both))
    assert [out.decode().strip() for out, _ in answers] == ["3", "3"], answers


@needs_java
async def test_a_creation_that_the_broker_refuses_says_what_to_change(
    kafka_bootstrap: str, topics: Topics
) -> None:
    words = await refusal(kafka_bootstrap, topics, Creation(partitions=1, replication=3))
    assert topics.journal in words
    assert "SCRIBE_TOPICS__REPLICATION" in words


# -- checking them --------------------------------------------------------------------------------------


async def test_missing_topics_are_named_and_none_is_made_unasked(bootstrap: str, topics: Topics) -> None:
    await create_topics(bootstrap, {topics.requests: 1})
    words = await refusal(bootstrap, topics)
    assert f"missing topics: {topics.results}, {topics.failures}, {topics.journal}" in words
    assert await partitions_of(bootstrap, topics) == {topics.requests: 1}


async def test_a_journal_with_fewer_partitions_than_the_requests_is_refused(
    bootstrap: str, topics: Topics
) -> None:
    await create_topics(bootstrap, {topics.requests: 3, topics.results: 1, topics.failures: 1})
    await create_topics(bootstrap, {topics.journal: 2}, JOURNAL_CONFIG)
    words = await refusal(bootstrap, topics)
    assert f"{topics.journal} has 2 partitions and {topics.requests} has 3" in words
    assert "grow the journal first" in words


async def test_a_journal_with_more_partitions_causes_a_warning(bootstrap: str, topics: Topics) -> None:
    await create_topics(bootstrap, {topics.requests: 2, topics.results: 1, topics.failures: 1})
    await create_topics(bootstrap, {topics.journal: 4}, JOURNAL_CONFIG)
    layout = await prepare(ClusterConfig(bootstrap), topics, None)
    assert layout.partitions == 2
    assert any("more partitions than" in warning for warning in layout.warnings)


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
async def test_a_journal_that_forgets_is_refused(bootstrap: str, topics: Topics, policy: str) -> None:
    await make(bootstrap, topics, cleanup_policy=policy)
    words = await refusal(bootstrap, topics)
    assert f"{topics.journal} has cleanup.policy={policy}" in words
    assert "set it to `compact`" in words


async def test_a_journal_that_does_not_take_every_job_is_refused(bootstrap: str, topics: Topics) -> None:
    await make(bootstrap, topics, max_message_bytes="100000")
    assert f"{topics.journal} has max.message.bytes=100000" in await refusal(bootstrap, topics)


async def test_each_topic_with_too_few_replicas_gets_a_warning(bootstrap: str, topics: Topics) -> None:
    await make(bootstrap, topics, min_insync_replicas="1")
    warnings = (await prepare(ClusterConfig(bootstrap), topics, None)).warnings
    others = ("max.message.bytes", "message.timestamp.type")
    about_copies = [warning for warning in warnings if not any(other in warning for other in others)]
    assert [warning.split(":")[0] for warning in about_copies] == [
        f"{topics.journal} has min.insync.replicas=1",
        f"{topics.journal} has a replication factor of 1",
        f"no topic {topics.pages}",
    ]


async def test_a_journal_without_broker_timestamps_causes_a_warning(bootstrap: str, topics: Topics) -> None:
    await make(bootstrap, topics, message_timestamp_type="CreateTime")
    warnings = (await prepare(ClusterConfig(bootstrap), topics, None)).warnings
    assert any("set LogAppendTime" in warning for warning in warnings)


def test_outcomes_have_the_time_of_the_broker_too() -> None:
    """Kafka deletes by a record's time: what a clock that is a year behind stamps would be gone at once."""
    made = configs(Topics(), Creation())
    for name in (Topics().results, Topics().failures):
        assert made[name]["message.timestamp.type"] == "LogAppendTime"


@needs_java
@pytest.mark.computes  # a broker of its own
async def test_kafka_keeps_the_outcomes_of_a_process_whose_clock_is_a_year_behind() -> None:
    """Beside a topic with the producer's times, whose record it deletes: so retention was at work."""
    soon = {"log.retention.check.interval.ms": "200", "log.initial.task.delay.ms": "200"}
    made = configs(Topics(), Creation())[Topics().failures]
    producers = {
        **made,
        "message.timestamp.type": "CreateTime",
        "message.timestamp.before.max.ms": str(2**62),
    }
    long_ago_ms = time.time_ns() // 1_000_000 - 400 * DAY_MS
    with real_kafka(settings=soon) as kafka:
        await create_topics(kafka.bootstrap, {"outcomes": 1}, made)
        await create_topics(kafka.bootstrap, {"unstamped": 1}, producers)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for topic in ("outcomes", "unstamped"):
                await producer.send_and_wait(topic, b"outcome", timestamp_ms=long_ago_ms)
        kept, deleted = TopicPartition("outcomes", 0), TopicPartition("unstamped", 0)
        async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer, asyncio.timeout(60):
            while (await consumer.beginning_offsets([deleted]))[deleted] == 0:
                await asyncio.sleep(0.1)
            assert (await consumer.beginning_offsets([kept]))[kept] == 0


@needs_java
async def test_outcomes_without_broker_timestamps_cause_a_warning(
    kafka_bootstrap: str, topics: Topics
) -> None:
    await make(kafka_bootstrap, topics)
    warnings = (await prepare(ClusterConfig(kafka_bootstrap), topics, None)).warnings
    about_time = [each.split(":")[0] for each in warnings if "whose clock is far behind" in each]
    assert about_time == [
        f"{name} has message.timestamp.type=CreateTime" for name in (topics.results, topics.failures)
    ]


async def test_a_broker_that_hides_the_clean_up_policy_causes_a_warning(
    embedded_bootstrap: str, topics: Topics
) -> None:
    await create_topics(embedded_bootstrap, dict.fromkeys(topics.all(), 1))
    warnings = (await prepare(ClusterConfig(embedded_bootstrap), topics, None)).warnings
    assert "does not say how" in warnings[0]


@needs_java
async def test_requests_that_were_grown_alone_are_noticed(kafka_bootstrap: str, topics: Topics) -> None:
    await prepare(ClusterConfig(kafka_bootstrap), topics, SMALL)
    async with admin(kafka_bootstrap) as client:
        await client.create_partitions({topics.requests: NewPartitions(5)})
    for _ in range(100):
        if (await partitions_of(kafka_bootstrap, topics))[topics.requests] == 5:
            break
        await asyncio.sleep(0.02)
    assert "grow the journal first" in await refusal(kafka_bootstrap, topics, SMALL)


async def test_asking_for_rights_makes_no_topic_and_misses_none_where_nothing_is_guarded(
    bootstrap: str, topics: Topics
) -> None:
    await require_acls(ClusterConfig(bootstrap), topics)
    assert await partitions_of(bootstrap, topics) == {}
    await prepare(ClusterConfig(bootstrap), topics, SMALL)
    await require_acls(ClusterConfig(bootstrap), topics)


# -- a cluster that is away -----------------------------------------------------------------------------


async def test_against_nothing_it_says_what_to_check(topics: Topics) -> None:
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        words = await refusal("127.0.0.1:1", topics, SMALL)
    assert "Kafka at 127.0.0.1:1 does not answer (no broker takes a connection); check" in words
    assert "SCRIBE_KAFKA__BOOTSTRAP_SERVERS" in words
    assert new_tasks(before) == []


async def test_asking_for_rights_where_nothing_answers_is_left_to_the_preparation(topics: Topics) -> None:
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        await require_acls(ClusterConfig("127.0.0.1:1"), topics)
    assert new_tasks(before) == []


async def test_a_broker_that_closes_the_connection_at_the_first_request_is_recognised(topics: Topics) -> None:
    """It wants TLS or a login; aiokafka's own error is the same as for a broker that is not there."""

    async def hang_up(_heard: asyncio.StreamReader, said: asyncio.StreamWriter) -> None:
        said.close()
        await said.wait_closed()

    before = asyncio.all_tasks()
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server, asyncio.timeout(FAR_SECONDS):
        port = server.sockets[0].getsockname()[1]
        words = await refusal(f"127.0.0.1:{port}", topics, SMALL)
    assert "does not speak to us" in words
    assert "SCRIBE_KAFKA__SECURITY_PROTOCOL" in words
    assert new_tasks(before) == []


async def test_against_frozen_brokers_it_is_bounded_and_leaves_nothing(
    embedded: BreakableEmbedded, topics: Topics
) -> None:
    """However many there are: aiokafka waits for each."""
    before = asyncio.all_tasks()
    cluster = ClusterConfig(",".join(4 * [embedded.bootstrap]), request_timeout_ms=300)
    embedded.freeze()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError, match=r"does not answer \(no answer in time"):
            await prepare(cluster, topics, SMALL)
    assert new_tasks(before) == []
    assert connections_to(embedded.bootstrap) == 0


async def test_a_broker_that_freezes_in_between_is_bounded_too(
    embedded: BreakableEmbedded, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = ClusterConfig(embedded.bootstrap, request_timeout_ms=300)

    def freeze(*_: object) -> dict[str, dict[str, str]]:
        embedded.freeze()
        return {name: {} for name in topics.all()}

    monkeypatch.setattr("service.kafka.admin.topics.configs", freeze)
    before = asyncio.all_tasks()
    async with asyncio.timeout(FAR_SECONDS):
        with pytest.raises(ConfigError, match="does not answer"):
            await prepare(cluster, topics, SMALL)
    assert new_tasks(before) == []
