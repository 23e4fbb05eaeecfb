"""What the dashboards show: each panel with the question of an operator that it answers.

In a query, `@` stands for the selector of namespace and job, and `@@` for that of the model besides.
"""

from typing import NamedTuple


class Query(NamedTuple):
    """One query of a panel, and how its lines are named."""

    expression: str
    legend: str = ""
    has_exemplars: bool = False
    """Whether points lead to the traces behind it: of the histograms of results."""


class Panel(NamedTuple):
    """One panel; `width` is of 24 columns, and a panel without `is_line` shows one number for each query."""

    title: str
    question: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 6
    is_line: bool = True
    is_stacked: bool = False


class Board(NamedTuple):
    """One dashboard."""

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]


def has_exemplars(histogram: str) -> bool:
    """Whether the histogram names traces (docs/operations.md, "Trace a request")."""
    return histogram.startswith("scribe_result_")


def quantiles(metric: str, label: str) -> tuple[Query, ...]:
    """Median and 95 % of a histogram by a label."""
    rate = f"sum by (le, {label}) (rate({metric}_bucket{{@}}[$__rate_interval]))"
    return tuple(
        Query(f"histogram_quantile({part}, {rate})", f"{{{{{label}}}}} {name}", has_exemplars(metric))
        for part, name in ((0.5, "median"), (0.95, "95 %"))
    )


def quantile(metric: str) -> tuple[Query, ...]:
    """Median and 95 % of a whole histogram."""
    rate = f"sum by (le) (rate({metric}_bucket{{@}}[$__rate_interval]))"
    return tuple(
        Query(f"histogram_quantile({part}, {rate})", name, has_exemplars(metric))
        for part, name in ((0.5, "median"), (0.95, "95 %"))
    )


def rate_by(counter: str, *labels: str) -> tuple[Query, ...]:
    """The rate of a counter, summed over replicas, by labels; `counter` ends with its selector."""
    return grouped("sum", f"rate({counter}[$__rate_interval])", *labels)


def increase_by(counter: str, *labels: str) -> tuple[Query, ...]:
    """The same as the number of events between two points."""
    return grouped("sum", f"increase({counter}[$__rate_interval])", *labels)


