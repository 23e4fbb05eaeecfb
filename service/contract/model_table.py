"""The model table: one row per name, with its family, its API and the vendor's limits. Pure data.

Facts: the vendor's model, rate-limit and hotword pages as of 2026-11-29. If two regions or two pages
differ, the table has the lower number; if no page has one, None: nothing is guessed.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from types import MappingProxyType

from service.contract.regions import BEIJING, REGIONS, SINGAPORE, VIRGINIA
from service.frozen import dataclass


class Family(StrEnum):
    """Models that share options and the form of their transcripts."""

    FUN_ASR = "fun-asr"
    PARAFORMER = "paraformer"
    QWEN_AUDIO_FILES = "qwen-audio-filetrans"
    QWEN_ASR_FILES = "qwen-asr-filetrans"
    QWEN_ASR = "qwen-asr"
    SHORT_AUDIO = "short-audio"
    OMNI = "qwen-omni"


class ApiKind(StrEnum):
    """The API of a model: the wire shape of its calls."""

    FILE_TASK = "file task"
    """A submit creates a task, which is polled; its result is a file."""
    SHORT_AUDIO = "short audio"
    """One call that answers with the transcript."""
    OMNI = "omni"
    """One call with a prompt that answers with a stream of prose."""


class Feature(StrEnum):
    """The parts of a model's transcripts besides text."""

    TIMES = "times"
    WORDS = "words"
    SPEAKERS = "speakers"
    CHANNELS = "channels"
    LANGUAGE = "language"
    EMOTION = "emotion"


class Unit(StrEnum):
    """The unit that the vendor bills."""

    SECONDS = "seconds"
    TOKENS = "tokens"


_MIB, _HOUR = 1024**2, 3600


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The vendor's facts about one model; a limit of None is not documented.

    `files_per_task` is the maximum of one submit. `languages` are the documented hints, empty if a model
    takes none; others may work. `hints_used` is the number of hints that the model uses. `hotwords_per_list`
    is 0 for models without vocabularies, `hotword_languages` are those that a word may name. `lacks` names
    options of the family that this model does not have. `also_limited` is what the vendor limits besides
    submits a minute; we do not count it, so exceeding it gives a 429. `is_listed` is false for a name that
    the vendor's pages do not list, or no longer list; it may still work.
    """

    family: Family
    api: ApiKind
    good_for: str
    submits_per_minute: int
    regions: tuple[str, ...]
    gives: frozenset[Feature]
    languages: frozenset[str] = frozenset()
    files_per_task: int = 1
    max_file_bytes: int | None = 2 * 1024**3
    max_audio_seconds: int | None = 12 * _HOUR
    hints_used: int = 1
    hotwords_per_list: int = 0
    hotword_languages: frozenset[str] = frozenset({"zh", "en", "ja"})
    advised_diarization_seconds: int = 2 * _HOUR
    audio_tokens_per_second: float | None = None
    billed_by: Unit = Unit.SECONDS
    also_limited: str | None = None
    is_listed: bool = True
    lacks: frozenset[str] = field(default=frozenset())

    @property
    def is_synchronous(self) -> bool:
        """Whether the submit's answer is the transcript: there is no task to poll or to find."""
        return self.api is not ApiKind.FILE_TASK

    @property
    def takes_several_files(self) -> bool:
        """Whether the wire shape of a submit can hold several files.

        How many the vendor allows is another question.
        """
        return self.api is ApiKind.FILE_TASK and self.family is not Family.QWEN_ASR_FILES


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
_SPEAKERS = frozenset({Feature.TIMES, Feature.WORDS, Feature.SPEAKERS, Feature.CHANNELS})

