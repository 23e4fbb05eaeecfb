"""The metrics: what each call changes, that nothing from outside makes series, and that the page is sound."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from service.clock import SystemClock
from service.core.limits.price import Price
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import TABLE, Action
from service.core.shard.admission import AdmissionKind
from service.errors import FAULTS
from service.observability.job_metrics import COUNTED_CODES
from service.observability.metric_definitions import (
    CALLS,
    HOLD_CODES,
    MAX_UNKNOWN_CODES,
    SUBMITS_ONLY,
    CallResult,
)
from service.observability.metrics import Metrics
from service.observability.process_definitions import (
    BILLED_COST_LIMIT,
    BILLED_SECONDS_LIMIT,
    OPEN_JOBS_LIMIT,
    BatchResult,
)
from service.observability.status import (
    BudgetStatus,
    HoldStatus,
    ResultHoldStatus,
    ShardStatus,
    ShardWork,
    Status,
    SubmitStatus,
    Waiting,
)
from service.pipeline.guards.wait_reasons import CallsInFlight
from service.pipeline.shard.observer import ShardChange


class StillClock(SystemClock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now_ms(self) -> int:
        return round(1000 * self.seconds)

    def boot_seconds(self) -> float:
        return self.seconds

    def draw(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


FULL = Status(
    version="1",
    member="m",
    taken_at=100.0,
    shards=(
        ShardStatus(0, "ready", work=ShardWork({"waiting": 1, "submitted": 3}, 2, 77, 0.25, 5, 7.5, 900)),
        ShardStatus(1, "ready"),
        ShardStatus(2, "restoring"),
        ShardStatus(3, "suspended", work=ShardWork({"waiting": 0})),
    ),
    partitions=6,
    is_ready=True,
    group_lost="away",
    jobs={"submitted": 3, "waiting": 1},
    submissions={"running": 2},
    waiting=(
        Waiting("fun-asr", "quota", 3),
        Waiting("fun-asr-mtl-2031-01-01", "quota", 1),
        Waiting("fun-asr-mtl", "quota", 2),
        Waiting("new-thing", "hold", 4),
    ),
    oldest_ages_seconds={"waiting": 12.5},
    retention_seconds=-3.0,
    calls=(CallsInFlight("submit", 2, 32),),
    budgets=(BudgetStatus("query", 7.5, 15.0), BudgetStatus("submit", 1.0, 2.0, model="fun-asr")),
    unused_slots=("membership",),
    submits=(
        SubmitStatus("fun-asr", 7.5),
        SubmitStatus("fun-asr-mtl", 0.0, 1, ProviderError("timeout", "x")),
    ),
    holds=(HoldStatus("Arrearage", 1),),
    result_holds=(ResultHoldStatus("fun-asr", "h", "S", 3, 1), ResultHoldStatus("fun-asr-mtl", "h", "S", 4)),
    account_hold="held",
    pending_bytes=4,
)


def samples(metrics: Metrics) -> Iterator[Sample]:
    for family in text_string_to_metric_families(metrics.page()[1].decode()):
        yield from family.samples


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    found = [each.value for each in samples(metrics) if each.name == name and each.labels == labels]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def metrics(clock: StillClock) -> Metrics:
    return Metrics(clock=clock)


def test_records_are_counted_by_how_they_were_taken(metrics: Metrics) -> None:
    for change in AdmissionKind:
        metrics.record_admitted(change)
    metrics.record_admitted(AdmissionKind.ACCEPTED)
    assert value(metrics, "scribe_request_records_total", admitted="accepted") == 2
    assert value(metrics, "scribe_request_records_total", admitted="refused") == 1


def test_calls_are_counted_by_result_and_timed_by_kind(metrics: Metrics) -> None:
    metrics.provider_call("submit", CallResult.THROTTLED, 0.5, "fun-asr")
    metrics.provider_call("submit", CallResult.OK, 0.25, "fun-asr")
    name, submit = "scribe_provider_calls_total", {"kind": "submit", "model": "fun-asr"}
    assert value(metrics, name, **submit, result="throttled") == 1
    assert value(metrics, name, **submit, result="lost") == 0, "its rate sees the first"
    assert value(metrics, "scribe_provider_call_seconds_sum", kind="submit") == 0.75


def test_a_models_first_submit_shows_the_counters_of_its_first_result(metrics: Metrics) -> None:
    metrics.count_jobs({})
    assert value(metrics, "scribe_jobs_finished_total", model="fun-asr", fault="none") is None
    metrics.provider_call("submit", CallResult.OK, 0.25, "fun-asr")
    assert value(metrics, "scribe_jobs_finished_total", model="fun-asr", fault="none") == 0
    assert value(metrics, "scribe_provider_outages_total", model="fun-asr") == 0


def test_batches_retries_shards_and_lost_requests_are_counted(metrics: Metrics) -> None:
    metrics.batch_committed(7, 0.02)
    metrics.batch_failed(BatchResult.UNKNOWN)
    metrics.shard_event(ShardChange.TAKEN)
    metrics.requests_lost(3)
    assert value(metrics, "scribe_batch_records_sum") == 7
    assert value(metrics, "scribe_batch_commit_seconds_count") == 1
    shown = [value(metrics, "scribe_batches_total", result=result) for result in BatchResult]
    assert shown == [1, 1, 0]
    assert value(metrics, "scribe_shard_events_total", event="taken") == 1
    assert value(metrics, "scribe_requests_lost_total") == 3


def test_a_stalled_loop_grows_old(metrics: Metrics, clock: StillClock) -> None:
    metrics.loop_tick("poll")
    metrics.loop_tick("submit")
    clock.seconds += 40
    metrics.loop_tick("submit")
    assert value(metrics, "scribe_loop_age_seconds", loop="poll") == 40
    assert value(metrics, "scribe_loop_age_seconds", loop="submit") == 0


def test_unknown_values_are_counted_as_other(metrics: Metrics) -> None:
    metrics.provider_call("peek", CallResult.OK, 1.0, "qwen-9")
    page = metrics.page()[1].decode()
    for odd in ("qwen-9", "peek"):
        assert f'"{odd}"' not in page
    assert value(metrics, "scribe_provider_calls_total", kind="other", model="other", result="ok") == 1


def test_unknown_provider_codes_cannot_make_series_without_end(metrics: Metrics) -> None:
    for number in range(3 * MAX_UNKNOWN_CODES):
        metrics.unknown_provider_code(f"Code{number}")
    metrics.unknown_provider_code("Code0")
    found = [each for each in samples(metrics) if each.name == "scribe_provider_unknown_codes_total"]
    assert len(found) == MAX_UNKNOWN_CODES + 1
    assert value(metrics, "scribe_provider_unknown_codes_total", code="other") == 2 * MAX_UNKNOWN_CODES
    assert value(metrics, "scribe_provider_unknown_codes_total", code="Code0") == 2


def test_a_code_with_quotes_and_line_breaks_keeps_the_page_readable(metrics: Metrics) -> None:
    odd = 'a"b\\c\nscribe_fake_total 1'
    metrics.unknown_provider_code(odd)
    assert value(metrics, "scribe_provider_unknown_codes_total", code=odd) == 1
    assert value(metrics, "scribe_fake_total") is None


def test_the_gauges_show_the_status_that_was_published_last(metrics: Metrics) -> None:
    published = [Status("1", "m")]
    metrics.show_status(lambda: published[-1])
    assert value(metrics, "scribe_request_partitions") == 0
    for absent in ("scribe_oldest_open_job_age_seconds", "scribe_result_retention_seconds"):
        assert all(each.name != absent for each in samples(metrics))
    assert value(metrics, "scribe_hold", code="Arrearage") == 0
    assert value(metrics, "scribe_account_known") == 0
    assert (value(metrics, "scribe_ready"), value(metrics, "scribe_group_lost")) == (0, 0)
    published.append(FULL)
    assert value(metrics, "scribe_oldest_open_job_age_seconds", state="waiting") == 12.5
    assert value(metrics, "scribe_result_retention_seconds") == -3
    assert value(metrics, "scribe_calls_in_flight", kind="submit") == 2
    assert value(metrics, "scribe_calls_in_flight_limit", kind="submit") == 32
    assert value(metrics, "scribe_budget_rate_per_second", kind="query", model="") == 7.5
    assert value(metrics, "scribe_budget_share_per_second", kind="submit", model="fun-asr") == 2.0
    assert value(metrics, "scribe_slots_unused", reason="membership") == 1
    assert value(metrics, "scribe_slots_unused", reason="clock") == 0
    assert value(metrics, "scribe_hold", code="Arrearage") == 1
    assert value(metrics, "scribe_hold", code="other") == 0
    assert value(metrics, "scribe_hold_start_timestamp_seconds", code="Arrearage") == 0.001
    assert value(metrics, "scribe_provider_outage_start_timestamp_seconds", model="fun-asr-mtl") == 0.001
    assert value(metrics, "scribe_ready") == 1
    assert value(metrics, "scribe_group_lost") == 1
    assert value(metrics, "scribe_retry_budget", model="fun-asr") == 7.5
    assert value(metrics, "scribe_provider_outage", model="fun-asr") == 0
    assert value(metrics, "scribe_provider_outage", model="fun-asr-mtl") == 1
    causes = [each.labels for each in samples(metrics) if each.name == "scribe_provider_outage_cause"]
    assert causes == [{"model": "fun-asr-mtl", "cause": "timeout"}]
    assert value(metrics, "scribe_account_known") == 1
    assert value(metrics, "scribe_results_held") == 7
    assert value(metrics, "scribe_pending_bytes") == 4


def of_shards(metrics: Metrics) -> dict[str, dict[str, float]]:
    """The series with a partition: by name, the partition's number (and state) with the value."""
    found: dict[str, dict[str, float]] = {}
    for each in samples(metrics):
        if "partition" in each.labels:
            at = " ".join(filter(None, (each.labels["partition"], each.labels.get("state"))))
            found.setdefault(each.name, {})[at] = each.value
    return found


