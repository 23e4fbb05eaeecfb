"""The topics: their names, their creation, and the checks before the service starts.

Four are needed. The topic of shared pages only makes polling quicker: without it there is a warning.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import field, replace

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from service.clock import SYSTEM_CLOCK, Clock
from service.errors import ClusterError, ConfigError
from service.frozen import dataclass
from service.kafka.admin.creation import NOT_AUTHORIZED, WantedTopic, create
from service.kafka.client.cluster import ClusterConfig, reaching
from service.kafka.client.error_reasons import PAGE
from service.kafka.client.error_translation import translated
from service.kafka.client.lifecycle import close_admin

SERVED_WITHIN_SECONDS = 15.0
"""How long after its creation a topic may be unknown to a broker."""
CHECK_SECONDS = 0.1
CHECKS = 50
"""A mismatch is checked again for 5 s: each broker answers from its own copy of the metadata, and one that
has just restarted learns of new topics and partitions last."""
CHECKS_OF_NEW = 150
"""The same for topics that were just created."""
DAY_MS = 24 * 3600 * 1000
LARGEST_ENTRY_BYTES = 1024 * 1024
"""A journal must accept this size: an entry holds its request's options; a request has 512 KiB at most."""
RESULT_BYTES = 16 * 1024 * 1024
FAILURE_BYTES = 4 * 1024 * 1024
REPLICAS = 3
"""With fewer, losing two brokers at once loses jobs that are paid for."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics' names."""

    requests: str = "transcription.requests"
    results: str = "transcription.results"
    failures: str = "transcription.failures"
    journal: str = "transcription.journal"

    def all(self) -> tuple[str, str, str, str]:
        """The four names."""
        return (self.requests, self.results, self.failures, self.journal)

    @property
    def pages(self) -> str:
        """The topic of shared pages, named after the journal: what shares it shares one account."""
        return f"{self.journal}.pages"


@dataclass(frozen=True, slots=True)
class Creation:
    """How missing topics are created."""

    partitions: int = 12
    replication: int = 3
    outcome_retention_ms: int = 7 * DAY_MS


STAMPED = "LogAppendTime"
"""The broker, not the producer, sets a record's time."""
JOURNAL_CONFIG = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(2 * 1024 * 1024),
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": str(3600 * 1000),
    "min.cleanable.dirty.ratio": "0.1",
    "min.compaction.lag.ms": str(10 * 60 * 1000),
    "max.compaction.lag.ms": str(3600 * 1000),
    "message.timestamp.type": STAMPED,
}
"""The active segment is never compacted, so it rolls hourly: a restore then reads the last hour, not weeks.
The broker sets the timestamps, so that a start knows the broker's time beside its own machine's."""
PAGES_CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": str(10 * 60 * 1000),
    "segment.ms": str(10 * 60 * 1000),
    "segment.bytes": str(16 * 1024 * 1024),
    "max.message.bytes": str(256 * 1024),
}
"""A page is of use for seconds."""


def configs(topics: Topics, creation: Creation) -> dict[str, dict[str, str]]:
    """The configuration that each topic is created with."""
    # Kafka counts the retention from a record's time: a producer's clock that is wrong would end it at once.
    outcomes = {"retention.ms": str(creation.outcome_retention_ms), "message.timestamp.type": STAMPED}
    return {
        topics.requests: {"max.message.bytes": str(1024 * 1024)},
        topics.results: {"max.message.bytes": str(RESULT_BYTES), **outcomes},
        topics.failures: {"max.message.bytes": str(FAILURE_BYTES), **outcomes},
        topics.journal: JOURNAL_CONFIG,
    }


@dataclass(frozen=True, slots=True)
class Layout:
    """What was found: the number of request partitions, and warnings for operators.

    `limits` are the `max.message.bytes` of the outcome topics, if the broker reports them.
    """

    partitions: int
    warnings: tuple[str, ...]
    limits: Mapping[str, int] = field(default_factory=dict)
    has_pages: bool = False
    """Whether replicas can share the pages of the account's list."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A topic's number of partitions, and the lowest number of replicas of any of them."""

    partitions: int
    replicas: int


