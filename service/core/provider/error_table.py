"""What to do about each error the provider reports: one closed table, with a lookup for each kind of call.

Rules it keeps:

1. A refusal that every request would get (key, arrears, workspace) holds; one that may depend on the
   request fails its job. Otherwise one user's odd request would stop everybody.
2. A failed poll says nothing about the task, so its error never ends or resubmits a job.
3. A submit that may have created a task is uncertain; what follows is the policy's (`on_uncertain`).
4. A code without a row gets the policy of its family (`A.B.C`, `A.B`, `A`), else that of its HTTP status.

The codes are those of the vendor's error page and of its file-transcription pages (2026), and ours
(`core.provider.own_codes`).
"""

from collections.abc import Mapping
from enum import StrEnum

from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode
from service.errors import FailureCode
from service.frozen import dataclass


class Action(StrEnum):
    """What the job does next."""

    RETRY = "retry"
    """Repeat the same call later."""
    RESUBMIT = "resubmit"
    """Submit again later: the old task is over and gave no result."""
    REFRESH_URL = "refresh_url"
    """Poll the task again: it may give a fresh URL for its result."""
    HOLD = "hold"
    """Stop submitting, since other jobs would fail alike, and keep the job; a poll is repeated."""
    FAIL = "fail"
    """End the job with a failure of the policy's code."""
    EMPTY = "empty"
    """End the job with an empty transcript: there was no speech."""


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """What to do about one error.

    `code` is the failure's code if the job ends here or when `max_attempts` is used up. `max_attempts`
    counts all attempts of the call, the first included (for RESUBMIT all submits of the job, for
    REFRESH_URL the polls for a fresh URL); None: until the deadline. `retryable`: a replay of the
    same work may succeed.
    """

    action: Action
    code: FailureCode
    retryable: bool = False
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The policies on one code: as the answer to a submit, and as the error of a file or its task."""

    on_submit: ErrorPolicy
    on_file: ErrorPolicy


PROVIDER_FAULT_ATTEMPTS = 20
"""Submits refused with a fault of the provider: about a quarter of an hour with a 60 s backoff."""
FOREIGN_ANSWER_ATTEMPTS = 5
"""Submits answered by something other than the API: a proxy's page may go away, a firewall's will not."""
FILE_ATTEMPTS = 3
"""Submits of a file that the provider could not fetch or process: each costs a task."""
DEAD_KEY = frozenset({"InvalidApiKey", "invalid_api_key", "NOT AUTHORIZED"})
"""Codes for a refused API key: every call gets the same error."""
LIST_ATTEMPTS = 20
"""Attempts to get a hotword list that others may free or finish: a quarter of an hour at 60 s backoff."""
UNREADABLE_ATTEMPTS = 3
"""Fetches of a complete result file that is not a result: it is unlikely to change."""


def _fail(code: FailureCode, *, retryable: bool = False) -> ErrorPolicy:
    return ErrorPolicy(Action.FAIL, code, retryable)


def _retry(max_attempts: int | None, code: FailureCode = FailureCode.PROVIDER_ERROR) -> ErrorPolicy:
    return ErrorPolicy(Action.RETRY, code, retryable=True, max_attempts=max_attempts)


def _resubmit(max_attempts: int, code: FailureCode) -> ErrorPolicy:
    return ErrorPolicy(Action.RESUBMIT, code, retryable=True, max_attempts=max_attempts)


def _both(policy: ErrorPolicy) -> Row:
    return Row(policy, policy)


_HOLD = ErrorPolicy(Action.HOLD, FailureCode.SUBMIT_REJECTED, retryable=True)
_REJECTED = _fail(FailureCode.SUBMIT_REJECTED)
_UNCERTAIN = _fail(FailureCode.SUBMIT_UNCERTAIN, retryable=True)
_FILE_FAULT = _resubmit(FILE_ATTEMPTS, FailureCode.PROVIDER_ERROR)
_FILE_UNKNOWN = _fail(FailureCode.PROVIDER_ERROR, retryable=True)
_UNREACHABLE = _resubmit(FILE_ATTEMPTS, FailureCode.AUDIO_UNREACHABLE)

_ACCOUNT = Row(_HOLD, _resubmit(FILE_ATTEMPTS, FailureCode.SUBMIT_REJECTED))  # a second submit would hold
_REQUEST = _both(_REJECTED)
_NO_RIGHT = _both(_fail(FailureCode.SUBMIT_REJECTED, retryable=True))
_CONTENT = _both(_fail(FailureCode.CONTENT_REJECTED))
_UNUSABLE = _both(_fail(FailureCode.AUDIO_UNUSABLE))
_TOO_LARGE = _both(_fail(FailureCode.AUDIO_TOO_LARGE))
_TOO_LONG = _both(_fail(FailureCode.AUDIO_TOO_LONG))
_BAD_URL = _both(_fail(FailureCode.AUDIO_INVALID_URL))
_NO_ANSWER_FROM_ORIGIN = _both(_fail(FailureCode.AUDIO_UNREACHABLE))
_DOWNLOAD = Row(_retry(FILE_ATTEMPTS, FailureCode.AUDIO_UNREACHABLE), _UNREACHABLE)
_THROTTLED = Row(_retry(None), _FILE_FAULT)
_OVERLOAD = Row(_retry(None), _FILE_FAULT)
_FAULT = Row(_retry(PROVIDER_FAULT_ATTEMPTS), _FILE_FAULT)
_TIMEOUT = Row(_UNCERTAIN, _resubmit(2, FailureCode.PROVIDER_ERROR))
_SILENCE = _both(ErrorPolicy(Action.EMPTY, FailureCode.AUDIO_UNUSABLE))
_NOT_SENT = Row(_retry(None), _FILE_UNKNOWN)
_NO_ANSWER = Row(_UNCERTAIN, _FILE_UNKNOWN)
_UNREADABLE = Row(_fail(FailureCode.RESULT_UNREADABLE, retryable=True), _FILE_UNKNOWN)
_NO_LIST = _both(_fail(FailureCode.VOCABULARY_UNUSABLE))
_FOREIGN = Row(_retry(FOREIGN_ANSWER_ATTEMPTS, FailureCode.SUBMIT_REJECTED), _FILE_UNKNOWN)
_STALE_URL = ErrorPolicy(Action.REFRESH_URL, FailureCode.RESULT_EXPIRED, retryable=True, max_attempts=1)
_HOST_REFUSED = ErrorPolicy(Action.HOLD, FailureCode.RESULT_REFUSED, retryable=True)
_FORBIDDEN = _both(_fail(FailureCode.AUDIO_FORBIDDEN))
_NOT_FOUND = _both(_fail(FailureCode.AUDIO_NOT_FOUND))

TABLE: Mapping[str, Row] = {
    "InvalidParameter": _REQUEST,
    "invalid_parameter_error": _REQUEST,
    "BadRequest": _REQUEST,
    "BadRequest.EmptyInput": _REQUEST,
    "BadRequest.EmptyModel": _REQUEST,
    "BadRequest.EmptyParameters": _REQUEST,
    "BadRequest.IllegalInput": _REQUEST,
    "BadRequest.ResourceNotExist": _REQUEST,
    "InternalError.Algo.InvalidParameter": _REQUEST,
    "UnsupportedOperation": _REQUEST,
    "Conflict": _REQUEST,
    "NotFound": _REQUEST,
    "ModelNotFound": _REQUEST,
    "model_not_found": _REQUEST,
    "model_not_supported": _REQUEST,
    "Endpoint.AccessDenied": _REQUEST,
    "AccessDenied": _NO_RIGHT,
    "access_denied": _NO_RIGHT,
    "Model.AccessDenied": _NO_RIGHT,
    "App.AccessDenied": _NO_RIGHT,
    "InvalidApiKey": _ACCOUNT,
    "invalid_api_key": _ACCOUNT,
    "NOT AUTHORIZED": _ACCOUNT,
    "Arrearage": _ACCOUNT,
    "AccessDenied.Unpurchased": _ACCOUNT,
    "Workspace.AccessDenied": _ACCOUNT,
    "WorkSpaceNotFound": _ACCOUNT,
    "AllocationQuota.FreeTierOnly": _ACCOUNT,
    "CommodityNotPurchased": _ACCOUNT,
    "PrepaidBillOverdue": _ACCOUNT,
    "PostpaidBillOverdue": _ACCOUNT,
    "BudgetLimitExceeded": _ACCOUNT,
    "isv.OUT_OF_SERVICE": _ACCOUNT,
    "Throttling": _THROTTLED,
    "Throttling.RateQuota": _THROTTLED,
    "Throttling.BurstRate": _THROTTLED,
    "Throttling.Concurrency": _THROTTLED,
    "Throttling.AllocationQuota": _THROTTLED,
    "Throttling.ServiceOverloaded": _THROTTLED,
    "Throttling.ResourceExhausted": _THROTTLED,
    "ResourceExhausted": _THROTTLED,
    "LimitRequests": _THROTTLED,
    "limit_requests": _THROTTLED,
    "limit_burst_rate": _THROTTLED,
    "insufficient_quota": _THROTTLED,
    "InternalError": _FAULT,
    "internal_error": _FAULT,
    "InternalError.Algo": _FAULT,
    "InternalError.FileUpload": _FAULT,
    "InternalError.Upload": _FAULT,
    "SystemError": _FAULT,
    "ModelServiceFailed": _FAULT,
    "ModelServingError": _OVERLOAD,
    "ServiceUnavailable": _OVERLOAD,
    "ModelUnavailable": _OVERLOAD,
    "InternalError.Timeout": _TIMEOUT,
    "RequestTimeOut": _TIMEOUT,
    "ResponseTimeout": _TIMEOUT,
    "BadRequest.InputDownloadFailed": _DOWNLOAD,
    "InvalidURL.Timeout": _DOWNLOAD,
    "GatewayTimeout.InputDownload": _DOWNLOAD,
    "InvalidFile.DownloadFailed": _DOWNLOAD,
    "FILE_DOWNLOAD_FAILED": _DOWNLOAD,
    "FILE_SERVER_ERROR": _DOWNLOAD,
    "InvalidURL.ConnectionRefused": _NO_ANSWER_FROM_ORIGIN,
    "CONTENT_LENGTH_CHECK_FAILED": _NO_ANSWER_FROM_ORIGIN,
    "InvalidURL": _BAD_URL,
    "REQUEST_INVALID_FILE_URL_VALUE": _BAD_URL,
    "FILE_403_FORBIDDEN": _FORBIDDEN,
    "FILE_404_NOT_FOUND": _NOT_FOUND,
    "BadRequest.TooLarge": _TOO_LARGE,
    "InvalidFile.Size": _TOO_LARGE,
    "FILE_TOO_LARGE": _TOO_LARGE,
    "InvalidFile.Duration": _TOO_LONG,
    "AUDIO_DURATION_TOO_LONG": _TOO_LONG,
    "InvalidFile": _UNUSABLE,
    "InvalidFile.AudioLengthError": _UNUSABLE,
    "InvalidFile.Openerror": _UNUSABLE,
    "InvalidFile.Format": _UNUSABLE,
    "BadRequest.UnsupportedFileFormat": _UNUSABLE,
    "FILE_CHECK_FAILED": _UNUSABLE,
    "FILE_NORMALIZE_FAILED": _UNUSABLE,
    "FILE_PARSE_FAILED": _UNUSABLE,
    "MKV_PARSE_FAILED": _UNUSABLE,
    "DECODE_ERROR": _UNUSABLE,
    "UNSUPPORTED_FORMAT": _UNUSABLE,
    "NO_VALID_AUDIO_ERROR": _UNUSABLE,
    "NO_INPUT_AUDIO_ERROR": _UNUSABLE,
    "DataInspectionFailed": _CONTENT,
    "data_inspection_failed": _CONTENT,
    "InvalidParameter.DataInspection": _CONTENT,
    "IPInfringementSuspect": _CONTENT,
    "CustomRoleBlocked": _CONTENT,
    "FaqRuleBlocked": _CONTENT,
    "Contain.Forbidden.Label.Error": _CONTENT,
    "SUCCESS_WITH_NO_VALID_FRAGMENT": _SILENCE,
    "ASR_RESPONSE_HAVE_NO_WORDS": _SILENCE,
    "FILE_TRANS_TASK_EXPIRED": _FAULT,
    OwnCode.CONNECT_FAILED: _NOT_SENT,
    OwnCode.INTENT_TOO_OLD: _NOT_SENT,
    OwnCode.NO_SLOT: _NOT_SENT,
    OwnCode.TIMEOUT: _NO_ANSWER,
    OwnCode.CONNECTION_LOST: _NO_ANSWER,
    OwnCode.NOT_JSON: _NO_ANSWER,
    OwnCode.UNEXPECTED_ANSWER: _NO_ANSWER,
    OwnCode.RESTORED: _NO_ANSWER,
    OwnCode.MISSING_RESULT: _NO_ANSWER,
    OwnCode.NOT_A_TRANSCRIPT: _UNREADABLE,
    OwnCode.VOCABULARY_OTHER_MODEL: _NO_LIST,
    OwnCode.VOCABULARY_NOT_READY: _NO_LIST,
    OwnCode.HTTP_ERROR: _FOREIGN,
    OwnCode.FETCH_REFUSED: _FOREIGN,
    OwnCode.FETCH_HOST_REFUSED: _FOREIGN,
    OwnCode.FETCH_TOO_LARGE: _FOREIGN,
    OwnCode.FETCH_UNREADABLE: _FOREIGN,
    OwnCode.FOREIGN_TASKS: _ACCOUNT,
}
"""The policies by code; the codes from `CONNECT_FAILED` on are ours."""


_TEXTS = {"url error": _BAD_URL, "audio is empty": _UNUSABLE, "limit on max bytes": _TOO_LARGE}
"""Message texts that make general codes specific (docs/provider.md, section 7.2; the first:
spring-ai-alibaba #2378)."""


def is_known(code: str) -> bool:
    """Whether the table has a row for exactly this code.

    Other codes are worth counting.
    """
    return code in TABLE


def family(code: str) -> str:
    """The code whose row applies: the code itself or its nearest family.

    Empty if there is none.
    """
    while code and code not in TABLE:
        code, _, _ = code.rpartition(".")
    return code


def on_submit(provider_error: ProviderError) -> ErrorPolicy:
    """The policy on a failed submit.

    Never RESUBMIT: without a task, another attempt is a RETRY.
    """
    row = TABLE.get(family(provider_error.code))
    if row is _REQUEST:
        row = next((found for text, found in _TEXTS.items() if text in provider_error.message), row)
    if row is None or (row is _FOREIGN and provider_error.http_status is not None):
        return _submit_by_status(provider_error.http_status)
    return row.on_submit


def on_hotword_list(provider_error: ProviderError) -> ErrorPolicy:
    """The policy on a hotword list that could not be obtained.

    The call is free, so it may be repeated.
    """
    match provider_error.code:
        case "Throttling.AllocationQuota" if not provider_error.is_throttled:
            return _retry(LIST_ATTEMPTS, FailureCode.VOCABULARY_QUOTA)
        case OwnCode.VOCABULARY_NOT_READY:
            return _retry(LIST_ATTEMPTS, FailureCode.VOCABULARY_UNUSABLE)
        case "NotFound":
            return _NO_LIST.on_submit
    policy = on_submit(provider_error)
    if policy.action is Action.HOLD and provider_error.code not in DEAD_KEY:
        # An account without the hotword feature may get the code of a debt; its other work goes on.
        return _retry(LIST_ATTEMPTS, FailureCode.VOCABULARY_UNUSABLE)
    is_down = policy.action is Action.RETRY and (provider_error.http_status or 500) >= 500
    is_unanswered = policy.code is FailureCode.SUBMIT_UNCERTAIN
    return _retry(None) if is_down or is_unanswered else policy


def on_file(provider_error: ProviderError) -> ErrorPolicy:
    """The policy on a failed file, or on a failed task that lists no files.

    Never RETRY or HOLD.
    """
    row = TABLE.get(family(provider_error.code))
    return _FILE_UNKNOWN if row is None else row.on_file


def on_fetch(provider_error: ProviderError) -> ErrorPolicy:
    """The policy on a result that could not be read.

    Errors that may be temporary are retried until the deadline: the transcript is paid for, and after 24 h
    the provider's 403 ends the attempts.
    """
    match provider_error.code:
        case OwnCode.FETCH_HOST_REFUSED:
            return _HOST_REFUSED
        case OwnCode.FETCH_REFUSED:
            return _fail(FailureCode.RESULT_REFUSED)
        case OwnCode.FETCH_TOO_LARGE:
            # A larger setting can read it.
            return _fail(FailureCode.RESULT_UNREADABLE, retryable=True)
        case OwnCode.HTTP_ERROR:
            return _fetch_by_status(provider_error.http_status)
        case OwnCode.TIMEOUT | OwnCode.CONNECT_FAILED | OwnCode.CONNECTION_LOST:
            return _retry(None, FailureCode.RESULT_UNREADABLE)
        case _:
            return _retry(UNREADABLE_ATTEMPTS, FailureCode.RESULT_UNREADABLE)


def _submit_by_status(status: int | None) -> ErrorPolicy:
    """The policy on a refused submit with an unknown code."""
    match status:
        case 401 | 402 | 407:
            return _HOLD
        case 429:
            return _THROTTLED.on_submit
        case int() if status >= 500:
            return _FAULT.on_submit
        case _:
            return _FOREIGN.on_submit


def _fetch_by_status(status: int | None) -> ErrorPolicy:
    """The policy on a result host's error: object storage answers 403 or 404 once the link has expired."""
    match status:
        case 403 | 404 | 410:
            return _STALE_URL
        case int() if 300 <= status < 400:
            return _fail(FailureCode.RESULT_REFUSED)
        case int() if status == 429 or status >= 500:
            return _retry(None, FailureCode.RESULT_UNREADABLE)
        case _:
            return _retry(UNREADABLE_ATTEMPTS, FailureCode.RESULT_UNREADABLE)
