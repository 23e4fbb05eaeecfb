"""The wire shape of models that take one `file_url` and answer one `result` (Qwen3-ASR): reading a submit,
showing a task, writing a result file. It knows no HTTP.
"""

from collections.abc import Callable
from typing import Final

from sandbox.simulator.file_tasks import URL_ERROR, is_url, shown_word
from sandbox.simulator.models import FILE_MODELS
from sandbox.simulator.parameters import read_parameters
from sandbox.simulator.recording import Channel, Heard, Recording, Unusable
from sandbox.simulator.tasks import Submission, Task, TaskFile
from sandbox.simulator.wire import JsonObject, invalid

NO_URL: Final = Unusable("REQUEST_INVALID_FILE_URL_VALUE", "REQUEST_INVALID_FILE_URL_VALUE")
_UNKNOWN: Final = Unusable("InternalError", "InternalError")


def read_submit(model: str, given: JsonObject, parameters: object, *, resolves_oss: bool) -> Submission:
    """Validate `input` and `parameters`, or raise ApiError.

    A submit without `file_url` (with `file_urls`, say) is accepted and its task then fails, as people
    report of the vendor; a `file_url` that is none is refused at once.
    """
    read = read_parameters(parameters, FILE_MODELS[model].parameters)
    if "file_url" not in given:
        meant = given.get("file_urls")
        file_urls = [url for url in meant if isinstance(url, str)] if isinstance(meant, list) else []
        return Submission(model, tuple(file_urls), read, doom=NO_URL)
    file_url = given["file_url"]
    if not isinstance(file_url, str) or not is_url(file_url, resolves_oss=resolves_oss):
        raise invalid(URL_ERROR)
    return Submission(model, (file_url,), read)


class ResultView:
    """How an ended task looks in a query: `result` and usage, or the failure's code; never `results`."""

    def __init__(self, *, url_of: Callable[[Task, TaskFile], str]) -> None:
        self._url_of = url_of

    def status(self, task: Task, now: float) -> str:
        """The status word: the file's failure is the task's."""
        state = task.state(now)
        return "FAILED" if state == "SUCCEEDED" and not any(task.heard()) else state

    def ending(self, task: Task) -> tuple[JsonObject, JsonObject]:
        """Fields of `output` and of the top level for a task that ran to its end."""
        if task.failure is None and isinstance(task.files[0].outcome, Heard):
            url = self._url_of(task, task.files[0])
            return {"result": {"transcription_url": url}}, {"usage": {"seconds": task.billed_seconds()}}
        failure = task.failure or task.files[0].outcome
        told = failure if isinstance(failure, Unusable) else _UNKNOWN
        return {"code": told.code, "message": told.message}, {}

    def document(self, task: Task, file: TaskFile, recording: Recording) -> JsonObject:
        """The JSON behind a `transcription_url`: sentences count from 0, words come when asked for."""
        extra: JsonObject = {"x_unknown": {"kept": True}} if recording.unknown_fields else {}
        with_words = task.submission.asked("enable_words") is True
        # The vendor shows the container; of what an engine hears, only the codec is known.
        shown = "wav" if recording.audio_format.startswith("pcm_") else recording.audio_format
        return {
            "file_url": file.file_url,
            "audio_info": {"format": shown, "sample_rate": recording.sampling_rate, **extra},
            "transcripts": [
                {
                    "channel_id": channel.channel_id,
                    "text": channel.text,
                    "sentences": _sentences(channel, recording, extra, with_words=with_words),
                    **extra,
                }
                for channel in recording.channels
            ],
            **extra,
        }


def _sentences(
    channel: Channel, recording: Recording, extra: JsonObject, *, with_words: bool
) -> list[JsonObject]:
    return [
        {
            "sentence_id": number,
            "begin_time": sentence.begin_ms,
            "end_time": sentence.end_ms,
            "language": recording.language,
            "emotion": recording.emotions[number % len(recording.emotions)],
            "text": sentence.text,
            **({"words": [{**shown_word(word), **extra} for word in sentence.words]} if with_words else {}),
            **extra,
        }
        for number, sentence in enumerate(channel.sentences)
    ]
