"""The definitions of the metrics that are counted as things happen, and closed sets of label values.

A definition has the name with its unit, the help text, the question it answers, labels and buckets. `metrics`
counts them; `gauge_definitions` has those that `status_gauges` reads when the page is requested.
"""

from enum import StrEnum
from typing import NamedTuple

from service.core.limits.spend_limit import SPEND_LIMIT
from service.core.provider.error_table import TABLE, Action
from service.pipeline.guards.call_limiter import CallKind


class Definition(NamedTuple):
    """One metric, and the question of an operator that it answers; only histograms have `buckets`."""

    name: str
    text: str
    question: str
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


SUBMITS_ONLY = (CallResult.LOST, CallResult.NOT_SENT)
"""Results that no other call has."""
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

NO_FAULT = "none"
"""The fault of a result."""

JOB_BUCKETS = (
    0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 28_800, 57_600, 86_400, 172_800
)  # fmt: skip
"""From the delay that we add (below a second) to two days, without a hole: no step is above threefold."""
RATIO_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""An hour of audio takes a minute or so; short files wait longer than they last."""
CALL_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120)
"""The simulator answers in 10 ms; 10, 30 and 120 s are the default bounds of a call, submit and fetch."""

# Requests and jobs.

REQUEST_RECORDS = Definition(
    "scribe_request_records",
    "Request records admitted, by kind.",
    "How much is asked of us, and how much of it is refused or repeated?",
    ("admitted",),
)
JOBS_FINISHED = Definition(
    "scribe_jobs_finished",
    "Files that ended, by whose fault a failure was (none for a result).",
    "How many files are finished, and whose fault are the failures?",
    ("model", "fault"),
)
FAILURES = Definition(
    "scribe_failures",
    "Failures, those of records that became no job included, by code and by whose fault it was (errors.md).",
    "Why do files and requests fail?",
    ("code", "fault"),
)
RESULT_SECONDS = Definition(
    "scribe_result_seconds",
    "Time of results from the request's timestamp to the outcome.",
    "How late are results?",
    ("model_family",),
    JOB_BUCKETS,
)
RESULT_OWN_SECONDS = Definition(
    "scribe_result_own_seconds",
    "The same without the time at the provider: the wait for quota, submit, poll, fetch and publication.",
    "What part of the delay is ours?",
    (),
    JOB_BUCKETS,
)
RESULT_UNSEEN_SECONDS = Definition(
    "scribe_result_unseen_seconds",
    "Time from the end of a task, by the vendor's times, until a poll or the list showed it.",
    "How long is a finished task not seen?",
    (),
    JOB_BUCKETS,
)
RESULT_STAGE_SECONDS = Definition(
    "scribe_result_stage_seconds",
    "Time of results in each stage.",
    "Where does the time of a result go?",
    ("stage",),
    JOB_BUCKETS,
)
RESULT_AUDIO_RATIO = Definition(
    "scribe_result_audio_ratio",
    "Time at the provider, its queue included, divided by the audio's length.",
    "How fast is the provider for the audio it gets?",
    ("model_family",),
    RATIO_BUCKETS,
)
BILLED_SECONDS = Definition(
    "scribe_billed_seconds",
    "Seconds billed for results; scribe_billed_seconds_today has those of failures too.",
    "What does the provider bill?",
    ("model",),
)
AUDIO_SECONDS = Definition(
    "scribe_audio_seconds",
    "Length of the audio of results, speech or not.",
    "How much audio is transcribed?",
    ("model",),
)
TOKENS = Definition(
    "scribe_tokens",
    "Tokens billed for results.",
    "What do models cost that bill by token?",
    ("model", "direction"),
)
REQUESTS_LOST = Definition(
    "scribe_requests_lost",
    "Request records removed by the topic's retention before they were read.",
    "Did Kafka delete requests that nobody had read?",
)
UNCERTAIN_SUBMITS = Definition(
    "scribe_uncertain_submits",
    "Jobs whose submit may have made a task, when that began and how it ended.",
    "How often is it unknown whether a submit made a task, and how does that end?",
    ("event",),
)
COST = Definition(
    "scribe_cost", "The cost of results, at the configured prices.", "What does it cost now?", ("model",)
)

# Calls to the provider.

PROVIDER_CALLS = Definition(
    "scribe_provider_calls",
    "Calls to the provider, by result; only submits have a model.",
    "Does the provider answer, does it throttle?",
    ("kind", "model", "result"),
)
PROVIDER_CALL_SECONDS = Definition(
    "scribe_provider_call_seconds",
    "Time of calls to the provider.",
    "How fast does the provider answer?",
    ("kind",),
    CALL_BUCKETS,
)
PROVIDER_UNKNOWN_CODES = Definition(
    "scribe_provider_unknown_codes",
    f"Provider codes without a row in the error table, the first {MAX_UNKNOWN_CODES} by name.",
    "Which error codes does Scribe not know yet?",
    ("code",),
)
CANCELS_DROPPED = Definition(
    "scribe_cancels_dropped",
    "Tasks of cancelled jobs left to finish, as too many cancels waited.",
    "Do tasks of cancelled jobs run on, and cost?",
)
LIST_SWEEP_SECONDS = Definition(
    "scribe_list_sweep_seconds",
    "Duration of the latest sweep over the task list; 0 while tasks are polled by schedule alone.",
    "Is the task list in use?",
)
LIST_HINTS = Definition(
    "scribe_list_hints",
    "Statements of the task list about a task, by what the task's own query then said.",
    "Does the task list help, or mislead?",
    ("result",),
)
LIST_PAGES = Definition(
    "scribe_list_pages",
    "Pages of the task list read here (own), or read by another replica and used (shared) or not (unused).",
    "Do the replicas share the pages of the task list?",
    ("result",),
)
