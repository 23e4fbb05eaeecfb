"""Checks a request's options against its model: canonical form, refusals, and warnings.

It adds nothing: an option that was not given is not sent.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from service.contract.family_options import OPTIONS
from service.contract.hotwords import Hotword, fault_of
from service.contract.model_table import MODELS, ModelInfo
from service.contract.models import is_listed, known_models, model_info
from service.contract.redaction import shown
from service.contract.validation_errors import explain
from service.errors import FailureCode, InvalidRecord

KEPT_ROUNDS = 5
KEPT_CHARS = 400
"""Of context messages: the vendor silently drops the rest. A round is a user's message and the assistant's
answer, and its characters are those of both."""


class NoticeCode(StrEnum):
    """Warnings a result can carry; later versions may add some."""

    ONLY_FIRST_LANGUAGE_HINT = "only_first_language_hint"
    LANGUAGE_HINTS_CUT = "language_hints_cut"
    LANGUAGE_HINT_UNLISTED = "language_hint_unlisted"
    CHANNELS_BILLED_SEPARATELY = "channels_billed_separately"
    DIARIZATION_OVER_ADVISED_LENGTH = "diarization_over_advised_length"
    CONTEXT_CUT = "context_cut"
    MODEL_UNLISTED = "model_unlisted"
    NO_SPEECH = "no_speech"
    OPTIONS_WITHOUT_EFFECT = "options_without_effect"
    TEXT_CUT = "text_cut"
    NO_TIMES = "no_times"
    RECORD_TIME_UNUSABLE = "record_time_unusable"
    SENTENCES_INCOMPLETE = "sentences_incomplete"
    TIMES_INCOMPLETE = "times_incomplete"


class Notice(BaseModel):
    """Something the user should know although the work was done."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    code: str
    message: str


_NOT_SERVED: Mapping[str, str] = {
    "phrase_id": "of an older way to give hotwords: use `hotwords`",
    "resources": "of an older way to give hotwords: use `hotwords`",
    "audio_event_detection_enabled": "of sensevoice-v1, which this service does not know",
    "modalities": "set by this service: it takes text alone",
}
"""Options on the vendor's pages that this service offers for no model."""
_NAMESAKES: Mapping[str, str] = MappingProxyType(
    {
        "diarization_enabled": "speaker_diarization_enabled",
        "speaker_diarization_enabled": "diarization_enabled",
    }
)
"""One option with two names, depending on the model: the vendor silently ignores the wrong one."""
_OVERRULED = ("keep_dialect", "language_hints")
"""Options without effect while short audio is diarized."""


