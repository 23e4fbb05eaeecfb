"""What a synchronous call answers: the transcript as a text, or the refusal for what an engine could not
use, in the codes of the synchronous endpoints. It knows no wire shape.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.simulator.recording import Outcome, Sentence, Unusable
from sandbox.simulator.scripted import SILENT
from sandbox.simulator.tasks import Task
from sandbox.simulator.wire import ApiError

_PIECES: Final = re.compile(r"\S{1,12}\s*")
_PIECES_AN_EVENT: Final = 3


@dataclass(frozen=True)
class Spoken:
    """One audio's transcript; without sentences nobody spoke. `seconds` is the file's length, rounded up."""

    sentences: tuple[Sentence, ...]
    duration_ms: int
    language: str = "en"
    emotion: str = "neutral"
    unknown_fields: bool = False
    finish_reason: str = "stop"

    @property
    def text(self) -> str:
        return "".join(sentence.text for sentence in self.sentences)

    @property
    def seconds(self) -> int:
        return math.ceil(self.duration_ms / 1000)

    def pieces(self) -> list[str]:
        """The text as a stream brings it, a few words at a time."""
        found = _PIECES.findall(self.text)
        return [
            "".join(found[begin : begin + _PIECES_AN_EVENT])
            for begin in range(0, len(found), _PIECES_AN_EVENT)
        ]


def words_of(text: str) -> int:
    """Text tokens, near enough."""
    return len(text.split())


def spoken_of(task: Task, limit_seconds: float) -> Spoken:
    """What an ended task's file says, or ApiError."""
    outcome = task.failure or task.files[0].outcome
    spoken = _spoken(outcome)
    if spoken.duration_ms > limit_seconds * 1000:
        raise _REFUSALS["AUDIO_DURATION_TOO_LONG"]
    return spoken


def _spoken(outcome: Outcome | None) -> Spoken:
    if outcome is None or (isinstance(outcome, Unusable) and outcome.code != SILENT):
        raise refusal(outcome or Unusable("InternalError", "InternalError"))
    if isinstance(outcome, Unusable):
        return Spoken((), outcome.duration_ms)
    recording = outcome.recording()
    return Spoken(
        recording.channels[0].sentences,
        recording.duration_ms,
        recording.language,
        recording.emotions[0],
        recording.unknown_fields,
        recording.finish_reason,
    )


def refusal(outcome: Unusable) -> ApiError:
    """A subtask's code as the synchronous endpoints say it; others stay, with the status of their kind."""
    known = _REFUSALS.get(outcome.code)
    return known or ApiError(_status_of(outcome.code), outcome.code, outcome.message)


def _status_of(code: str) -> int:
    kind = code.partition(".")[0]
    if kind in ("Throttling", "LimitRequests"):
        return 429
    return 500 if kind in ("InternalError", "SystemError", "ModelServiceFailed", "RequestTimeOut") else 400


_NO_DOWNLOAD: Final = ApiError(400, "BadRequest.InputDownloadFailed", "Failed to download the input audio.")
_REFUSALS: Final[Mapping[str, ApiError]] = {
    "FILE_DOWNLOAD_FAILED": _NO_DOWNLOAD,
    "FILE_403_FORBIDDEN": _NO_DOWNLOAD,
    "FILE_404_NOT_FOUND": _NO_DOWNLOAD,
    "FILE_SERVER_ERROR": _NO_DOWNLOAD,
    "CONTENT_LENGTH_CHECK_FAILED": _NO_DOWNLOAD,
    "REQUEST_INVALID_FILE_URL_VALUE": ApiError(400, "InvalidURL", "The provided URL is not valid."),
    "FILE_TOO_LARGE": ApiError(400, "InvalidFile.Size", "The audio file is larger than the model takes."),
    "AUDIO_DURATION_TOO_LONG": ApiError(400, "InvalidFile.Duration", "The audio is longer than it may be."),
    "UNSUPPORTED_FORMAT": ApiError(400, "InvalidFile.Format", "The format of the audio is not supported."),
    "DECODE_ERROR": ApiError(400, "InvalidFile.Openerror", "The audio cannot be opened."),
    "NO_VALID_AUDIO_ERROR": ApiError(400, "InvalidParameter", "The audio is empty"),
}
