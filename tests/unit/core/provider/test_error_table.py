"""The error table: what is decided for each code, and what may never be decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.provider.answers import ProviderError
from service.core.provider.error_table import (
    FILE_ATTEMPTS,
    FOREIGN_ANSWER_ATTEMPTS,
    LIST_ATTEMPTS,
    PROVIDER_FAULT_ATTEMPTS,
    TABLE,
    Action,
    ErrorPolicy,
    is_known,
    on_fetch,
    on_file,
    on_hotword_list,
    on_submit,
)
from service.core.provider.own_codes import OWN_CODES, OwnCode
from service.errors import FailureCode

HTTP_CODES = [
    "InvalidParameter",
    "invalid_parameter_error",
    "BadRequest.EmptyInput",
    "BadRequest.EmptyModel",
    "BadRequest.EmptyParameters",
    "BadRequest.IllegalInput",
    "BadRequest.TooLarge",
    "BadRequest.UnsupportedFileFormat",
    "BadRequest.ResourceNotExist",
    "BadRequest.InputDownloadFailed",
    "InvalidURL",
    "InvalidURL.ConnectionRefused",
    "InvalidURL.Timeout",
    "GatewayTimeout.InputDownload",
    "InvalidFile.DownloadFailed",
    "InvalidFile.AudioLengthError",
    "InvalidFile.Openerror",
    "InvalidFile.Format",
    "InvalidFile.Size",
    "InvalidFile.Duration",
    "DataInspectionFailed",
    "data_inspection_failed",
    "InvalidParameter.DataInspection",
    "Arrearage",
    "Throttling.AllocationQuota",
    "UnsupportedOperation",
    "InternalError.Algo.InvalidParameter",
    "InvalidApiKey",
    "invalid_api_key",
    "AccessDenied",
    "access_denied",
    "AccessDenied.Unpurchased",
    "Model.AccessDenied",
    "Workspace.AccessDenied",
    "App.AccessDenied",
    "AllocationQuota.FreeTierOnly",
    "ModelNotFound",
    "model_not_found",
    "model_not_supported",
    "WorkSpaceNotFound",
    "NotFound",
    "Conflict",
    "Throttling",
    "Throttling.RateQuota",
    "LimitRequests",
    "limit_requests",
    "Throttling.BurstRate",
    "limit_burst_rate",
    "Throttling.Concurrency",
    "insufficient_quota",
    "CommodityNotPurchased",
    "PrepaidBillOverdue",
    "PostpaidBillOverdue",
    "InternalError",
    "internal_error",
    "InternalError.Algo",
    "InternalError.FileUpload",
    "InternalError.Upload",
    "SystemError",
    "ModelServiceFailed",
    "InternalError.Timeout",
    "RequestTimeOut",
    "ResponseTimeout",
    "ModelServingError",
    "ServiceUnavailable",
    "ModelUnavailable",
    "NOT AUTHORIZED",
    "BudgetLimitExceeded",
    "isv.OUT_OF_SERVICE",
    "Throttling.ServiceOverloaded",
    "Throttling.ResourceExhausted",
    "ResourceExhausted",
    "Endpoint.AccessDenied",
    "IPInfringementSuspect",
    "CustomRoleBlocked",
    "FaqRuleBlocked",
    "Contain.Forbidden.Label.Error",
]
"""Every code of the vendor's HTTP-level table (docs/provider.md, section 7.2)."""

