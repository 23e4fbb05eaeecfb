"""The definitions of all metrics: name with unit, help text, labels, buckets, and closed label values.

`metrics` counts what happens; `status_gauges` reads the rest from the status when the page is requested.
"""

from enum import StrEnum
from typing import NamedTuple

from service.core.limits.spend_limit import SPEND_LIMIT
from service.core.provider.error_table import TABLE, Action
from service.pipeline.guards.call_limiter import CallKind


class Definition(NamedTuple):
    """One metric; `buckets` are set for histograms alone."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class CallResult(StrEnum):
    """What became of a call to the provider."""

    OK = "ok"
    THROTTLED = "throttled"
    REFUSED = "refused"
    """An error of the request: a 3xx or 4xx status."""
    LOST = "lost"
    """A submit without a usable answer: there may be a task."""
    NOT_SENT = "not_sent"
    """A submit of which no byte was sent."""
    ERROR = "error"
    """No answer, or a fault of the provider."""


FETCH = "fetch"
CALLS = (*CallKind, FETCH)
"""The kinds of calls: those with a quota, and the fetch of a result."""
OTHER = "other"
"""The label for a value from outside that no closed set contains."""
MAX_UNKNOWN_CODES = 50
"""Codes come from the provider's answers, so the number of their series needs a limit."""
HOLD_CODES = (
    *sorted(code for code, row in TABLE.items() if row.on_submit.action is Action.HOLD),
    SPEND_LIMIT,
)

STAGE_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
"""From the delay that we add (below a second) through a usual task (minutes) to the vendor's 24 h."""
CALL_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120)
"""The simulator answers in 10 ms; 10, 30 and 120 s are the default bounds of a call, submit and fetch."""
BATCH_BUCKETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60)
"""A broker acknowledges in milliseconds; 60 s is the bound of a send."""
RECORD_BUCKETS = (1, 3, 10, 30, 100, 300, 1000)
"""Group commit: few when idle, many under load."""

# Requests and jobs.

REQUEST_RECORDS = Definition("scribe_request_records", "Request records admitted, by kind.", ("admitted",))
JOBS_FINISHED = Definition(
    "scribe_jobs_finished",
    "Jobs that ended, by the kind of outcome and the failure's code (none for a result).",
    ("kind", "code", "model_family"),
)
JOB_STAGE_SECONDS = Definition(
    "scribe_job_stage_seconds",
    "Time of finished jobs in each stage; total goes from the request's timestamp to the outcome.",
    ("stage",),
    STAGE_BUCKETS,
)
REQUESTS_LOST = Definition(
    "scribe_requests_lost", "Request records removed by the topic's retention before they were read."
)
UNCERTAIN_SUBMITS = Definition(
    "scribe_uncertain_submits",
    "Jobs whose submit may have made a task, when that began and how it ended.",
    ("event",),
)
COST = Definition("scribe_cost", "The cost of results, at the configured prices.", ("model",))

# Calls to the provider.

PROVIDER_CALLS = Definition("scribe_provider_calls", "Calls to the provider, by result.", ("kind", "result"))
PROVIDER_CALL_SECONDS = Definition(
    "scribe_provider_call_seconds", "Time of calls to the provider.", ("kind",), CALL_BUCKETS
)
PROVIDER_UNKNOWN_CODES = Definition(
    "scribe_provider_unknown_codes",
    f"Provider codes without a row in the error table, the first {MAX_UNKNOWN_CODES} by name.",
    ("code",),
)
CANCELS_DROPPED = Definition(
    "scribe_cancels_dropped", "Tasks of cancelled jobs left to finish, as too many cancels waited."
)
LIST_SWEEP_SECONDS = Definition(
    "scribe_list_sweep_seconds",
    "Duration of the latest sweep over the task list; 0 while tasks are polled by schedule alone.",
)
LIST_HINTS = Definition(
    "scribe_list_hints",
    "Statements of the task list about a task, by what the task's own query then said.",
    ("result",),
)
LIST_PAGES = Definition(
    "scribe_list_pages",
    "Pages of the task list read here (own), or read by another replica and used (shared) or not (unused).",
    ("result",),
)

