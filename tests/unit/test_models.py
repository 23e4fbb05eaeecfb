"""The model table: names, dates and limits."""

import re

import pytest

from service.contract.models import Family, known_models, model_info, model_pattern

KNOWN = ["fun-asr", "fun-asr-mtl", "fun-asr-2025-11-07", "fun-asr-2025-08-25", "fun-asr-mtl-2025-08-25"]
UNKNOWN = [
    "",
    "FUN-ASR",
    "fun-asr ",
    "fun-asr\n",
    "fun-asr-flash-2026-06-15",
    "fun-asr-2025-13-01",
    "fun-asr-2025-02-30",
    "fun-asr-20251107",
    "fun-asr-2025-11-07-2025-11-07",
    "fun-asr-２０２５-11-07",
    "paraformer-v2",
    "qwen3-asr-flash-filetrans",
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
