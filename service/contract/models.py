"""The model table: which names exist, their family, their way and the vendor's limits. Pure data.

Facts: the vendor's model and rate-limit pages as of 2026. Where two regions or two pages differ, the lower
number stands here. A model that the table does not list is taken for its like by `model_info`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from types import MappingProxyType


class Family(StrEnum):
    """Models that share options and the form of their transcripts."""

    FUN_ASR = "fun-asr"
    PARAFORMER = "paraformer"
    QWEN_AUDIO_FILES = "qwen-audio-filetrans"
    QWEN_ASR_FILES = "qwen-asr-filetrans"
    QWEN_ASR = "qwen-asr"
    SHORT_AUDIO = "short-audio"
    OMNI = "qwen-omni"


class Way(StrEnum):
    """How a model is asked: the wire shape."""

    FILE_TASK = "file task"
    """A submit makes a task, which is polled; its result is a file."""
    SHORT_AUDIO = "short audio"
    """One call that answers with the transcript."""
    OMNI = "omni"
    """One call, prompted, that answers with a stream of prose."""


class Gives(StrEnum):
    """What a transcript of a model can hold besides its text."""

    TIMES = "times"
    WORDS = "words"
    SPEAKERS = "speakers"
    CHANNELS = "channels"
    LANGUAGE = "language"
    EMOTION = "emotion"


BEIJING, SINGAPORE, VIRGINIA = "cn-beijing", "ap-southeast-1", "us-east-1"
UNKNOWN_RATE = 60
"""Submits a minute where the vendor documents none: ours."""
_MIB, _HOUR = 1024**2, 3600


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the vendor says about one model.

    `files_per_task` is the most that one submit takes (sources disagree between 1 and 100: a setting
    lowers it). `languages` are the documented hints, empty where a model takes none; others may work.
    `hints_used` is how many of several hints count. `hotwords_per_list` is 0 for models without
    vocabularies, `hotword_languages` are those that a word may name. `lacks` names options of the family
    that this model does not have.
    """

    family: Family
    way: Way
    good_for: str
    submits_per_minute: int
    regions: tuple[str, ...]
    gives: frozenset[Gives]
    languages: frozenset[str] = frozenset()
    files_per_task: int = 1
    max_file_bytes: int = 2 * 1024**3
    max_audio_seconds: int = 12 * _HOUR
    hints_used: int = 1
    hotwords_per_list: int = 0
    hotword_languages: frozenset[str] = frozenset({"zh", "en", "ja"})
    advised_diarization_seconds: int = 2 * _HOUR
    audio_tokens_per_second: float | None = None
    lacks: frozenset[str] = field(default=frozenset())

    @property
    def is_synchronous(self) -> bool:
        """Whether the submit's answer is the transcript: there is no task, and nothing to look for."""
        return self.way is not Way.FILE_TASK


def _languages(codes: str) -> frozenset[str]:
    return frozenset(codes.split())


_THIRTY = _languages(
    "zh en ja ko vi th id ms tl hi ar fr de es pt ru it nl sv da fi no el pl cs hu ro bg hr sk"
)
_QWEN_ASR_LANGUAGES = _languages(
    "zh yue en ja de ko ru fr pt ar it es hi id th tr uk vi cs da fil fi is ms no pl sv"
)
_EIGHT = _languages("zh en ja yue ko de fr ru")
_BOTH = (BEIJING, SINGAPORE)
_SPEAKERS = frozenset({Gives.TIMES, Gives.WORDS, Gives.SPEAKERS, Gives.CHANNELS})