# Shards, stages and the process.

BATCH_COMMIT_SECONDS = Definition(
    "scribe_batch_commit_seconds", "Time until a batch was durable.", buckets=BATCH_BUCKETS
)
BATCH_RECORDS = Definition(
    "scribe_batch_records", "Records in a durable batch, outcomes included.", buckets=RECORD_BUCKETS
)
BATCH_RETRIES = Definition(
    "scribe_batch_retries", "Batches sent again, because it was unknown whether they were durable."
)
INTERNAL_ERRORS = Definition(
    "scribe_internal_errors", "Faults of Scribe itself, by the boundary that isolated them.", ("boundary",)
)
STAGE_STOPS = Definition(
    "scribe_stage_stops", "Stages stopped for faults of Scribe itself in different requests.", ("stage",)
)
STAGE_STOPPED = Definition("scribe_stage_stopped", "1 while the stage is stopped.", ("stage",))
WORK_RESTORED = Definition(
    "scribe_work_restored",
    "Open jobs and submissions that had no timer, call or place in a queue, given back by the audit.",
)
JOURNAL_UNREAD = Definition(
    "scribe_journal_unread",
    "Records, and passes over a partition, of the journal that reconciling could not read.",
)
CLOCK_STEPS = Definition("scribe_clock_steps", "Steps of the wall clock away from trusted time.")
SHARD_EVENTS = Definition("scribe_shard_events", "Changes in the life of shards.", ("event",))
BUILD = Definition("scribe_build", "The version that runs.")

# Gauges that are read when the page is requested.

LOOP_AGE_SECONDS = Definition("scribe_loop_age_seconds", "Time since the loop last ran.", ("loop",))
OPEN_JOBS = Definition("scribe_open_jobs", "Open jobs.", ("state",))
OLDEST_OPEN_JOB_AGE_SECONDS = Definition("scribe_oldest_open_job_age_seconds", "Age of the oldest open job.")
SUBMISSIONS = Definition("scribe_submissions", "Submissions that are not over.", ("state",))
SHARDS = Definition("scribe_shards", "Shards of this process.", ("state",))
PENDING_BYTES = Definition("scribe_pending_bytes", "Bytes decided and not yet durable.")
BUDGET_RATE_PER_SECOND = Definition(
    "scribe_budget_rate_per_second",
    "Calls this process may make now: throttling lowers it, then it recovers to the share.",
    ("kind", "model"),
)
BUDGET_SHARE_PER_SECOND = Definition(
    "scribe_budget_share_per_second", "This process's share of the account's quota.", ("kind", "model")
)
SLOTS_UNUSED = Definition(
    "scribe_slots_unused",
    "1 while time slots of this process's partitions are not used, by reason.",
    ("reason",),
)
RETRY_BUDGET = Definition(
    "scribe_retry_budget",
    "Submits that may be repeated at once: successes add, repetitions take.",
    ("model",),
)
PROVIDER_OUTAGE = Definition(
    "scribe_provider_outage", "1 while submits of the model wait for a probe.", ("model",)
)
PROVIDER_OUTAGE_CAUSE = Definition(
    "scribe_provider_outage_cause",
    "1 for the cause of the last failed submit; only during an outage.",
    ("model", "cause"),
)
SPENT_SECONDS = Definition(
    "scribe_spent_seconds",
    "Billed seconds of jobs that ended on this UTC day, of the shards of this process.",
)
SPENT_COST = Definition(
    "scribe_spent_cost", "The cost of these seconds and of tokens, at the configured prices."
)
HOLD = Definition(
    "scribe_hold", "1 while submits are held for this code, the provider's or spend_limit.", ("code",)
)
RESULTS_HELD = Definition(
    "scribe_results_held", "Finished results that wait, as their host is not below SCRIBE_FETCH__HOSTS."
)
ACCOUNT_KNOWN = Definition(
    "scribe_account_known",
    "1 while this process knows whether the provider holds the account: its submits show it.",
)
CLOCK_OFFSET_SECONDS = Definition(
    "scribe_clock_offset_seconds", "How far the wall clock is ahead of trusted time."
)