def test_the_figures_of_a_shard_are_shown_by_partition_and_only_while_it_is_certainly_ours(
    metrics: Metrics,
) -> None:
    """So `sum(max by (partition) (...))` counts no shard twice, and none that this process has lost."""
    metrics.show_status(lambda: FULL)
    assert of_shards(metrics) == {
        "scribe_shard_state": {"0 ready": 1, "1 unproven": 1, "2 restoring": 1, "3 suspended": 1},
        "scribe_open_jobs": {"0 waiting": 1, "0 submitted": 3, "3 waiting": 0},
        "scribe_uncertain_submissions": {"0": 2, "3": 0},
        "scribe_billed_seconds_today": {"0": 77, "3": 0},
        "scribe_billed_cost_today": {"0": 0.25, "3": 0},
        "scribe_request_lag_records": {"0": 5},
        "scribe_request_lag_seconds": {"0": 7.5},
        "scribe_journal_offsets": {"0": 900},
    }
    assert value(metrics, "scribe_request_partitions") == 6


def test_jobs_that_wait_are_shown_by_a_closed_set_of_models(metrics: Metrics) -> None:
    """Requests may name any snapshot of a model: it counts as the model that the table has."""
    metrics.show_status(lambda: FULL)
    waiting = {
        (each.labels["model"], each.labels["reason"]): each.value
        for each in samples(metrics)
        if each.name == "scribe_waiting_jobs"
    }
    assert waiting == {("fun-asr", "quota"): 3, ("fun-asr-mtl", "quota"): 3, ("other", "hold"): 4}