_FUN_ASR = ModelInfo(
    family=Family.FUN_ASR,
    api=ApiKind.FILE_TASK,
    good_for="recordings of any length in 30 languages, with speakers and hotwords, billed by the second",
    submits_per_minute=600,
    regions=_BOTH,
    gives=_SPEAKERS,
    languages=_THIRTY,
    hotwords_per_list=2_000,
)
_FUN_ASR_DATED = replace(_FUN_ASR, hotwords_per_list=500)
_FUN_ASR_MTL = replace(
    _FUN_ASR_DATED, submits_per_minute=100, good_for="as fun-asr, tuned for many languages"
)
_PARAFORMER_V2 = replace(
    _FUN_ASR_DATED,
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
    also_limited="100 tasks at once",
    lacks=frozenset({"language_hints"}),
)
_PARAFORMER_V1 = replace(
    _PARAFORMER_V2,
    good_for="an older paraformer: paraformer-v2 replaces it",
    submits_per_minute=600,
    languages=frozenset(),
    hotwords_per_list=0,
    also_limited="6,000,000 tokens a minute",
    lacks=frozenset({"language_hints", "vocabulary_id", "hotwords"}),
)
_QWEN_AUDIO_FILES = replace(
    _FUN_ASR,
    family=Family.QWEN_AUDIO_FILES,
    good_for="recordings whose topic you can describe: context messages, instant vocabulary, dialects; the "
    "vendor's first choice",
    hints_used=4,
    hotword_languages=_EIGHT,
    billed_by=Unit.TOKENS,
)
_QWEN_AUDIO_FILES_30 = replace(
    _QWEN_AUDIO_FILES,
    good_for="recordings whose topic you can describe, billed by the second",
    billed_by=Unit.SECONDS,
    lacks=frozenset({"keep_dialect"}),
)
_QWEN_ASR_FILES = ModelInfo(
    family=Family.QWEN_ASR_FILES,
    api=ApiKind.FILE_TASK,
    good_for="recordings of any length with the emotion and the language of each sentence",
    submits_per_minute=100,
    regions=_BOTH,
    gives=frozenset({Feature.TIMES, Feature.WORDS, Feature.CHANNELS, Feature.LANGUAGE, Feature.EMOTION}),
    languages=_QWEN_ASR_LANGUAGES,
)
_QWEN_ASR = ModelInfo(
    family=Family.QWEN_ASR,
    api=ApiKind.SHORT_AUDIO,
    good_for="clips of up to 5 minutes, answered at once, with a text about the topic",
    submits_per_minute=100,
    regions=(*_BOTH, VIRGINIA),
    gives=frozenset({Feature.LANGUAGE, Feature.EMOTION}),
    languages=_QWEN_ASR_LANGUAGES,
    max_file_bytes=10 * _MIB,
    max_audio_seconds=300,
)
_QWEN_ASR_US = replace(_QWEN_ASR, regions=(VIRGINIA,), is_listed=False)
_SHORT_AUDIO = ModelInfo(
    family=Family.SHORT_AUDIO,
    api=ApiKind.SHORT_AUDIO,
    good_for="clips of up to 5 minutes, answered at once, with times, hotwords and context messages",
    submits_per_minute=600,
    regions=_BOTH,
    gives=frozenset({Feature.TIMES, Feature.WORDS}),
    languages=_THIRTY,
    max_file_bytes=10 * _MIB,
    max_audio_seconds=300,
    hotwords_per_list=500,
    lacks=frozenset({"vocabulary", "keep_dialect", "speaker_diarization_enabled"}),
)
_QWEN_SHORT = replace(
    _SHORT_AUDIO,
    good_for="clips of up to 5 minutes, answered at once, with times, speakers, dialects, instant vocabulary",
    gives=frozenset({Feature.TIMES, Feature.WORDS, Feature.SPEAKERS}),
    max_file_bytes=2 * 1024**3,
    hints_used=4,
    hotwords_per_list=2_000,
    hotword_languages=_EIGHT,
    billed_by=Unit.TOKENS,
    lacks=frozenset(),
)
_QWEN_SHORT_30 = replace(
    _QWEN_SHORT,
    good_for="clips of up to 5 minutes, answered at once, with times, hotwords and instant vocabulary",
    gives=_SHORT_AUDIO.gives,
    max_file_bytes=10 * _MIB,
    billed_by=Unit.SECONDS,
    lacks=frozenset({"keep_dialect", "speaker_diarization_enabled"}),
)
_OMNI = ModelInfo(
    family=Family.OMNI,
    api=ApiKind.OMNI,
    good_for="prose that answers your prompt about the audio, billed by tokens",
    submits_per_minute=60,
    regions=_BOTH,
    gives=frozenset(),
    max_audio_seconds=3 * _HOUR,
    audio_tokens_per_second=7.0,
    billed_by=Unit.TOKENS,
    also_limited="100,000 tokens a minute",
)
_OMNI_38 = replace(
    _OMNI,
    good_for="prose that answers your prompt about the audio, in six regions; its reasoning is billed, too",
    submits_per_minute=30_000,
    regions=REGIONS,
    max_file_bytes=None,
    max_audio_seconds=None,
    audio_tokens_per_second=None,
    also_limited="tokens a minute, by region",
)

MODELS: Mapping[str, ModelInfo] = MappingProxyType(
    {
        "fun-asr": _FUN_ASR,
        "fun-asr-2025-11-07": _FUN_ASR_DATED,
        "fun-asr-2025-08-25": replace(_FUN_ASR_DATED, languages=frozenset({"zh", "en"})),
        "fun-asr-mtl": _FUN_ASR_MTL,
        "fun-asr-mtl-2025-08-25": _FUN_ASR_MTL,
        "paraformer-v2": _PARAFORMER_V2,
        "paraformer-8k-v2": _PARAFORMER_8K_V2,
        "paraformer-v1": _PARAFORMER_V1,
        "paraformer-8k-v1": replace(_PARAFORMER_V1, also_limited="500 tasks at once"),
        "paraformer-mtl-v1": _PARAFORMER_V1,
        "qwen-audio-3.1-asr-flash-filetrans": _QWEN_AUDIO_FILES,
        "qwen-audio-3.0-asr-flash-filetrans": _QWEN_AUDIO_FILES_30,
        "qwen3-asr-flash-filetrans": _QWEN_ASR_FILES,
        "qwen3-asr-flash-filetrans-2025-11-17": _QWEN_ASR_FILES,
        "qwen3-asr-flash": _QWEN_ASR,
        "qwen3-asr-flash-2025-09-08": _QWEN_ASR,
        "qwen3-asr-flash-2026-02-10": replace(_QWEN_ASR, regions=_BOTH),
        "qwen3-asr-flash-us": _QWEN_ASR_US,
        "qwen3-asr-flash-2025-09-08-us": _QWEN_ASR_US,
        "qwen-audio-3.1-asr-flash": _QWEN_SHORT,
        "qwen-audio-3.0-asr-flash": _QWEN_SHORT_30,
        "fun-asr-flash": replace(_SHORT_AUDIO, hotwords_per_list=2_000, is_listed=False),
        "fun-asr-flash-2026-06-15": _SHORT_AUDIO,
        "qwen3.5-omni-plus": _OMNI,
        "qwen3.8-omni-flash": _OMNI_38,
        "qwen3.5-omni-flash": _OMNI,
        "qwen3-omni-flash": replace(
            _OMNI, max_file_bytes=100 * _MIB, max_audio_seconds=1_200, audio_tokens_per_second=12.5
        ),
        "qwen-omni-turbo": replace(
            _OMNI, max_file_bytes=10 * _MIB, max_audio_seconds=180, audio_tokens_per_second=25.0
        ),
    }
)
"""Every name that the vendor's pages list, or listed."""
