"""Gauges that are read when the page is requested: the loops' ages and the process's status."""

from collections import Counter
from collections.abc import Callable, Iterator

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
        yield _hold(status)
        yield number(definitions.RESULTS_HELD, sum(each.jobs for each in status.result_holds))
        yield number(definitions.ACCOUNT_KNOWN, float(status.account_hold != "unknown"))
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
    named = {(budget.kind, budget.model or ""): budget for budget in status.budgets}
    rates = [(key, budget.rate_per_second) for key, budget in named.items()]
    yield gauge(definitions.BUDGET_RATE_PER_SECOND, rates)
    shares = [(key, budget.share_per_second) for key, budget in named.items()]
    yield gauge(definitions.BUDGET_SHARE_PER_SECOND, shares)
    reasons = [((reason.value,), float(reason.value in status.unused_slots)) for reason in Unused]
    yield gauge(definitions.SLOTS_UNUSED, reasons)


def _submits(status: Status) -> Iterator[GaugeMetricFamily]:
    left = [((each.model,), each.retries_left) for each in status.submits]
    yield gauge(definitions.RETRY_BUDGET, left)
    outages = [((each.model,), float(each.outage_since_ms is not None)) for each in status.submits]
    yield gauge(definitions.PROVIDER_OUTAGE, outages)
    causes = [((each.model, each.outage.kind.value), 1.0) for each in status.submits if each.outage]
    yield gauge(definitions.PROVIDER_OUTAGE_CAUSE, causes)


def _hold(status: Status) -> GaugeMetricFamily:
    active = {among(hold.code, HOLD_CODES) for hold in status.holds}
    return gauge(definitions.HOLD, [((code,), float(code in active)) for code in (*HOLD_CODES, OTHER)])
