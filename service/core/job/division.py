"""Decide which refused submits of several files to divide.

One file, or their number, may be at fault.

Rule this module guarantees: a refused submit fails a file only if the file was alone in it, or if the
refusal applies to all its files alike.
"""

import re

from service.core.provider.answers import ProviderError
from service.core.provider.error_table import family, on_submit
from service.errors import FailureCode

_PARAMETERS = frozenset(
    {
        "InvalidParameter",
        "invalid_parameter_error",
        "BadRequest",
        "BadRequest.IllegalInput",
        "InternalError.Algo.InvalidParameter",
        "UnsupportedOperation",
    }
)
"""Codes and code families of an invalid request; the invalid part may be one of its files."""
_FILE_CODES = frozenset(
    {
        FailureCode.AUDIO_INVALID_URL,
        FailureCode.AUDIO_TOO_LARGE,
        FailureCode.AUDIO_TOO_LONG,
        FailureCode.AUDIO_UNUSABLE,
        FailureCode.AUDIO_UNREACHABLE,
        FailureCode.AUDIO_FORBIDDEN,
        FailureCode.AUDIO_NOT_FOUND,
        FailureCode.CONTENT_REJECTED,
    }
)
_FILES = r"\b(file[ _]?urls?|urls|files)\b"
_AT_MOST = (
    r"\b(exceed|more than|at most|too many|only|max|limit|single|(should|must) be (exactly )?(1|one)\b)"
)
_NUMBER_OF_FILES = re.compile(f"{_FILES}.*{_AT_MOST}|{_AT_MOST}.*{_FILES}", re.IGNORECASE | re.DOTALL)
_LIST = r"(the )?(input\.)?file[ _]?urls\b"
_ONE_FILE = re.compile(
    r"(\b|\d)([KMG]i?B|bytes?|seconds|minutes|hours?)\b|reach|download|duration|too long|character"
    rf"|\bformats\b|(file|audio) format|(?<!urls )\bsize\b(?! of {_LIST})"
    r"|urls?(\[\d+\]|\.\d)|\burls?(_| )length|length of (the |a |each )?url\b",
    re.IGNORECASE,
)
"""Text about one file or its content; "size of the list of files" means their number and does not match."""


def is_about_number(provider_error: ProviderError) -> bool:
    """Whether the error text says that the submit holds too many files.

    The vendor does not document the wording; `may_be_about_one` covers texts that are not recognised here.
    """
    is_of_one = (
        on_submit(provider_error).code in _FILE_CODES or _ONE_FILE.search(provider_error.message) is not None
    )
    is_of_number = _NUMBER_OF_FILES.search(provider_error.message) is not None
    return _is_about_parameters(provider_error) and is_of_number and not is_of_one


def may_be_about_one(provider_error: ProviderError) -> bool:
    """Whether one file, or the number of files, may be the reason for the refusal."""
    return on_submit(provider_error).code in _FILE_CODES or _is_about_parameters(provider_error)


def _is_about_parameters(provider_error: ProviderError) -> bool:
    """Whether the request is invalid.

    A code of no known family counts if its HTTP status is 400.
    """
    known = family(provider_error.code)
    is_wrong = known in _PARAMETERS if known else provider_error.http_status == 400
    return is_wrong and not provider_error.message.startswith("Model not exist")
