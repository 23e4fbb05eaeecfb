"""Which hotword list a job needs, which of the account's lists it is, and which may be touched or deleted.

Rules this module guarantees:

1. A list is named after its content and its model, so every replica finds it without a shared store. It works
   only for exactly the model that it was made for: the vendor silently ignores it for another.
2. If two replicas create equal lists at once, all replicas choose the same one.
3. Only lists with our prefix are deleted, and only if they were not touched for `UNUSED_SECONDS`; a process
   that uses a list touches it every `TOUCH_SECONDS`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from service.contract.hotwords import USUAL_WEIGHT
from service.frozen import dataclass

OURS = "sc"
"""The beginning of our prefixes; the rest is a digest."""
DIGEST_CHARS = 8
"""With `OURS`, the ten characters that the vendor allows in a prefix."""
UNUSED_SECONDS = 48 * 3600.0
"""Twice `TOUCH_SECONDS`: a process that uses a list has touched it by then, even if late."""
TOUCH_SECONDS = 24 * 3600.0
"""A touch is a call: rare, yet far from the age at which a list may be deleted."""
ZONE_SECONDS = 8 * 3600.0
"""The vendor's times have no zone and are read as GMT+8, as in its samples. If the zone is another, all ages
are wrong by the same amount, and a day still lies between the last touch and a possible deletion."""

_NAME = re.compile(rf"vocab-(?P<prefix>{OURS}[0-9a-z]{{{DIGEST_CHARS}}})-[0-9a-z]+")
_TIME = "%Y-%m-%d %H:%M:%S"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class HotwordListEntry:
    """One word of a list."""

    text: str
    weight: int = USUAL_WEIGHT
    language: str | None = None


class HotwordListPage(NamedTuple):
    """One page of the account's directory of lists.

    The rows that name no list are left out.
    """

    lists: tuple["ListedHotwordList", ...]
    is_last: bool


@dataclass(frozen=True, slots=True)
class ListedHotwordList:
    """A list as the account's directory shows it.

    Times are the vendor's, zone-less, as given.
    """

    vocabulary_id: str
    created: str = ""
    modified: str = ""

    @property
    def prefix(self) -> str | None:
        """The prefix if it is one of ours, else None."""
        named = _NAME.fullmatch(self.vocabulary_id)
        return named["prefix"] if named else None


@dataclass(frozen=True, slots=True)
class HotwordList:
    """One list with its content."""

    vocabulary_id: str
    target_model: str | None
    is_ready: bool
    words: tuple[HotwordListEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """The list that a submit needs: the user's own, by its id, or one made of these words."""

    model: str
    vocabulary_id: str | None = None
    words: tuple[HotwordListEntry, ...] = ()

    @property
    def name(self) -> str:
        """A name that is unique to this need."""
        return f"{self.model} {self.vocabulary_id or self.prefix}"

    @property
    def prefix(self) -> str:
        """The beginning of the list's name; it does not depend on the order of the words."""
        words = sorted((word.text, word.weight, word.language or "") for word in self.words)
        text = json.dumps([self.model, words], ensure_ascii=False, separators=(",", ":"))
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return OURS + "".join(_DIGITS[number // 36**place % 36] for place in range(DIGEST_CHARS))


def needs_list(options: Mapping[str, JsonValue]) -> bool:
    """Whether canonical `options` name a list, or words for one."""
    return "hotwords" in options or "vocabulary_id" in options


def need_of(model: str, options: Mapping[str, JsonValue]) -> Need:
    """The need of options for which `needs_list` holds."""
    vocabulary_id = options.get("vocabulary_id")
    if isinstance(vocabulary_id, str):
        return Need(model, vocabulary_id)
    hotwords = options["hotwords"]
    assert isinstance(hotwords, list)
    return Need(model, words=tuple(_word(word) for word in hotwords if isinstance(word, dict)))


def _word(word: Mapping[str, JsonValue]) -> HotwordListEntry:
    weight, language = word.get("weight"), word.get("language")
    return HotwordListEntry(
        str(word["text"]),
        weight if isinstance(weight, int) else USUAL_WEIGHT,
        language if isinstance(language, str) else None,
    )


def with_list(options: Mapping[str, JsonValue], vocabulary_id: str) -> dict[str, JsonValue]:
    """The options as sent, with the list in place of the hotwords."""
    return {name: value for name, value in options.items() if name != "hotwords"} | {
        "vocabulary_id": vocabulary_id
    }


def chosen(lists: Iterable[ListedHotwordList], prefix: str) -> ListedHotwordList | None:
    """The list with this prefix; of several, the first one created."""
    named = [each for each in lists if each.prefix == prefix]
    return min(named, key=lambda each: (each.created, each.vocabulary_id), default=None)


def needs_touch(listed: ListedHotwordList, vendor_ms: int) -> bool:
    """Whether the list must be touched to be kept; `vendor_ms` is the vendor's clock."""
    age_seconds = _age_seconds(listed, vendor_ms)
    return age_seconds is not None and age_seconds >= TOUCH_SECONDS


def unused(lists: Sequence[ListedHotwordList], vendor_ms: int) -> list[ListedHotwordList]:
    """Lists with our prefix that are unused, the one touched longest ago first."""
    aged = [(age, each) for each in lists if each.prefix and (age := _age_seconds(each, vendor_ms))]
    old = [(age, each) for age, each in aged if age >= UNUSED_SECONDS]
    return [each for _, each in sorted(old, key=lambda pair: (-pair[0], pair[1].vocabulary_id))]


def is_ours(found: HotwordList) -> bool:
    """Whether the name matches the content: a foreign prefix may look like one of ours by chance."""
    named = ListedHotwordList(found.vocabulary_id).prefix
    return named is not None and named == Need(found.target_model or "", words=found.words).prefix


def _age_seconds(listed: ListedHotwordList, vendor_ms: int) -> float | None:
    """Age since the last change.

    None if the time cannot be read, so that the list never counts as old.
    """
    modified = _instant(listed.modified or listed.created)
    return None if modified is None else vendor_ms / 1000 - modified.timestamp()


def in_utc(vendor_time: str) -> str:
    """A time of the vendor's directory in UTC; unchanged if it cannot be read."""
    instant = _instant(vendor_time)
    return vendor_time if instant is None else f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _instant(vendor_time: str) -> datetime | None:
    try:
        return datetime.strptime(vendor_time, _TIME).replace(tzinfo=UTC) - timedelta(seconds=ZONE_SECONDS)
    except (ValueError, OverflowError):
        return None
