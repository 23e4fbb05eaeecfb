"""The model table: which names exist, their family and the vendor's limits. Pure data, decides nothing.

Facts: the vendor's model and rate-limit pages as of 2026. Where the two regions or two pages differ,
the lower number stands here. A later family is a few more rows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from types import MappingProxyType


class Family(StrEnum):
    """Models that share options and the form of their result file."""

    FUN_ASR = "fun-asr"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the vendor says about one model.

    `files_per_task` is the most that one submit takes (sources disagree between 1 and 100: a setting
    lowers it). `languages` are the documented hints; others may work. Prices are for detected speech.
    """

    family: Family
    files_per_task: int
    max_file_bytes: int
    max_audio_seconds: int
    advised_diarization_seconds: int
    submits_per_minute: int
    usd_per_speech_second: float
    languages: frozenset[str]


_LANGUAGES = frozenset(
    {"zh", "en", "ja", "ko", "vi", "th", "id", "ms", "tl", "hi", "ar", "fr", "de", "es", "pt", "ru"}
    | {"it", "nl", "sv", "da", "fi", "no", "el", "pl", "cs", "hu", "ro", "bg", "hr", "sk"}
)

_FUN_ASR = ModelInfo(
    family=Family.FUN_ASR,
    files_per_task=100,
    max_file_bytes=2 * 1024**3,
    max_audio_seconds=12 * 3600,
    advised_diarization_seconds=2 * 3600,
    submits_per_minute=600,
    usd_per_speech_second=0.000035,
    languages=_LANGUAGES,
)
_FUN_ASR_MTL = replace(_FUN_ASR, submits_per_minute=100)

_ALIASES: Mapping[str, ModelInfo] = MappingProxyType({"fun-asr": _FUN_ASR, "fun-asr-mtl": _FUN_ASR_MTL})
"""Names without a date; any dated snapshot of one has its row unless `_SNAPSHOTS` says otherwise."""

_SNAPSHOTS: Mapping[str, ModelInfo] = MappingProxyType(
    {"fun-asr-2025-08-25": replace(_FUN_ASR, languages=frozenset({"zh", "en"}))}
)

_DATED = re.compile(r"(?P<alias>[a-z0-9.-]+)-(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})")


def model_info(name: str) -> ModelInfo | None:
    """The row of a model by its alias or dated snapshot (also of dates we have not heard of), else None."""
    if info := _ALIASES.get(name) or _SNAPSHOTS.get(name):
        return info
    dated = _DATED.fullmatch(name)
    if dated is None or not _is_date(dated["date"]):
        return None
    return _ALIASES.get(dated["alias"])


def known_models() -> tuple[str, ...]:
    """The names without a date, for messages and help."""
    return tuple(_ALIASES)


def model_pattern(family: Family) -> str:
    """A regular expression (the common subset of Python and JSON Schema) for the family's names."""
    aliases = [
        re.escape(alias).replace(r"\-", "-")
        for alias, info in _ALIASES.items()
        if info.family.value == family.value
    ]
    return rf"^({'|'.join(aliases)})(-[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})?$"


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
