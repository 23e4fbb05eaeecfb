"""The text of docs/errors.md, from the list of failure codes and the error table."""

import ast
import inspect
from collections.abc import Iterable, Iterator

from service import errors
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import TABLE, Action, ErrorPolicy, on_fetch, on_submit
from service.core.provider.own_codes import OWN_CODES, OwnCode
from service.errors import FailureCode

INTRODUCTION = """\
# Errors

This page is written by `python -m tools.generate_docs errors` from `service/errors.py` and
`service/core/provider/error_table.py`; a test keeps it in step.

A job that cannot be done ends in one record on the failures topic. Its `code` is one of the first table,
`provider_code` is the provider's own word where there was one, and `retryable` says whether the same work may
succeed when it is replayed. To *replay* a request is to publish it once more with the next unused `replay`
number (1 the first time): without one, a request that has ended is not done again.

`fault` says who can prevent it: the `requester`, who published the request or has the audio; the `provider`;
the `operator`, who has the quota, the settings and the account; or the `service`, Scribe itself. It is a
label of `scribe_jobs_finished_total` and `scribe_failures_total`, not a field of the record.
"""

POLICIES = """\
## What the provider's codes lead to

*Submit*: the code answers our submit, so there is no task. *File*: the code stands on a file of a finished
task, or on a failed task that lists no files.

- **try again**: the same submit later, so often at most.
- **submit again**: a new task, so many submits of the job in all.
- **hold**: stop submitting (one model alone, where the reason is that model's), keep every job, say so,
  and go on by itself once a probe succeeds.
- **empty transcript**: there was no speech; the job ends in a result.
- anything else is the failure's `code`.
"""

WITHOUT_A_ROW = """\
## Codes that the table does not name

A code is first judged by its family: `InternalError.Algo.New` as `InternalError.Algo`. Otherwise a submit is
judged by its HTTP status, and a file fails as `provider_error`. Report each such code: the table has
to learn it.
"""

FETCH = """\
## When a finished task's result cannot be fetched

The transcript is paid for, so whatever may pass is tried until the deadline; after 24 h the provider's 403
ends it. A result on a host that the settings do not allow is held: its job waits for a restart with the right
setting, and ends at its deadline as `result_refused`, which may be retried, or after 24 h as
`result_expired`. While two tasks of a model in a row wait so, submits of that model stop.
"""

FAILED_POLLS = """\
## When a task cannot be polled

A poll that fails says nothing about the task: it is repeated until the deadline. One that meets a reason of
the account (a *hold* above) stops submitting as well, and polls become slow probes.

A task that the provider does not know is polled again a minute later; only where it is not known then either,
the job ends as `task_lost`, or as `result_expired` where its 24 h may be over. At the deadline a running task
is polled once more: one that is finished is still collected, within 15 minutes after the deadline. A task
that no job waits for any more, because all were cancelled or overdue, is cancelled at the provider if it is
still pending, and is polled until its bill is known, so that the day's spending has it.
"""

STATUSES = (301, 401, 402, 403, 404, 407, 413, 429, 500, 503)
FETCH_ERRORS = (
    ("the URL is one that the fetch guard does not open", ProviderError("fetch_refused", "")),
    (
        "the URL is an https one, of a host that is not below `SCRIBE_FETCH__HOSTS`",
        ProviderError(OwnCode.FETCH_HOST_REFUSED, ""),
    ),
    (
        "the file is over the guard's size, or takes more memory than there is",
        ProviderError("fetch_too_large", ""),
    ),
    ("no connection", ProviderError("connect_failed", "")),
    ("no answer in time", ProviderError("timeout", "")),
    ("the connection was lost, or the body is cut short", ProviderError("connection_lost", "")),
    ("a redirect", ProviderError("http_error", "", 302)),
    ("HTTP 403, 404 or 410", ProviderError("http_error", "", 403)),
    ("HTTP 429 or 5xx", ProviderError("http_error", "", 503)),
    ("any other HTTP status", ProviderError("http_error", "", 400)),
    (
        "an unknown content encoding, a damaged body, or headers over a limit",
        ProviderError("fetch_unreadable", ""),
    ),
    ("the file is not a transcript", ProviderError("not_a_transcript", "")),
)


def errors_page() -> str:
    """The whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            *_table(("`code`", "fault", "what it means and what to do"), _failure_rows()),
            POLICIES,
            *_table(("provider's code", "submit", "file"), _policy_rows()),
            WITHOUT_A_ROW,
            *_table(("HTTP status", "submit"), _status_rows()),
            FAILED_POLLS,
            FETCH,
            *_table(("what happened", "policy"), _fetch_rows()),
        ]
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cells)} |"
    yield ""


def _failure_rows() -> Iterator[tuple[str, ...]]:
    """Each code with the docstring under it, which only the source has."""
    (definition,) = ast.parse(inspect.getsource(FailureCode)).body
    assert isinstance(definition, ast.ClassDef)
    for assigned, described in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(assigned, ast.Assign) and isinstance(described, ast.Expr):
            (name,) = assigned.targets
            assert isinstance(name, ast.Name)
            code = getattr(errors.FailureCode, name.id)
            yield f"`{code}`", errors.FAULTS[code].value, " ".join(_text(described).split())


def _text(described: ast.Expr) -> str:
    assert isinstance(described.value, ast.Constant)
    return str(described.value.value)


def _policy_rows() -> Iterator[tuple[str, ...]]:
    for code, row in TABLE.items():
        if code not in OWN_CODES:
            yield f"`{code}`", _policy(row.on_submit), _policy(row.on_file)


def _status_rows() -> Iterator[tuple[str, ...]]:
    for status in STATUSES:
        yield str(status), _policy(on_submit(ProviderError("http_error", "", status)))


def _fetch_rows() -> Iterator[tuple[str, ...]]:
    for happened, provider_error in FETCH_ERRORS:
        yield happened, _policy(on_fetch(provider_error))


def _policy(policy: ErrorPolicy) -> str:
    often = "until the deadline" if policy.max_attempts is None else f"{policy.max_attempts} in all"
    match policy.action:
        case Action.FAIL:
            return f"`{policy.code}`"
        case Action.REFRESH_URL:
            return f"poll the task again for a fresh URL, once, then `{policy.code}`"
        case Action.RETRY if policy.max_attempts is None:
            return f"try again {often}"
        case Action.RETRY:
            return f"try again, {often}, then `{policy.code}`"
        case Action.RESUBMIT:
            return f"submit again, {often}, then `{policy.code}`"
        case Action.HOLD:
            return "hold"
        case Action.EMPTY:
            return "empty transcript"