_FUN_ASR = ModelInfo(
    family=Family.FUN_ASR,
    way=Way.FILE_TASK,
    good_for="recordings of any length in 30 languages, with speakers and hotwords: the first choice",
    submits_per_minute=600,
    regions=_BOTH,
    gives=_SPEAKERS,
    languages=_THIRTY,
    files_per_task=100,
    hotwords_per_list=500,
)
_FUN_ASR_MTL = replace(_FUN_ASR, submits_per_minute=100, good_for="as fun-asr, tuned for many languages")
_PARAFORMER_V2 = replace(
    _FUN_ASR,
    family=Family.PARAFORMER,
    good_for="Chinese and seven more languages without filler words, with aligned times",
    submits_per_minute=1_200,
    regions=(BEIJING,),
    languages=_EIGHT,
    hints_used=8,
    hotword_languages=_EIGHT,
)
_PARAFORMER_8K_V2 = replace(
    _PARAFORMER_V2,
    good_for="Chinese telephone calls sampled at 8 kHz",
    languages=frozenset(),
    lacks=frozenset({"language_hints"}),
)
_PARAFORMER_V1 = replace(
    _PARAFORMER_V2,
    good_for="an older paraformer: paraformer-v2 replaces it",
    submits_per_minute=UNKNOWN_RATE,
    languages=frozenset(),
    hotwords_per_list=0,
    lacks=frozenset({"language_hints", "vocabulary_id", "hotwords"}),
)
_QWEN_AUDIO_FILES = replace(
    _FUN_ASR,
    family=Family.QWEN_AUDIO_FILES,
    good_for="recordings whose topic you can describe: context messages, instant vocabulary, dialects",
    files_per_task=1,
    hints_used=4,
    hotwords_per_list=2_000,
    hotword_languages=_EIGHT,
)
_QWEN_ASR_FILES = ModelInfo(
    family=Family.QWEN_ASR_FILES,
    way=Way.FILE_TASK,
    good_for="recordings of any length with the emotion and the language of each sentence",
    submits_per_minute=100,
    regions=_BOTH,
    gives=frozenset({Gives.TIMES, Gives.WORDS, Gives.CHANNELS, Gives.LANGUAGE, Gives.EMOTION}),
    languages=_QWEN_ASR_LANGUAGES,
)
_QWEN_ASR = ModelInfo(
    family=Family.QWEN_ASR,
    way=Way.SHORT_AUDIO,
    good_for="clips of up to 5 minutes, answered at once, with a text that tells the topic",
    submits_per_minute=100,
    regions=_BOTH,
    gives=frozenset({Gives.LANGUAGE, Gives.EMOTION}),
    languages=_QWEN_ASR_LANGUAGES,
    max_file_bytes=10 * _MIB,
    max_audio_seconds=300,
)
_SHORT_AUDIO = ModelInfo(
    family=Family.SHORT_AUDIO,
    way=Way.SHORT_AUDIO,
    good_for="clips of up to 5 minutes, answered at once, with times and hotwords",
    submits_per_minute=600,
    regions=_BOTH,
    gives=frozenset({Gives.TIMES, Gives.WORDS}),
    languages=_THIRTY,
    max_file_bytes=10 * _MIB,
    max_audio_seconds=300,
    hints_used=4,
    hotwords_per_list=500,
)
_QWEN_SHORT = replace(
    _SHORT_AUDIO, submits_per_minute=UNKNOWN_RATE, hotwords_per_list=2_000, hotword_languages=_EIGHT
)
_OMNI = ModelInfo(
    family=Family.OMNI,
    way=Way.OMNI,
    good_for="audio that you ask something about: prose after your own prompt, billed by tokens",
    submits_per_minute=UNKNOWN_RATE,
    regions=_BOTH,
    gives=frozenset(),
    max_audio_seconds=3 * _HOUR,
    audio_tokens_per_second=7.0,
)