def read_options(model: str, options: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The options in canonical form: validated, only those given.

    Null counts as not given.

    Raises InvalidRecord: UNKNOWN_MODEL, or INVALID_OPTION with the option and the reason.
    """
    info = _known(model)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if not _has(info, name):
            raise InvalidRecord(FailureCode.INVALID_OPTION, _stray(name, model, info))
    try:
        read = OPTIONS[info.family].model_validate(given)
    except ValidationError as error:
        raise InvalidRecord(FailureCode.INVALID_OPTION, explain(error, prefix="options")) from error
    fault = _list_fault(getattr(read, "hotwords", None), model, info)
    if fault is not None:
        raise InvalidRecord(FailureCode.INVALID_OPTION, fault)
    return read.model_dump(exclude_unset=True, exclude_none=True)


def warnings_for(
    model: str, options: Mapping[str, JsonValue], duration_ms: int | None = None
) -> list[Notice]:
    """The warnings for canonical `options`.

    A `duration_ms` of None is an unknown length.
    """
    info = _known(model)
    notices = []
    notices += _name_warnings(model)
    notices += _hint_warnings(info, model, _hints(options))
    notices += _speaker_warnings(options)
    notices += _context_warnings(options.get("context"))
    channels = options.get("channel_id")
    if isinstance(channels, list) and len(channels) > 1:
        text = f"{len(channels)} channels were recognised, and the provider bills each of them."
        notices.append(Notice(code=NoticeCode.CHANNELS_BILLED_SEPARATELY, message=text))
    advised_ms = info.advised_diarization_seconds * 1000
    if options.get("diarization_enabled") and (duration_ms or 0) > advised_ms:
        text = f"Speakers are reliable in up to {advised_ms // 3_600_000} h of audio; this is more."
        notices.append(Notice(code=NoticeCode.DIARIZATION_OVER_ADVISED_LENGTH, message=text))
    return notices


def _known(model: str) -> ModelInfo:
    info = model_info(model)
    if info is None:
        names = ", ".join(known_models())
        message = f"unknown `model`; known are {names} and their dated snapshots"
        raise InvalidRecord(FailureCode.UNKNOWN_MODEL, message)
    return info


def _has(info: ModelInfo, name: str) -> bool:
    return name in OPTIONS[info.family].model_fields and name not in info.lacks


def _list_fault(hotwords: list[Hotword] | None, model: str, info: ModelInfo) -> str | None:
    if hotwords is None:
        return None
    knows_super = model.startswith("qwen-audio-")
    most, languages = info.hotwords_per_list, info.hotword_languages
    return fault_of(hotwords, model, most, languages, knows_super=knows_super)


def _stray(name: str, model: str, info: ModelInfo) -> str:
    namesake = _NAMESAKES.get(name)
    if namesake is not None and _has(info, namesake):
        return f"`{name}` is not an option of {model}: there it is called `{namesake}`"
    owners = [other for other in known_models() if _has(MODELS[other], name)]
    if owners:
        return f"`{name}` is not an option of {model}; models that have it: {', '.join(owners)}"
    if name in _NOT_SERVED:
        return f"`{name}` is not an option of {model}: it is {_NOT_SERVED[name]}"
    known = ", ".join(sorted(each for each in OPTIONS[info.family].model_fields if _has(info, each)))
    return (
        f"`{shown(name)}` is not an option of {model} (those are {known}); "
        "a parameter that only the provider knows goes into `extra_parameters`"
    )


def _hints(options: Mapping[str, JsonValue]) -> list[JsonValue]:
    """The languages that a request names, under the name that its family uses."""
    asr_options = options.get("asr_options")
    language = asr_options.get("language") if isinstance(asr_options, dict) else options.get("language")
    hints = options.get("language_hints")
    return hints if isinstance(hints, list) else [] if language is None else [language]


def _name_warnings(model: str) -> list[Notice]:
    if is_listed(model):
        return []
    text = f"{model} is not among the models that this service knows; it was treated like others of its name."
    if model in MODELS:
        text = f"{model} is not, or no longer, among the names that the provider lists; it was sent as it is."
    return [Notice(code=NoticeCode.MODEL_UNLISTED, message=text)]


def _speaker_warnings(options: Mapping[str, JsonValue]) -> list[Notice]:
    idle = [f"`{name}`" for name in _OVERRULED if name in options]
    if not idle or not options.get("speaker_diarization_enabled"):
        return []
    text = f"With `speaker_diarization_enabled`, {' and '.join(idle)} did nothing."
    return [Notice(code=NoticeCode.OPTIONS_WITHOUT_EFFECT, message=text)]


def _hint_warnings(info: ModelInfo, model: str, hints: list[JsonValue]) -> list[Notice]:
    notices = []
    used = hints[: info.hints_used]
    if len(hints) > len(used):
        is_one = info.hints_used == 1
        code = NoticeCode.ONLY_FIRST_LANGUAGE_HINT if is_one else NoticeCode.LANGUAGE_HINTS_CUT
        part = "the first" if is_one else f"the first {info.hints_used}"
        text = f"{model} uses only {part} of the {len(hints)} language hints."
        notices.append(Notice(code=code, message=text))
    if any(hint not in info.languages for hint in used):
        which = "The first language hint is" if info.hints_used == 1 else "A language hint is"
        text = f"{which} not among the documented languages of {model}."
        notices.append(Notice(code=NoticeCode.LANGUAGE_HINT_UNLISTED, message=text))
    return notices


def _context_warnings(context: JsonValue) -> list[Notice]:
    """Warn if the vendor will cut the context: it keeps the last rounds, and the beginning of each."""
    rounds = _rounds(context)
    if len(rounds) <= KEPT_ROUNDS and all(chars <= KEPT_CHARS for chars in rounds):
        return []
    text = (
        f"Of the context, the last {KEPT_ROUNDS} rounds of {KEPT_CHARS} characters each count; this was more."
    )
    return [Notice(code=NoticeCode.CONTEXT_CUT, message=text)]


def _rounds(context: JsonValue) -> list[int]:
    """The characters of each round: a user's message begins one, and its answer belongs to it."""
    messages = [each for each in context if isinstance(each, dict)] if isinstance(context, list) else []
    rounds: list[int] = []
    for message in messages:
        if message.get("role") == "user" or not rounds:
            rounds.append(0)
        rounds[-1] += _chars(message)
    return rounds


def _chars(message: Mapping[str, JsonValue]) -> int:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return sum(len(str(part.get("text", ""))) for part in parts if isinstance(part, dict))
