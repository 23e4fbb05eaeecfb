"""Counts and times of finished jobs: how many, how late, whose fault, and what they cost."""

from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter

from service.contract.model_table import Family
from service.contract.models import is_synchronous, model_info
from service.contract.outcome import STAGES, Failure, Result, Times, Usage, stage_seconds
from service.contract.traceparent import TraceParent
from service.core.limits.price import Price, cost_of
from service.core.polling.run_times import between_ms
from service.errors import FAULTS, FailureCode, Fault
from service.observability import metric_definitions as definitions
from service.observability.instruments import Children, counters, histogram, histograms
from service.observability.label_values import model_label
from service.observability.metric_definitions import NO_FAULT, OTHER
from service.observability.never_raises import watches

TOTAL = "total"
COUNTED_CODES = tuple(code for code in FailureCode if code is not FailureCode.ALREADY_FINISHED)
"""`already_finished` ends no job and is no fault: a repeated request gets it."""
INPUT, OUTPUT = "input", "output"


class Durations(NamedTuple):
    """Where the time of a result went, in seconds."""

    stages: Mapping[str, float]
    at_provider: float | None
    """From the submit to the end of the task, by the vendor's times; else until its end was seen."""
    unseen: float | None
    """From the end of the task, by the vendor's times, until it was seen."""


def durations_of(times: Times) -> Durations:
    """Where the time of a result went."""
    stages = stage_seconds(times)
    seen = stages.get("provider")
    vendor_ms = between_ms(times.provider.submit_time, times.provider.end_time)
    if vendor_ms is None or seen is None:
        return Durations(stages, seen, None)
    at_provider = min(seen, vendor_ms / 1000)
    return Durations(stages, at_provider, seen - at_provider)


@watches
class JobMetrics:
    """The metrics of finished jobs; those of a model begin with its first submit."""

    def __init__(self, registry: CollectorRegistry, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self._jobs = counters(registry, definitions.JOBS_FINISHED)
        self._failures = counters(registry, definitions.FAILURES)
        self._seconds = histograms(registry, definitions.RESULT_SECONDS)
        self._own_seconds = histogram(registry, definitions.RESULT_OWN_SECONDS)
        self._unseen_seconds = histogram(registry, definitions.RESULT_UNSEEN_SECONDS)
        self._stages = histograms(registry, definitions.RESULT_STAGE_SECONDS)
        self._ratio = histograms(registry, definitions.RESULT_AUDIO_RATIO)
        self._billed = counters(registry, definitions.BILLED_SECONDS)
        self._audio = counters(registry, definitions.AUDIO_SECONDS)
        self._tokens = counters(registry, definitions.TOKENS)
        self._costs: Children[Counter] | None = counters(registry, definitions.COST) if prices else None
        self._failures.begin(*((code, FAULTS[code]) for code in COUNTED_CODES))
        self._stages.begin(*((stage,) for stage in STAGES if stage != TOTAL))

    def begin(self, name: str) -> None:
        """The model is in use: show its counters, so that a rate sees its first result."""
        model = model_label(name)
        self._jobs.begin(*((model, fault) for fault in (NO_FAULT, *Fault)))
        self._billed.begin((model,))
        self._audio.begin((model,))
        if is_synchronous(model):
            self._tokens.begin((model, INPUT), (model, OUTPUT))
        if self._costs is not None and name in self._prices:
            self._costs.begin((model,))

    def failed(self, failure: Failure) -> None:
        """A failure is durable; one of a record that became no job ends no job."""
        fault = FAULTS[failure.code]
        self._failures[failure.code, fault].inc()
        if failure.file_index is not None:
            self._jobs[model_label(failure.model or ""), fault].inc()

    def succeeded(self, result: Result, trace: TraceParent | None = None) -> None:
        """A result is durable; times of a sampled trace name it, so that a slow one can be looked at."""
        model = model_label(result.model)
        self._jobs[model, NO_FAULT].inc()
        duration_ms = result.transcript.audio.duration_ms
        exemplar = {"trace_id": trace.trace_id} if trace is not None and trace.is_sampled else None
        self._observe(result, durations_of(result.times), duration_ms, exemplar)
        if duration_ms:
            self._audio[(model,)].inc(duration_ms / 1000)
        self._count_usage(model, result.usage)
        if self._costs is not None and (price := self._prices.get(result.model)):
            self._costs[(model,)].inc(cost_of(result.usage, price))

    def _observe(
        self, result: Result, durations: Durations, duration_ms: int | None, exemplar: dict[str, str] | None
    ) -> None:
        info = model_info(result.model)
        family: str = info.family if info and info.family in Family else OTHER
        for stage, seconds in durations.stages.items():
            if stage == TOTAL:
                self._seconds[(family,)].observe(seconds, exemplar)
                self._own_seconds.observe(max(0.0, seconds - (durations.at_provider or 0.0)), exemplar)
            else:
                self._stages[(stage,)].observe(seconds, exemplar)
        if durations.unseen is not None:
            self._unseen_seconds.observe(durations.unseen, exemplar)
        if duration_ms and durations.at_provider is not None:
            self._ratio[(family,)].observe(1000 * durations.at_provider / duration_ms, exemplar)

    def _count_usage(self, model: str, usage: Usage) -> None:
        self._billed[(model,)].inc(usage.billed_seconds or 0)
        if usage.input_tokens:
            self._tokens[model, INPUT].inc(usage.input_tokens)
        if usage.output_tokens:
            self._tokens[model, OUTPUT].inc(usage.output_tokens)