MODELS: Mapping[str, ModelInfo] = MappingProxyType(
    {
        "fun-asr": _FUN_ASR,
        "fun-asr-2025-11-07": _FUN_ASR,
        "fun-asr-2025-08-25": replace(_FUN_ASR, languages=frozenset({"zh", "en"})),
        "fun-asr-mtl": _FUN_ASR_MTL,
        "fun-asr-mtl-2025-08-25": _FUN_ASR_MTL,
        "paraformer-v2": _PARAFORMER_V2,
        "paraformer-8k-v2": _PARAFORMER_8K_V2,
        "paraformer-v1": _PARAFORMER_V1,
        "paraformer-8k-v1": replace(_PARAFORMER_V1, submits_per_minute=600),
        "paraformer-mtl-v1": _PARAFORMER_V1,
        "qwen-audio-3.1-asr-flash-filetrans": _QWEN_AUDIO_FILES,
        "qwen-audio-3.0-asr-flash-filetrans": _QWEN_AUDIO_FILES,
        "qwen3-asr-flash-filetrans": _QWEN_ASR_FILES,
        "qwen3-asr-flash-filetrans-2025-11-17": _QWEN_ASR_FILES,
        "qwen3-asr-flash": _QWEN_ASR,
        "qwen3-asr-flash-2025-09-08": _QWEN_ASR,
        "qwen3-asr-flash-2026-02-10": _QWEN_ASR,
        "qwen3-asr-flash-us": replace(_QWEN_ASR, regions=(VIRGINIA,)),
        "qwen3-asr-flash-2025-09-08-us": replace(_QWEN_ASR, regions=(VIRGINIA,)),
        "qwen-audio-3.1-asr-flash": _QWEN_SHORT,
        "qwen-audio-3.0-asr-flash": _QWEN_SHORT,
        "fun-asr-flash": _SHORT_AUDIO,
        "fun-asr-flash-2026-06-15": _SHORT_AUDIO,
        "qwen3.5-omni-plus": _OMNI,
        "qwen3.5-omni-flash": _OMNI,
        "qwen3-omni-flash": replace(
            _OMNI, max_file_bytes=100 * _MIB, max_audio_seconds=1_200, audio_tokens_per_second=12.5
        ),
        "qwen-omni-turbo": replace(
            _OMNI, max_file_bytes=10 * _MIB, max_audio_seconds=180, audio_tokens_per_second=25.0
        ),
    }
)
"""Every name that the vendor's pages list."""

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_VERSION = "[0-9]{1,2}([.][0-9]{1,2})?"
_NUMBER = re.compile(r"(?<=[a-z-])[0-9]+(?:\.[0-9]+)?(?=-|$)|(?<=v)[0-9]+$")
_DATED = re.compile(f"-({_DATE})(?=-us$|$)")


def _alike(name: str) -> str:
    """A pattern for names that differ from this one, which has no date, by their version's number."""
    return _VERSION.join(re.escape(part).replace(r"\-", "-") for part in _NUMBER.split(name))


def _pattern(names: Collection[str]) -> str:
    """A pattern for these names and for those alike, with a date or without."""
    plain = dict.fromkeys(_alike(name) for name in names if not name.endswith("-us"))
    american = dict.fromkeys(_alike(name.removesuffix("-us")) for name in names if name.endswith("-us"))
    dated = [
        rf"({'|'.join(bodies)})(-{_DATE})?{end}" for bodies, end in ((plain, ""), (american, "-us")) if bodies
    ]
    return rf"^{dated[0]}$" if len(dated) == 1 else rf"^({'|'.join(dated)})$"


_LIKES: Mapping[str, "re.Pattern[str]"] = MappingProxyType(
    {name: re.compile(_pattern([name])) for name in MODELS if not _DATED.search(name)}
)


def model_info(name: str) -> ModelInfo | None:
    """The row of a model, or of the listed one whose later version or snapshot it seems to be, else None."""
    if info := MODELS.get(name):
        return info
    dated = _DATED.search(name)
    if dated is not None:
        if not _is_date(dated[1]):
            return None
        alias = _DATED.sub("", name)
        if alias in _LIKES and _LIKES[alias].fullmatch(name):
            return MODELS[alias]
    return next((MODELS[like] for like, pattern in _LIKES.items() if pattern.fullmatch(name)), None)


def is_listed(name: str) -> bool:
    """Whether the vendor's pages, as we know them, name the model."""
    return name in MODELS


def known_models() -> tuple[str, ...]:
    """The names without a date, for messages and help."""
    return tuple(_LIKES)


def models_of(family: Family) -> tuple[str, ...]:
    """The family's names without a date."""
    return tuple(name for name in _LIKES if MODELS[name].family == family)


def model_pattern(family: Family) -> str:
    """A regular expression (the common subset of Python and JSON Schema) for the family's names."""
    return _pattern(models_of(family))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
