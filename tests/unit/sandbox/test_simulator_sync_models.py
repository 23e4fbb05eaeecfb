"""The table of the synchronous models against what the vendor's pages say."""

import pytest

from sandbox.simulator.config import vendor_submit_rpm
from sandbox.simulator.models import BEIJING, FILE_MODELS, SINGAPORE
from sandbox.simulator.sync_models import SYNC_MODELS, VIRGINIA, sync_model


def test_a_model_is_either_synchronous_or_not() -> None:
    assert not SYNC_MODELS.keys() & FILE_MODELS.keys()


def test_the_us_names_are_in_virginia_alone_and_without_the_door_for_chats() -> None:
    here = {name for name, row in SYNC_MODELS.items() if set(row.submits_per_minute) == {VIRGINIA}}
    assert here == {"qwen3-asr-flash-us", "qwen3-asr-flash-2025-09-08-us"}
    assert all("chat" not in SYNC_MODELS[name].doors for name in here)
    everywhere = {name for name, row in SYNC_MODELS.items() if VIRGINIA in row.submits_per_minute}
    assert everywhere - here == {"qwen3-asr-flash", "qwen3-asr-flash-2025-09-08", "qwen3.8-omni-flash"}


@pytest.mark.parametrize(
    ("model", "rpm"),
    [("qwen3-asr-flash", 100), ("fun-asr-flash", 600), ("qwen3.5-omni-plus", 60), ("fun-asr", 600)],
)
def test_the_limits_of_a_minute_are_those_of_the_page(model: str, rpm: int | None) -> None:
    assert vendor_submit_rpm(SINGAPORE)[model] == rpm
    assert vendor_submit_rpm(BEIJING)[model] == rpm


def test_any_dated_snapshot_of_omni_is_known_and_no_other() -> None:
    assert sync_model("qwen3-omni-flash-2025-12-01") is SYNC_MODELS["qwen3-omni-flash"]
    assert sync_model("qwen3-asr-flash-2020-01-01") is None
    assert sync_model("whisper") is None


@pytest.mark.parametrize(
    ("model", "tokens", "seconds", "size_bytes"),
    [
        ("qwen3.5-omni-flash", 7, 10_800, 2 * 1024**3),
        ("qwen3-omni-flash", 12.5, 1_200, 100 * 1024**2),
        ("qwen-omni-turbo", 25, 180, 10 * 1024**2),
        ("qwen3-asr-flash", 25, 300, 10 * 1024**2),
    ],
)
def test_each_model_has_its_limits_and_tokens(
    model: str, tokens: float, seconds: float, size_bytes: int
) -> None:
    row = SYNC_MODELS[model]
    assert (row.audio_tokens_per_second, row.limit_seconds, row.limit_bytes) == (tokens, seconds, size_bytes)
