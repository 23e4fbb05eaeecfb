"""The metrics of finished jobs: how late, whose fault, and what they cost; refused records are no jobs."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from service.contract.outcome import Failure, ProviderTimes, Result, Times, Usage
from service.contract.stage import Stage
from service.contract.traceparent import TraceParent
from service.core.job.ending import ResultEnding
from service.core.job.job import JobState
from service.core.limits.price import Price
from service.core.outcome.build import OutcomeRules, job_outcome
from service.errors import FAULTS, FailureCode, Fault
from service.observability.job_metrics import COUNTED_CODES, JobMetrics
from service.observability.metric_definitions import JOB_BUCKETS
from tests.unit.core.samples import NOW_MS, job, transcript

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE_WAY = Times(
    requested_at=BEGIN,
    accepted_at=BEGIN + timedelta(seconds=1),
    submitted_at=BEGIN + timedelta(seconds=10),
    completed_at=BEGIN + timedelta(seconds=75),
    fetched_at=BEGIN + timedelta(seconds=76),
    published_at=BEGIN + timedelta(seconds=78),
)
VENDORS = ProviderTimes(submit_time="2026-01-01 00:00:10", end_time="2026-01-01 00:01:10")


def result(**fields: object) -> Result:
    """A result; the audio has five seconds."""
    ended = job(JobState.FINISHING, ending=ResultEnding(transcript()), task_ids=("t",), submitted_ms=NOW_MS)
    body = job_outcome(ended, None, NOW_MS, OutcomeRules()).body
    assert isinstance(body, Result)
    return body.model_copy(update={"times": WHOLE_WAY, **fields})


def failure(code: FailureCode, file_index: int | None = 0) -> Failure:
    """A failure of a file, or of a record without jobs."""
    return Failure(
        stage=Stage.POLL, code=code, message="", retryable=False, model="fun-asr", file_index=file_index
    )


class Shown:
    """Job metrics and what they show."""

    def __init__(self, prices: dict[str, Price] | None = None) -> None:
        self.registry = CollectorRegistry()
        self.metrics = JobMetrics(self.registry, prices or {})

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def test_every_code_has_a_fault() -> None:
    assert set(FAULTS) == set(FailureCode)
    assert set(FAULTS.values()) == set(Fault)


def test_no_step_between_buckets_is_a_hole_from_a_second_to_two_days() -> None:
    assert JOB_BUCKETS[-1] == 2 * 86_400
    steps = [after / before for before, after in itertools.pairwise(JOB_BUCKETS)]
    assert max(steps) < 3.5


def test_a_result_is_timed_by_family_and_the_part_that_is_ours_apart() -> None:
    shown = Shown()
    shown.metrics.succeeded(result(times=WHOLE_WAY.model_copy(update={"provider": VENDORS})))
    assert shown.value("scribe_result_seconds_sum", model_family="fun-asr") == 78
    assert shown.value("scribe_result_own_seconds_sum") == 18
    assert shown.value("scribe_result_unseen_seconds_sum") == 5
    assert shown.value("scribe_result_audio_ratio_sum", model_family="fun-asr") == 12
    stages = ("queue", "submit", "provider", "collect", "publish")
    assert [shown.value("scribe_result_stage_seconds_sum", stage=stage) for stage in stages] == [
        1,
        9,
        65,
        1,
        2,
    ]
    assert shown.value("scribe_result_stage_seconds_count", stage="total") is None


def exemplars(shown: Shown) -> dict[str, set[str]]:
    """The trace ids that the histograms name."""
    found: dict[str, set[str]] = {}
    for family in shown.registry.collect():
        for sample in family.samples:
            if sample.exemplar:
                found.setdefault(family.name, set()).add(sample.exemplar.labels["trace_id"])
    return found


def test_the_times_of_a_result_name_its_trace() -> None:
    shown, trace_id = Shown(), "4bf92f3577b34da6a3ce929d0e0e4736"
    timed = result(times=WHOLE_WAY.model_copy(update={"provider": VENDORS}))
    before = len([sample for family in shown.registry.collect() for sample in family.samples])
    shown.metrics.succeeded(timed)
    plain = len([sample for family in shown.registry.collect() for sample in family.samples])
    shown.metrics.succeeded(timed, TraceParent(trace_id, "00f067aa0ba902b7", is_sampled=True))
    assert exemplars(shown) == {
        name: {trace_id}
        for name in (
            "scribe_result_seconds",
            "scribe_result_own_seconds",
            "scribe_result_unseen_seconds",
            "scribe_result_stage_seconds",
            "scribe_result_audio_ratio",
        )
    }
    after = len([sample for family in shown.registry.collect() for sample in family.samples])
    assert before < plain == after


def test_times_of_a_result_without_a_sampled_trace_name_none() -> None:
    shown = Shown()
    shown.metrics.succeeded(result())
    shown.metrics.succeeded(result(), TraceParent("a" * 32, "b" * 16, is_sampled=False))
    assert exemplars(shown) == {}


def test_without_the_vendors_times_the_provider_is_timed_until_its_end_is_seen() -> None:
    shown = Shown()
    shown.metrics.succeeded(result())
    assert shown.value("scribe_result_own_seconds_sum") == 13
    assert shown.value("scribe_result_unseen_seconds_count") == 0
    assert shown.value("scribe_result_audio_ratio_sum", model_family="fun-asr") == 13


def test_vendors_times_that_are_longer_than_what_was_seen_leave_nothing_unseen() -> None:
    shown = Shown()
    longer = ProviderTimes(submit_time="2026-01-01 00:00:00", end_time="2026-01-01 01:00:00")
    shown.metrics.succeeded(result(times=WHOLE_WAY.model_copy(update={"provider": longer})))
    assert shown.value("scribe_result_own_seconds_sum") == 13
    assert shown.value("scribe_result_unseen_seconds_sum") == 0


def test_a_result_without_a_length_or_times_is_counted_and_not_timed() -> None:
    shown = Shown()
    silent = replace(transcript(), audio=replace(transcript().audio, duration_ms=None))
    shown.metrics.succeeded(result(transcript=silent, times=Times()))
    assert shown.value("scribe_jobs_finished_total", model="fun-asr", fault="none") == 1
    assert shown.value("scribe_result_seconds_count", model_family="fun-asr") is None
    assert shown.value("scribe_audio_seconds_total", model="fun-asr") is None


@pytest.mark.parametrize("code", COUNTED_CODES)
def test_a_failure_is_counted_by_code_and_fault_and_takes_no_part_in_the_times(code: FailureCode) -> None:
    shown = Shown()
    shown.metrics.failed(failure(code))
    assert shown.value("scribe_failures_total", code=code, fault=FAULTS[code]) == 1
    assert shown.value("scribe_jobs_finished_total", model="fun-asr", fault=FAULTS[code]) == 1
    assert shown.value("scribe_result_own_seconds_count") == 0


def test_a_record_that_cannot_be_read_is_a_failure_but_no_finished_job() -> None:
    shown = Shown()
    shown.metrics.failed(failure(FailureCode.INVALID_JSON, None))
    assert shown.value("scribe_failures_total", code="invalid_json", fault="requester") == 1
    assert shown.value("scribe_jobs_finished_total", model="fun-asr", fault="requester") is None


def test_what_results_cost_is_counted_by_model() -> None:
    shown = Shown({"fun-asr": Price(per_second=0.5, per_output_token=2.0)})
    shown.metrics.succeeded(result(usage=Usage(billed_seconds=3, input_tokens=7, output_tokens=11)))
    assert shown.value("scribe_billed_seconds_total", model="fun-asr") == 3
    assert shown.value("scribe_audio_seconds_total", model="fun-asr") == 5
    assert shown.value("scribe_tokens_total", model="fun-asr", direction="input") == 7
    assert shown.value("scribe_tokens_total", model="fun-asr", direction="output") == 11
    assert shown.value("scribe_cost_total", model="fun-asr") == 23.5


def test_the_counters_of_a_model_begin_at_zero_before_its_first_result() -> None:
    shown = Shown({"fun-asr": Price(per_second=1.0)})
    for model in ("fun-asr", "qwen3-omni-flash"):
        shown.metrics.begin(model)
        for fault in ("none", *Fault):
            assert shown.value("scribe_jobs_finished_total", model=model, fault=fault) == 0
        assert shown.value("scribe_billed_seconds_total", model=model) == 0
    assert shown.value("scribe_cost_total", model="fun-asr") == 0
    assert shown.value("scribe_cost_total", model="qwen3-omni-flash") is None, "it has no price"
    assert shown.value("scribe_tokens_total", model="fun-asr", direction="input") is None, "it has no tokens"
    assert shown.value("scribe_tokens_total", model="qwen3-omni-flash", direction="input") == 0


def test_without_prices_there_is_no_metric_of_the_cost() -> None:
    shown = Shown()
    shown.metrics.succeeded(result(usage=Usage(billed_seconds=3)))
    assert "scribe_cost" not in {family.name for family in shown.registry.collect()}


def test_models_from_outside_make_no_series_without_end() -> None:
    shown = Shown()
    for number in range(50):
        shown.metrics.succeeded(result(model=f"fun-asr-2031-01-{number % 28 + 1:02}"))
        shown.metrics.succeeded(result(model=f"odd-{number}"))
    assert shown.value("scribe_jobs_finished_total", model="fun-asr", fault="none") == 50
    assert shown.value("scribe_jobs_finished_total", model="other", fault="none") == 50
