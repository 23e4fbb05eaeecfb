"""The models that answer in the call itself: a row each, with what the vendor's pages say of it. It decides
nothing. A model more is a row more.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from sandbox.simulator.models import BEIJING, SINGAPORE

VIRGINIA: Final = "us-east-1"
_SIX: Final = (BEIJING, SINGAPORE, VIRGINIA, "cn-hongkong", "ap-northeast-1", "eu-central-1")
DATA_URI_LIMIT_BYTES: Final = 10 * 1024 * 1024
"""Of a whole `data:` URI, counted as it is sent, encoded."""

_MIB: Final = 1024 * 1024
Family = Literal["qwen_asr", "short_audio", "omni"]
Door = Literal["native", "chat"]


@dataclass(frozen=True, kw_only=True)
class SyncModel:
    """One model. `submits_per_minute` names each region that serves it, with None where no number is known.

    `doors` are the endpoints that take it. The limits are those of one audio file. `parameters` are those
    that not every model of its family heeds.
    """

    family: Family
    doors: frozenset[Door]
    submits_per_minute: Mapping[str, int | None]
    limit_bytes: int
    limit_seconds: float
    audio_tokens_per_second: float = 25.0
    bills_tokens: bool = False
    parameters: frozenset[str] = frozenset()


_QWEN3_ASR: Final = SyncModel(
    family="qwen_asr",
    doors=frozenset({"native", "chat"}),
    submits_per_minute={BEIJING: 100, SINGAPORE: 100, VIRGINIA: 100},
    limit_bytes=10 * _MIB,
    limit_seconds=300.0,
)
_QWEN3_ASR_US: Final = replace(_QWEN3_ASR, doors=frozenset({"native"}), submits_per_minute={VIRGINIA: 100})
_FUN_ASR_FLASH: Final = SyncModel(
    family="short_audio",
    doors=frozenset({"native"}),
    submits_per_minute={BEIJING: 600, SINGAPORE: 600},
    limit_bytes=10 * _MIB,
    limit_seconds=300.0,
)
_QWEN_AUDIO_31: Final = replace(
    _FUN_ASR_FLASH,
    limit_bytes=2048 * _MIB,
    bills_tokens=True,
    parameters=frozenset({"keep_dialect", "speaker_diarization_enabled"}),
)
_OMNI_35: Final = SyncModel(
    family="omni",
    doors=frozenset({"chat"}),
    submits_per_minute={BEIJING: 60, SINGAPORE: 60},
    limit_bytes=2048 * _MIB,
    limit_seconds=3 * 3_600.0,
    audio_tokens_per_second=7.0,
)

SYNC_MODELS: Final[Mapping[str, SyncModel]] = {
    "qwen3-asr-flash": _QWEN3_ASR,
    "qwen3-asr-flash-2025-09-08": _QWEN3_ASR,
    "qwen3-asr-flash-2026-02-10": replace(_QWEN3_ASR, submits_per_minute={BEIJING: 100, SINGAPORE: 100}),
    "qwen3-asr-flash-us": _QWEN3_ASR_US,
    "qwen3-asr-flash-2025-09-08-us": _QWEN3_ASR_US,
    "qwen-audio-3.0-asr-flash": _FUN_ASR_FLASH,
    "qwen-audio-3.1-asr-flash": _QWEN_AUDIO_31,
    "fun-asr-flash": _FUN_ASR_FLASH,
    "fun-asr-flash-2026-06-15": _FUN_ASR_FLASH,
    # What one audio may be, and its tokens, are documented nowhere: those of its predecessor.
    "qwen3.8-omni-flash": replace(_OMNI_35, submits_per_minute=dict.fromkeys(_SIX, 30_000)),
    "qwen3.5-omni-plus": _OMNI_35,
    "qwen3.5-omni-flash": _OMNI_35,
    "qwen3-omni-flash": replace(
        _OMNI_35, limit_bytes=100 * _MIB, limit_seconds=1_200.0, audio_tokens_per_second=12.5
    ),
    "qwen-omni-turbo": replace(
        _OMNI_35, limit_bytes=10 * _MIB, limit_seconds=180.0, audio_tokens_per_second=25.0
    ),
}
_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def sync_model(name: str) -> SyncModel | None:
    """The row of a model in any region, None where there is none. Any dated snapshot of Omni is known: no
    page lists them all.
    """
    row = SYNC_MODELS.get(name)
    if row is None:
        alias = SYNC_MODELS.get(_DATE.sub("", name))
        row = alias if alias is not None and alias.family == "omni" else None
    return row


def sync_submits_per_minute(region: str) -> dict[str, int | None]:
    """The limit of every model. One that the region lacks has another region's: nobody can reach it."""
    return {
        name: row.submits_per_minute.get(region, next(iter(row.submits_per_minute.values())))
        for name, row in SYNC_MODELS.items()
    }