FILE_CODES = [
    "SUCCESS_WITH_NO_VALID_FRAGMENT",
    "ASR_RESPONSE_HAVE_NO_WORDS",
    "FILE_DOWNLOAD_FAILED",
    "InvalidFile.DownloadFailed",
    "FILE_403_FORBIDDEN",
    "FILE_404_NOT_FOUND",
    "FILE_SERVER_ERROR",
    "REQUEST_INVALID_FILE_URL_VALUE",
    "CONTENT_LENGTH_CHECK_FAILED",
    "FILE_TOO_LARGE",
    "AUDIO_DURATION_TOO_LONG",
    "FILE_CHECK_FAILED",
    "FILE_NORMALIZE_FAILED",
    "FILE_PARSE_FAILED",
    "MKV_PARSE_FAILED",
    "DECODE_ERROR",
    "UNSUPPORTED_FORMAT",
    "NO_VALID_AUDIO_ERROR",
    "NO_INPUT_AUDIO_ERROR",
    "FILE_TRANS_TASK_EXPIRED",
    "DataInspectionFailed",
    "InternalError",
]
"""Every code of the vendor's task and subtask table (section 7.3)."""

ACCOUNT_CODES = [
    "InvalidApiKey",
    "invalid_api_key",
    "Arrearage",
    "AccessDenied.Unpurchased",
    "Workspace.AccessDenied",
    "WorkSpaceNotFound",
    "AllocationQuota.FreeTierOnly",
    "CommodityNotPurchased",
    "PrepaidBillOverdue",
    "PostpaidBillOverdue",
    "NOT AUTHORIZED",
    "BudgetLimitExceeded",
    "isv.OUT_OF_SERVICE",
]

THROTTLING_CODES = [
    code for code in TABLE if code.startswith(("Throttling", "Limit", "limit", "insufficient", "Resource"))
]


def provider_error(code: str, http_status: int | None = None, message: str = "") -> ProviderError:
    return ProviderError(code, message, http_status)


@pytest.mark.parametrize("code", HTTP_CODES + FILE_CODES + sorted(OWN_CODES))
def test_the_table_names_every_code_of_the_vendors_pages_and_every_one_of_ours(code: str) -> None:
    assert is_known(code)


def test_the_table_names_nothing_else_but_the_heads_of_its_families() -> None:
    assert set(TABLE) - set(HTTP_CODES) - set(FILE_CODES) - OWN_CODES == {"BadRequest", "InvalidFile"}


def test_a_code_of_a_known_family_is_still_not_known() -> None:
    assert not is_known("InternalError.Algo.New")


@pytest.mark.parametrize("code", ACCOUNT_CODES)
def test_an_account_reason_holds_whatever_its_status(code: str) -> None:
    assert {on_submit(provider_error(code, status)).action for status in (400, 401, 403, 404, 429)} == {
        Action.HOLD
    }


@pytest.mark.parametrize("code", THROTTLING_CODES)
def test_throttling_is_tried_again_until_the_deadline(code: str) -> None:
    policy = on_submit(provider_error(code, 429))
    assert (policy.action, policy.max_attempts) == (Action.RETRY, None)


@pytest.mark.parametrize(
    ("code", "status", "action", "failure"),
    [
        ("InvalidParameter", 400, Action.FAIL, FailureCode.SUBMIT_REJECTED),
        ("ModelNotFound", 404, Action.FAIL, FailureCode.SUBMIT_REJECTED),
        ("AccessDenied", 403, Action.FAIL, FailureCode.SUBMIT_REJECTED),
        ("Model.AccessDenied", 403, Action.FAIL, FailureCode.SUBMIT_REJECTED),
        ("Endpoint.AccessDenied", 403, Action.FAIL, FailureCode.SUBMIT_REJECTED),
        ("DataInspectionFailed", 400, Action.FAIL, FailureCode.CONTENT_REJECTED),
        ("IPInfringementSuspect", 400, Action.FAIL, FailureCode.CONTENT_REJECTED),
        ("CustomRoleBlocked", 400, Action.FAIL, FailureCode.CONTENT_REJECTED),
        ("FaqRuleBlocked", 400, Action.FAIL, FailureCode.CONTENT_REJECTED),
        ("Contain.Forbidden.Label.Error", 400, Action.FAIL, FailureCode.CONTENT_REJECTED),
        ("InternalError.DataInspection", 500, Action.RETRY, FailureCode.PROVIDER_ERROR),
        ("InternalError", 500, Action.RETRY, FailureCode.PROVIDER_ERROR),
        ("InternalError.Timeout", 500, Action.FAIL, FailureCode.SUBMIT_UNCERTAIN),
        ("ServiceUnavailable", 503, Action.RETRY, FailureCode.PROVIDER_ERROR),
        ("connect_failed", None, Action.RETRY, FailureCode.PROVIDER_ERROR),
        ("intent_too_old", None, Action.RETRY, FailureCode.PROVIDER_ERROR),
        ("timeout", None, Action.FAIL, FailureCode.SUBMIT_UNCERTAIN),
        ("GatewayTimeout.InputDownload", 504, Action.RETRY, FailureCode.AUDIO_UNREACHABLE),
        ("restored", None, Action.FAIL, FailureCode.SUBMIT_UNCERTAIN),
    ],
)
def test_a_refused_submit_is_judged_by_its_code(
    code: str, status: int | None, action: Action, failure: FailureCode
) -> None:
    policy = on_submit(provider_error(code, status))
    assert (policy.action, policy.code) == (action, failure)


