"""Redaction: what it removes, what it keeps, and that secrets never pass."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract.redaction import MAX_CHARS, redact, shown, without_queries, without_query

SECRET = "kR7canaryT0k3nX9vQ2w"
PLANTS = [
    "https://media.example.org/a.wav?Expires=1&Signature={}",
    "http://user:{}@media.example.org/a.wav",
    "oss://bucket/key?x={}#{}",
    "https://media.example.org/a.wav#{}",
    "see (https://media.example.org/a.wav?q='x'&t={})",
    '{{"url":"https:\\/\\/media.example.org\\/a.wav?token={}"}}',
    "media.example.org/a.wav?Signature={}",
    "media.example.org/a.wav?x=1&y={}",
    '{{"url":"https:\\/\\/media.example.org\\/a.wav?x={}"}}',
    "https%3A%2F%2Fmedia.example.org%2Fa.wav%3FSignature%3D{}",
    "Authorization: Bearer {}",
    "authorization: bearer  {}",
    "Authorization: Basic {}",
    "key sk-{}",
    "key 'sk-ws-{}'",
    "token st-{}",
    "id LTAI{}",
    "jwt eyJ{}",
    "OSSAccessKeyId={}",
    "OSSAccessKeyId: {}",
    "Signature={}&Expires=3",
    '"signature": "{}"',
    '{{\\"access_key_secret\\": \\"{}\\"}}',
    "x-oss-signature={}",
    "x-oss-security-token: {}",
    "X-Amz-Signature={}",
    "SecurityToken={}",
    "api_key={}",
    "apikey : {}",
    "password={}",
    "secret = {}",
]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_secret_is_gone_and_the_words_around_it_stay(plant: str) -> None:
    cleaned = redact(f"before {plant.format(SECRET, SECRET)} after")
    assert "canary" not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


@given(st.sampled_from(PLANTS), st.text(max_size=700), st.text(max_size=50), st.sampled_from(" \n\t，"))
def test_a_planted_secret_never_passes(plant: str, before: str, after: str, blank: str) -> None:
    assert SECRET not in redact(before + blank + plant.format(SECRET, SECRET) + blank + after)


@given(
    st.text(max_size=900)
    | st.lists(
        st.sampled_from([*PLANTS, "Bearer", "?a=", "://", "sk-", "password:", "*", " ", "=", '"', "x" * 490]),
        max_size=9,
    ).map("".join)
)
@example("x" * 492 + " Bearer abc")
@example("x" * 495 + " sk-abcdefghijkl")
@example("x" * 480 + " https://u:p@h/a?b")
@example("X-OSS-A://'A://@")
def test_redacting_twice_changes_nothing_and_the_result_is_one_short_line(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    assert len(once) <= MAX_CHARS
    assert "\n" not in once
    once.encode()


@given(st.text(alphabet="akst019._/-", max_size=MAX_CHARS))
@example("sk-0123456789")
@example("a/st-0123456789")
def test_a_text_that_is_plain_at_a_glance_is_what_a_close_look_makes_of_it(text: str) -> None:
    # With a blank in front, which goes, it is looked at closely.
    assert redact(text) == redact(f" {text}")


def test_url_keeps_host_and_path() -> None:
    assert redact("cannot read https://u:p@h.example:8443/x%3Ay/b.wav?z=1#t now") == (
        "cannot read https://h.example:8443/x%3Ay/b.wav now"
    )


@pytest.mark.parametrize(
    "text",
    [
        "FILE_404_NOT_FOUND",
        "url error, please check url！",
        "Failed to cancel the task, please confirm if the task is in PENDING status.",
        "Requests rate limit exceeded, please try again later.",
        "the task-5d0a6c1e-1111 of desk-12345678 asks: is a token expired?",
        "音频文件无法下载",
    ],
)
def test_a_harmless_message_is_unchanged(text: str) -> None:
    assert redact(text) == text


def test_control_characters_and_direction_marks_become_one_blank() -> None:
    assert redact("a\x00\x1b[31m\r\nb\u202ec\ud800d\ufeff") == "a [31m b c d"


def test_only_the_beginning_of_a_huge_text_is_kept() -> None:
    assert len(redact("<p>word</p> " * 100_000)) <= MAX_CHARS


def test_a_shown_name_is_short_and_cannot_close_its_quotes() -> None:
    assert shown("a`b" + "c" * 200) == "a'b" + "c" * 61


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://h/a.wav?x=1", "https://h/a.wav"),
        ("https://h/a.wav#f?x", "https://h/a.wav"),
        ("https://h/10%3A15/a.wav", "https://h/10%3A15/a.wav"),
        ("oss://b/k", "oss://b/k"),
    ],
)
def test_without_query_keeps_the_rest_byte_for_byte(url: str, bare: str) -> None:
    assert without_query(url) == bare


def test_without_queries_reaches_every_string_that_holds_a_url() -> None:
    document: JsonValue = {"a": ["https://h/a?x=1", "why? no"], "b": {"c": "oss://b/k?y"}, "n": 1}
    assert without_queries(document) == {"a": ["https://h/a", "why? no"], "b": {"c": "oss://b/k"}, "n": 1}
