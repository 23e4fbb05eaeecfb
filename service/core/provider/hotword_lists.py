"""Which hotword list a job needs, which of the account's lists it is, and which may be touched or deleted.

Rules this module guarantees:

1. A list is named after its content and its model, so that every replica finds it and nobody stores it. It is
   usable only for exactly the model that it was made for: for another the vendor passes over it silently.
2. Of two lists for the same, which two replicas made at once, all choose the same one.
3. Only lists with our prefix are ever deleted, and only when nobody has touched them for `UNUSED_SECONDS`;
   who uses one touches it every `TOUCH_SECONDS`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from service.contract.hotwords import USUAL_WEIGHT

OURS = "sc"
"""What our prefixes begin with; the rest is a digest."""
DIGEST_CHARS = 8
UNUSED_SECONDS = 48 * 3600.0
TOUCH_SECONDS = 24 * 3600.0
ZONE_SECONDS = 8 * 3600.0
"""The vendor's times carry no zone and are taken for GMT+8, as its samples are. In another zone all ages are
wrong alike: a day is still between the last touch and the moment when a list may be deleted."""

_NAME = re.compile(rf"vocab-(?P<prefix>{OURS}[0-9a-z]{{{DIGEST_CHARS}}})-[0-9a-z]+")
_TIME = "%Y-%m-%d %H:%M:%S"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class VocabularyWord:
    """One word of a list."""

    text: str
    weight: int = USUAL_WEIGHT
    language: str | None = None


@dataclass(frozen=True, slots=True)
class ListedVocabulary:
    """A list as the account's directory shows it; times are the vendor's, zone-less, as given."""

    vocabulary_id: str
    created: str = ""
    modified: str = ""

    @property
    def prefix(self) -> str | None:
        """Its prefix, where it is one of ours."""
        named = _NAME.fullmatch(self.vocabulary_id)
        return named["prefix"] if named else None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One list looked at."""

    vocabulary_id: str
    target_model: str | None
    is_ready: bool
    words: tuple[VocabularyWord, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """The list that a submit needs: one of the user's own, by its id, or one of these words."""

    model: str
    vocabulary_id: str | None = None
    words: tuple[VocabularyWord, ...] = ()

    @property
    def name(self) -> str:
        """What tells it from all other needs."""
        return f"{self.model} {self.vocabulary_id or self.prefix}"

    @property
    def prefix(self) -> str:
        """What the list's name begins with: the order of the words does not count."""
        words = sorted((word.text, word.weight, word.language or "") for word in self.words)
        text = json.dumps([self.model, words], ensure_ascii=False, separators=(",", ":"))
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return OURS + "".join(_DIGITS[number // 36**place % 36] for place in range(DIGEST_CHARS))


def needs_list(options: Mapping[str, JsonValue]) -> bool:
    """Whether canonical `options` name a list, or words for one."""
    return "hotwords" in options or "vocabulary_id" in options


def need_of(model: str, options: Mapping[str, JsonValue]) -> Need:
    """What options that need a list need before a submit."""
    vocabulary_id = options.get("vocabulary_id")
    if isinstance(vocabulary_id, str):
        return Need(model, vocabulary_id)
    hotwords = options["hotwords"]
    assert isinstance(hotwords, list)
    return Need(model, words=tuple(_word(word) for word in hotwords if isinstance(word, dict)))


def _word(word: Mapping[str, JsonValue]) -> VocabularyWord:
    weight, language = word.get("weight"), word.get("language")
    return VocabularyWord(
        str(word["text"]),
        weight if isinstance(weight, int) else USUAL_WEIGHT,
        language if isinstance(language, str) else None,
    )


def with_list(options: Mapping[str, JsonValue], vocabulary_id: str) -> dict[str, JsonValue]:
    """The options as they are sent: the list in place of its words."""
    return {name: value for name, value in options.items() if name != "hotwords"} | {
        "vocabulary_id": vocabulary_id
    }


def chosen(lists: Iterable[ListedVocabulary], prefix: str) -> ListedVocabulary | None:
    """The list of this name; of several the one that was made first."""
    named = [each for each in lists if each.prefix == prefix]
    return min(named, key=lambda each: (each.created, each.vocabulary_id), default=None)


def needs_touch(listed: ListedVocabulary, vendor_ms: int) -> bool:
    """Whether it must be touched to stay; `vendor_ms` is the vendor's clock."""
    age_seconds = _age_seconds(listed, vendor_ms)
    return age_seconds is not None and age_seconds >= TOUCH_SECONDS


def unused(lists: Sequence[ListedVocabulary], vendor_ms: int) -> list[ListedVocabulary]:
    """Lists with names as ours that nobody uses any more, the one that was touched longest ago first."""
    aged = [(age, each) for each in lists if each.prefix and (age := _age_seconds(each, vendor_ms))]
    old = [(age, each) for age, each in aged if age >= UNUSED_SECONDS]
    return [each for _, each in sorted(old, key=lambda pair: (-pair[0], pair[1].vocabulary_id))]


def is_ours(found: Vocabulary) -> bool:
    """Whether its name says what it holds: somebody's prefix may look like one of ours by chance."""
    named = ListedVocabulary(found.vocabulary_id).prefix
    return named is not None and named == Need(found.target_model or "", words=found.words).prefix


def _age_seconds(listed: ListedVocabulary, vendor_ms: int) -> float | None:
    """Since its last change; None where its time cannot be read, so that nobody takes it for old."""
    modified = _instant(listed.modified or listed.created)
    return None if modified is None else vendor_ms / 1000 - modified.timestamp()


def in_utc(vendor_time: str) -> str:
    """A time of the vendor's directory in UTC; one that cannot be read as it was given."""
    instant = _instant(vendor_time)
    return vendor_time if instant is None else f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _instant(vendor_time: str) -> datetime | None:
    try:
        return datetime.strptime(vendor_time, _TIME).replace(tzinfo=UTC) - timedelta(seconds=ZONE_SECONDS)
    except (ValueError, OverflowError):
        return None