def test_the_vendors_word_about_a_bad_url_in_a_general_code_names_the_url() -> None:
    refused = provider_error("InvalidParameter", 400, "url error, please check url\uff01")
    assert on_submit(refused).code is FailureCode.AUDIO_INVALID_URL


@pytest.mark.parametrize(
    ("status", "action", "attempts"),
    [
        (401, Action.HOLD, None),
        (402, Action.HOLD, None),
        (407, Action.HOLD, None),
        (429, Action.RETRY, None),
        (500, Action.RETRY, PROVIDER_FAULT_ATTEMPTS),
        (503, Action.RETRY, PROVIDER_FAULT_ATTEMPTS),
        (302, Action.RETRY, FOREIGN_ANSWER_ATTEMPTS),
        (404, Action.RETRY, FOREIGN_ANSWER_ATTEMPTS),
        (418, Action.RETRY, FOREIGN_ANSWER_ATTEMPTS),
    ],
)
@pytest.mark.parametrize("code", ["http_error", "NeverHeardOf"])
def test_a_code_that_says_nothing_is_judged_by_its_status(
    code: str, status: int, action: Action, attempts: int | None
) -> None:
    policy = on_submit(provider_error(code, status))
    assert (policy.action, policy.max_attempts) == (action, attempts)


def test_a_code_is_judged_by_the_nearest_family_that_has_a_row() -> None:
    assert on_submit(provider_error("InternalError.Algo.InvalidParameter.New", 500)) == on_submit(
        provider_error("InternalError.Algo.InvalidParameter", 500)
    )
    assert on_submit(provider_error("Throttling.New.Kind", 429)) == on_submit(
        provider_error("Throttling", 429)
    )
    assert on_file(provider_error("InvalidFile.New")).code is FailureCode.AUDIO_UNUSABLE


