"""The wire shape of models that take `file_urls` and answer `results[]` (Fun-ASR, Paraformer, Qwen-Audio):
reading a submit, showing a task, writing a result file. One module per wire shape; it knows no HTTP.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from sandbox.simulator.config import AllFailedShape
from sandbox.simulator.models import FILE_MODELS
from sandbox.simulator.parameters import check_context, read_parameters
from sandbox.simulator.recording import Channel, Heard, Recording, Sentence, Unusable, Word
from sandbox.simulator.tasks import Submission, Task, TaskFile
from sandbox.simulator.wire import JsonObject, invalid

URL_ERROR: Final = "url error, please check url！"


def read_submit(
    model: str, given: JsonObject, parameters: object, *, files_per_task: int, resolves_oss: bool
) -> Submission:
    """Validate `input` and `parameters` as the vendor does, or raise ApiError."""
    row = FILE_MODELS[model]
    file_urls = given.get("file_urls")
    if not isinstance(file_urls, list) or not file_urls:
        raise invalid("input must contain file_urls")
    if len(file_urls) > files_per_task:
        raise invalid(f"input.file_urls must not hold more than {files_per_task} urls")
    if not all(is_url(file_url, resolves_oss=resolves_oss) for file_url in file_urls):
        raise invalid(URL_ERROR)
    if row.takes_context and given.get("context") is not None:
        check_context(given["context"])
    return Submission(model, tuple(file_urls), read_parameters(parameters, row.parameters))


def is_url(file_url: object, *, resolves_oss: bool) -> bool:
    """Whether the vendor would try to fetch it; `oss://` needs the header that resolves it."""
    if not isinstance(file_url, str):
        return False
    try:
        parts = urlsplit(file_url)
    except ValueError:
        return False
    schemes = ("http", "https", "oss") if resolves_oss else ("http", "https")
    return parts.scheme in schemes and bool(parts.netloc)


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
        return output, {} if failure is not None else {"usage": usage(task)}

    def document(self, task: Task, file: TaskFile, recording: Recording) -> JsonObject:
        """The JSON behind a `transcription_url`."""
        return result_document(file.file_url, recording)

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


def usage(task: Task) -> JsonObject:
    """What is billed; the names of the tokens are a client's, as no page of the vendor's has any."""
    seconds = task.billed_seconds() or 0
    if not FILE_MODELS[task.submission.model].bills_tokens:
        return {"duration": seconds}
    words = [word for heard in task.heard() for sentence in _sentences(heard) for word in sentence.words]
    return {"duration": seconds, "input_tokens": seconds * 25, "output_tokens": len(words)}


def _sentences(heard: Heard) -> Iterator[Sentence]:
    return (sentence for channel in heard.recording().channels for sentence in channel.sentences)


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
        "words": [{**shown_word(word), **extra} for word in sentence.words],
    }


def shown_word(word: Word) -> JsonObject:
    """A word as every wire shape has it."""
    return {
        "begin_time": word.begin_ms,
        "end_time": word.end_ms,
        "text": word.text,
        "punctuation": word.punctuation,
    }
