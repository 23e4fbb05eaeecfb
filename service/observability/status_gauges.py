"""Gauges that are read when the page is requested: the loops' ages and the process's status."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.clock import Clock
from service.core.limits.slot_share import Unused
from service.observability import gauge_definitions as definitions
from service.observability.gauge_families import gauge, number
from service.observability.label_values import among, model_label
from service.observability.metric_definitions import HOLD_CODES, OTHER
from service.observability.shard_gauges import shard_gauges
from service.observability.status import Status


class LoopTicks(Collector):
    """How long ago each named loop last ran."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turned: dict[str, float] = {}

    def tick(self, name: str) -> None:
        """Record that the loop has run."""
        self._turned[name] = self._clock.boot_seconds()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._clock.boot_seconds()
        turned = self._turned.copy().items()
        yield gauge(definitions.LOOP_AGE_SECONDS, [((name,), max(0.0, now - at)) for name, at in turned])


class StatusGauges(Collector):
    """The numbers of the last published status."""

    def __init__(self, status: Callable[[], Status], clock: Clock) -> None:
        self._status = status
        self._clock = clock

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())  # registering must not request a status yet

    def collect(self) -> Iterator[GaugeMetricFamily]:
        status = self._status()
        yield from shard_gauges(status, self._clock.boot_seconds())
        yield from _waiting(status)
        yield from _budgets(status)
        yield from _submits(status)
        yield from _holds(status)
        yield number(definitions.RESULTS_HELD, sum(each.jobs for each in status.result_holds))
        yield number(definitions.ACCOUNT_KNOWN, float(status.account_hold != "unknown"))
        yield number(definitions.READY, float(status.is_ready))
        yield number(definitions.GROUP_LOST, float(status.group_lost is not None))
        yield number(definitions.CLOCK_OFFSET_SECONDS, status.clock_offset_seconds)
        yield number(definitions.PENDING_BYTES, status.pending_bytes)


def _waiting(status: Status) -> Iterator[GaugeMetricFamily]:
    jobs: Counter[tuple[str, str]] = Counter()
    for each in status.waiting:
        jobs[model_label(each.model), each.reason] += each.jobs
    yield gauge(definitions.WAITING_JOBS, jobs.items())
    ages = [((state,), age_seconds) for state, age_seconds in status.oldest_ages_seconds.items()]
    yield gauge(definitions.OLDEST_OPEN_JOB_AGE_SECONDS, ages)
    retention = [] if status.retention_seconds is None else [((), status.retention_seconds)]
    yield gauge(definitions.RESULT_RETENTION_SECONDS, retention)
    yield gauge(definitions.CALLS_IN_FLIGHT, [((each.kind,), each.calls) for each in status.calls])
    yield gauge(definitions.CALLS_IN_FLIGHT_LIMIT, [((each.kind,), each.limit) for each in status.calls])


def _budgets(status: Status) -> Iterator[GaugeMetricFamily]:
    """The quotas; snapshots that count as one model have theirs added up, as each has its own."""
    rates: defaultdict[tuple[str, str], float] = defaultdict(float)
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    for budget in status.budgets:
        key = (budget.kind, model_label(budget.model) if budget.model else "")
        rates[key] += budget.rate_per_second
        shares[key] += budget.share_per_second
    yield gauge(definitions.BUDGET_RATE_PER_SECOND, rates.items())
    yield gauge(definitions.BUDGET_SHARE_PER_SECOND, shares.items())
    reasons = [((reason.value,), float(reason.value in status.unused_slots)) for reason in Unused]
    yield gauge(definitions.SLOTS_UNUSED, reasons)


def _submits(status: Status) -> Iterator[GaugeMetricFamily]:
    """The guards of models; of snapshots that count as one model the worst is shown."""
    left = _of_models(((each.model, each.retries_left) for each in status.submits), min)
    yield gauge(definitions.RETRY_BUDGET, left)
    outages = ((each.model, float(each.outage_since_ms is not None)) for each in status.submits)
    yield gauge(definitions.PROVIDER_OUTAGE, _of_models(outages, max))
    starts = ((each.model, each.outage_since_ms) for each in status.submits)
    yield gauge(
        definitions.OUTAGE_START,
        _of_models(((name, ms / 1000) for name, ms in starts if ms is not None), min),
    )
    causes = {(model_label(each.model), each.outage.kind.value) for each in status.submits if each.outage}
    yield gauge(definitions.PROVIDER_OUTAGE_CAUSE, [(labels, 1.0) for labels in sorted(causes)])


def _of_models(
    values: Iterable[tuple[str, float]], worst: Callable[[float, float], float]
) -> list[tuple[tuple[str], float]]:
    found: dict[str, float] = {}
    for name, value in values:
        label = model_label(name)
        found[label] = worst(value, found.get(label, value))
    return [((label,), value) for label, value in found.items()]


def _holds(status: Status) -> Iterator[GaugeMetricFamily]:
    starts: dict[str, float] = {}
    for hold in status.holds:
        code, start = among(hold.code, HOLD_CODES), hold.since_ms / 1000
        starts[code] = min(start, starts.get(code, start))
    yield gauge(definitions.HOLD, [((code,), float(code in starts)) for code in (*HOLD_CODES, OTHER)])
    yield gauge(definitions.HOLD_START, [((code,), start) for code, start in starts.items()])
