"""The text of docs/metrics.md, from the metrics themselves."""

from collections.abc import Iterator, Mapping

from prometheus_client import Metric

from service.contract.model_table import Family
from service.core.provider.answers import Cause
from service.observability import gauge_definitions, metric_definitions, process_definitions
from service.observability.metric_definitions import MAX_UNKNOWN_CODES, Definition
from service.observability.shard_gauges import UNPROVEN
from tools.pages.metric_series import SIX_MODELS, all_series, number_of_series

INTRODUCTION = """\
# Metrics

`python -m tools.generate_docs metrics` generates this page from the definitions in `service/observability/`
(`metric_definitions.py`, `process_definitions.py`, `gauge_definitions.py`); a test compares them.

`/metrics` shows them to Prometheus, in OpenMetrics if the scrape accepts it. Times are in seconds. Labels are
closed: an unexpected value is counted as `other`, so that no request and no answer creates series. `model` is
the model of the table in models.md; a snapshot without a row there counts as the model that it is of.

**Sums over replicas.** Counters and histograms: `sum(increase(...))`. What has the label `partition` belongs
to a shard: `sum(max by (namespace, job, partition) (...))` is true while shards move, since a shard that
leaves a replica takes its series with it, and a replica that cannot prove its membership in the group shows
no figures of its shards. `scribe_waiting_jobs` has no partition: summed over replicas it is true but for the
seconds in which shards move. Of everything else take `max` or `min`.

"""

SIZE = """\
**Size.** A replica with 12 partitions and 6 models of 6 families has at most {whole} series, and some twenty
of the process and of Python (`process_...`, `python_...`). Each more partition adds {partition}, each more
model {model}, and {family} more if it is the first of its family.

"""

HEAD = """\
| metric | kind | labels | what | answers |
| --- | --- | --- | --- | --- |
"""

ONE_MODEL = ("fun-asr",)
BUCKETS = """
## Buckets

| metric | upper bounds |
| --- | --- |
"""

NAMED_MODELS = {
    "scribe_waiting_jobs",
    "scribe_provider_calls",
    "scribe_budget_rate_per_second",
    "scribe_budget_share_per_second",
    "scribe_provider_outage",
    "scribe_provider_outage_cause",
    "scribe_retry_budget",
    "scribe_cost",
    "scribe_provider_outage_start_timestamp_seconds",
}
"""Metrics whose models have a row of their own below."""
OPEN_LABELS: Mapping[tuple[str, str], str] = {
    ("scribe_loop_age_seconds", "loop"): "the loops of the process",
    ("scribe_provider_unknown_codes", "code"): f"at most {MAX_UNKNOWN_CODES} codes",
    ("scribe_shard_state", "state"): f"as in /status, `{UNPROVEN}`",
    ("scribe_provider_calls", "model"): "those of the model table that were submitted; empty for other calls",
    ("scribe_waiting_jobs", "model"): "those of the model table with open jobs; `other` beyond 64 names",
    ("scribe_budget_rate_per_second", "kind"): "the kinds of calls",
    ("scribe_budget_rate_per_second", "model"): "for submits",
    ("scribe_budget_share_per_second", "kind"): "the kinds of calls",
    ("scribe_budget_share_per_second", "model"): "for submits",
    ("scribe_provider_outage", "model"): "those submitted lately",
    ("scribe_provider_outage_cause", "model"): "those whose outage lasts",
    ("scribe_provider_outage_cause", "cause"): ", ".join(f"`{cause}`" for cause in Cause),
    ("scribe_provider_outage_start_timestamp_seconds", "model"): "those whose outage lasts",
    ("scribe_hold_start_timestamp_seconds", "code"): "those of `scribe_hold`",
    ("scribe_holds", "code"): "those of `scribe_hold`",
    ("scribe_build", "version"): "the version",
    ("scribe_settings", "hash"): "twelve hex digits",
    ("scribe_retry_budget", "model"): "those submitted lately",
    ("scribe_failures", "code"): "the codes of errors.md but `already_finished`",
    ("scribe_cost", "model"): "the models that have a price in `SCRIBE_SPEND__PRICES`; none, no such metric",
    ("scribe_hold", "code"): "the codes of errors.md that hold, `spend_limit`, `other`",
}
"""Labels whose values are not listed in the table."""


def metrics_page() -> str:
    """The whole page."""
    families, questions = _families(), {each.name: each.question for each in all_definitions()}
    rows = "".join(f"{_row(each, questions[each.name])}\n" for each in families)
    buckets = "".join(
        f"| `{each.name}` | {', '.join(_bounds(each))} |\n" for each in families if each.type == "histogram"
    )
    return INTRODUCTION + _size() + HEAD + rows + BUCKETS + buckets


def _row(family: Metric, question: str) -> str:
    cells = (f"`{_name(family)}`", family.type, _labels(family), family.documentation, question)
    return f"| {' | '.join(cells)} |"


def all_definitions() -> Iterator[Definition]:
    """Every definition of a metric."""
    for module in (metric_definitions, process_definitions, gauge_definitions):
        yield from (each for each in vars(module).values() if isinstance(each, Definition))


def _families() -> list[Metric]:
    """Every family with at least one series, so that its labels can be seen."""
    families = (each for each in all_series(1, ONE_MODEL).collect() if each.name.startswith("scribe_"))
    return sorted(families, key=lambda family: family.name)


def _size() -> str:
    """How many series there are, and what more partitions and models add."""
    whole = number_of_series(12, SIX_MODELS)
    partition = number_of_series(13, SIX_MODELS) - whole
    model = number_of_series(12, (*SIX_MODELS, "fun-asr-mtl")) - whole
    family = whole - number_of_series(12, (*SIX_MODELS[:-2], "fun-asr-mtl", "paraformer-v1"))
    return SIZE.format(whole=whole, partition=partition, model=model, family=family // 2)


def _name(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def _labels(family: Metric) -> str:
    names = [name for name in _first_labels(family) if name != "le"]
    return "; ".join(f"`{name}`: {_values(family, name)}" for name in names) or "none"


def _first_labels(family: Metric) -> Iterator[str]:
    yield from dict.fromkeys(name for sample in family.samples for name in sample.labels)


def _values(family: Metric, label: str) -> str:
    found = dict.fromkeys(sample.labels[label] for sample in family.samples)
    if label == "partition":
        return "those of this process"
    if label == "model" and family.name not in NAMED_MODELS:
        return "those of the model table that were submitted"
    if label == "model_family":
        return ", ".join(Family)
    return OPEN_LABELS.get((family.name, label)) or ", ".join(found)


def _bounds(family: Metric) -> list[str]:
    found = dict.fromkeys(sample.labels["le"] for sample in family.samples if "le" in sample.labels)
    return [bound.removesuffix(".0") for bound in found if bound != "+Inf"]