async def prepare(
    cluster: ClusterConfig, topics: Topics, creation: Creation | None, clock: Clock = SYSTEM_CLOCK
) -> Layout:
    """Create missing topics (unless `creation` is None) and check the journal.

    Processes may run it at once.

    Raises `ConfigError`, within `cluster.bound_seconds`, if the cluster does not answer, a topic is missing,
    the partition counts do not fit, or the journal would lose jobs.
    """
    admin = AIOKafkaAdminClient(**cluster.connection())
    try:
        async with reaching(cluster), asyncio.timeout(cluster.bound_seconds):
            await admin.start()
            made = None if creation is None else await _create_missing(admin, topics, creation, clock)
            layout = await _check(admin, topics, CHECKS if made is None else CHECKS_OF_NEW, clock)
            known = replace(layout, warnings=(*(made or ()), *layout.warnings))
            return await _with_pages(admin, topics, creation, known)
    finally:
        await close_admin(admin)


async def _create_missing(
    admin: AIOKafkaAdminClient, topics: Topics, creation: Creation, clock: Clock
) -> list[str] | None:
    """Create missing topics; return the warnings, or None if none was missing."""
    existing = await extents_of(admin, topics)
    wanted = configs(topics, creation)
    requests = existing.get(topics.requests)
    partitions = requests.partitions if requests else creation.partitions
    new = [
        WantedTopic(name, partitions, creation.replication, wanted[name])
        for name in topics.all()
        if name not in existing
    ]
    if not new:
        return None
    warnings = await create(admin, new)
    await _until_served(admin, topics, clock)
    return warnings


async def _with_pages(
    admin: AIOKafkaAdminClient, topics: Topics, creation: Creation | None, layout: Layout
) -> Layout:
    """Note whether the topic of shared pages exists, which is created if it is missing."""
    why = "it is missing"
    try:
        with translated():
            exists = topics.pages in await admin.list_topics()
            if not exists and creation is not None:
                await create(admin, [WantedTopic(topics.pages, 1, creation.replication, PAGES_CONFIG)])
                exists = True
    except (ClusterError, ConfigError) as error:
        exists, why = False, str(error)
    if exists:
        return replace(layout, has_pages=True)
    warning = f"no topic {topics.pages}: each replica reads the account's whole task list itself ({why})"
    return replace(layout, warnings=(*layout.warnings, warning))


async def _until_served(admin: AIOKafkaAdminClient, topics: Topics, clock: Clock) -> None:
    """Wait until the metadata shows the topics, some 50 ms after Kafka answers a creation.

    Raises `ConfigError` for a topic that exists but is not shown to us.
    """
    try:
        async with asyncio.timeout(SERVED_WITHIN_SECONDS):
            await _until_shown(admin, topics, clock)
    except TimeoutError as error:
        names = ", ".join(await _hidden(admin, topics))
        raise ConfigError(
            f"the broker has {names}, but does not show it: grant Describe on it ({PAGE})"
        ) from error


async def _until_shown(admin: AIOKafkaAdminClient, topics: Topics, clock: Clock) -> None:
    while await _hidden(admin, topics):
        await clock.sleep(CHECK_SECONDS)


async def _hidden(admin: AIOKafkaAdminClient, topics: Topics) -> list[str]:
    shown = await extents_of(admin, topics)
    return [name for name in topics.all() if name not in shown]


async def extents_of(admin: AIOKafkaAdminClient, topics: Topics) -> Mapping[str, Extent]:
    """The extents of existing topics, listed first: a query by name may create a topic."""
    existing = set(await admin.list_topics()) & set(topics.all())
    described = await admin.describe_topics(sorted(existing)) if existing else []
    return {
        topic["topic"]: Extent(
            len(topic["partitions"]), min(len(partition["replicas"]) for partition in topic["partitions"])
        )
        for topic in described
        if topic["partitions"]
    }


async def _check(admin: AIOKafkaAdminClient, topics: Topics, checks: int, clock: Clock) -> Layout:
    extents = await _fitting_extents(admin, topics, checks, clock)
    requests, journal = extents[topics.requests], extents[topics.journal]
    settings = require_safe(topics.journal, await topic_settings(admin, topics.journal))
    outcomes = {name: await topic_settings(admin, name) or {} for name in (topics.results, topics.failures)}
    # Else only a refusal shows the limit, at the cost of a producer.
    limits = {name: each.get("max.message.bytes", "") for name, each in outcomes.items()}
    known = {name: int(limit) for name, limit in limits.items() if limit.isdigit()}
    warnings = (
        *risks(topics, requests, journal, settings),
        *unstamped(outcomes),
        *small_limits(topics, known),
    )
    return Layout(requests.partitions, warnings, known)


