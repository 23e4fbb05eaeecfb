"""Excludes the loaded tests from Python's garbage collector: each full collection would visit all of them."""

import gc

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
