"""What `strict_json.loads` takes and refuses."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract import strict_json
from service.errors import FailureCode, InvalidRecord

ENCODABLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**64) + 1, 10**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ENCODABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ENCODABLE, inner, max_size=4),
    max_leaves=20,
)


def refusal(text: str) -> str:
    with pytest.raises(InvalidRecord) as caught:
        strict_json.loads(text)
    assert caught.value.code is FailureCode.INVALID_JSON
    return caught.value.message


@given(DOCUMENTS, st.booleans())
def test_any_document_comes_back_as_the_standard_parser_reads_it(document: object, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    assert strict_json.loads(text) == json.loads(text)
    assert json.dumps(strict_json.loads(text)).encode()


@given(st.text(alphabet='{}[]",:\\u0d8e1-. \n\ud800a') | st.text())
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        document = strict_json.loads(text)
    except InvalidRecord as error:
        message = error.message
    else:
        message = ""
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    assert not message or message.isprintable()


@pytest.mark.parametrize(
    "text", ["", " ", "{", '{"a":}', "{'a':1}", '{"a":1} x', "\ufeff{}", '"a\nb"', "[1,]"]
)
def test_what_is_not_json_is_refused_with_its_place(text: str) -> None:
    assert "(line 1, column " in refusal(text) or "(line 2, column " in refusal(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}'])
def test_names_that_are_no_json_numbers_are_refused(text: str) -> None:
    assert "is not a JSON number" in refusal(text)


def test_a_number_that_becomes_infinite_is_refused() -> None:
    assert "out of range" in refusal('{"a":1e999}')


@pytest.mark.parametrize("number", ["1" * 65, "-" + "1" * 65, "1" * 5_000, "0." + "1" * 64])
def test_a_number_of_more_than_64_characters_is_refused(number: str) -> None:
    assert "more than 64 digits" in refusal(f'{{"a":{number}}}')


def test_a_number_of_64_digits_is_read_exactly() -> None:
    assert strict_json.loads("-" + "9" * 64) == -(10**64) + 1


def test_a_key_that_stands_twice_is_refused_by_name() -> None:
    assert "`a` appears twice" in refusal('{"b":{"a":1,"b":2,"a":3}}')


def test_the_name_of_a_duplicate_key_is_redacted() -> None:
    key = "https://user:pw@h/a?Signature=canary"
    assert "canary" not in refusal(f'{{"{key}":1,"{key}":2}}')


def test_64_levels_are_read_and_65_are_refused() -> None:
    assert strict_json.loads("[" * 64 + "]" * 64) is not None
    assert "more than 64 deep" in refusal("[" * 65 + "]" * 65)
    assert "more than 64 deep" in refusal('{"a":' * 65 + "1" + "}" * 65)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_100_000_brackets_are_refused_before_the_parser_recurses(text: str) -> None:
    assert "more than 64 deep" in refusal(text)


def test_brackets_inside_strings_are_not_levels() -> None:
    text = json.dumps(["[" * 1_000, 'a\\"[' * 100, {"{" * 100: 1}])
    assert strict_json.loads(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 200_000, '"' * 200_001 + "[" * 100, '"\\' * 200_000 + "[" * 100]
)
def test_unterminated_strings_cost_no_more_than_reading_them(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        '"\\uDC00"',
        '{"\\uD83D":1}',
        '["\\ud83d\\ud83d\\ude00"]',
        '"\ud800"',
        '{"a":{"b":"\udfff"}}',
    ],
)
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    assert "surrogate" in refusal(text)


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert strict_json.loads('"\\ud83d\\ude00"') == "😀"


def test_an_escaped_backslash_before_u_is_no_escape() -> None:
    assert strict_json.loads('"\\\\ud800"') == "\\ud800"
