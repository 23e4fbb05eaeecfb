"""The number of series a replica has: bounded, and none of them can only ever be zero."""

import re
from pathlib import Path

from tools.pages.metric_series import LOOPS, SIX_MODELS, all_series, number_of_series
from tools.pages.metrics import all_definitions

MOST_SERIES = 1_400
"""At 12 partitions and 6 models of 6 families, to which everything has happened; Python's come on top."""


def test_a_replica_of_twelve_partitions_and_six_models_has_few_series() -> None:
    assert number_of_series(12, SIX_MODELS) < MOST_SERIES


def test_more_partitions_and_models_cost_what_the_page_says() -> None:
    """Nobody may have to find out by a bill of the monitoring that a partition costs hundreds of series."""
    whole = number_of_series(12, SIX_MODELS)
    assert number_of_series(13, SIX_MODELS) - whole <= 12
    assert number_of_series(12, (*SIX_MODELS, "fun-asr-mtl")) - whole <= 40


def test_every_definition_makes_a_series_and_every_series_has_a_definition_with_a_question() -> None:
    shown = {
        family.name for family in all_series(1, SIX_MODELS).collect() if family.name.startswith("scribe_")
    }
    defined = {each.name: each.question for each in all_definitions()}
    assert shown == set(defined)
    assert [name for name, question in defined.items() if not question.endswith("?")] == []


def test_the_loops_that_are_counted_are_those_that_run() -> None:
    started = set(re.findall(r'_start_loop\(\s*"(\w+)"', Path("service/app/process.py").read_text()))
    assert set(LOOPS) == started | {"write_pages", "read_pages"}
