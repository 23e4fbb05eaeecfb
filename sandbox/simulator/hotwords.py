"""Hotword lists: the five actions on them, an account's limits, and which words a submit has in force. It
knows no HTTP.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sandbox.simulator.clock import SimulatedClock, vendor_time
from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.models import FILE_MODELS, is_served
from sandbox.simulator.parameters import SUPER_WEIGHT, is_weight
from sandbox.simulator.wire import ApiError, JsonObject, invalid

SERVICE: Final = "speech-biasing"
"""The `model` of every call."""

ACTIONS: Final = (
    "create_vocabulary",
    "list_vocabulary",
    "query_vocabulary",
    "update_vocabulary",
    "delete_vocabulary",
)
_SHORT_MODELS: Final = {
    "fun-asr-flash": 2000,
    "fun-asr-flash-2026-06-15": 500,
    "qwen-audio-3.0-asr-flash": 2000,
    "qwen-audio-3.1-asr-flash": 2000,
}
"""Words of a list for the synchronous models that take one."""

_PREFIX = re.compile(r"[0-9a-z]{1,10}")
_SUPER_WORDS: Final = 50
_LONGEST_WORD, _MOST_PARTS = 15, 7


@dataclass
class HotwordList:
    """One list; times are simulated epoch seconds."""

    account: str
    prefix: str
    target_model: str
    entries: list[JsonObject]
    created_at: float
    modified_at: float
    vocabulary_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.vocabulary_id = f"vocab-{self.prefix}-{uuid.uuid4().hex[:20]}"

    def words(self) -> frozenset[str]:
        """Casefolded."""
        return frozenset(str(entry["text"]).casefold() for entry in self.entries)


class HotwordLists:
    """Every account's lists; a deleted one is gone."""

    def __init__(self, config: SimulatorConfig, clock: SimulatedClock) -> None:
        self._config = config
        self._clock = clock
        self._lists: dict[str, HotwordList] = {}
        self._actions: Mapping[str, Callable[[str, JsonObject], JsonObject]] = dict(
            zip(ACTIONS, (self._create, self._list, self._query, self._update, self._delete), strict=True)
        )

    def answer(self, account: str, payload: JsonObject) -> JsonObject:
        """What a call's body asks for, done: the fields of the answer, or ApiError."""
        given = payload.get("input")
        if not isinstance(given, dict):
            raise ApiError(400, "BadRequest.EmptyInput", 'Required parameter "input" missing from request.')
        if payload.get("model") != SERVICE:
            raise invalid("Model not exist.")
        act = self._actions.get(str(given.get("action")))
        if act is None:
            raise invalid(f"input.action must be one of {', '.join(ACTIONS)}")
        return act(account, given)

    def in_force(self, account: str, model: str, vocabulary_id: object) -> frozenset[str]:
        """The words, casefolded, that a submit of `model` has from the list that it names.

        It has none from a list that is made for another model, of which the vendor says nothing, or that is
        not deployed yet. An unknown list is ignored likewise, or ApiError, as the configuration has it.
        """
        if vocabulary_id is None:
            return frozenset()
        found = self._lists.get(str(vocabulary_id))
        if found is None or found.account != account:
            if self._config.unknown_vocabulary == "not_found":
                raise _not_found(vocabulary_id)
            return frozenset()
        usable = found.target_model == model and self._status(found) == "OK"
        return found.words() if usable else frozenset()

    def _create(self, account: str, given: JsonObject) -> JsonObject:
        target, prefix = given.get("target_model"), given.get("prefix")
        most = _most_words(target, self._config)
        if not isinstance(target, str) or most is None:
            raise invalid("input.target_model must be a model that takes hotwords")
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise invalid("input.prefix must be 1 to 10 digits or lower-case letters")
        entries = _read_entries(given.get("vocabulary"), target, most)
        if sum(kept.account == account for kept in self._lists.values()) >= self._config.hotword_lists:
            raise ApiError(
                400, "Throttling.AllocationQuota", "Free allocated quota exceeded: too many vocabularies."
            )
        now = self._clock.now()
        made = HotwordList(account, prefix, target, entries, now, now)
        self._lists[made.vocabulary_id] = made
        return {"output": {"vocabulary_id": made.vocabulary_id}, "usage": {"count": 1}}

    def _list(self, account: str, given: JsonObject) -> JsonObject:
        index, size = _whole(given, "page_index", 0, least=0), _whole(given, "page_size", 10, least=1)
        prefix = given.get("prefix")
        found = [
            kept
            for kept in self._lists.values()
            if kept.account == account and prefix in (None, "", kept.prefix)
        ]
        page = found[index * size : (index + 1) * size]
        rows = [{"vocabulary_id": kept.vocabulary_id, **self._dates(kept)} for kept in page]
        return {"output": {"vocabulary_list": rows}}

    def _query(self, account: str, given: JsonObject) -> JsonObject:
        found = self._find(account, given)
        shown = {**self._dates(found), "target_model": found.target_model, "vocabulary": found.entries}
        return {"output": shown}

    def _update(self, account: str, given: JsonObject) -> JsonObject:
        found = self._find(account, given)
        most = _most_words(found.target_model, self._config) or 0
        found.entries = _read_entries(given.get("vocabulary"), found.target_model, most)
        found.modified_at = self._clock.now()
        return {"output": {}}

    def _delete(self, account: str, given: JsonObject) -> JsonObject:
        del self._lists[self._find(account, given).vocabulary_id]
        return {"output": {}}

    def _find(self, account: str, given: JsonObject) -> HotwordList:
        vocabulary_id = given.get("vocabulary_id")
        if not isinstance(vocabulary_id, str) or not vocabulary_id:
            raise invalid("input must contain vocabulary_id")
        found = self._lists.get(vocabulary_id)
        if found is None or found.account != account:
            raise _not_found(vocabulary_id)
        return found

    def _dates(self, shown: HotwordList) -> dict[str, object]:
        zone = self._config.zone_hours
        return {
            "gmt_create": vendor_time(shown.created_at, zone)[:19],
            "gmt_modified": vendor_time(shown.modified_at, zone)[:19],
            "status": self._status(shown),
        }

    def _status(self, shown: HotwordList) -> str:
        ready = self._clock.now() >= shown.modified_at + self._config.hotword_deploy_seconds
        return "OK" if ready else "UNDEPLOYED"


