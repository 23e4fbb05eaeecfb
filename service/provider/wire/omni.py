"""The wire shape of Omni: a prompted chat that answers with a stream (docs/provider.md, section 5).

The stream is joined as it arrives, so that only its text is held. A stream without a finish reason is not
reliable, but is billed: it counts as Lost.
"""

import json
import math
from collections.abc import Mapping

from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.models import model_info
from service.core.provider.answers import Answered, Bill, Lost, ProviderError, Refused
from service.core.provider.own_codes import OwnCode
from service.core.transcript.chat_content import text_and_rest
from service.provider.wire.answer_fields import error_in, object_of, part, text
from service.provider.wire.short_audio import format_of

CALL_PATH = "/chat/completions"

PROMPT = (
    "Write down every word that is spoken in this recording, in the language in which it is spoken. "
    "Write only the words: no title, no comment, no translation, no description of sounds."
)
"""The prompt of a request without one."""
MAX_TEXT_CHARS = 1_000_000
"""Three hours of fast speech take a third of this."""
MAX_LINE_BYTES = 1024**2
"""A line holds one piece of text, of some hundred bytes."""
_DATA = b"data:"
_DONE = b"[DONE]"
_NO_FINISH = frozenset({"", "null", "none", "nil", "undefined"})
"""Texts that mean "not finished": the vendor's native streams send "null" until the end."""


def call_body(model: str, file_url: str, options: Mapping[str, JsonValue]) -> bytes:
    """The JSON of a call; it requests only text, and the usage."""
    audio: dict[str, JsonValue] = {"data": file_url}
    audio_format = options.get("format") or format_of(file_url)
    if audio_format:
        audio["format"] = audio_format
    content: list[JsonValue] = [
        {"type": "input_audio", "input_audio": audio},
        {"type": "text", "text": options.get("prompt") or PROMPT},
    ]
    document: dict[str, JsonValue] = {
        **part(options, "extra_parameters"),
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "modalities": ["text"],
    }
    return json.dumps(document, separators=(",", ":")).encode()


class Stream:
    """Joins one stream: `feed` it each chunk, then call `result`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._rest = b""
        self._texts: list[str] = []
        self._odd: list[JsonValue] = []
        self._chars = 0
        self._finish_reason: str | None = None
        self._usage: Mapping[str, JsonValue] = {}
        self._provider_error: ProviderError | None = None
        self._is_odd = False
        self._is_done = False

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; False if no more are needed: nothing follows `[DONE]`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._take(line.strip())
        # A proxy that keeps the connection open after it may also leave out the end of the line.
        self._is_done = self._is_done or _payload(self._rest) == _DONE
        if len(self._rest) > MAX_LINE_BYTES or self._chars > MAX_TEXT_CHARS:
            self._is_odd = True
        return self._provider_error is None and not self._is_odd and not self._is_done

    def _take(self, line: bytes) -> None:
        payload = _payload(line)
        self._is_done = self._is_done or payload == _DONE
        if self._is_done or not payload:
            return
        event = object_of(payload)
        if event is None:
            self._is_odd = True
            return
        self._provider_error = self._provider_error or error_in(event)
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, dict):
            self._add(choice, len(payload))
            self._finish_reason = _finish_in(choice) or self._finish_reason
        # The usage comes in its own chunk, without choices; it is null in all others.
        self._usage = part(event, "usage") or self._usage

    def _add(self, choice: Mapping[str, JsonValue], size: int) -> None:
        """Add the first text of delta, message and native form, and keep content that is not text."""
        pieces, message = part(choice, "delta").get("content"), part(choice, "message").get("content")
        found = [text_and_rest(content) for content in (pieces, message, choice.get("text"))]
        odd = [each for _, rest in found for each in rest]
        text = found[0][0] or self._new_in(found[1][0] or found[2][0])
        self._texts.append(text)
        self._odd += odd
        self._chars += size if odd else len(text)

    def _new_in(self, text: str) -> str:
        """The new part of a native form: unlike a delta it may repeat all previous text."""
        return text.removeprefix("".join(self._texts)) if len(text) >= self._chars else text

    @property
    def is_whole(self) -> bool:
        """Whether the text is complete, even if the stream breaks off later."""
        return self._finish_reason is not None and self._provider_error is None

    def result(self) -> Answered | Refused | Lost:
        """The result of the call, once the stream has ended."""
        if self._provider_error is not None:
            # Before the first text nothing was billed.
            return Lost(self._provider_error) if self._chars else Refused(self._provider_error)
        if self._is_odd:
            return Lost(ProviderError(OwnCode.UNEXPECTED_ANSWER, "the stream is not one of chat completions"))
        if self._finish_reason is None:
            return Lost(ProviderError(OwnCode.CONNECTION_LOST, "the stream broke off before its end"))
        document: dict[str, JsonValue] = {
            "text": "".join(self._texts),
            "finish_reason": self._finish_reason,
        }
        if self._odd:
            document["content"] = self._odd
        return Answered(document, self._bill())

    def _bill(self) -> Bill:
        """Tokens are billed.

        The seconds of audio follow from the audio tokens, for the spend limit.
        """
        audio_tokens = untrusted_json.token_count(
            part(self._usage, "prompt_tokens_details").get("audio_tokens")
        )
        info = model_info(self._model)
        rate = None if info is None else info.audio_tokens_per_second
        seconds = None if audio_tokens is None or not rate else math.ceil(audio_tokens / rate)
        return Bill(
            seconds=seconds,
            is_estimated=seconds is not None,
            input_tokens=untrusted_json.token_count(self._usage.get("prompt_tokens")),
            output_tokens=untrusted_json.token_count(self._usage.get("completion_tokens")),
        )


def _payload(line: bytes) -> bytes:
    """The payload of a line of the stream; empty if it is no data line."""
    stripped = line.strip()
    return stripped.removeprefix(_DATA).strip() if stripped.startswith(_DATA) else b""


def _finish_in(choice: Mapping[str, JsonValue]) -> str | None:
    """The finish reason, None while the text continues."""
    reason = (text(choice, "finish_reason") or "").strip()
    return None if reason.lower() in _NO_FINISH else reason
