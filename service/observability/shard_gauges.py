"""The gauges of shards: a shard that leaves the process takes its series with it."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily

from service.observability import gauge_definitions as definitions
from service.observability.gauge_families import gauge, number
from service.observability.metric_definitions import Definition
from service.observability.status import ShardStatus, ShardWork, Status

UNPROVEN = "unproven"
"""The state of a shard whose membership in the group is not proven: another process may have claimed it."""
READY = "ready"
STALE_SECONDS = 10.0
"""A picture that is as old proves nothing: as long as a proof of our membership counts."""

Read = Callable[[ShardWork], float | None]
OF_SHARDS: tuple[tuple[Definition, Read], ...] = (
    (definitions.UNCERTAIN_SUBMISSIONS, lambda work: work.uncertain_submissions),
    (definitions.BILLED_SECONDS_TODAY, lambda work: work.billed_seconds_today),
    (definitions.BILLED_COST_TODAY, lambda work: work.billed_cost_today),
    (definitions.REQUEST_LAG_RECORDS, lambda work: work.unread_requests),
    (definitions.REQUEST_LAG_SECONDS, lambda work: work.unread_seconds),
    (definitions.JOURNAL_OFFSETS, lambda work: work.journal_offsets),
)


def shard_gauges(status: Status, now: float) -> Iterator[GaugeMetricFamily]:
    """What belongs to each shard; nothing of one that another process may have claimed."""
    is_fresh = now - status.taken_at < STALE_SECONDS
    states = [((str(each.partition), _state(each, is_fresh=is_fresh)), 1.0) for each in status.shards]
    yield gauge(definitions.SHARD_STATE, states)
    yield number(definitions.REQUEST_PARTITIONS, status.partitions)
    shown = status.shards if is_fresh else ()
    works = [(str(shard.partition), shard.work) for shard in shown if shard.work is not None]
    jobs = [
        ((partition, state), float(count)) for partition, work in works for state, count in work.jobs.items()
    ]
    yield gauge(definitions.OPEN_JOBS, jobs)
    for definition, read in OF_SHARDS:
        found = [((partition,), read(work)) for partition, work in works]
        yield gauge(definition, [(labels, value) for labels, value in found if value is not None])


def _state(shard: ShardStatus, *, is_fresh: bool) -> str:
    is_proven = is_fresh and shard.work is not None
    return shard.state if is_proven or shard.state != READY else UNPROVEN