def test_snapshots_of_one_model_make_one_series_of_the_worst_and_their_quotas_are_added_up(
    metrics: Metrics,
) -> None:
    """Requests may name any snapshot, and each has a quota of its own."""
    metrics.show_status(
        lambda: Status(
            "1",
            "m",
            budgets=(
                BudgetStatus("submit", 1.0, 2.0, model="fun-asr"),
                BudgetStatus("submit", 0.5, 2.0, model="fun-asr-2031-01-01"),
            ),
            submits=(
                SubmitStatus("fun-asr", 20.0),
                SubmitStatus("fun-asr-2031-01-01", 3.0, 7_000, ProviderError("timeout", "x")),
            ),
        )
    )
    model = {"model": "fun-asr"}
    assert value(metrics, "scribe_budget_rate_per_second", kind="submit", **model) == 1.5
    assert value(metrics, "scribe_budget_share_per_second", kind="submit", **model) == 4.0
    assert value(metrics, "scribe_retry_budget", **model) == 3.0
    assert value(metrics, "scribe_provider_outage", **model) == 1
    assert value(metrics, "scribe_provider_outage_start_timestamp_seconds", **model) == 7
    assert value(metrics, "scribe_provider_outage_cause", **model, cause="timeout") == 1


def test_a_shard_takes_its_series_with_it(metrics: Metrics) -> None:
    published = [FULL]
    metrics.show_status(lambda: published[-1])
    assert "0" in of_shards(metrics)["scribe_billed_seconds_today"]
    published.append(replace(FULL, shards=FULL.shards[1:]))
    assert all(not at.startswith("0") for shown in of_shards(metrics).values() for at in shown)


