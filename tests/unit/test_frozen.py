"""Dataclasses of the service: the standard library's, but for the price of a frozen one."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A value."""

    topic: str
    offset: int = 0


@dataclass(slots=True)
class Counter:
    """Something that changes."""

    seen: int = 0


def test_a_frozen_class_compares_hashes_and_is_replaced_by_its_fields() -> None:
    place = Place("a", 7)
    assert (place, hash(place), {place: 1}[Place("a", 7)]) == (Place("a", 7), hash(Place("a", 7)), 1)
    assert replace(place, offset=8) == Place("a", 8) != place
    assert [field.name for field in fields(Place)] == ["topic", "offset"]
    assert not hasattr(place, "__dict__")


def test_what_changes_has_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Counter())


def test_a_frozen_class_sets_its_fields_as_others_do() -> None:
    """That is what it is for; the type checker refuses to set one from outside."""
    place = Place("a")
    try:
        place.offset = 9  # type: ignore[misc]
    except FrozenInstanceError:
        pytest.fail("a job would pay for two hundred such checks")
    assert place.offset == 9
