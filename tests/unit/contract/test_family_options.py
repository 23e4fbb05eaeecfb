"""What each family takes beside what the others take, and how the request's language reaches its option."""

import re

import pytest
from pydantic import JsonValue

from service.contract.family_options import OPTIONS
from service.contract.hotwords import Hotword, fault_of
from service.contract.model_table import MODELS, Family
from service.contract.models import is_listed, known_models
from service.contract.options import NoticeCode, read_options, warnings_for
from service.errors import FailureCode, InvalidRecord

FILES = "qwen-audio-3.1-asr-flash-filetrans"
USER: JsonValue = {"role": "user", "content": [{"type": "input_text", "text": "A call about a router."}]}
ASSISTANT: JsonValue = {"role": "assistant", "content": [{"type": "text", "text": "What about it?"}]}
ACCEPTED: list[tuple[str, dict[str, JsonValue]]] = [
    ("paraformer-v2", {"disfluency_removal_enabled": True, "timestamp_alignment_enabled": False}),
    ("paraformer-v2", {"language_hints": ["zh", "en"], "hotwords": [{"text": "Kafka", "language": "en"}]}),
    ("paraformer-8k-v1", {"channel_id": [0, 1], "disfluency_removal_enabled": True}),
    (FILES, {"context": [USER], "vocabulary": {"Kafka": 5, "etcd": 50}, "language_hints": ["zh", "en"]}),
    ("qwen3-asr-flash-filetrans", {"language": "en", "enable_itn": True, "enable_words": True}),
    ("qwen3-asr-flash", {"asr_options": {"language": "en", "enable_lid": True}, "context": "Kafka, etcd"}),
    ("qwen3-asr-flash-us", {"asr_options": {"enable_itn": False}}),
    ("fun-asr-flash", {"format": "wav", "sample_rate": 16000, "hotwords": [{"text": "Kafka"}]}),
    ("qwen-audio-3.0-asr-flash", {"vocabulary": {"Kafka": 4}, "language_hints": ["en"]}),
    ("fun-asr-flash-2026-06-15", {"context": [USER, ASSISTANT], "language_hints": ["en"]}),
    ("qwen-audio-3.1-asr-flash", {"keep_dialect": True, "speaker_diarization_enabled": True}),
    (FILES, {"keep_dialect": False, "diarization_enabled": True, "speaker_count": 2}),
    ("qwen3.5-omni-flash", {"prompt": "Who speaks?", "format": "mp3", "extra_parameters": {"seed": 1}}),
]


def refusal_of(model: str, options: dict[str, JsonValue]) -> str:
    with pytest.raises(InvalidRecord) as caught:
        read_options(model, options)
    assert caught.value.code is FailureCode.INVALID_OPTION
    return caught.value.message


def said(role: str, chars: int) -> JsonValue:
    return {"role": role, "content": [{"text": "x" * chars}]}


def notices(model: str, options: dict[str, JsonValue]) -> list[str]:
    return [notice.code for notice in warnings_for(model, options)]


@pytest.mark.parametrize(("model", "options"), ACCEPTED)
def test_what_a_family_takes_comes_back_as_given(model: str, options: dict[str, JsonValue]) -> None:
    assert read_options(model, options) == options


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (
            "paraformer-v1",
            {"language_hints": ["zh"]},
            "models that have it: fun-asr, fun-asr-mtl, paraformer-v2",
        ),
        (
            "paraformer-mtl-v1",
            {"hotwords": [{"text": "a"}]},
            "`hotwords` is not an option of paraformer-mtl-v1",
        ),
        ("qwen3-asr-flash-filetrans", {"diarization_enabled": True}, "models that have it: fun-asr"),
        ("qwen3-asr-flash", {"channel_id": [0]}, "is not an option of qwen3-asr-flash"),
        ("fun-asr", {"vocabulary": {"a": 1}}, f"models that have it: {FILES}"),
        ("fun-asr", {"prompt": "x"}, "models that have it: qwen3.5-omni-plus"),
        ("qwen3.5-omni-plus", {"modalities": ["audio"]}, "it takes text alone"),
        ("qwen3.5-omni-plus", {"extra_parameters": {"stream": False}}, "must not name `stream`"),
        (FILES, {"vocabulary": {"a": 6}}, "must be 1 to 5, or 50"),
        (FILES, {"vocabulary": {"a": 1}, "hotwords": [{"text": "b"}]}, "exclude each other"),
        (FILES, {"vocabulary_id": "v", "vocabulary": {"a": 1}}, "exclude each other"),
        (FILES, {"context": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "`input_text`"),
        (FILES, {"context": [{"role": "system", "content": []}]}, "`options.context[0].role`"),
        ("fun-asr-flash", {"format": "WAV!"}, "`options.format`"),
        ("qwen-audio-3.0-asr-flash", {"vocabulary": {"a": 20}}, "must be 1 to 5, or 50"),
        (
            FILES,
            {"vocabulary": {f"w{n}": 50 for n in range(51)}},
            "has 51 words of weight 50; it may have 50",
        ),
        (FILES, {"vocabulary": {f"w{n}": 1 for n in range(2001)}}, "must have at most 2000 entries"),
        (FILES, {"speaker_diarization_enabled": True}, "there it is called `diarization_enabled`"),
        (
            "qwen-audio-3.1-asr-flash",
            {"diarization_enabled": True},
            "there it is called `speaker_diarization_enabled`",
        ),
        ("qwen-audio-3.1-asr-flash", {"extra_parameters": {"keep_dialect": True}}, "an option of its own"),
        ("fun-asr-flash-2026-06-15", {"sample_rate": "16 kHz"}, "`options.sample_rate` must be an integer"),
        (
            "fun-asr-flash-2026-06-15",
            {"sample_rate": "400000"},
            "`options.sample_rate` must be at most 384000",
        ),
        ("fun-asr", {"hotwords": [{"text": "a", "language": "ko"}]}, "knows words of en, ja, zh, not of ko"),
    ],
)
def test_what_a_family_does_not_take_is_refused_with_a_way_out(
    model: str, options: dict[str, JsonValue], words: str
) -> None:
    assert words in refusal_of(model, options)


