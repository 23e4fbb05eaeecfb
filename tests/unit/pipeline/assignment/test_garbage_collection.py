"""The garbage collector stands still for as long as any restore is on."""

import gc
from collections.abc import Iterator

import pytest

from service.pipeline.assignment.garbage_collection import GarbageCollector


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_it_goes_on_when_the_last_of_the_restores_ends() -> None:
    collector = GarbageCollector()
    with collector.paused():
        with collector.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_a_restore_that_fails() -> None:
    collector = GarbageCollector()
    with pytest.raises(OSError, match="away"), collector.paused():
        raise OSError("away")
    assert gc.isenabled()


def test_what_is_in_memory_is_not_looked_at_again() -> None:
    before = gc.get_freeze_count()
    GarbageCollector().forget()
    assert gc.get_freeze_count() > before