@pytest.mark.parametrize(
    ("code", "action", "failure", "attempts"),
    [
        ("SUCCESS_WITH_NO_VALID_FRAGMENT", Action.EMPTY, FailureCode.AUDIO_UNUSABLE, None),
        ("ASR_RESPONSE_HAVE_NO_WORDS", Action.EMPTY, FailureCode.AUDIO_UNUSABLE, None),
        ("FILE_DOWNLOAD_FAILED", Action.RESUBMIT, FailureCode.AUDIO_UNREACHABLE, FILE_ATTEMPTS),
        ("InvalidFile.DownloadFailed", Action.RESUBMIT, FailureCode.AUDIO_UNREACHABLE, FILE_ATTEMPTS),
        ("FILE_SERVER_ERROR", Action.RESUBMIT, FailureCode.AUDIO_UNREACHABLE, FILE_ATTEMPTS),
        ("FILE_403_FORBIDDEN", Action.FAIL, FailureCode.AUDIO_FORBIDDEN, None),
        ("FILE_404_NOT_FOUND", Action.FAIL, FailureCode.AUDIO_NOT_FOUND, None),
        ("REQUEST_INVALID_FILE_URL_VALUE", Action.FAIL, FailureCode.AUDIO_INVALID_URL, None),
        ("CONTENT_LENGTH_CHECK_FAILED", Action.FAIL, FailureCode.AUDIO_UNREACHABLE, None),
        ("FILE_TOO_LARGE", Action.FAIL, FailureCode.AUDIO_TOO_LARGE, None),
        ("AUDIO_DURATION_TOO_LONG", Action.FAIL, FailureCode.AUDIO_TOO_LONG, None),
        ("DECODE_ERROR", Action.FAIL, FailureCode.AUDIO_UNUSABLE, None),
        ("NO_VALID_AUDIO_ERROR", Action.FAIL, FailureCode.AUDIO_UNUSABLE, None),
        ("FILE_TRANS_TASK_EXPIRED", Action.RESUBMIT, FailureCode.PROVIDER_ERROR, FILE_ATTEMPTS),
        ("InternalError", Action.RESUBMIT, FailureCode.PROVIDER_ERROR, FILE_ATTEMPTS),
        ("InternalError.Algo.Whatever", Action.RESUBMIT, FailureCode.PROVIDER_ERROR, FILE_ATTEMPTS),
        ("InternalError.Timeout", Action.RESUBMIT, FailureCode.PROVIDER_ERROR, 2),
        ("DataInspectionFailed", Action.FAIL, FailureCode.CONTENT_REJECTED, None),
        ("Arrearage", Action.RESUBMIT, FailureCode.SUBMIT_REJECTED, FILE_ATTEMPTS),
        ("NEVER_HEARD_OF", Action.FAIL, FailureCode.PROVIDER_ERROR, None),
        ("missing_result", Action.FAIL, FailureCode.PROVIDER_ERROR, None),
    ],
)
def test_a_failed_file_is_judged_by_its_code(
    code: str, action: Action, failure: FailureCode, attempts: int | None
) -> None:
    policy = on_file(provider_error(code))
    assert (policy.action, policy.code, policy.max_attempts) == (action, failure, attempts)


@pytest.mark.parametrize(
    ("code", "status", "action", "failure", "is_bounded"),
    [
        ("fetch_refused", None, Action.FAIL, FailureCode.RESULT_REFUSED, False),
        ("fetch_host_refused", None, Action.HOLD, FailureCode.RESULT_REFUSED, False),
        ("fetch_too_large", None, Action.FAIL, FailureCode.RESULT_UNREADABLE, False),
        ("fetch_unreadable", None, Action.RETRY, FailureCode.RESULT_UNREADABLE, True),
        ("http_error", 302, Action.FAIL, FailureCode.RESULT_REFUSED, False),
        ("http_error", 403, Action.REFRESH_URL, FailureCode.RESULT_EXPIRED, True),
        ("http_error", 404, Action.REFRESH_URL, FailureCode.RESULT_EXPIRED, True),
        ("http_error", 429, Action.RETRY, FailureCode.RESULT_UNREADABLE, False),
        ("http_error", 503, Action.RETRY, FailureCode.RESULT_UNREADABLE, False),
        ("http_error", 400, Action.RETRY, FailureCode.RESULT_UNREADABLE, True),
        ("http_error", None, Action.RETRY, FailureCode.RESULT_UNREADABLE, True),
        ("timeout", None, Action.RETRY, FailureCode.RESULT_UNREADABLE, False),
        ("connect_failed", None, Action.RETRY, FailureCode.RESULT_UNREADABLE, False),
        ("connection_lost", None, Action.RETRY, FailureCode.RESULT_UNREADABLE, False),
        ("not_a_transcript", None, Action.RETRY, FailureCode.RESULT_UNREADABLE, True),
    ],
)
def test_a_result_that_was_not_read_is_tried_again_while_it_may_still_come(
    code: str, status: int | None, action: Action, failure: FailureCode, is_bounded: bool
) -> None:
    policy = on_fetch(provider_error(code, status))
    assert (policy.action, policy.code, policy.max_attempts is not None) == (action, failure, is_bounded)