def test_every_model_of_the_table_reads_no_options_and_warns_of_a_name_that_is_not_listed() -> None:
    for model in MODELS:
        assert read_options(model, {}) == {}
        assert notices(model, {}) == [] if is_listed(model) else [NoticeCode.MODEL_UNLISTED]


EVERY_VALUE: dict[str, JsonValue] = {
    "asr_options": {"language": "en"},
    "channel_id": [0],
    "diarization_enabled": True,
    "disfluency_removal_enabled": True,
    "enable_itn": True,
    "enable_words": False,
    "extra_parameters": {"x": 1},
    "format": "wav",
    "hotwords": [{"text": "Kafka"}],
    "keep_dialect": True,
    "language": "zh",
    "language_hints": ["zh"],
    "prompt": "Who speaks?",
    "sample_rate": 16000,
    "speaker_count": 2,
    "speaker_diarization_enabled": True,
    "special_word_filter": {"system_reserved_filter": False},
    "timestamp_alignment_enabled": True,
    "vocabulary": {"Kafka": 4},
    "vocabulary_id": "vocab-demo-0a1b",
}
"""A good value of each option, of whichever model."""
CONTEXTS: dict[Family, JsonValue] = {Family.QWEN_ASR: "Kafka"}
"""The one option that two families write differently; the others take messages."""
NEEDS: dict[str, dict[str, JsonValue]] = {"speaker_count": {"diarization_enabled": True}}
FILES_WORD = {"diarization_enabled", "speaker_diarization_enabled"}