async def _fitting_extents(
    admin: AIOKafkaAdminClient, topics: Topics, checks: int, clock: Clock
) -> Mapping[str, Extent]:
    """The extents once they fit.

    Raises `ConfigError` if they still do not at the last check.

    One answer proves nothing: a broker may lag behind the one that answered before.
    """
    for _ in range(checks):
        extents = await extents_of(admin, topics)
        if misfit(extents, topics) is None:
            return extents
        await clock.sleep(CHECK_SECONDS)
    extents = await extents_of(admin, topics)
    complaint = misfit(extents, topics)
    if complaint is not None:
        raise ConfigError(complaint)
    return extents


def misfit(extents: Mapping[str, Extent], topics: Topics) -> str | None:
    """Why the service cannot work with these topics; None if it can."""
    missing = [name for name in topics.all() if name not in extents]
    if missing:
        return (
            f"missing topics: {', '.join(missing)}; `scribe topics` makes them (or is there no permission to "
            f"see them? {PAGE})"
        )
    requests, journal = extents[topics.requests], extents[topics.journal]
    if journal.partitions < requests.partitions:
        return (
            f"{topics.journal} has {journal.partitions} partitions and {topics.requests} has "
            f"{requests.partitions}: they must be equal; grow the journal first"
        )
    return None


def require_safe(journal: str, settings: Mapping[str, str] | None) -> Mapping[str, str]:
    """The settings, unless they may not be seen, or the journal would lose jobs or cannot hold them."""
    if settings is None:
        raise ConfigError(f"no permission for DescribeConfigs on topic {journal} ({PAGE})")
    policy = settings.get("cleanup.policy", "")
    if policy not in ("", "compact"):
        raise ConfigError(
            f"{journal} has cleanup.policy={policy}: it would lose open jobs; set it to `compact`"
        )
    limit_bytes = settings.get("max.message.bytes", "")
    if limit_bytes.isdigit() and int(limit_bytes) < LARGEST_ENTRY_BYTES:
        raise ConfigError(
            f"{journal} has max.message.bytes={limit_bytes}: some jobs would not fit; "
            f"set it to {LARGEST_ENTRY_BYTES} or more"
        )
    return settings


def risks(topics: Topics, requests: Extent, journal: Extent, settings: Mapping[str, str]) -> Iterator[str]:
    """What an operator should change, although the service can work."""
    name = topics.journal
    if not settings.get("cleanup.policy"):
        yield f"the broker does not say how {name} is cleaned up; it must be compacted, never deleted"
    if settings.get("min.insync.replicas", "2") == "1":
        yield f"{name} has min.insync.replicas=1: the loss of one broker can lose jobs; set it to 2"
    if settings.get("message.timestamp.type", STAMPED) != STAMPED:
        found = settings["message.timestamp.type"]
        yield f"{name} has message.timestamp.type={found}: the time of the broker is unknown; set {STAMPED}"
    if journal.replicas < REPLICAS:
        yield f"{name} has a replication factor of {journal.replicas}: jobs are safest with {REPLICAS}"
    if journal.partitions > requests.partitions:
        yield f"{name} has more partitions than {topics.requests}: grow {topics.requests} to match"


def unstamped(outcomes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """What may become of outcomes whose time is that of the process that wrote them."""
    for name, settings in outcomes.items():
        found = settings.get("message.timestamp.type", STAMPED)
        if found != STAMPED:
            yield (
                f"{name} has message.timestamp.type={found}: Kafka would delete the outcomes of a process "
                f"whose clock is far behind before they are read; set {STAMPED}"
            )


def small_limits(topics: Topics, limits: Mapping[str, int]) -> Iterator[str]:
    """What becomes of outcomes that are larger than the brokers take."""
    usual = {topics.results: RESULT_BYTES, topics.failures: FAILURE_BYTES}
    for name, limit_bytes in limits.items():
        if limit_bytes < usual[name]:
            loss = "their words, then their captions and sentences, and are a failure at last"
            larger = f"lose {loss}" if name == topics.results else "lose the copy of their request"
            yield (
                f"{name} has max.message.bytes={limit_bytes}, not {usual[name]}: "
                f"larger records (compressed) {larger}"
            )


async def topic_settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str] | None:
    """The topic's configuration.

    Empty if the broker reports none, None if we lack the permission.
    """
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    found: dict[str, str] = {}
    for answer in answers:
        for resource in answer.resources:
            if resource[0] == NOT_AUTHORIZED:
                return None
            found.update({entry[0]: entry[1] for entry in resource[-1] if entry[1] is not None})
    return found