def _not_found(vocabulary_id: object) -> ApiError:
    return ApiError(404, "NotFound", f"Vocabulary {str(vocabulary_id)[:100]} not found.")


def _most_words(target: object, config: SimulatorConfig) -> int | None:
    """How many words a list for a model may hold; None where the model takes none, or does not exist."""
    name = str(target)
    most = FILE_MODELS[name].words_per_list if is_served(name, config.region) else _SHORT_MODELS.get(name)
    return most if most is None else config.words_per_list or most


def _read_entries(vocabulary: object, target: str, most: int) -> list[JsonObject]:
    """The words of a list as sent, or ApiError with what is wrong with one."""
    if not isinstance(vocabulary, list) or not vocabulary:
        raise invalid("input must contain vocabulary")
    if len(vocabulary) > most:
        raise invalid(f"input.vocabulary must not hold more than {most} words")
    for entry in vocabulary:
        if not isinstance(entry, dict) or not _is_word(entry.get("text")):
            raise invalid(
                f"a word must be text of at most {_LONGEST_WORD} characters, or {_MOST_PARTS} parts in ASCII"
            )
        if not is_weight(entry.get("weight")) or not isinstance(entry.get("lang", ""), str):
            raise invalid("a word must have a weight of 1 to 5, and its lang must be a string")
    supers = sum(entry["weight"] == SUPER_WEIGHT for entry in vocabulary)
    if supers > (_SUPER_WORDS if target.startswith("qwen-audio-3.") else 0):
        raise invalid(f"at most {_SUPER_WORDS} words may weigh {SUPER_WEIGHT}, and for qwen-audio-3 alone")
    return vocabulary


def _is_word(text: object) -> bool:
    if not isinstance(text, str) or not text.strip():
        return False
    return len(text.split(" ")) <= _MOST_PARTS if text.isascii() else len(text) <= _LONGEST_WORD


def _whole(given: JsonObject, name: str, default: int, *, least: int) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise invalid(f"input.{name} must be an integer of at least {least}")
    return value
