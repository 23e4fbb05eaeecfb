"""Options of the model families: canonical form, refusals and warnings."""

import json

import pytest
from pydantic import JsonValue

from service.contract.options import NoticeCode, read_options, warnings_for
from service.errors import FailureCode, InvalidRecord

EVERY_OPTION: dict[str, JsonValue] = {
    "channel_id": [0],
    "language_hints": ["en"],
    "vocabulary_id": "vocab-demo-0a1b2c3d4e5f",
    "special_word_filter": {
        "filter_with_signed": {"word_list": ["foo"]},
        "filter_with_empty": {"word_list": ["um"]},
        "system_reserved_filter": True,
    },
    "diarization_enabled": True,
    "speaker_count": 2,
    "extra_parameters": {"new_switch": {"level": [1, None]}},
}


NEEDS_DIARIZATION = "`options.speaker_count` needs `diarization_enabled` true: without it, it has no effect"
NEEDS_ONE_CHANNEL = "`options.diarization_enabled` needs a single channel in `channel_id`"
EXTRA_NAMES_AN_OPTION = "`options.extra_parameters` must not name `channel_id`: that is an option of its own"
FILTER = "`options.special_word_filter"
LANGUAGE = "^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$"


def refused(options: dict[str, JsonValue], model: str = "fun-asr") -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        read_options(model, options)
    return caught.value


def codes(options: dict[str, JsonValue], model: str = "fun-asr", duration_ms: int | None = None) -> list[str]:
    return [notice.code for notice in warnings_for(model, options, duration_ms)]


def test_every_documented_option_comes_back_as_given() -> None:
    assert read_options("fun-asr-mtl", EVERY_OPTION) == EVERY_OPTION


def test_reading_canonical_options_again_changes_nothing() -> None:
    canonical = read_options(
        "fun-asr", {**EVERY_OPTION, "special_word_filter": '{"system_reserved_filter": false}'}
    )
    assert read_options("fun-asr", canonical) == canonical


def test_nothing_is_added() -> None:
    assert read_options("fun-asr", {}) == {}


def test_null_counts_as_not_given() -> None:
    given: dict[str, JsonValue] = {
        "speaker_count": None,
        "enable_itn": None,
        "special_word_filter": {"filter_with_empty": None},
    }
    assert read_options("fun-asr", given) == {"special_word_filter": {}}


def test_null_inside_extra_parameters_is_kept() -> None:
    assert read_options("fun-asr", {"extra_parameters": {"x": None}}) == {"extra_parameters": {"x": None}}


def test_the_word_filter_may_be_the_string_of_the_vendors_samples() -> None:
    words = EVERY_OPTION["special_word_filter"]
    assert read_options("fun-asr", {"special_word_filter": json.dumps(words)}) == {
        "special_word_filter": words
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"enable_itn": True},
            "`enable_itn` is not an option of fun-asr; models that have it: qwen3-asr-flash-filetrans",
        ),
        (
            {"disfluency_removal_enabled": True},
            "`disfluency_removal_enabled` is not an option of fun-asr; models that have it: paraformer-v2, "
            "paraformer-8k-v2, paraformer-v1, paraformer-8k-v1, paraformer-mtl-v1",
        ),
        (
            {"phrase_id": "x"},
            "`phrase_id` is not an option of fun-asr: it is of an older way to give hotwords: use `hotwords`",
        ),
        ({"speaker_count": 2}, NEEDS_DIARIZATION),
        ({"speaker_count": 2, "diarization_enabled": False}, NEEDS_DIARIZATION),
        ({"diarization_enabled": True, "channel_id": [0, 1]}, NEEDS_ONE_CHANNEL),
        ({"diarization_enabled": True, "speaker_count": 1}, "`options.speaker_count` must be at least 2"),
        ({"diarization_enabled": True, "speaker_count": 101}, "`options.speaker_count` must be at most 100"),
        ({"diarization_enabled": True, "speaker_count": 2.5}, "`options.speaker_count` must be an integer"),
        ({"diarization_enabled": "yes"}, "`options.diarization_enabled` must be true or false"),
        ({"channel_id": 0}, "`options.channel_id` must be an array"),
        ({"channel_id": [0, True]}, "`options.channel_id[1]` must be an integer"),
        ({"channel_id": [-1]}, "`options.channel_id[0]` must be at least 0"),
        ({"channel_id": []}, "`options.channel_id` must have 1 or more entries"),
        ({"channel_id": [1, 1]}, "`options.channel_id` must not name a channel twice"),
        ({"language_hints": ["en", "English"]}, f"`options.language_hints[1]` must match {LANGUAGE}"),
        ({"vocabulary_id": ""}, "`options.vocabulary_id` must have 1 or more characters"),
        ({"special_word_filter": "foo"}, f"{FILTER}` must be an object, or a string that holds one as JSON"),
        ({"special_word_filter": []}, f"{FILTER}` must be an object"),
        ({"special_word_filter": {"filter": 1}}, f"{FILTER}.filter` is not a known field"),
        (
            {"special_word_filter": {"filter_with_empty": {}}},
            f"{FILTER}.filter_with_empty.word_list` is required",
        ),
        ({"extra_parameters": {"channel_id": [0]}}, EXTRA_NAMES_AN_OPTION),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, JsonValue], message: str) -> None:
    error = refused(options)
    assert (error.code, error.message) == (FailureCode.INVALID_OPTION, message)


def test_an_option_of_no_family_is_refused_with_the_way_out() -> None:
    message = refused({"diarisation_enabled": True}).message
    assert message.startswith("`diarisation_enabled` is not an option of fun-asr (those are channel_id, ")
    assert "`extra_parameters`" in message


def test_the_name_of_an_unknown_option_is_redacted() -> None:
    assert "canary" not in refused({"https://h/a?Signature=canary": 1}).message


def test_an_unknown_model_is_refused_with_the_known_names() -> None:
    error = refused({}, model="whisper-1")
    assert error.code is FailureCode.UNKNOWN_MODEL
    assert "fun-asr, fun-asr-mtl, paraformer-v2, " in error.message
    assert error.message.endswith("qwen-omni-turbo and their dated snapshots")
    assert "whisper" not in error.message


def test_plain_options_give_no_warning() -> None:
    assert codes(EVERY_OPTION, duration_ms=7_200_000) == []
    assert codes({}, duration_ms=50_000_000) == []


def test_several_language_hints_are_warned_of() -> None:
    assert codes({"language_hints": ["zh", "en"]}) == [NoticeCode.ONLY_FIRST_LANGUAGE_HINT]


def test_a_language_that_the_model_does_not_document_is_warned_of() -> None:
    assert codes({"language_hints": ["de"]}) == []
    assert codes({"language_hints": ["de"]}, model="fun-asr-2025-08-25") == [
        NoticeCode.LANGUAGE_HINT_UNLISTED
    ]


def test_several_channels_are_warned_of_because_each_is_billed() -> None:
    assert codes({"channel_id": [0, 1]}) == [NoticeCode.CHANNELS_BILLED_SEPARATELY]


def test_diarization_is_warned_of_only_above_two_hours() -> None:
    on: dict[str, JsonValue] = {"diarization_enabled": True}
    assert codes(on) == []
    assert codes(on, duration_ms=7_200_000) == []
    assert codes(on, duration_ms=7_200_001) == [NoticeCode.DIARIZATION_OVER_ADVISED_LENGTH]
