"""What a synchronous call asks: one audio, by address or in the call itself, and what was written beside
it. Reading messages is the same for every wire shape; which part is the audio is the shape's matter.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sandbox.simulator.admission import ApiKey
from sandbox.simulator.file_tasks import URL_ERROR, is_url
from sandbox.simulator.parameters import check_context
from sandbox.simulator.sync_models import DATA_URI_LIMIT_BYTES, SyncModel
from sandbox.simulator.wire import JsonObject, invalid

_BASE64: Final = ";base64,"
Part = Mapping[str, object]


@dataclass(frozen=True)
class Audio:
    """`url` stands for it in the ledger and is its script; `content` is None for one to be fetched."""

    url: str
    content: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """A call that passed validation. `prompt` is the user's text, `context` the system's.

    `parameters` are the options as sent; those of `asr_options` also stand beside it.
    """

    api_key: ApiKey
    model: str
    row: SyncModel
    audio: Audio
    parameters: JsonObject
    prompt: str
    context: str
    streams: bool = False
    incremental: bool = False
    include_usage: bool = False

    def asks(self, option: str) -> bool:
        """Whether an option that the model heeds is on."""
        return option in self.row.parameters and self.parameters.get(option) is True

    def hotwords(self) -> frozenset[str]:
        """What the recogniser is told to expect: the words of the context and of an instant vocabulary."""
        given = self.parameters.get("vocabulary")
        words = [*self.context.replace(",", " ").split(), *(given if isinstance(given, dict) else ())]
        return frozenset(word.casefold() for word in words)


@dataclass(frozen=True)
class LoopTicks:
    """The messages of a call, by who said them."""

    audio: object
    prompt: str
    context: str


def read_turns(messages: object, audio_of: Callable[[Part], object]) -> LoopTicks:
    """Find the one audio and the texts, or ApiError. `audio_of` is None for a part that is no audio.

    A user's message may mix text with one other kind of part, as the vendor has it.
    """
    if not isinstance(messages, list) or not messages:
        raise invalid("The messages must be an array that is not empty.")
    turns = [(_role(message), _parts(message)) for message in messages]
    users = [parts for role, parts in turns if role == "user"]
    if not users:
        raise invalid("The input messages do not contain elements with the role of user.")
    for parts in users:
        if len({_kind(part) for part in parts} - {"text"}) > 1:
            raise invalid("A user message must not hold more than one modality beside text.")
    audios = [audio for parts in users for part in parts if (audio := audio_of(part)) is not None]
    if len(audios) != 1:
        raise invalid("The audio is empty" if not audios else "The messages must hold one audio only.")
    context = [text for role, parts in turns if role == "system" for text in _texts(parts)]
    return LoopTicks(
        audios[0], "\n".join(_texts([part for parts in users for part in parts])), "\n".join(context)
    )


def read_context(messages: object) -> str:
    """What the messages before the audio tell of its topic, or ApiError where the audio is not the last."""
    earlier = messages[:-1] if isinstance(messages, list) else []
    check_context(earlier, "input.messages before the audio")
    return "\n".join(text for message in earlier for text in _texts(_parts(message)))


def input_audio(part: Part) -> object:
    """The audio of a part in the manner of OpenAI."""
    given = part.get("input_audio") if part.get("type") == "input_audio" else None
    return given.get("data", "") if isinstance(given, dict) else given


def read_audio(given: object, *, resolves_oss: bool) -> Audio:
    """An address or a `data:` URI, or ApiError."""
    if isinstance(given, str) and given.startswith("data:"):
        return _read_data_uri(given)
    if not isinstance(given, str) or not is_url(given, resolves_oss=resolves_oss):
        raise invalid(URL_ERROR)
    return Audio(given)


def _read_data_uri(given: str) -> Audio:
    if len(given) > DATA_URI_LIMIT_BYTES:
        raise invalid(f"Exceeded limit on max bytes per data-uri item : {DATA_URI_LIMIT_BYTES}")
    head, mark, encoded = given.partition(_BASE64)
    try:
        content = base64.b64decode(encoded, validate=True) if mark and "," not in head else None
    except (binascii.Error, ValueError):
        content = None
    if content is None:
        raise invalid("The audio must be a URL or data:<mime>;base64,<audio>.")
    if not content:
        raise invalid("The audio is empty")
    return Audio(f"data:inline-{hashlib.sha256(content).hexdigest()[:12]}", content)


def read_asr_options(given: object) -> JsonObject:
    """`asr_options` with the types that its fields must have, or ApiError."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid("asr_options must be an object")
    if not isinstance(given.get("language", ""), str):
        raise invalid("asr_options.language must be a string")
    for name in ("enable_itn", "enable_lid"):
        if not isinstance(given.get(name, False), bool):
            raise invalid(f"asr_options.{name} must be a boolean")
    return given


def _role(message: object) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant"):
        raise invalid("The role of a message must be system, user or assistant.")
    return str(role)


def _parts(message: Mapping[str, object]) -> Sequence[Part]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise invalid("The content of a message must be a string or an array of objects.")
    return content


def _kind(part: Part) -> str:
    """`text`, `input_audio`, ... in the manner of OpenAI, or the only field's name in the vendor's own."""
    return str(part.get("type") or next(iter(part), "text"))


def _texts(parts: Sequence[Part]) -> list[str]:
    return [text for part in parts if isinstance(text := part.get("text"), str)]