def test_every_option_of_every_family_is_in_the_generated_table() -> None:
    known = {name for options in OPTIONS.values() for name in options.model_fields}
    assert known == {*EVERY_VALUE, "context"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("option", [*EVERY_VALUE, "context"])
def test_an_option_is_taken_by_a_model_or_refused_with_the_names_of_those_that_can(
    option: str, model: str
) -> None:
    info = MODELS[model]
    messages: JsonValue = [USER, ASSISTANT]
    value = CONTEXTS.get(info.family, messages) if option == "context" else EVERY_VALUE[option]
    given: dict[str, JsonValue] = {option: value, **NEEDS.get(option, {})}
    able = {
        name
        for name, row in MODELS.items()
        if option in OPTIONS[row.family].model_fields and option not in row.lacks
    }
    if model in able:
        assert read_options(model, given) == given
        return
    said = refusal_of(model, given)
    named = set(re.findall(r"[a-z0-9.-]+", said.partition("models that have it:")[2]))
    other_word = FILES_WORD - {option} if option in FILES_WORD else set()
    if other_word & (set(OPTIONS[info.family].model_fields) - info.lacks):
        assert f"there it is called `{other_word.pop()}`" in said
    else:
        assert named == able & set(known_models())
        assert f"`{option}` is not an option of {model}; " in said


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("fun-asr", {"language_hints": ["en", "zh"]}, [NoticeCode.ONLY_FIRST_LANGUAGE_HINT]),
        ("paraformer-v2", {"language_hints": ["zh", "en", "ja"]}, []),
        ("paraformer-v2", {"language_hints": ["zh", "sw"]}, [NoticeCode.LANGUAGE_HINT_UNLISTED]),
        (FILES, {"language_hints": ["zh", "en", "ja", "ko", "de"]}, [NoticeCode.LANGUAGE_HINTS_CUT]),
        ("qwen3-asr-flash-filetrans", {"language": "sw"}, [NoticeCode.LANGUAGE_HINT_UNLISTED]),
        ("qwen3-asr-flash", {"asr_options": {"language": "sw"}}, [NoticeCode.LANGUAGE_HINT_UNLISTED]),
        ("qwen3-asr-flash", {"asr_options": {"enable_itn": True}}, []),
        ("qwen4-asr-flash", {}, [NoticeCode.MODEL_UNLISTED]),
        ("fun-asr-2031-01-31", {}, [NoticeCode.MODEL_UNLISTED]),
        (FILES, {"context": [USER] * 5}, []),
        (FILES, {"context": [USER] * 6}, [NoticeCode.CONTEXT_CUT]),
        (FILES, {"context": [{"role": "user", "content": [{"text": "x" * 401}]}]}, [NoticeCode.CONTEXT_CUT]),
        (FILES, {"context": [said("user", 200), said("assistant", 200)]}, []),
        (FILES, {"context": [said("user", 200), said("assistant", 201)]}, [NoticeCode.CONTEXT_CUT]),
        (FILES, {"context": [said("user", 201), said("user", 200)]}, []),
        (FILES, {"context": [said("assistant", 300), said("user", 400)]}, []),
        (FILES, {"context": [said("user", 1), said("assistant", 1)] * 5}, []),
        ("fun-asr-flash-2026-06-15", {"context": [said("user", 401)]}, [NoticeCode.CONTEXT_CUT]),
        ("fun-asr-flash-2026-06-15", {"language_hints": ["zh", "en"]}, [NoticeCode.ONLY_FIRST_LANGUAGE_HINT]),
        ("qwen-audio-3.0-asr-flash", {"language_hints": ["zh", "en", "ja", "ko"]}, []),
        (
            "qwen-audio-3.1-asr-flash",
            {"speaker_diarization_enabled": True, "keep_dialect": True, "language_hints": ["zh"]},
            [NoticeCode.OPTIONS_WITHOUT_EFFECT],
        ),
        ("qwen-audio-3.1-asr-flash", {"speaker_diarization_enabled": False, "keep_dialect": True}, []),
        ("qwen-audio-3.1-asr-flash", {"speaker_diarization_enabled": True}, []),
    ],
)
def test_options_that_the_provider_ignores_cause_a_warning(
    model: str, options: dict[str, JsonValue], expected: list[NoticeCode]
) -> None:
    assert notices(model, options) == expected


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ({"text": "a", "weight": 6}, "`weight` must be 1 to 5"),
        ({"text": "a", "weight": 0}, "`weight` must be 1 to 5"),
        ({"text": "ö" * 16}, "15 characters"),
        ({"text": "one two three four five six seven eight"}, "7 parts"),
        ({"text": "  "}, "`options.hotwords[0].text`"),
        ({"text": "a", "language": "sw"}, "`options.hotwords[0].language`"),
        ({"text": "a", "lang": "en"}, "is not a known field"),
    ],
)
def test_a_hotword_beyond_the_vendors_limits_is_refused(word: dict[str, JsonValue], words: str) -> None:
    assert words in refusal_of("fun-asr", {"hotwords": [word]})


def test_hotwords_at_their_limits_are_taken() -> None:
    hotwords: JsonValue = [{"text": "ö" * 15}, {"text": "one two three four five six seven", "weight": 5}]
    assert read_options("fun-asr", {"hotwords": hotwords}) == {"hotwords": hotwords}
    heavy: JsonValue = [{"text": "etcd", "weight": 50}]
    assert read_options(FILES, {"hotwords": heavy}) == {"hotwords": heavy}


def test_a_list_as_a_whole_is_judged_by_its_model() -> None:
    assert "50 is for qwen-audio models" in refusal_of("fun-asr", {"hotwords": [{"text": "a", "weight": 50}]})
    assert "name a word twice" in refusal_of("fun-asr", {"hotwords": [{"text": "a"}, {"text": " a"}]})
    many = [Hotword(text=f"w{number}") for number in range(501)]
    assert "has 501 words; a list for fun-asr may have 500" in str(
        fault_of(many, "fun-asr", 500, (), knows_super=False)
    )
    heavy = [Hotword(text=f"w{number}", weight=50) for number in range(51)]
    assert "51 words of weight 50" in str(fault_of(heavy, FILES, 2000, (), knows_super=True))
