"""The model table: names, dates and limits."""

import re

import pytest

from service.contract.models import (
    MODELS,
    VIRGINIA,
    Family,
    is_listed,
    known_models,
    model_info,
    model_pattern,
    models_of,
)

KNOWN = ["fun-asr", "fun-asr-mtl", "fun-asr-2025-11-07", "fun-asr-2025-08-25", "fun-asr-mtl-2025-08-25"]
UNKNOWN = [
    "",
    "FUN-ASR",
    "fun-asr ",
    "fun-asr\n",
    "fun-asr-2025-13-01",
    "fun-asr-2025-02-30",
    "fun-asr-20251107",
    "fun-asr-2025-11-07-2025-11-07",
    "fun-asr-２０２５-11-07",
    "paraformer",
    "sensevoice-v1",
    "qwen3-omni-flash-realtime",
    "qwen3-asr-flash-us-2025-09-08",
    "qwen3.5.1-omni-plus",
]


@pytest.mark.parametrize("name", [*KNOWN, "fun-asr-2031-01-31", "fun-asr-mtl-2031-12-01"])
def test_aliases_and_dated_snapshots_even_new_ones_are_known(name: str) -> None:
    info = model_info(name)
    assert info is not None
    assert info.family is Family.FUN_ASR
    assert info.files_per_task == 100
    assert re.search(model_pattern(Family.FUN_ASR), name)


@pytest.mark.parametrize("name", UNKNOWN)
def test_any_other_name_is_not(name: str) -> None:
    assert model_info(name) is None


def test_a_snapshot_has_the_limits_of_its_alias_unless_the_table_says_otherwise() -> None:
    assert model_info("fun-asr-mtl-2031-12-01") == model_info("fun-asr-mtl")
    old = model_info("fun-asr-2025-08-25")
    assert old is not None
    assert old.languages == {"zh", "en"}


def test_every_known_model_has_a_row() -> None:
    assert all(model_info(name) for name in known_models())


@pytest.mark.parametrize("name", MODELS)
def test_the_pattern_of_its_family_and_of_no_other_fits_a_listed_model(name: str) -> None:
    fitting = [family for family in Family if re.search(model_pattern(family), name)]
    assert fitting == [MODELS[name].family]


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("paraformer-v3", "paraformer-v2"),
        ("qwen-audio-3.2-asr-flash-filetrans", "qwen-audio-3.1-asr-flash-filetrans"),
        ("qwen4-asr-flash-filetrans-2027-01-01", "qwen3-asr-flash-filetrans"),
        ("qwen3-asr-flash-2027-01-01", "qwen3-asr-flash"),
        ("qwen3-asr-flash-2027-01-01-us", "qwen3-asr-flash-us"),
        ("qwen3.6-omni-flash", "qwen3.5-omni-flash"),
        ("qwen3-omni-flash-2025-12-01", "qwen3-omni-flash"),
    ],
)
def test_a_later_version_is_taken_for_its_namesake_and_is_not_listed(name: str, like: str) -> None:
    assert model_info(name) == MODELS[like]
    assert not is_listed(name)
    assert re.search(model_pattern(MODELS[like].family), name)


def test_every_family_has_models_and_every_model_is_one_way_only() -> None:
    for family in Family:
        rows = [MODELS[name] for name in models_of(family)]
        assert len({row.way for row in rows}) == 1
        assert all(row.files_per_task == 1 for row in rows if row.is_synchronous)


def test_only_the_us_names_are_served_in_virginia() -> None:
    assert {name for name, row in MODELS.items() if VIRGINIA in row.regions} == {
        "qwen3-asr-flash-us",
        "qwen3-asr-flash-2025-09-08-us",
    }