CODES = st.one_of(st.sampled_from(sorted(TABLE)), st.text(alphabet="ABab._ ", max_size=12))
ERRORS = st.builds(
    ProviderError, code=CODES, message=st.text(max_size=20), http_status=st.none() | st.integers(100, 599)
)


@given(ERRORS)
def test_a_submit_that_may_be_billed_is_never_answered_with_another(found: ProviderError) -> None:
    policy = on_submit(found)
    assert policy.action is not Action.RESUBMIT
    if found.code in (
        "timeout",
        "connection_lost",
        "RequestTimeOut",
        "ResponseTimeout",
        "InternalError.Timeout",
    ):
        assert policy.action is Action.FAIL


@given(ERRORS)
def test_a_finished_file_is_never_waited_for_and_never_submitted_again_without_bound(
    found: ProviderError,
) -> None:
    policy = on_file(found)
    assert policy.action not in (Action.RETRY, Action.HOLD)
    assert policy.action is not Action.RESUBMIT or policy.max_attempts is not None


@given(ERRORS)
def test_a_result_is_fetched_or_given_up_and_only_a_strange_host_holds_it(found: ProviderError) -> None:
    action = on_fetch(found).action
    assert action in (Action.RETRY, Action.REFRESH_URL, Action.FAIL, Action.HOLD)
    assert (action is Action.HOLD) is (found.code == OwnCode.FETCH_HOST_REFUSED)


def test_a_policy_that_tries_again_says_that_trying_again_may_help() -> None:
    policies: list[ErrorPolicy] = [
        policy for row in TABLE.values() for policy in (row.on_submit, row.on_file)
    ]
    again = [policy for policy in policies if policy.action in (Action.RETRY, Action.RESUBMIT, Action.HOLD)]
    assert again
    assert all(policy.retryable for policy in again)


@pytest.mark.parametrize(
    ("named", "status", "action", "attempts"),
    [
        ("Throttling.AllocationQuota", 400, Action.RETRY, LIST_ATTEMPTS),
        ("Throttling.AllocationQuota", 429, Action.RETRY, None),
        ("vocabulary_not_ready", None, Action.RETRY, LIST_ATTEMPTS),
        ("vocabulary_other_model", None, Action.FAIL, None),
        ("NotFound", 404, Action.FAIL, None),
        ("InvalidParameter", 400, Action.FAIL, None),
        ("InvalidApiKey", 401, Action.HOLD, None),
        ("Workspace.AccessDenied", 403, Action.RETRY, LIST_ATTEMPTS),
        ("InternalError", 500, Action.RETRY, None),
        ("http_error", 502, Action.RETRY, None),
        ("http_error", 403, Action.RETRY, FOREIGN_ANSWER_ATTEMPTS),
        ("timeout", None, Action.RETRY, None),
        ("connect_failed", None, Action.RETRY, None),
    ],
)
def test_a_hotword_list_that_cannot_be_had_is_waited_for_where_that_may_help(
    named: str, status: int | None, action: Action, attempts: int | None
) -> None:
    policy = on_hotword_list(provider_error(named, status))
    assert (policy.action, policy.max_attempts) == (action, attempts)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("The audio is empty. Reason: too short", FailureCode.AUDIO_UNUSABLE),
        ("Exceeded limit on max bytes per data-uri item : 10485760", FailureCode.AUDIO_TOO_LARGE),
        ("Model not exist.", FailureCode.SUBMIT_REJECTED),
    ],
)
@pytest.mark.parametrize("named", ["InternalError.Algo.InvalidParameter", "invalid_parameter_error"])
def test_a_general_code_with_a_particular_text_is_judged_by_the_text(
    named: str, message: str, code: FailureCode
) -> None:
    assert on_submit(provider_error(named, 400, message)).code is code
