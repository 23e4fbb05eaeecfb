"""The alerts: when each fires, what it means, and where the operator finds what to do.

Expressions are written for real time. `[15m]` and `~3600` (seconds) shrink with the factor of
`tools.monitoring.rules`, so that a short test can play hours. All sums keep `namespace` and `job`.
"""

from typing import Literal, NamedTuple

Severity = Literal["critical", "warning"]
"""`critical` wakes somebody; `warning` waits for the morning."""


class Alert(NamedTuple):
    """One alert; `section` is a heading of docs/operations.md, as its anchor."""

    name: str
    expression: str
    hold: str
    severity: Severity
    meaning: str
    section: str


MEMBERSHIP = "kafka-is-away"
HOLD = "a-hold-of-the-account-of-a-model-or-of-the-days-spending"
HEALTH = "is-it-healthy"
INTERNAL = "internal-errors-and-stopped-stages"
LATE = "results-are-late"
FAILED = "files-fail"
SPENDING = "spending"


LATE_RESULTS = (
    "sum by (namespace, job) (increase(scribe_result_own_seconds_count[{window}]))"
    ' - sum by (namespace, job) (increase(scribe_result_own_seconds_bucket{{le="60.0"}}[{window}]))'
)
FAILED_FILES = (
    "sum by (namespace, job)"
    ' (increase(scribe_jobs_finished_total{{fault=~"provider|operator|service"}}[{window}]))'
)


def burns(share: str, counted: str, long: str, short: str, speed: float) -> str:
    """The budget of 1 % burns at this speed, in a long window and still in a short one, by 10 events.

    They are counted by the counters: an average of recorded rates says too many while it has few samples.
    """
    burnt = f"{speed / 100:g}"
    events = counted.format(window=long)
    return f"{share}{long} > {burnt} and {share}{short} > {burnt} and {events} >= 10"


def fast(share: str, counted: str) -> str:
    """A 30 days' budget is gone in two days."""
    return burns(share, counted, "1h", "5m", 14.4)


def slow(share: str, counted: str) -> str:
    """A 30 days' budget is gone in five days."""
    return burns(share, counted, "6h", "30m", 6)


