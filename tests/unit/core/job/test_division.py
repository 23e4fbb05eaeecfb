"""Refused submits of several files: which are divided (`test_on_submit` shows how)."""

import pytest

from service.core.job.division import is_about_number, may_be_about_one
from service.core.provider.answers import ProviderError

NUMBERS = [
    "input.file_urls must not hold more than 1 urls",
    "file_urls size exceeds the limit of 1",
    "The number of file urls exceeds the maximum",
    "The size of file_urls must be at most 1.",
    "Too many files in input.file_urls",
    "Only one file_url is supported",
    "only a single url is allowed in input.file_urls",
    "input.file_urls: max 1",
    "Exceeded limit on max urls per request: 1",
    "FILE_URLS LIMIT",
    "file_urls exceeds the max number 1",
    "file_urls at most one",
    "the length of file_urls should be 1",
    "Only one file url is supported",
    "only one fileurl per task",
    "The length of file_urls must be exactly one",
    "The number of files must be 1",
    "this model supports a single file url",
]
OTHERS = [
    "url error, please check url！",
    "input must contain file_urls",
    "task can not be null",
    "parameters.channel_id must be an array of integers",
    "Exceeded limit on max bytes per data-uri item : 10485760",
    "The audio is empty",
    "",
    "one of the file_urls is not reachable",
    "only https file_urls can be reached",
    "files exceed the max size of 2GB",
    "files exceed the max size",
    "The size of files must be at most 2048 MB",
    "file_urls: file exceeds the limit of 12 hours",
    "file_urls: max duration exceeded",
    "Failed to download files within the limit",
    "file_urls[0] exceeds the maximum of 2048 characters",
    "input.file_urls.3 must be a single string",
    "file_urls must contain at least one url",
    "each url in file_urls is limited by url length",
    "the length of the url in file_urls exceeds the limit",
    "one file_url is wrong",
    "file_urls: only wav and mp3 formats",
]


@pytest.mark.parametrize("message", NUMBERS)
def test_a_number_of_files_is_recognised_in_many_words(message: str) -> None:
    assert is_about_number(ProviderError("InvalidParameter", message, 400))


@pytest.mark.parametrize(
    "code",
    [
        "InvalidParameter.FileUrls",
        "InvalidParameter.TooManyFiles",
        "BadRequest.TooManyFiles",
        "BadRequest.InvalidInput",
        "UnsupportedOperation",
        "UnsupportedOperation.FileUrls.Number",
        "InternalError.Algo.InvalidParameter.FileUrls",
        "TooManyFiles",
        "Input.TooMany",
    ],
)
def test_a_number_is_recognised_under_every_code_of_a_family_that_refuses_requests(code: str) -> None:
    provider_error = ProviderError(code, "file_urls exceeds the max number 1", 400)
    assert is_about_number(provider_error)
    assert may_be_about_one(provider_error)
    unclear = ProviderError(code, "no", 400)
    assert (is_about_number(unclear), may_be_about_one(unclear)) == (False, True)


@pytest.mark.parametrize("code", ["BadRequest.TooLarge", "BadRequest.TooLarge.Files", "InvalidFile.Size"])
def test_a_fault_of_a_file_teaches_no_number_in_any_words(code: str) -> None:
    provider_error = ProviderError(code, "file_urls exceed the limit", 400)
    assert not is_about_number(provider_error)
    assert may_be_about_one(provider_error)


@pytest.mark.parametrize("message", OTHERS)
def test_another_fault_is_not_taken_for_the_number_and_is_divided_all_the_same(message: str) -> None:
    provider_error = ProviderError("InvalidParameter", message, 400)
    assert not is_about_number(provider_error)
    assert may_be_about_one(provider_error)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameter", "Model not exist. It takes only file_urls."),
        ("ModelNotFound", "no"),
        ("AccessDenied", "only file_urls"),
        ("Arrearage", "file_urls limit"),
        ("Throttling.RateQuota", "max file_urls"),
        ("InternalError", "too many files"),
        ("timeout", "only one file_url"),
        ("http_error", "only one file_url"),
        ("BadRequest.EmptyModel", "only one file_url"),
        ("ModelNotFound.FileUrls", "only one file_url"),
    ],
)
def test_what_is_of_all_files_alike_is_not_divided(code: str, message: str) -> None:
    provider_error = ProviderError(code, message, 400)
    assert not is_about_number(provider_error)
    assert not may_be_about_one(provider_error)


@pytest.mark.parametrize("status", [None, 404, 429, 500])
def test_an_unknown_code_is_divided_only_where_its_status_says_that_the_request_is_wrong(
    status: int | None,
) -> None:
    provider_error = ProviderError("TooManyFiles", "too many files", status)
    assert not is_about_number(provider_error)
    assert not may_be_about_one(provider_error)
