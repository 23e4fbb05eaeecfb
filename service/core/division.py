"""How a submit of several files is divided that was refused: the fault may be one file's, or their number.

Rules this module guarantees:

1. A file is failed by a submit's refusal only where it was in it alone, or where the refusal is of all alike.
2. A part of a group has a group of its own, so that its task is never taken for that of another part.
"""

import re

from service.core.task import Trouble
from service.core.verdicts import on_submit
from service.errors import FailureCode
from service.messages import MAX_FILES

_PARAMETERS = frozenset(
    {
        "InvalidParameter",
        "invalid_parameter_error",
        "BadRequest",
        "BadRequest.IllegalInput",
        "BadRequest.TooLarge",
        "InternalError.Algo.InvalidParameter",
    }
)
"""Codes of a request that is wrong in some part, which may be one of its files."""
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
_FILES = r"\b(file_?urls?|urls|files)\b"
_AT_MOST = r"\b(exceed|more than|at most|too many|only|max|limit|single|one\b)"
_NUMBER_OF_FILES = re.compile(f"{_FILES}.*{_AT_MOST}|{_AT_MOST}.*{_FILES}", re.IGNORECASE | re.DOTALL)


def group_alone(file_index: int) -> int:
    """The group of a part of a group, by its first file; none of `plan_groups` has it."""
    return MAX_FILES + file_index


def is_about_number(trouble: Trouble) -> bool:
    """Whether a submit of several files is refused for their number, as far as its text tells.

    No page says how that is worded: one that is not recognised is met by `may_be_about_one`.
    """
    return _is_about_parameters(trouble) and _NUMBER_OF_FILES.search(trouble.message) is not None


def may_be_about_one(trouble: Trouble) -> bool:
    """Whether a refused submit of several files may be the fault of one of them, or of their number."""
    return on_submit(trouble).code in _FILE_CODES or _is_about_parameters(trouble)


def _is_about_parameters(trouble: Trouble) -> bool:
    return trouble.code in _PARAMETERS and not trouble.message.startswith("Model not exist")
