"""The script language: what the scripted engine does with a file, read from the query of its URL.
It never downloads anything; keys that it does not know are ignored, as signed URLs have their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

STUCK_STATES: Final = {
    "PENDING_FOREVER": "PENDING",
    "RUNNING_FOREVER": "RUNNING",
    "SUSPENDED": "SUSPENDED",
    "UNKNOWN": "UNKNOWN",
}
EMOTIONS: Final = frozenset({"surprised", "neutral", "happy", "sad", "disgusted", "angry", "fearful"})

N = TypeVar("N", int, float)


class ScriptError(ValueError):
    """A key of the language with a value that makes no sense; the message names both."""


@dataclass(frozen=True, slots=True)
class Script:
    """One file's part. Times are seconds of the simulator's clock; see sandbox/README.md for each key."""

    name: str
    text: str | None = None
    channel_texts: tuple[tuple[int, str], ...] = ()
    words: int | None = None
    duration_seconds: float | None = None
    size_bytes: int | None = None
    channels: int = 1
    speakers: int = 1
    silence: bool = False
    unknown_fields: bool = False
    audio_format: str = "pcm_s16le"
    sampling_rate: int = 16_000
    fail: str | None = None
    message: str | None = None
    pending_seconds: float = 0.0
    run_seconds: float = 0.2
    hidden_seconds: float = 0.0
    task_fail: str | None = None
    keep_results: bool = False
    status: str | None = None
    misheard: tuple[tuple[str, str], ...] = ()
    emotions: tuple[str, ...] = ("neutral",)
    language: str = "en"
    finish_reason: str = "stop"

    def text_of(self, channel_id: int) -> str:
        """What is said on a channel. Unless the script gives it, it names the file and the channel."""
        own = dict(self.channel_texts).get(channel_id)
        if own is not None:
            return own
        text = self._counted_words() if self.words is not None else self.text
        if text is None:
            text = f"Transcript of {self.name}."
        return text if channel_id == 0 else f"{text} Channel {channel_id}."

    def _counted_words(self) -> str:
        count = self.words or 0
        numbered = (f"word{n}." if n % 12 == 0 else f"word{n}" for n in range(2, count + 1))
        return " ".join([self.name, *numbered][:count])


def read_script(file_url: str) -> Script:
    """Read a file's script; a URL without keys is a short file that succeeds and says its own name."""
    parts = urlsplit(file_url)
    fields = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    name = "-".join(unquote(parts.path).strip("/").split()) or parts.netloc or "nothing"
    return Script(
        name=name,
        text=fields.get("text"),
        channel_texts=_channel_texts(fields),
        words=_number(fields, "words", int, 0, 1_000_000),
        duration_seconds=_number(fields, "duration", float, 0, 1e6),
        size_bytes=_number(fields, "size", int, 0, 10**13),
        channels=_number(fields, "channels", int, 1, 32) or 1,
        speakers=_number(fields, "speakers", int, 1, 100) or 1,
        silence=_flag(fields, "silence"),
        unknown_fields=_flag(fields, "extra"),
        audio_format=fields.get("format", "pcm_s16le"),
        sampling_rate=_number(fields, "rate", int, 1, 1_000_000) or 16_000,
        fail=fields.get("fail"),
        message=fields.get("message"),
        pending_seconds=_seconds(fields, "pending", 0.0),
        run_seconds=_seconds(fields, "run", 0.2),
        hidden_seconds=_seconds(fields, "hidden", 0.0),
        task_fail=fields.get("task_fail"),
        keep_results=_flag(fields, "keep_results"),
        status=_status(fields),
        misheard=_misheard(fields),
        emotions=_emotions(fields),
        language=fields.get("language", "en"),
        finish_reason=fields.get("finish", "stop"),
    )


def _misheard(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Pairs of the word that is said, casefolded, and the one that is heard in its place."""
    pairs = [pair.partition(":") for pair in fields.get("misheard", "").split(",") if pair]
    if not all(said and heard and len((said + heard).split()) == 1 for said, _, heard in pairs):
        raise ScriptError("script: misheard must be said:heard, single words, more after commas")
    return tuple((said.casefold(), heard) for said, _, heard in pairs)


def _emotions(fields: Mapping[str, str]) -> tuple[str, ...]:
    emotions = tuple(fields.get("emotion", "neutral").split(","))
    if not EMOTIONS.issuperset(emotions):
        raise ScriptError(f"script: emotion must be of {', '.join(sorted(EMOTIONS))}")
    return emotions


def _channel_texts(fields: Mapping[str, str]) -> tuple[tuple[int, str], ...]:
    return tuple((int(name[4:]), text) for name, text in sorted(fields.items()) if _is_channel_text(name))


def _is_channel_text(name: str) -> bool:
    number = name.removeprefix("text")
    return name.startswith("text") and number.isascii() and number.isdigit() and len(number) < 3


def _seconds(fields: Mapping[str, str], key: str, default: float) -> float:
    value = _number(fields, key, float, 0, 1e9)
    return default if value is None else value


def _number(
    fields: Mapping[str, str], key: str, read: Callable[[str], N], low: float, high: float
) -> N | None:
    if key not in fields:
        return None
    try:
        value = read(fields[key])
    except ValueError as error:
        raise ScriptError(f"script: {key}={fields[key][:40]} is not a number") from error
    if not low <= value <= high:
        raise ScriptError(f"script: {key} must be from {low} to {high}")
    return value


def _flag(fields: Mapping[str, str], key: str) -> bool:
    value = fields.get(key, "0")
    if value not in ("0", "1"):
        raise ScriptError(f"script: {key} must be 0 or 1")
    return value == "1"


def _status(fields: Mapping[str, str]) -> str | None:
    status = fields.get("status")
    if status is not None and status not in STUCK_STATES:
        raise ScriptError(f"script: status must be one of {', '.join(STUCK_STATES)}")
    return status
