"""Gauges that are read when the page is requested: the loops' ages and the process's status."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.clock import Clock
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.limits.slot_share import Unused
from service.observability import metric_definitions as definitions
from service.observability.metric_definitions import HOLD_CODES, OTHER, Definition
from service.observability.status import Status


def among(value: str, foreseen: Collection[str]) -> str:
    """The value, or `other` if it is not among the known ones."""
    return value if value in foreseen else OTHER


class LoopTicks(Collector):
    """How long ago each named loop last ran."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turned: dict[str, float] = {}

    def tick(self, name: str) -> None:
        """Record that the loop has run."""
        self._turned[name] = self._clock.boot_seconds()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = _family(definitions.LOOP_AGE_SECONDS)
        now = self._clock.boot_seconds()
        for name, turned in self._turned.copy().items():
            family.add_metric([name], max(0.0, now - turned))
        yield family


class StatusGauges(Collector):
    """The numbers of the last published status."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())  # registering must not request a status yet

    def collect(self) -> Iterator[GaugeMetricFamily]:
        status = self._status()
        states = [state for state in JobState if state is not JobState.DONE]
        jobs = [((state.value,), status.jobs.get(state, 0)) for state in states]
        yield _gauge(definitions.OPEN_JOBS, jobs)
        yield _number(definitions.OLDEST_OPEN_JOB_AGE_SECONDS, status.oldest_job_age_seconds or 0.0)
        shards = [shard.state for shard in status.shards]
        yield _gauge(definitions.SHARDS, [((state,), shards.count(state)) for state in sorted(set(shards))])
        yield from _budgets(status)
        yield from _submits(status)
        yield _hold(status)
        yield _number(definitions.RESULTS_HELD, sum(each.jobs for each in status.result_holds))
        yield _number(definitions.ACCOUNT_KNOWN, float(status.account_hold != "unknown"))
        yield _number(definitions.CLOCK_OFFSET_SECONDS, status.clock_offset_seconds)
        submissions = [((state.value,), status.submissions.get(state, 0)) for state in SubmissionState]
        yield _gauge(definitions.SUBMISSIONS, submissions)
        yield _number(definitions.PENDING_BYTES, status.pending_bytes)


def _budgets(status: Status) -> Iterator[GaugeMetricFamily]:
    named = {(budget.kind, budget.model or ""): budget for budget in status.budgets}
    rates = [(key, budget.rate_per_second) for key, budget in named.items()]
    yield _gauge(definitions.BUDGET_RATE_PER_SECOND, rates)
    shares = [(key, budget.share_per_second) for key, budget in named.items()]
    yield _gauge(definitions.BUDGET_SHARE_PER_SECOND, shares)
    reasons = [((reason.value,), float(reason.value in status.unused_slots)) for reason in Unused]
    yield _gauge(definitions.SLOTS_UNUSED, reasons)


def _submits(status: Status) -> Iterator[GaugeMetricFamily]:
    left = [((each.model,), each.retries_left) for each in status.submits]
    yield _gauge(definitions.RETRY_BUDGET, left)
    outages = [((each.model,), float(each.outage_since_ms is not None)) for each in status.submits]
    yield _gauge(definitions.PROVIDER_OUTAGE, outages)
    causes = [((each.model, each.outage.kind.value), 1.0) for each in status.submits if each.outage]
    yield _gauge(definitions.PROVIDER_OUTAGE_CAUSE, causes)
    yield _number(definitions.SPENT_SECONDS, status.spent_seconds)
    yield _number(definitions.SPENT_COST, status.spent_cost)


def _hold(status: Status) -> GaugeMetricFamily:
    active = {among(hold.code, HOLD_CODES) for hold in status.holds}
    return _gauge(definitions.HOLD, [((code,), float(code in active)) for code in (*HOLD_CODES, OTHER)])


def _number(metric: Definition, value: float) -> GaugeMetricFamily:
    return _gauge(metric, [((), value)])


def _gauge(metric: Definition, values: Iterable[tuple[Sequence[str], float]]) -> GaugeMetricFamily:
    family = _family(metric)
    for labelled, value in values:
        family.add_metric(labelled, value)
    return family


def _family(metric: Definition) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