ALERTS = (
    Alert(
        "ScribeAbsent",
        "absent(scribe_build_info) or (group by (namespace, job) (last_over_time(scribe_build_info[1d]))"
        " unless group by (namespace, job) (scribe_build_info))",
        "5m",
        "critical",
        "No replica answers a scrape, or none of an installation that did on the last day.",
        "exit-codes",
    ),
    Alert(
        "ScribeReplicaMissing",
        "count by (namespace, job) (scribe_build_info)"
        " < max_over_time(count by (namespace, job) (scribe_build_info)[6h:5m])",
        "15m",
        "warning",
        "Fewer replicas answer a scrape than in the last 6 h: one does not start, or you scaled in.",
        "exit-codes",
    ),
    Alert(
        "ScribeRestarts",
        "max by (namespace, job, instance) (changes(process_start_time_seconds[30m])"
        " and on (namespace, job, instance) scribe_build_info) > 2",
        "0m",
        "critical",
        "A replica starts again and again.",
        "exit-codes",
    ),
    Alert(
        "ScribeNotReady",
        "min by (namespace, job, instance) (scribe_ready) == 0",
        "15m",
        "warning",
        "A replica has not been ready for a quarter of an hour.",
        HEALTH,
    ),
    Alert(
        "ScribeNoMembership",
        'min by (namespace, job) (scribe_slots_unused{reason="membership"}) == 1',
        "2m",
        "critical",
        "No replica can commit to Kafka, so none calls the provider.",
        MEMBERSHIP,
    ),
    Alert(
        "ScribeGroupLost",
        "max by (namespace, job, instance) (scribe_group_lost) == 1",
        "5m",
        "warning",
        "A replica has no client in the group; it tries again.",
        MEMBERSHIP,
    ),
    Alert(
        "ScribeShardRefused",
        'max by (namespace, job, partition) (max_over_time(scribe_shard_state{state="refused"}[2m])) > 0',
        "3m",
        "critical",
        "Requests of a partition wait: its journal cannot be trusted.",
        "a-shard-is-refused",
    ),
    Alert(
        "ScribeShardUnserved",
        "max by (namespace, job) (scribe_request_partitions) > (sum by (namespace, job)"
        ' (max by (namespace, job, partition) (scribe_shard_state{state="ready"}))'
        " or 0 * max by (namespace, job) (scribe_request_partitions))",
        "5m",
        "critical",
        "No replica serves some partition, for longer than a take-over lasts.",
        HEALTH,
    ),
    Alert(
        "ScribeRequestLag",
        "max by (namespace, job, partition) (scribe_request_lag_seconds) > ~3600",
        "5m",
        "warning",
        "Requests wait in Kafka for an hour: replicas are full, or stand still.",
        HEALTH,
    ),
    Alert(
        "ScribeRequestsLost",
        "max by (namespace, job, instance) (scribe_requests_lost_total) > 0",
        "0m",
        "critical",
        "Kafka deleted requests that nobody had read; fires until that process restarts.",
        "requests-were-lost",
    ),
    Alert(
        "ScribeHold",
        'max by (namespace, job, code) (max_over_time(scribe_hold{code!="spend_limit"}[5m])) == 1',
        "2m",
        "critical",
        "The provider refuses the account or a model: submits are held.",
        HOLD,
    ),
    Alert(
        "ScribeSpendLimitReached",
        'max by (namespace, job) (max_over_time(scribe_hold{code="spend_limit"}[5m])) == 1',
        "2m",
        "warning",
        "A day's limit of yours is reached: submits wait for midnight UTC.",
        HOLD,
    ),
    Alert(
        "ScribeResultsHeld",
        "sum by (namespace, job) (max_over_time(scribe_results_held[5m])) > 0",
        "10m",
        "critical",
        "Paid results wait for a setting, and expire after 24 h.",
        "results-on-another-host",
    ),
    Alert(
        "ScribeNearLoss",
        "min by (namespace, job) (scribe_result_retention_seconds) < 14400",
        "5m",
        "critical",
        "A paid result that is not fetched may be gone in 4 h.",
        HEALTH,
    ),
    Alert(
        "ScribeOutage",
        "max by (namespace, job, model) (max_over_time(scribe_provider_outage[2m])) == 1",
        "10m",
        "critical",
        "Submits of a model fail.",
        "an-outage",
    ),
    Alert(
        "ScribeNothingMoves",
        'sum by (namespace, job) (scribe_waiting_jobs{reason!~"spend_limit|settle"}) > 0 unless'
        " sum by (namespace, job)"
        ' (increase(scribe_provider_calls_total{kind="submit",result="ok"}[15m])) > 0',
        "10m",
        "critical",
        "Work waits, not only for the day's limit or a lost answer; no submit has succeeded for 15 min.",
        HEALTH,
    ),
    Alert(
        "ScribeOldJob",
        "max by (namespace, job, state) (max_over_time(scribe_oldest_open_job_age_seconds[5m])) > ~43200",
        "5m",
        "warning",
        "A job is open for 12 h.",
        HEALTH,
    ),
    Alert(
        "ScribeThrottled",
        'max by (namespace, job, model) (scribe_budget_rate_per_second{kind="submit"}'
        ' / scribe_budget_share_per_second{kind="submit"} < 0.5)'
        " and on (namespace, job) sum by (namespace, job)"
        ' (scribe_waiting_jobs{reason=~"quota|slots|backoff|retry_budget"}) > 0',
        "15m",
        "warning",
        "The provider refuses more than our part of the quota allows, while work waits.",
        "the-provider-throttles",
    ),
    Alert(
        "ScribeResultsLateFast",
        fast("scribe:results_late:ratio", LATE_RESULTS),
        "2m",
        "critical",
        "More than 14 of 100 results of the last hour, 10 or more, were over 60 s late by our own doing.",
        LATE,
    ),
    Alert(
        "ScribeResultsLateSlow",
        slow("scribe:results_late:ratio", LATE_RESULTS),
        "15m",
        "warning",
        "More than 6 of 100 results of the last 6 h, 10 or more, were over 60 s late by our own doing.",
        LATE,
    ),
    Alert(
        "ScribeFilesFailFast",
        fast("scribe:files_failed:ratio", FAILED_FILES),
        "2m",
        "critical",
        "More than 14 of 100 files of the last hour, 10 or more, failed by no fault of their requester.",
        FAILED,
    ),
    Alert(
        "ScribeFilesFailSlow",
        slow("scribe:files_failed:ratio", FAILED_FILES),
        "15m",
        "warning",
        "More than 6 of 100 files of the last 6 h, 10 or more, failed by no fault of their requester.",
        FAILED,
    ),
    Alert(
        "ScribeSpendNearLimit",
        "scribe:billed_seconds_today:sum > on (namespace, job)"
        " 0.8 * max by (namespace, job) (scribe_billed_seconds_limit)"
        " or scribe:billed_cost_today:sum > on (namespace, job)"
        " 0.8 * max by (namespace, job) (scribe_billed_cost_limit)",
        "5m",
        "warning",
        "80 % of a day's limit of yours are billed.",
        SPENDING,
    ),
    Alert(
        "ScribeSpendAboveLastWeek",
        "scribe:billed_seconds_today:sum > 36000 and scribe:billed_seconds_today:sum"
        " > 2 * max_over_time(scribe:billed_seconds_today:sum[1h] offset 7d)",
        "1h",
        "warning",
        "By this hour twice as much is billed as on the same day a week ago, and more than 10 h of audio.",
        SPENDING,
    ),
    Alert(
        "ScribePaidWithoutTranscript",
        'sum by (namespace, job, code) (increase(scribe_failures_total{code=~"result_.*"}[1h])) > 0',
        "0m",
        "warning",
        "A finished task gave no result.",
        "do-work-again",
    ),
    Alert(
        "ScribeMayHaveBilledTwice",
        'sum by (namespace, job) (increase(scribe_uncertain_submits_total{event="resubmitted"}[1h])) > 0',
        "0m",
        "warning",
        "A submit was repeated after its task was not found; if the list was wrong, both are billed.",
        "uncertain-submissions-do-not-end",
    ),
    Alert(
        "ScribeUncertain",
        "sum by (namespace, job) (max by (namespace, job, partition) (scribe_uncertain_submissions)) > 0",
        "1h",
        "warning",
        "It stays unknown whether submits made tasks.",
        "uncertain-submissions-do-not-end",
    ),
    Alert(
        "ScribeStageStopped",
        "max by (namespace, job, stage) (scribe_stage_stopped) == 1",
        "1m",
        "critical",
        "Five requests met a fault of Scribe in one stage.",
        INTERNAL,
    ),
    Alert(
        "ScribeInternalError",
        "sum by (namespace, job, boundary) (increase(scribe_internal_errors_total[15m])) > 0",
        "0m",
        "warning",
        "A fault of Scribe, isolated.",
        INTERNAL,
    ),
    Alert(
        "ScribeWorkRestored",
        "sum by (namespace, job) (increase(scribe_work_restored_total[1h])) > 0",
        "0m",
        "warning",
        "A fault of Scribe, repaired.",
        "work-was-restored",
    ),
    Alert(
        "ScribeLoopStuck",
        "max by (namespace, job, instance, loop) (scribe_loop_age_seconds) > ~120",
        "1m",
        "critical",
        "A part of the process stands still; a drain of two minutes or more shows it too.",
        HEALTH,
    ),
    Alert(
        "ScribeEventLoopLate",
        "histogram_quantile(0.95, sum by (namespace, job, instance, le)"
        " (rate(scribe_event_loop_lag_seconds_bucket[10m]))) > 1",
        "10m",
        "warning",
        "A replica's event loop is a second late: its processor is too small, or shared.",
        "size-it",
    ),
    Alert(
        "ScribeClock",
        "max by (namespace, job, instance) (abs(scribe_clock_offset_seconds)) > 1",
        "5m",
        "warning",
        "A machine's clock is wrong.",
        "the-clock-stepped",
    ),
    Alert(
        "ScribeKafkaWrites",
        'sum by (namespace, job) (increase(scribe_batches_total{result="unknown"}[10m])) >= 10',
        "5m",
        "warning",
        "The broker often does not acknowledge batches.",
        MEMBERSHIP,
    ),
    Alert(
        "ScribeSettingsDiffer",
        "count by (namespace, job) (count by (namespace, job, hash) (scribe_settings_info)) > 1",
        "30m",
        "warning",
        "Replicas have different settings: a rollout has stopped half-way.",
        "upgrade-and-roll-back",
    ),
)
