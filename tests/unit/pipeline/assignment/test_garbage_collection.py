"""The garbage collector stands still for as long as any restore is on."""

import gc
from collections.abc import Iterator

import pytest

from service.pipeline.assignment.garbage_collection import GarbageCollector


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_collection_resumes_when_the_last_restore_ends() -> None:
    collector = GarbageCollector()
    with collector.paused():
        with collector.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collection_resumes_after_a_failed_restore() -> None:
    collector = GarbageCollector()
    with pytest.raises(OSError, match="away"), collector.paused():
        raise OSError("away")
    assert gc.isenabled()


def test_objects_in_memory_are_not_collected_again() -> None:
    before = gc.get_freeze_count()
    GarbageCollector().forget()
    assert gc.get_freeze_count() > before