def grouped(function: str, expression: str, *labels: str) -> tuple[Query, ...]:
    """A sum or maximum over replicas, with a line for each value of the labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return (Query(f"{function} by ({', '.join(labels)}) ({expression})", legend),)


def if_any(queries: tuple[Query, ...]) -> tuple[Query, ...]:
    """The same without the lines that are 0: of many codes or reasons, few are of interest."""
    return tuple(Query(f"{query.expression} > 0", query.legend) for query in queries)


def of_replicas(expression: str) -> Query:
    """A metric that other processes have too, by replica."""
    return Query(f"{expression} and on (instance) scribe_build_info{{@}}", "{{instance}}")


OVERVIEW = Board(
    "scribe-overview",
    "Scribe: overview",
    "Is it healthy, what waits and why, how late are results, what do they cost, whose fault are failures?",
    (
        Panel(
            "Replicas ready",
            "Is it healthy?",
            "short",
            (Query("sum(scribe_ready{@})"),),
            3,
            is_line=False,
        ),
        Panel(
            "Partitions not served",
            "Does somebody serve each partition? More than 0 for minutes: nobody does.",
            "short",
            (Query("max(scribe_request_partitions{@}) - (sum(scribe:shards_ready:sum{@}) or vector(0))"),),
            3,
            is_line=False,
        ),
        Panel(
            "Alerts that fire",
            "Does anything need me?",
            "short",
            (Query('count(ALERTS{alertname=~"Scribe.*",alertstate="firing"}) or vector(0)'),),
            3,
            is_line=False,
        ),
        Panel(
            "Holds",
            "Are submits held, for the account, a model, or the day's spending?",
            "short",
            (Query("sum(max by (code) (scribe_hold{@}))"),),
            3,
            is_line=False,
        ),
        Panel(
            "Models out of reach",
            "Is the provider out of reach?",
            "short",
            (Query("sum(max by (model) (scribe_provider_outage{@})) or vector(0)"),),
            3,
            is_line=False,
        ),
        Panel(
            "Requests wait for",
            "Is the consumer lagging? How long the oldest request has waited in Kafka.",
            "s",
            (Query("max(scribe:request_lag_seconds:max{@}) or vector(0)"),),
            3,
            is_line=False,
        ),
        Panel(
            "Nearest loss of a result",
            "How far is the oldest result from the 24 h edge? Empty: no result waits.",
            "s",
            (Query("min(scribe_result_retention_seconds{@})"),),
            3,
            is_line=False,
        ),
        Panel(
            "Billed today",
            "What was billed today? Seconds of audio.",
            "s",
            (Query("sum(scribe:billed_seconds_today:sum{@})"),),
            3,
            is_line=False,
        ),
        Panel(
            "Open jobs by state",
            "How much work is open, and where? Requests that are not accepted yet wait in Kafka.",
            "short",
            (
                *grouped("sum", "scribe:open_jobs:sum{@}", "state"),
                Query("sum(scribe:request_lag_records:sum{@})", "in Kafka"),
            ),
            is_stacked=True,
        ),
        Panel(
            "Waiting jobs by reason",
            "What waits, and why?",
            "short",
            if_any(grouped("sum", "scribe:waiting_jobs:sum{@@}", "reason")),
            is_stacked=True,
        ),
        Panel(
            "Burn of the error budgets, 1 h",
            "Are the objectives kept? 1: a month uses up its budget; from 14.4 on somebody is woken.",
            "short",
            (
                Query("max(scribe:results_late:ratio1h{@}) / 0.01", "late by our doing"),
                Query("max(scribe:files_failed:ratio1h{@}) / 0.01", "failed, not by the requester"),
            ),
        ),
        Panel(
            "Oldest open job by state",
            "How old is the oldest work, and where is it?",
            "s",
            grouped("max", "scribe_oldest_open_job_age_seconds{@}", "state"),
        ),
        Panel(
            "Request to result",
            "How late are results?",
            "s",
            quantiles("scribe_result_seconds", "model_family"),
        ),
        Panel(
            "Stages of a result, 95 %",
            "Where does the time of a result go?",
            "s",
            quantiles("scribe_result_stage_seconds", "stage")[1:],
        ),
        Panel(
            "Our part of the delay",
            "What part of the delay is ours?",
            "s",
            quantile("scribe_result_own_seconds"),
        ),
        Panel(
            "Done until seen",
            "How long between done and seen?",
            "s",
            quantile("scribe_result_unseen_seconds"),
        ),
        Panel(
            "Results and failures",
            "Whose fault are the failures?",
            "ops",
            rate_by("scribe_jobs_finished_total{@@}", "fault"),
            is_stacked=True,
        ),
        Panel(
            "Failures by code",
            "Why do files and requests fail? docs/errors.md says what each code asks for.",
            "ops",
            if_any(rate_by("scribe_failures_total{@}", "code", "fault")),
        ),
        Panel(
            "Billed per hour by model",
            "What does it cost now? Seconds of audio billed in an hour.",
            "s",
            (
                Query(
                    "3600 * sum by (model) (rate(scribe_billed_seconds_total{@@}[$__rate_interval])) > 0",
                    "{{model}}",
                ),
            ),
            is_stacked=True,
        ),
        Panel(
            "Billed today against the limit",
            "What does it cost today, against the limit?",
            "s",
            (
                Query("sum(scribe:billed_seconds_today:sum{@})", "billed"),
                Query("max(scribe_billed_seconds_limit{@})", "limit"),
            ),
        ),
    ),
)

PROVIDER = Board(
    "scribe-provider",
    "Scribe: provider and quotas",
    "Does the provider answer, does it throttle, and is the account's quota used?",
    (
        Panel(
            "Submits by result",
            "Does the provider take our work?",
            "ops",
            rate_by('scribe_provider_calls_total{@@,kind="submit"}', "result"),
            is_stacked=True,
        ),
        Panel(
            "Other calls by kind",
            "How much is asked of the provider?",
            "ops",
            rate_by('scribe_provider_calls_total{@,kind!="submit"}', "kind"),
            is_stacked=True,
        ),
        Panel(
            "Calls that failed",
            "Does the provider throttle or fail?",
            "ops",
            if_any(rate_by('scribe_provider_calls_total{@,result!="ok"}', "kind", "result")),
        ),
        Panel(
            "Answer times, 95 %",
            "How fast does the provider answer?",
            "s",
            quantiles("scribe_provider_call_seconds", "kind")[1:],
        ),
        Panel(
            "Submit rate against the share",
            "Does the provider throttle? The rate falls below the share then.",
            "ops",
            (
                Query('sum by (model) (scribe_budget_rate_per_second{@@,kind="submit"})', "{{model}} rate"),
                Query('sum by (model) (scribe_budget_share_per_second{@@,kind="submit"})', "{{model}} share"),
            ),
        ),
        Panel(
            "Query rate against the share",
            "Is the quota of queries used? The share, the rate in force, and what is called.",
            "ops",
            (
                Query('sum(scribe_budget_share_per_second{@,kind="query"})', "share"),
                Query('sum(scribe_budget_rate_per_second{@,kind="query"})', "rate in force"),
                Query('sum(rate(scribe_provider_calls_total{@,kind="query"}[$__rate_interval]))', "calls"),
            ),
        ),
        Panel(
            "Calls in flight",
            "Is the limit of calls the limit? Part of the limit, by kind.",
            "percentunit",
            grouped("max", "scribe_calls_in_flight{@} / scribe_calls_in_flight_limit{@}", "kind"),
        ),
        Panel(
            "Slots not used",
            "Why is quota not used? Replicas, by reason.",
            "short",
            if_any(grouped("sum", "scribe_slots_unused{@}", "reason")),
        ),
        Panel(
            "Holds by code",
            "Are submits held, and why?",
            "short",
            if_any(grouped("max", "scribe_hold{@}", "code")),
        ),
        Panel(
            "Outages by cause",
            "Why is the provider out of reach?",
            "short",
            grouped("max", "scribe_provider_outage_cause{@@}", "model", "cause"),
        ),
        Panel(
            "Uncertain submits",
            "May work be billed twice? Jobs whose submit may have made a task, by what became of them.",
            "short",
            if_any(increase_by("scribe_uncertain_submits_total{@}", "event")),
        ),
        Panel(
            "Speed of the provider",
            "How fast is the provider for the audio it gets? Time at the provider for each second of audio.",
            "short",
            quantiles("scribe_result_audio_ratio", "model_family"),
        ),
        Panel(
            "Hints of the task list",
            "Does the task list help, or mislead?",
            "ops",
            rate_by("scribe_list_hints_total{@}", "result"),
        ),
        Panel(
            "Pages of the task list",
            "Do the replicas share the pages of the task list?",
            "ops",
            rate_by("scribe_list_pages_total{@}", "result"),
        ),
        Panel(
            "Sweep over the task list",
            "Is the task list in use? 0: by schedule alone.",
            "s",
            grouped("max", "scribe_list_sweep_seconds{@}", "instance"),
        ),
        Panel(
            "Repeated submits",
            "Do repeated submits have to wait? Submits that may be repeated at once.",
            "short",
            grouped("sum", "scribe_retry_budget{@@}", "model"),
        ),
    ),
)

KAFKA = Board(
    "scribe-kafka",
    "Scribe: Kafka, shards and replicas",
    "Was there a rebalance, does Kafka take our writes, which replica is sick?",
    (
        Panel(
            "Shards by state",
            "Does somebody serve each partition?",
            "short",
            grouped("sum", "max by (partition, state) (scribe_shard_state{@})", "state"),
            is_stacked=True,
        ),
        Panel(
            "Changes of shards",
            "What happens to shards: are they moved, refused, fenced?",
            "short",
            increase_by("scribe_shard_events_total{@}", "event"),
        ),
        Panel(
            "Rebalances",
            "Was there a rebalance?",
            "short",
            increase_by("scribe_rebalances_total{@}", "instance"),
        ),
        Panel(
            "Take-overs",
            "How long does a take-over last?",
            "s",
            quantiles("scribe_takeover_seconds", "kind"),
        ),
        Panel(
            "Batches by result",
            "Does Kafka take our writes?",
            "ops",
            rate_by("scribe_batches_total{@}", "result"),
        ),
        Panel(
            "Time until a batch is durable",
            "How fast does Kafka take our writes?",
            "s",
            quantile("scribe_batch_commit_seconds"),
        ),
        Panel(
            "Bytes not yet durable",
            "Does work wait for Kafka?",
            "bytes",
            grouped("sum", "scribe_pending_bytes{@}", "instance"),
        ),
        Panel(
            "Journal by partition",
            "Is the journal compacted, how long will a take-over last? Offsets that it reads.",
            "short",
            grouped("max", "scribe_journal_offsets{@}", "partition"),
        ),
        Panel(
            "Request lag by partition",
            "How long do requests wait in Kafka?",
            "s",
            grouped("max", "scribe_request_lag_seconds{@}", "partition"),
        ),
        Panel(
            "Kafka is away",
            "Is Kafka away, for this replica? 1: no commit for 10 s, or no partition to serve.",
            "short",
            grouped("max", 'scribe_slots_unused{@,reason="membership"}', "instance"),
        ),
        Panel(
            "Event loop lag, 95 %",
            "Which replica is sick? A late event loop lacks a processor.",
            "s",
            quantiles("scribe_event_loop_lag_seconds", "instance")[1:],
        ),
        Panel(
            "Loops that stand still",
            "Does a part of the process stand still? The longest time since a loop last ran.",
            "s",
            grouped("max", "scribe_loop_age_seconds{@}", "instance"),
        ),
        Panel(
            "Processor",
            "Which replica is sick? Processor time.",
            "percentunit",
            (of_replicas("rate(process_cpu_seconds_total{@}[$__rate_interval])"),),
        ),
        Panel(
            "Memory",
            "Which replica is sick? Resident memory.",
            "bytes",
            (of_replicas("process_resident_memory_bytes{@}"),),
        ),
        Panel(
            "Clock against trusted time",
            "Is a machine's clock wrong?",
            "s",
            grouped("max", "abs(scribe_clock_offset_seconds{@})", "instance"),
        ),
        Panel(
            "Versions and settings",
            "Which version runs, and do all replicas have the same settings?",
            "short",
            (
                Query("count by (version) (scribe_build_info{@})", "version {{version}}"),
                Query("count by (hash) (scribe_settings_info{@})", "settings {{hash}}"),
            ),
        ),
    ),
)

BOARDS = (OVERVIEW, PROVIDER, KAFKA)
