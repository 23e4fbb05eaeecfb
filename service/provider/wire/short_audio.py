"""The wire shape of synchronous models for short audio (docs/provider.md, sections 4.2 and 4.4).

One native endpoint, two bodies: chat messages for qwen3-asr-flash, one `input_audio` for the others.
"""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.model_table import Family
from service.contract.models import model_info
from service.core.provider.answers import Answered, Bill, Lost, Refused
from service.provider.wire.answer_fields import (
    HttpAnswer,
    first_number,
    not_served,
    object_of,
    part,
    unexpected_body,
)

CALL_PATH = "/services/aigc/multimodal-generation/generation"

FORMATS = frozenset(
    [
        "3gp",
        "3gpp",
        "aac",
        "aiff",
        "amr",
        "avi",
        "flac",
        "flv",
        "m4a",
        "mkv",
        "mp3",
        "mp4",
        "mpeg",
        "ogg",
        "opus",
        "wav",
        "webm",
        "wma",
        "wmv",
    ]
)
"""Endings that the vendor's pages name; any other may be a script's, or a date."""
USUAL_FORMAT = "wav"
"""The format of a file whose name shows none: these models require one."""
_OURS = frozenset({"extra_parameters", "context"})


def call_body(model: str, file_url: str, options: Mapping[str, JsonValue]) -> bytes:
    """The JSON of a call."""
    info = model_info(model)
    is_chat = info is not None and info.family is Family.QWEN_ASR
    parameters = {name: value for name, value in options.items() if name not in _OURS}
    if not is_chat:
        parameters = {"format": format_of(file_url) or USUAL_FORMAT, **_as_on_wire(parameters)}
    messages = _chat(file_url, options) if is_chat else _audio(file_url, options)
    document = {
        "model": model,
        "input": {"messages": messages},
        "parameters": {**parameters, **part(options, "extra_parameters")},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _chat(file_url: str, options: Mapping[str, JsonValue]) -> list[JsonValue]:
    user: JsonValue = {"role": "user", "content": [{"audio": file_url}]}
    context = options.get("context")
    return [{"role": "system", "content": [{"text": context}]}, user] if context else [user]


def _as_on_wire(parameters: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The parameters with the sample rate as a string, the vendor's type."""
    rate = parameters.get("sample_rate")
    return {**parameters, "sample_rate": str(rate)} if isinstance(rate, int) else dict(parameters)


def _audio(file_url: str, options: Mapping[str, JsonValue]) -> list[JsonValue]:
    """The audio comes last, after the messages that describe its topic."""
    piece: JsonValue = {"type": "input_audio", "input_audio": {"data": file_url}}
    context = options.get("context")
    messages = context if isinstance(context, list) else []
    return [*messages, {"role": "user", "content": [piece]}]


def format_of(file_url: str) -> str | None:
    """The format in the ending of the URL's path, None if there is none."""
    ending = PurePosixPath(urlsplit(file_url).path).suffix.removeprefix(".").lower()
    return ending if ending in FORMATS else None


def read_call(answer: HttpAnswer, host: str) -> Answered | Refused | Lost:
    """The result of a call: a transcript, none, or unknown and perhaps billed."""
    if not answer.is_success:
        return not_served(answer, host)
    document = object_of(answer.body) or {}
    output = part(document, "output")
    if not output:
        return unexpected_body(answer, host)
    return Answered(dict(output), _bill(document))


def _bill(document: Mapping[str, JsonValue]) -> Bill:
    """`usage.seconds` of qwen3-asr-flash, `usage.duration` of the others, and the tokens of models that bill
    them; the nested form nests all of these."""
    usages = (part(document, "usage"), part(part(document, "output"), "usage"))
    return Bill(
        first_number(untrusted_json.billed_seconds, usages, "seconds", "duration"),
        input_tokens=first_number(untrusted_json.token_count, usages, "input_tokens"),
        output_tokens=first_number(untrusted_json.token_count, usages, "output_tokens"),
    )
