"""Gauges that are read when the page is requested: the loops' ages and the process's status."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.clock import Clock
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.limits.slot_share import Unused
from service.core.limits.spend_limit import SPEND_LIMIT
from service.core.provider.error_table import TABLE, Action
from service.observability.status import Status

OTHER = "other"
HOLD_CODES = (
    *sorted(code for code, row in TABLE.items() if row.on_submit.action is Action.HOLD),
    SPEND_LIMIT,
)


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
        family = GaugeMetricFamily("scribe_loop_age_seconds", "Time since the loop turned.", labels=["loop"])
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
        yield _gauge("scribe_open_jobs", "Open jobs.", ("state",), jobs)
        age = status.oldest_job_age_seconds or 0.0
        yield _gauge("scribe_oldest_open_job_age_seconds", "Age of the oldest open job.", (), [((), age)])
        shards = [shard.state for shard in status.shards]
        counts = [((state,), shards.count(state)) for state in sorted(set(shards))]
        yield _gauge("scribe_shards", "Shards of this process.", ("state",), counts)
        yield from _budgets(status)
        yield from _submits(status)
        yield _hold(status)
        waiting = sum(each.jobs for each in status.result_holds)
        text = "Finished results that wait, as their host is not below SCRIBE_FETCH__HOSTS."
        yield _gauge("scribe_results_held", text, (), [((), waiting)])
        text = "1 while this process knows whether the provider holds the account: its submits tell."
        is_known = float(status.account_hold != "unknown")
        yield _gauge("scribe_account_known", text, (), [((), is_known)])
        text = "How far the wall clock is ahead of the time that ends and forgets things."
        yield _gauge("scribe_clock_offset_seconds", text, (), [((), status.clock_offset_seconds)])
        submissions = [((state.value,), status.submissions.get(state, 0)) for state in SubmissionState]
        yield _gauge("scribe_submissions", "Submissions that are not over.", ("state",), submissions)
        text = "Bytes decided and not yet durable."
        yield _gauge("scribe_pending_bytes", text, (), [((), status.pending_bytes)])


def _budgets(status: Status) -> Iterator[GaugeMetricFamily]:
    labels = ("kind", "model")
    named = {(budget.kind, budget.model or ""): budget for budget in status.budgets}
    rates = [(key, budget.rate_per_second) for key, budget in named.items()]
    text = "Calls this process may make now: throttling lowers it, then it recovers to the share."
    yield _gauge("scribe_budget_rate_per_second", text, labels, rates)
    shares = [(key, budget.share_per_second) for key, budget in named.items()]
    text = "This process's share of the account's quota."
    yield _gauge("scribe_budget_share_per_second", text, labels, shares)
    text = "1 while time slots of this process's partitions are not used, by why."
    reasons = [((reason.value,), float(reason.value in status.unused_slots)) for reason in Unused]
    yield _gauge("scribe_slots_unused", text, ("reason",), reasons)


def _submits(status: Status) -> Iterator[GaugeMetricFamily]:
    left = [((each.model,), each.retries_left) for each in status.submits]
    text = "Submits that may be repeated at once: successes add, repetitions take."
    yield _gauge("scribe_retry_budget", text, ("model",), left)
    text = "1 while submits of the model wait for a probe."
    outages = [((each.model,), float(each.outage_since_ms is not None)) for each in status.submits]
    yield _gauge("scribe_provider_outage", text, ("model",), outages)
    text = "1 for what the last submit of an outage met; only during one."
    causes = [((each.model, each.outage.kind.value), 1.0) for each in status.submits if each.outage]
    yield _gauge("scribe_provider_outage_cause", text, ("model", "cause"), causes)
    text = "Billed seconds of jobs that ended on this UTC day, of the shards of this process."
    yield _gauge("scribe_spent_seconds", text, (), [((), status.spent_seconds)])
    text = "The cost of the same, and of tokens, by the prices that are set."
    yield _gauge("scribe_spent_cost", text, (), [((), status.spent_cost)])


def _hold(status: Status) -> GaugeMetricFamily:
    active = {among(hold.code, HOLD_CODES) for hold in status.holds}
    reasons = [((code,), float(code in active)) for code in (*HOLD_CODES, OTHER)]
    text = "1 while submits are held for this code, the provider's or spend_limit."
    return _gauge("scribe_hold", text, ("code",), reasons)


def _gauge(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for labelled, value in values:
        family.add_metric(labelled, value)
    return family
