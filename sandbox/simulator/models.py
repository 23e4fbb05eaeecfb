"""The models of the asynchronous file API: a row each, with what the vendor's pages say of it. It decides
nothing. A model more is a row more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

SINGAPORE: Final = "ap-southeast-1"
BEIJING: Final = "cn-beijing"
Shape = Literal["file_urls", "file_url"]
"""The field of `input` that holds the audio; with it goes everything that differs on the wire."""


@dataclass(frozen=True, kw_only=True)
class FileModel:
    """One model. `submits_per_minute` names each region that serves it, with None where no number is known.

    `parameters` are those it heeds; the others pass without effect. `running_tasks` limits the tasks of the
    account that have not ended. `words_per_list` is the most that a hotword list for it may hold; None: it
    takes no hotwords.
    """

    shape: Shape = "file_urls"
    submits_per_minute: Mapping[str, int | None]
    parameters: frozenset[str]
    running_tasks: int | None = None
    words_per_list: int | None = None
    takes_context: bool = False
    bills_tokens: bool = False


_SHARED: Final = frozenset({"channel_id", "special_word_filter", "diarization_enabled", "speaker_count"})
_FUN_ASR: Final = FileModel(
    submits_per_minute={BEIJING: 600, SINGAPORE: 600},
    parameters=_SHARED | {"language_hints", "vocabulary_id"},
    words_per_list=2000,
)
_FUN_ASR_DATED: Final = replace(_FUN_ASR, words_per_list=500)
_FUN_ASR_MTL: Final = replace(_FUN_ASR_DATED, submits_per_minute={BEIJING: 600, SINGAPORE: 100})
_QWEN_AUDIO_30: Final = FileModel(
    submits_per_minute={BEIJING: 600, SINGAPORE: 600},
    parameters=_SHARED | {"language_hints", "vocabulary_id", "vocabulary"},
    words_per_list=2000,
    takes_context=True,
)
_QWEN_AUDIO_31: Final = replace(
    _QWEN_AUDIO_30, parameters=_QWEN_AUDIO_30.parameters | {"keep_dialect"}, bills_tokens=True
)
_QWEN3_ASR: Final = FileModel(
    shape="file_url",
    submits_per_minute={BEIJING: 100, SINGAPORE: 100},
    parameters=frozenset({"channel_id", "language", "enable_itn", "enable_words"}),
)
_PARAFORMER_V1: Final = FileModel(
    submits_per_minute={BEIJING: 600},
    parameters=_SHARED | {"disfluency_removal_enabled", "timestamp_alignment_enabled"},
)
_PARAFORMER_V2: Final = replace(
    _PARAFORMER_V1,
    submits_per_minute={BEIJING: 1200},
    parameters=_PARAFORMER_V1.parameters | {"language_hints", "vocabulary_id"},
    words_per_list=500,
)

FILE_MODELS: Final[Mapping[str, FileModel]] = {
    "fun-asr": _FUN_ASR,
    "fun-asr-2025-11-07": _FUN_ASR_DATED,
    "fun-asr-2025-08-25": _FUN_ASR_DATED,
    "fun-asr-mtl": _FUN_ASR_MTL,
    "fun-asr-mtl-2025-08-25": _FUN_ASR_MTL,
    "qwen-audio-3.0-asr-flash-filetrans": _QWEN_AUDIO_30,
    "qwen-audio-3.1-asr-flash-filetrans": _QWEN_AUDIO_31,
    "qwen3-asr-flash-filetrans": _QWEN3_ASR,
    "qwen3-asr-flash-filetrans-2025-11-17": _QWEN3_ASR,
    "paraformer-v2": _PARAFORMER_V2,
    # Language hints are for paraformer-v2 alone. Of two pages the one with the lower limit is taken.
    "paraformer-8k-v2": replace(
        _PARAFORMER_V2, parameters=_PARAFORMER_V1.parameters | {"vocabulary_id"}, running_tasks=100
    ),
    "paraformer-v1": _PARAFORMER_V1,
    "paraformer-8k-v1": replace(_PARAFORMER_V1, running_tasks=500),
    "paraformer-mtl-v1": _PARAFORMER_V1,
}


def is_served(model: str, region: str) -> bool:
    """Whether a region has the model; elsewhere it does not exist."""
    row = FILE_MODELS.get(model)
    return row is not None and region in row.submits_per_minute


def submits_per_minute(region: str) -> dict[str, int | None]:
    """The limit of every model. One that the region lacks has another region's: nobody can reach it."""
    return {
        model: row.submits_per_minute.get(region, next(iter(row.submits_per_minute.values())))
        for model, row in FILE_MODELS.items()
    }
