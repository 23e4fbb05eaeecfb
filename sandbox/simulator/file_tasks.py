"""The wire shape of models that take `file_urls` and answer `results[]` (Fun-ASR): reading a submit,
showing a task, writing a result file. One module per wire shape; it knows no HTTP.
"""

import json
import random
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from sandbox.simulator.config import AllFailedShape
from sandbox.simulator.recording import Channel, Heard, Recording, Sentence, Unusable
from sandbox.simulator.tasks import Submission, Task, TaskFile
from sandbox.simulator.wire import ApiError, JsonObject

URL_ERROR: Final = "url error, please check url！"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_channels(value: object) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(_is_whole(item) and 0 <= item < 32 for item in value)
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(item) for item in value)


def _is_json_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False


_PARAMETERS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "channel_id": (_is_channels, "an array of integers"),
    "language_hints": (_is_texts, "an array of strings"),
    "vocabulary_id": (_is_text, "a string"),
    "special_word_filter": (_is_json_text, "a string that holds a JSON object"),
    "diarization_enabled": (_is_flag, "a boolean"),
    "speaker_count": (_is_whole, "an integer"),
}


def invalid(message: str) -> ApiError:
    """The 400 that most bad bodies get."""
    return ApiError(400, "InvalidParameter", message)


def read_submit(
    model: str, given: JsonObject, parameters: object, *, files_per_task: int, resolves_oss: bool
) -> Submission:
    """Validate `input` and `parameters` as the vendor does, or raise ApiError.

    Names of parameters that it does not know pass, as they seem to at the vendor; the wording of the
    type errors is ours, as none is documented.
    """
    file_urls = given.get("file_urls")
    if not isinstance(file_urls, list) or not file_urls:
        raise invalid("input must contain file_urls")
    if len(file_urls) > files_per_task:
        raise invalid(f"input.file_urls must not hold more than {files_per_task} urls")
    schemes = ("http", "https", "oss") if resolves_oss else ("http", "https")
    if not all(_has_scheme(file_url, schemes) for file_url in file_urls):
        raise invalid(URL_ERROR)
    return Submission(model, tuple(file_urls), _read_parameters(parameters))


def _has_scheme(file_url: object, schemes: tuple[str, ...]) -> bool:
    if not isinstance(file_url, str):
        return False
    try:
        parts = urlsplit(file_url)
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.netloc)


def _read_parameters(parameters: object) -> JsonObject | None:
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise invalid("parameters must be an object")
    for name, (is_valid, expected) in _PARAMETERS.items():
        if name in parameters and not is_valid(parameters[name]):
            raise invalid(f"parameters.{name} must be {expected}")
    return parameters


class ResultsView:
    """How an ended task looks in a query: `results[]`, metrics, usage, failure code."""

    def __init__(
        self, *, all_failed_shape: AllFailedShape, seed: int, url_of: Callable[[Task, TaskFile], str]
    ) -> None:
        self._all_failed = all_failed_shape
        self._seed = seed
        self._url_of = url_of

    def status(self, task: Task, now: float) -> str:
        """The status word: one failed file never fails a task, all of them do if the shape says so."""
        state = task.state(now)
        return "FAILED" if state == "SUCCEEDED" and self._fails_whole(task) else state

    def ending(self, task: Task) -> tuple[JsonObject, JsonObject]:
        """Fields of `output` and of the top level for a task that ran to its end."""
        failure = task.failure or self._whole_failure(task)
        output: dict[str, object] = {}
        if failure is not None:
            output.update(code=failure.code, message=failure.message)
        if (
            failure is None
            or task.keeps_results
            or (self._fails_whole(task) and self._all_failed != "failed")
        ):
            output["results"] = self._results(task)
        output["task_metrics"] = metrics(task)
        return output, {} if failure is not None else {"usage": {"duration": task.billed_seconds()}}

    def _fails_whole(self, task: Task) -> bool:
        return self._all_failed != "succeeded" and not any(task.heard())

    def _whole_failure(self, task: Task) -> Unusable | None:
        outcome = task.files[0].outcome
        return outcome if self._fails_whole(task) and isinstance(outcome, Unusable) else None

    def _results(self, task: Task) -> list[JsonObject]:
        """Never in the order of the submit when there are several, and the same at each query."""
        results = [self._result(task, file) for file in task.files]
        order = list(range(len(results)))
        shuffler = random.Random(f"{self._seed}:{task.task_id}")
        while len(order) > 1 and order == sorted(order):
            shuffler.shuffle(order)
        return [results[index] for index in order]

    def _result(self, task: Task, file: TaskFile) -> JsonObject:
        if isinstance(file.outcome, Heard):
            return {
                "file_url": file.file_url,
                "transcription_url": self._url_of(task, file),
                "subtask_status": "SUCCEEDED",
            }
        code, message = (
            (file.outcome.code, file.outcome.message) if file.outcome else ("InternalError", "InternalError")
        )
        return {"file_url": file.file_url, "code": code, "message": message, "subtask_status": "FAILED"}


def metrics(task: Task, *, ended: bool = True) -> JsonObject:
    """`task_metrics`; zeros until the end."""
    heard = len(list(task.heard())) if ended else 0
    return {"TOTAL": len(task.files), "SUCCEEDED": heard, "FAILED": len(task.files) - heard if ended else 0}


def result_document(file_url: str, recording: Recording) -> JsonObject:
    """The JSON behind a `transcription_url`."""
    extra: JsonObject = {"x_unknown": {"kept": True}} if recording.unknown_fields else {}
    return {
        "file_url": file_url,
        "properties": {
            "audio_format": recording.audio_format,
            "channels": list(range(recording.channels_in_file)),
            "original_sampling_rate": recording.sampling_rate,
            "original_duration_in_milliseconds": recording.duration_ms,
            **extra,
        },
        "transcripts": [{**_transcript(channel, extra), **extra} for channel in recording.channels],
        **extra,
    }


def _transcript(channel: Channel, extra: JsonObject) -> JsonObject:
    return {
        "channel_id": channel.channel_id,
        "content_duration_in_milliseconds": channel.speech_ms,
        "text": channel.text,
        "sentences": [
            {**_sentence(sentence, number, extra), **extra}
            for number, sentence in enumerate(channel.sentences, 1)
        ],
    }


def _sentence(sentence: Sentence, number: int, extra: JsonObject) -> JsonObject:
    speaker: JsonObject = {} if sentence.speaker_id is None else {"speaker_id": sentence.speaker_id}
    return {
        "begin_time": sentence.begin_ms,
        "end_time": sentence.end_ms,
        "text": sentence.text,
        "sentence_id": number,
        **speaker,
        "words": [
            {
                "begin_time": word.begin_ms,
                "end_time": word.end_ms,
                "text": word.text,
                "punctuation": word.punctuation,
                **extra,
            }
            for word in sentence.words
        ],
    }
