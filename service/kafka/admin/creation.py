"""Creates topics, also where the brokers refuse some of their settings, as managed Kafkas do.

What is refused is left out, and named in a warning; only compaction is never left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.errors import ConfigError
from service.frozen import dataclass
from service.kafka.client.error_reasons import PAGE

NOT_AUTHORIZED = 29
"""Kafka's code for a topic that this user may not use or may not see."""
ALREADY_EXISTS = 36
REFUSED_SETTINGS = (40, 42, 44)
"""Its codes for settings that are wrong, or against a policy of whoever runs the brokers."""
NEEDED = "cleanup.policy"
SIZE = "max.message.bytes"
SMALLEST_BYTES = 1024 * 1024
"""A managed Kafka takes at least this."""


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic to create."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str] = field(default_factory=dict)


async def create(admin: AIOKafkaAdminClient, topics: Sequence[WantedTopic]) -> list[str]:
    """Create the topics; return a warning for each that did not get all its settings.

    Raises `ConfigError` for what is refused; a topic that another process has created meanwhile is not.
    """
    errors = await _ask(admin, topics)
    refused = {name for name, code, _ in errors if code in REFUSED_SETTINGS}
    if not refused:
        _raise_refusals(errors)
        return []
    warnings, taken = [], []
    for topic in topics:
        if topic.name in refused:
            settings = await _taken(admin, topic)
            warnings += _left_out(topic, settings)
            taken.append(WantedTopic(topic.name, topic.partitions, topic.replication, settings))
    others = [error for error in errors if error[0] not in refused]
    _raise_refusals([*others, *await _ask(admin, taken)])
    return warnings


async def _ask(
    admin: AIOKafkaAdminClient, topics: Sequence[WantedTopic], *, only_try: bool = False
) -> list[tuple[str, int, str]]:
    new = [
        NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=dict(topic.settings))
        for topic in topics
    ]
    answer = await admin.create_topics(new, validate_only=only_try)
    errors: list[tuple[str, int, str]] = answer.topic_errors
    return errors


async def _taken(admin: AIOKafkaAdminClient, topic: WantedTopic) -> dict[str, str]:
    """The settings that the brokers take, each tried with what is needed; a smaller size than none."""
    needed = {name: value for name, value in topic.settings.items() if name == NEEDED}
    taken = dict(needed)
    for name, value in topic.settings.items():
        for tried in _sizes(int(value)) if name == SIZE else [value]:
            trial = WantedTopic(topic.name, topic.partitions, topic.replication, {**needed, name: tried})
            [(_, code, _)] = await _ask(admin, [trial], only_try=True)
            if code not in REFUSED_SETTINGS:
                taken[name] = tried
                break
    return taken


def _sizes(wanted_bytes: int) -> list[str]:
    sizes = [wanted_bytes]
    while sizes[-1] // 2 >= SMALLEST_BYTES:
        sizes.append(sizes[-1] // 2)
    return [str(size) for size in sizes]


def _left_out(topic: WantedTopic, taken: Mapping[str, str]) -> list[str]:
    changed = [
        f"{name}={taken[name]} for {value}" if name in taken else f"no {name}={value}"
        for name, value in topic.settings.items()
        if taken.get(name) != value
    ]
    return [f"the brokers refuse settings of {topic.name}: it has {', '.join(changed)}"] if changed else []


def _raise_refusals(topic_errors: Sequence[tuple[str, int, str]]) -> None:
    hidden = [name for name, code, _ in topic_errors if code == NOT_AUTHORIZED]
    if hidden:
        raise ConfigError(
            f"no permission to see, or to create, {', '.join(hidden)}; grant Create, or, where it exists, "
            f"what is needed of it ({PAGE})"
        )
    refused: dict[str, list[str]] = {}
    for name, code, message in topic_errors:
        if code not in (0, ALREADY_EXISTS):
            # Brokers put the topic's name into some reasons: replace it, so that equal reasons are grouped.
            why = (message or str(code)).replace(name, "the topic").rstrip(".")
            refused.setdefault(why, []).append(name)
    if refused:
        sentences = [f"{', '.join(names)} ({why})" for why, names in refused.items()]
        raise ConfigError(
            f"the broker did not create {'; '.join(sentences)}; "
            "create it by hand or change SCRIBE_TOPICS__REPLICATION"
        )
