"""The model table: names, dates and limits."""

import re

import pytest

from service.contract.model_table import MODELS, Family, Unit
from service.contract.models import is_listed, known_models, model_info, model_pattern, models_of
from service.contract.regions import (
    REGIONS,
    SHARED_HOSTS,
    VIRGINIA,
    base_url_of,
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
    "qwen-audio-3.1-asr-flash-message",
    "qwen-audio-3.1-asr-flash-streaming",
    "qwen3-omni-30b-a3b-captioner",
]


@pytest.mark.parametrize("name", [*KNOWN, "fun-asr-2031-01-31", "fun-asr-mtl-2031-12-01"])
def test_aliases_and_dated_snapshots_even_new_ones_are_known(name: str) -> None:
    info = model_info(name)
    assert info is not None
    assert info.family is Family.FUN_ASR
    assert info.files_per_task == 1
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
        ("qwen3.9-omni-flash", "qwen3.8-omni-flash"),
        ("qwen3.5-omni-flash-2026-03-15", "qwen3.5-omni-flash"),
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
        assert len({row.api for row in rows}) == 1
        assert all(row.files_per_task == 1 for row in rows if row.is_synchronous)


def test_the_names_of_virginia_are_those_without_us_and_the_old_ones_that_the_pages_dropped() -> None:
    in_virginia = {name for name, row in MODELS.items() if VIRGINIA in row.regions}
    old = {"qwen3-asr-flash-us", "qwen3-asr-flash-2025-09-08-us"}
    assert in_virginia - old == {"qwen3-asr-flash", "qwen3-asr-flash-2025-09-08", "qwen3.8-omni-flash"}
    assert {name for name in MODELS if not is_listed(name)} == {*old, "fun-asr-flash"}


def test_no_model_is_said_to_take_several_files_and_only_the_wire_of_some_has_room_for_them() -> None:
    assert {row.files_per_task for row in MODELS.values()} == {1}
    roomy = {row.family for row in MODELS.values() if row.takes_several_files}
    assert roomy == {Family.FUN_ASR, Family.PARAFORMER, Family.QWEN_AUDIO_FILES}


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("fun-asr", 2000),
        ("fun-asr-2025-11-07", 500),
        ("fun-asr-2025-08-25", 500),
        ("fun-asr-2031-01-31", 2000),
        ("fun-asr-mtl", 500),
        ("fun-asr-flash", 2000),
        ("fun-asr-flash-2026-06-15", 500),
        ("paraformer-v2", 500),
        ("paraformer-8k-v2", 500),
        ("paraformer-v1", 0),
        ("qwen-audio-3.1-asr-flash-filetrans", 2000),
        ("qwen-audio-3.0-asr-flash", 2000),
        ("qwen3-asr-flash", 0),
        ("qwen3.8-omni-flash", 0),
    ],
)
def test_a_hotword_list_may_be_as_long_as_the_pages_say_of_the_name(name: str, most: int) -> None:
    info = model_info(name)
    assert info is not None
    assert info.hotwords_per_list == most


@pytest.mark.parametrize(
    ("name", "per_minute", "also"),
    [
        ("fun-asr", 600, None),
        ("fun-asr-mtl", 100, None),
        ("paraformer-v2", 1200, None),
        ("paraformer-8k-v2", 1200, "100 tasks at once"),
        ("paraformer-8k-v1", 600, "500 tasks at once"),
        ("paraformer-v1", 600, "6,000,000 tokens a minute"),
        ("paraformer-mtl-v1", 600, "6,000,000 tokens a minute"),
        ("qwen-audio-3.1-asr-flash-filetrans", 600, None),
        ("qwen-audio-3.1-asr-flash", 600, None),
        ("qwen3-asr-flash", 100, None),
        ("qwen3.5-omni-plus", 60, "100,000 tokens a minute"),
        ("qwen3.8-omni-flash", 30_000, "tokens a minute, by region"),
    ],
)
def test_the_limits_of_a_minute_are_those_of_the_vendors_page(
    name: str, per_minute: int, also: str | None
) -> None:
    assert (MODELS[name].submits_per_minute, MODELS[name].also_limited) == (per_minute, also)


def test_an_undocumented_limit_is_not_guessed() -> None:
    unknown = {name for name, row in MODELS.items() if row.max_file_bytes is None}
    assert unknown == {"qwen3.8-omni-flash"}
    row = MODELS["qwen3.8-omni-flash"]
    assert (row.max_audio_seconds, row.audio_tokens_per_second, row.regions) == (None, None, REGIONS)


def test_only_omni_and_the_newest_qwen_audio_bill_tokens() -> None:
    by_tokens = {name for name, row in MODELS.items() if row.billed_by is Unit.TOKENS}
    assert by_tokens == {
        "qwen-audio-3.1-asr-flash-filetrans",
        "qwen-audio-3.1-asr-flash",
        *(name for name, row in MODELS.items() if row.family is Family.OMNI),
    }


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_and_a_workspace_give_a_host_and_without_one_only_where_there_is_a_shared_one(
    region: str,
) -> None:
    assert base_url_of(region, "llm-Ab1") == f"https://llm-ab1.{region}.maas.aliyuncs.com/api/v1"
    if region in SHARED_HOSTS:
        assert base_url_of(region, None) == f"https://{SHARED_HOSTS[region]}/api/v1"
    else:
        with pytest.raises(ValueError, match=f"{region} has no host"):
            base_url_of(region, None)


@pytest.mark.parametrize(
    "workspace", ["", "-a", "a-", "a.b", "a/b", "a b", "a@b", "ä", "a" * 64, "a\n", "a:1"]
)
def test_a_workspace_that_cannot_begin_a_hosts_name_leads_to_no_other_host(workspace: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and dashes"):
        base_url_of(VIRGINIA, workspace)
