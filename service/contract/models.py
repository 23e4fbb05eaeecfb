"""Finds the row of a model name in the model table, and the names of a family."""

import re
from collections.abc import Collection, Mapping
from datetime import date
from types import MappingProxyType

from service.contract.model_table import MODELS, Family, ModelInfo

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_VERSION = "[0-9]{1,2}([.][0-9]{1,2})?"
_NUMBER = re.compile(r"(?<=[a-z-])[0-9]+(?:\.[0-9]+)?(?=-|$)|(?<=v)[0-9]+$")
_DATED = re.compile(f"-({_DATE})(?=-us$|$)")


def _alike(name: str) -> str:
    """A pattern for names that differ from this undated one only by the version number."""
    return _VERSION.join(re.escape(part).replace(r"\-", "-") for part in _NUMBER.split(name))


def _pattern(names: Collection[str]) -> str:
    """A pattern for these names and other versions of them, with or without a date."""
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
    """The row of a model, or of the listed model of which it seems to be a version or snapshot, else None."""
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


def is_synchronous(name: str) -> bool:
    """Whether a model answers a submit with the transcript.

    False for an unknown model.
    """
    info = model_info(name)
    return info is not None and info.is_synchronous


def is_listed(name: str) -> bool:
    """Whether the vendor's pages list the model, by the table."""
    return name in MODELS and MODELS[name].is_listed


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
