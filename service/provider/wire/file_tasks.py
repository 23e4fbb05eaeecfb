"""The wire shape of asynchronous file tasks (docs/provider.md, sections 1 and 2), as pure functions.

Translates and never decides: `core.provider.error_table` says what a code means for a job.
"""

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.model_table import Family
from service.contract.models import model_info
from service.core.provider.answers import (
    TERMINAL,
    Accepted,
    FileView,
    Lost,
    ProviderError,
    Refused,
    TaskStatus,
    TaskView,
)
from service.core.provider.own_codes import OwnCode
from service.provider.wire.answer_fields import (
    HttpAnswer,
    document_of,
    error_in,
    first_number,
    not_served,
    object_of,
    part,
    text,
    unexpected_body,
)

SUBMIT_PATH = "/services/audio/asr/transcription"

_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_UNNAMED = ProviderError(OwnCode.UNEXPECTED_ANSWER, "the file has neither a result nor an error code")
_STATUSES = {status.value: status for status in TaskStatus}


def resolve_headers(file_urls: Sequence[str]) -> dict[str, str]:
    """The header that a request with an `oss://` URL needs."""
    has_oss = any(url.lower().startswith("oss://") for url in file_urls)
    return {"X-DashScope-OssResourceResolve": "enable"} if has_oss else {}


def submit_headers(file_urls: Sequence[str]) -> dict[str, str]:
    """The headers that a submit needs besides authorization and content type."""
    return {"X-DashScope-Async": "enable", **resolve_headers(file_urls)}


def submit_body(model: str, file_urls: Sequence[str], options: Mapping[str, JsonValue]) -> bytes:
    """The JSON of a submit.

    `parameters` is always there, since workspace hosts fail a task without it.
    """
    info = model_info(model)
    takes_one = info is not None and info.family is Family.QWEN_ASR_FILES
    audio: dict[str, JsonValue] = {"file_url": file_urls[0]} if takes_one else {"file_urls": list(file_urls)}
    if "context" in options:
        audio["context"] = options["context"]
    document = {"model": model, "input": audio, "parameters": _parameters(options)}
    return json.dumps(document, separators=(",", ":")).encode()


def _parameters(options: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Options in the vendor's form: the word filter as a JSON string, extras merged in unchanged."""
    named = {name: value for name, value in options.items() if name not in ("extra_parameters", "context")}
    word_filter = named.get("special_word_filter")
    if isinstance(word_filter, dict):
        named["special_word_filter"] = json.dumps(word_filter, separators=(",", ":"), ensure_ascii=False)
    return {**named, **part(options, "extra_parameters")}


def read_submit(answer: HttpAnswer, host: str) -> Accepted | Refused | Lost:
    """The result of a submit: a task, no task, or unknown; see `answers.not_served`."""
    if not answer.is_success:
        return not_served(answer, host)
    task_id = text(part(object_of(answer.body) or {}, "output"), "task_id")
    if task_id is None:
        return unexpected_body(answer, host)
    if _TASK_ID.fullmatch(task_id):
        return Accepted(task_id)
    return Lost(
        ProviderError(OwnCode.UNEXPECTED_ANSWER, "the submit's answer names no task", answer.http_status)
    )


def read_task(answer: HttpAnswer, task_id: str, host: str) -> TaskView | ProviderError:
    """The answer to a poll.

    An unknown status counts as RUNNING, so that the task is not given up.
    """
    document = document_of(answer, host)
    if isinstance(document, ProviderError):
        return document
    output = part(document, "output")
    word = text(output, "task_status")
    if word is None:
        return error_in(document) or ProviderError(
            OwnCode.UNEXPECTED_ANSWER, "the answer to the query has no task_status", answer.http_status
        )
    status = _STATUSES.get(word, TaskStatus.RUNNING)
    usages = _usages(document)
    return TaskView(
        task_id=task_id,
        status=status,
        files=_files(output) if status in TERMINAL else (),
        provider_error=_task_error(output) if status is TaskStatus.FAILED else None,
        # Qwen-ASR has `seconds`; models that bill tokens have token counts.
        billed_seconds=first_number(untrusted_json.billed_seconds, usages, "duration", "seconds"),
        input_tokens=first_number(untrusted_json.token_count, usages, "input_tokens"),
        output_tokens=first_number(untrusted_json.token_count, usages, "output_tokens"),
        submit_time=text(output, "submit_time"),
        scheduled_time=text(output, "scheduled_time"),
        end_time=text(output, "end_time"),
    )


def _task_error(output: Mapping[str, JsonValue]) -> ProviderError:
    return error_in(output) or ProviderError(OwnCode.UNEXPECTED_ANSWER, "the task failed without a code")


def _files(output: Mapping[str, JsonValue]) -> tuple[FileView, ...]:
    """The files that the task lists, in the vendor's order, which is not that of the submit.

    Qwen-ASR has one file, `result`, without its URL, which is only in the result file. A row of `results`
    without a file URL is kept if it has a result or an error: the task may have one file.
    """
    transcription_url = text(part(output, "result"), "transcription_url")
    if transcription_url:
        return (FileView("", transcription_url=transcription_url),)
    results = output.get("results")
    if not isinstance(results, list):
        return ()
    files = (_file(result) for result in results if isinstance(result, dict))
    return tuple(file for file in files if file.file_url or file.provider_error != _UNNAMED)


def _file(result: Mapping[str, JsonValue]) -> FileView:
    file_url = text(result, "file_url") or ""
    transcription_url = text(result, "transcription_url")
    if transcription_url and text(result, "subtask_status") != TaskStatus.FAILED:
        return FileView(file_url, transcription_url=transcription_url)
    return FileView(file_url, provider_error=error_in(result) or _UNNAMED)


def _usages(document: Mapping[str, JsonValue]) -> tuple[Mapping[str, JsonValue], ...]:
    """The objects that may hold the bill.

    Field reports show usage inside the output too.
    """
    output = part(document, "output")
    return (part(document, "usage"), part(output, "usage"), output)
