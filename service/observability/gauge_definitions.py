"""The definitions of the gauges that `status_gauges` reads when the page is requested."""

from service.observability.metric_definitions import Definition

# What belongs to a shard: `sum(max by (namespace, job, partition) (...))` is true while shards move.

SHARD_STATE = Definition(
    "scribe_shard_state",
    "1 for the state of each partition that this process was assigned.",
    "Does somebody serve each partition?",
    ("partition", "state"),
)
REQUEST_PARTITIONS = Definition(
    "scribe_request_partitions",
    "Partitions of the request topic, by the group's last assignment; 0 before the first.",
    "How many shards must be served?",
)
OPEN_JOBS = Definition(
    "scribe_open_jobs", "Open jobs of the shard.", "How much work is open, and where?", ("partition", "state")
)
UNCERTAIN_SUBMISSIONS = Definition(
    "scribe_uncertain_submissions",
    "Submissions of the shard that may have made a task which is not known.",
    "May work be billed twice, or be lost?",
    ("partition",),
)
BILLED_SECONDS_TODAY = Definition(
    "scribe_billed_seconds_today",
    "Seconds billed on this UTC day for jobs of the shard, failed ones included.",
    "What was billed today, against the limit?",
    ("partition",),
)
BILLED_COST_TODAY = Definition(
    "scribe_billed_cost_today",
    "The cost of these seconds and of tokens, at the configured prices.",
    "What did today cost, against the limit?",
    ("partition",),
)
REQUEST_LAG_RECORDS = Definition(
    "scribe_request_lag_records",
    "Requests of the partition that are not accepted yet, as of the last ten seconds.",
    "How many requests wait in Kafka?",
    ("partition",),
)
REQUEST_LAG_SECONDS = Definition(
    "scribe_request_lag_seconds",
    "For how long at least the oldest of them has waited: since this process first saw that it was there.",
    "How long do requests wait in Kafka?",
    ("partition",),
)
JOURNAL_OFFSETS = Definition(
    "scribe_journal_offsets",
    "Offsets between the beginning and the end of the partition's journal, which a take-over reads.",
    "Is the journal compacted, how long will a take-over last?",
    ("partition",),
)

# What waits, and why.

WAITING_JOBS = Definition(
    "scribe_waiting_jobs",
    "Accepted jobs without a task, by what they wait for; of retries that wait for a guard, submissions.",
    "What waits, and why?",
    ("model", "reason"),
)
OLDEST_OPEN_JOB_AGE_SECONDS = Definition(
    "scribe_oldest_open_job_age_seconds",
    "Time since the oldest open job in the state was accepted, to ten seconds; absent without one.",
    "How old is the oldest work, and where is it?",
    ("state",),
)
RESULT_RETENTION_SECONDS = Definition(
    "scribe_result_retention_seconds",
    "How long the first unfetched result is certainly kept: 24 h from its submit, or from the last poll that"
    " found it unfinished. To ten seconds; absent without one.",
    "How near is the loss of a paid result?",
)
CALLS_IN_FLIGHT = Definition(
    "scribe_calls_in_flight",
    "Calls to the provider in flight.",
    "Is the limit of calls the limit?",
    ("kind",),
)
CALLS_IN_FLIGHT_LIMIT = Definition(
    "scribe_calls_in_flight_limit",
    "How many calls of the kind may be in flight.",
    "How many calls may there be?",
    ("kind",),
)
PENDING_BYTES = Definition(
    "scribe_pending_bytes", "Bytes decided and not yet durable.", "Does work wait for Kafka?"
)
RESULTS_HELD = Definition(
    "scribe_results_held",
    "Finished results that wait, as their host is not below SCRIBE_FETCH__HOSTS.",
    "Do paid results wait for a setting?",
)

# The provider.

BUDGET_RATE_PER_SECOND = Definition(
    "scribe_budget_rate_per_second",
    "Calls this process may make now: throttling lowers it, then it recovers to the share.",
    "Does the provider throttle?",
    ("kind", "model"),
)
BUDGET_SHARE_PER_SECOND = Definition(
    "scribe_budget_share_per_second",
    "This process's share of the account's quota.",
    "What part of the quota does a replica have?",
    ("kind", "model"),
)
SLOTS_UNUSED = Definition(
    "scribe_slots_unused",
    "1 while time slots of this process's partitions are not used, by reason.",
    "Why is quota not used?",
    ("reason",),
)
RETRY_BUDGET = Definition(
    "scribe_retry_budget",
    "Submits that may be repeated at once: successes add, repetitions take.",
    "Do repeated submits have to wait?",
    ("model",),
)
PROVIDER_OUTAGE = Definition(
    "scribe_provider_outage",
    "1 while submits of the model wait for a probe.",
    "Is the provider out of reach?",
    ("model",),
)
PROVIDER_OUTAGE_CAUSE = Definition(
    "scribe_provider_outage_cause",
    "1 for the cause of the last failed submit; only during an outage.",
    "Why is it out of reach?",
    ("model", "cause"),
)
HOLD = Definition(
    "scribe_hold",
    "1 while submits are held for this code, the provider's or spend_limit.",
    "Are submits held, and why?",
    ("code",),
)
ACCOUNT_KNOWN = Definition(
    "scribe_account_known",
    "1 while this process knows whether the provider holds the account: its submits show it.",
    "Does this replica know of a hold?",
)

# The process.

LOOP_AGE_SECONDS = Definition(
    "scribe_loop_age_seconds",
    "Time since the loop last ran.",
    "Does a part of the process stand still?",
    ("loop",),
)
CLOCK_OFFSET_SECONDS = Definition(
    "scribe_clock_offset_seconds",
    "How far the wall clock is ahead of trusted time.",
    "Is a machine's clock wrong?",
)
READY = Definition("scribe_ready", "1 while /readyz answers 200.", "Is each replica healthy?")
GROUP_LOST = Definition(
    "scribe_group_lost",
    "1 while this process has no client in the group.",
    "Is Kafka away, for this replica?",
)
HOLD_START = Definition(
    "scribe_hold_start_timestamp_seconds",
    "When the hold for this code began; absent without one.",
    "Since when are submits held?",
    ("code",),
)
OUTAGE_START = Definition(
    "scribe_provider_outage_start_timestamp_seconds",
    "When the outage of the model began; absent without one.",
    "Since when is the provider out of reach?",
    ("model",),
)
