"""The definitions of metrics of shards, of their batches and of the process."""

from enum import StrEnum

from service.observability.metric_definitions import Definition


class BatchResult(StrEnum):
    """What became of a batch that was sent to Kafka."""

    COMMITTED = "committed"
    UNKNOWN = "unknown"
    """It was not acknowledged: it is looked up, and sent again if it is not there."""
    FENCED = "fenced"
    """Another owner has the shard, so the batch counts for nothing."""


class SpanResult(StrEnum):
    """What became of a span."""

    SENT = "sent"
    DROPPED = "dropped"
    """The queue was full, or the collector did not take it."""


BATCH_BUCKETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60)
"""A broker acknowledges in milliseconds; 60 s is the bound of a send."""
RECORD_BUCKETS = (1, 3, 10, 30, 100, 300, 1000)
"""Group commit: few when idle, many under load."""
TAKEOVER_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300)
"""A resumption takes a tenth of a second, a restore of 100,000 open jobs some seconds a shard."""
LAG_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
"""No code of ours may block the loop for a tenth of a second; after 30 s the process counts as stuck."""

# Shards and stages.

BATCH_COMMIT_SECONDS = Definition(
    "scribe_batch_commit_seconds",
    "Time until a batch was durable.",
    "How fast does Kafka take our writes?",
    buckets=BATCH_BUCKETS,
)
BATCH_RECORDS = Definition(
    "scribe_batch_records",
    "Records in a durable batch, outcomes included.",
    "How much is written at once?",
    buckets=RECORD_BUCKETS,
)
BATCHES = Definition(
    "scribe_batches",
    "Batches sent to Kafka, each a transaction in exactly_once: committed, unknown (it is looked up, and sent"
    " again if it is not there), or fenced.",
    "Does Kafka take our writes?",
    ("result",),
)
INTERNAL_ERRORS = Definition(
    "scribe_internal_errors",
    "Faults of Scribe itself, by the boundary that isolated them.",
    "Is there a fault of Scribe itself?",
    ("boundary",),
)
STAGE_STOPS = Definition(
    "scribe_stage_stops",
    "Stages stopped for faults of Scribe itself in different requests.",
    "How often did faults of Scribe stop a stage?",
    ("stage",),
)
STAGE_STOPPED = Definition(
    "scribe_stage_stopped", "1 while the stage is stopped.", "Is a stage stopped?", ("stage",)
)
WORK_RESTORED = Definition(
    "scribe_work_restored",
    "Open jobs and submissions that had no timer, call or place in a queue, given back by the audit.",
    "Did Scribe lose track of work, and repair it?",
)
JOURNAL_UNREAD = Definition(
    "scribe_journal_unread",
    "Records, and passes over a partition, of the journal that reconciling could not read.",
    "Can the search for lost tasks read the journal?",
)
CLOCK_STEPS = Definition(
    "scribe_clock_steps", "Steps of the wall clock away from trusted time.", "Did the wall clock step?"
)
SHARD_EVENTS = Definition(
    "scribe_shard_events",
    "Changes in the life of shards.",
    "What happens to shards: are they moved, refused, fenced?",
    ("event",),
)
REBALANCES = Definition(
    "scribe_rebalances", "Assignments by the group, perhaps of no partition.", "Was there a rebalance?"
)
TAKEOVER_SECONDS = Definition(
    "scribe_takeover_seconds",
    "Time until a shard is served: restored from its journal, or resumed after a rebalance.",
    "How long does a take-over last?",
    ("kind",),
    TAKEOVER_BUCKETS,
)

# The process, and what stops its work.

HOLDS = Definition(
    "scribe_holds", "Holds of submits that began, by code.", "How often are submits held?", ("code",)
)
OUTAGES = Definition(
    "scribe_provider_outages", "Outages that began.", "How often is the provider out of reach?", ("model",)
)
GROUP_LOSSES = Definition(
    "scribe_group_losses",
    "How often this process lost its client in the group, each cause counted once.",
    "How often is Kafka lost?",
)
LOOP_LAG_SECONDS = Definition(
    "scribe_event_loop_lag_seconds",
    "How much later than asked the event loop wakes a task, measured once a second.",
    "Is a replica's processor or event loop overloaded?",
    (),
    LAG_BUCKETS,
)
SPANS = Definition(
    "scribe_spans",
    "Spans of traced requests, sent to the collector or dropped; only with SCRIBE_TRACING__ENABLED.",
    "Are traces whole?",
    ("result",),
)
BUILD = Definition("scribe_build", "The version that runs.", "Which version runs?")
SETTINGS = Definition(
    "scribe_settings",
    "A hash of the settings, without secrets and what each replica has of its own.",
    "Do all replicas have the same settings?",
)
OPEN_JOBS_LIMIT = Definition(
    "scribe_open_jobs_limit",
    "Above so many open jobs in the process requests wait in Kafka.",
    "Are the replicas full?",
)
BILLED_SECONDS_LIMIT = Definition(
    "scribe_billed_seconds_limit",
    "The limit of seconds billed a day, over all replicas; absent without one.",
    "How near is the day's limit?",
)
BILLED_COST_LIMIT = Definition(
    "scribe_billed_cost_limit",
    "The limit of cost a day, over all replicas; absent without one.",
    "How near is the day's limit of cost?",
)