def test_a_picture_that_is_old_proves_no_ownership(metrics: Metrics, clock: StillClock) -> None:
    """While the loop stands still, or after a freeze, another process may have taken the shards over."""
    metrics.show_status(lambda: FULL)
    clock.seconds += 9.9
    assert "scribe_open_jobs" in of_shards(metrics)
    clock.seconds += 0.2
    assert of_shards(metrics) == {
        "scribe_shard_state": {"0 unproven": 1, "1 unproven": 1, "2 restoring": 1, "3 suspended": 1}
    }


def test_a_hold_for_a_code_without_a_row_shows_as_other(metrics: Metrics) -> None:
    metrics.show_status(
        lambda: Status("1", "m", holds=(HoldStatus("NewKindOfDebt", 1), HoldStatus("spend_limit", 1)))
    )
    assert value(metrics, "scribe_hold", code="other") == 1
    assert value(metrics, "scribe_hold", code="spend_limit") == 1
    assert value(metrics, "scribe_hold", code="NewKindOfDebt") is None


def test_every_code_that_holds_has_its_series() -> None:
    holding = {
        code for code, row in TABLE.items() if Action.HOLD in (row.on_submit.action, row.on_file.action)
    }
    assert set(HOLD_CODES) == {*holding, "spend_limit"}


def test_closed_series_begin_at_zero_so_that_a_rate_sees_the_first(metrics: Metrics) -> None:
    metrics.count_jobs({})
    for kind in CALLS:
        for result in CallResult if kind != "submit" else ():
            shown = value(metrics, "scribe_provider_calls_total", kind=kind, model="", result=result)
            assert shown == (None if result in SUBMITS_ONLY else 0), "what can never be is not shown"
    for event in ShardChange:
        assert value(metrics, "scribe_shard_events_total", event=event) == 0
    for code in COUNTED_CODES:
        assert value(metrics, "scribe_failures_total", code=code, fault=FAULTS[code]) == 0


def test_the_page_keeps_the_rules_of_promtool(metrics: Metrics) -> None:
    metrics.show_status(lambda: FULL)
    metrics.loop_tick("poll")
    metrics.count_jobs({"fun-asr": Price(1.0)}).begin("fun-asr")
    families = list(text_string_to_metric_families(metrics.page()[1].decode()))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert family.name.startswith("scribe_"), family.name
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_ms", "_milliseconds", "_minutes"))
        assert family.name.lower() == family.name
        assert {"le", "quantile", "instance", "job"}.isdisjoint(
            {label for sample in family.samples if family.type != "histogram" for label in sample.labels}
        )


def test_the_process_is_described_on_request(metrics: Metrics) -> None:
    limits = {OPEN_JOBS_LIMIT: 20_000, BILLED_SECONDS_LIMIT: 100, BILLED_COST_LIMIT: None}
    metrics.process.describe("1.2.3", "abc", limits)
    assert value(metrics, "scribe_build_info", version="1.2.3") == 1
    assert value(metrics, "scribe_settings_info", hash="abc") == 1
    assert value(metrics, "scribe_open_jobs_limit") == 20_000
    assert value(metrics, "scribe_billed_seconds_limit") == 100
    assert value(metrics, "scribe_billed_cost_limit") is None
    assert value(metrics, "process_resident_memory_bytes")


def test_every_metric_is_defined_in_a_module_of_definitions() -> None:
    named = re.compile(r'(?:Counter|Gauge|Histogram|Info|Definition|MetricFamily)\(\s*"scribe_')
    modules = [path.name for path in Path("service").rglob("*.py") if named.search(path.read_text())]
    assert sorted(modules) == [
        "gauge_definitions.py",
        "metric_definitions.py",
        "process_definitions.py",
    ]
