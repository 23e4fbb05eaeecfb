"""JSON and numbers of others: what is out of bounds is unknown; only what is no JSON raises."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.strict_json import MAX_DEPTH
from service.contract.untrusted_json import parse_json

HELPERS = {
    untrusted_json.whole_number: untrusted_json.MAX_WHOLE,
    untrusted_json.token_count: untrusted_json.MAX_TOKENS,
    untrusted_json.billed_seconds: untrusted_json.MAX_BILLED_SECONDS,
    untrusted_json.epoch_ms: untrusted_json.MAX_EPOCH_MS,
    untrusted_json.row_count: untrusted_json.MAX_WHOLE,
}
ABSURD = [
    *("-5000", "-1", "-1e-9", "1e13", "1.5e13", "1e300", "1e400", "-1e400", "1E+999999", "NaN"),
    *(
        "Infinity",
        "-Infinity",
        "true",
        "false",
        "null",
        '""',
        '"-1"',
        '"1e3"',
        '"NaN"',
        '"\u0664"',
        '"\u00b2"',
    ),
    *(str(10**13), str(10**40), "-" + str(10**40), "9" * 400, "9" * 4_300, "9" * 5_000, "9" * 100_000),
    *('"' + "9" * 19 + '"', '"' + "9" * 5_000 + '"', "[]", "{}", "[1]", "0." + "9" * 5_000 + "e400"),
]


def parsed(text: str) -> JsonValue:
    """The document, which is the same from a string and from bytes of any encoding that JSON may have."""
    document = parse_json(text)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32-le"):
        # json.dumps writes NaN and what is equal to nothing else.
        assert json.dumps(parse_json(text.encode(encoding))) == json.dumps(document), encoding
    return document


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize("literal", ABSURD)
def test_a_number_out_of_bounds_is_unknown_and_never_clamped(helper, literal: str) -> None:  # type: ignore[no-untyped-def]
    assert helper(parsed(literal)) is None


@pytest.mark.parametrize("number", ["9" * 64, "-" + "9" * 63, "9" * 65, "1" * 5_000, "0.5", "1e400"])
def test_a_number_is_read_or_null_whatever_stands_beside_it(number: str) -> None:
    read: JsonValue = json.loads(number) if len(number) <= 64 and number != "1e400" else None
    beside = parsed(f'{{"a":{number},"b":["{number}",7],"12":3}}')
    assert beside == {"a": read, "b": [number, 7], "12": 3}


@given(
    st.sampled_from(list(HELPERS)),
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists),
)
def test_whatever_stands_for_a_number_is_one_within_bounds_or_unknown(helper, value: JsonValue) -> None:  # type: ignore[no-untyped-def]
    number = helper(value)
    assert number is None or (type(number) is int and 0 <= number <= HELPERS[helper])
    if number is not None and isinstance(value, int | float):
        assert number - 1 < value < number + 1


@pytest.mark.parametrize(
    ("helper", "given_", "read"),
    [
        (untrusted_json.whole_number, 1234.6, 1235),
        (untrusted_json.whole_number, "1234", 1234),
        (untrusted_json.whole_number, 1e3, 1000),
        (untrusted_json.whole_number, 2**31 - 1, 2**31 - 1),
        (untrusted_json.billed_seconds, 8.2, 9),
        (untrusted_json.billed_seconds, "9", None),
        (untrusted_json.token_count, -0.0, 0),
        (untrusted_json.epoch_ms, 1_760_000_000_000.0, 1_760_000_000_000),
        (untrusted_json.epoch_ms, 1.5, None),
        (untrusted_json.row_count, 7.5, None),
        (untrusted_json.row_count, 7, 7),
    ],
)
def test_a_number_within_bounds_is_read(helper, given_: JsonValue, read: int | None) -> None:  # type: ignore[no-untyped-def]
    assert helper(given_) == read


@pytest.mark.parametrize("depth", [1, 63, MAX_DEPTH])
@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}"), ('[{"b":1},{"a":', "}]")])
def test_what_is_nested_within_the_bound_is_read(depth: int, before: str, after: str) -> None:
    count = depth // (before.count("[") + before.count("a"))
    text = before * count + "0" + after * count
    assert json.dumps(parsed(text)) == json.dumps(json.loads(text))


SHAPES = [
    *(("[", "]"), ('{"a":', "}"), ('[0,{"":1},', "]"), ('{"x":[1],"a":', "}"), ('["s",', ",7]")),
    *(('{"a":', ',"b":null}'), ("[[],", "]")),
]


def cut(document: JsonValue, depth: int = MAX_DEPTH) -> JsonValue:
    """The document without what is deeper, told by walking down."""
    if not isinstance(document, list | dict):
        return document
    if not depth:
        return None
    if isinstance(document, list):
        return [cut(item, depth - 1) for item in document]
    return {name: cut(item, depth - 1) for name, item in document.items()}


@pytest.mark.parametrize("depth", [63, 64, 65, 66, 100, 200, 260])
@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_what_is_nested_deeper_is_cut_and_the_rest_counts(depth: int, before: str, after: str) -> None:
    text = before * depth + "0" + after * depth
    assert parsed(text) == cut(json.loads(text))
    beside = parsed('{"first":[1],"deep":' + text + ',"last":{"a":2}}')
    assert isinstance(beside, dict)
    assert (beside["first"], beside["last"]) == ([1], {"a": 2})
    assert beside["deep"] == cut(json.loads(text), MAX_DEPTH - 1)


HIDDEN = [
    ('["]",', ',"["]'),
    ('{"}":', ',"{":1}'),
    ('["\\\\","]",', ',"["]'),
    ('["a\\"]",', ',"["]'),
    ('["\\u005d]",', ',"["]'),
]


@pytest.mark.parametrize("depth", [63, 64, 65, 300, 900])
@pytest.mark.parametrize(("before", "after"), HIDDEN)
def test_brackets_in_strings_hide_no_depth(depth: int, before: str, after: str) -> None:
    text = before * depth + "0" + after * depth
    assert parsed(text) == cut(json.loads(text))


@pytest.mark.parametrize("depth", [100_000])  # Python 3.13 reads 9,000, which are then cut
@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_what_no_parser_reads_is_refused(depth: int, before: str, after: str) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json(before * depth + "0" + after * depth)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(-(10**60), 10**60),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_within_bounds_comes_out_as_any_parser_reads_it(document: JsonValue) -> None:
    assert parse_json(json.dumps(document).encode()) == document


@pytest.mark.parametrize("text", ["[" * 40, "]}" * 40, "{[" * 70, '\\"]', "\ud800", "a\ud83d\ud83d\ude00"])
def test_brackets_and_half_pairs_in_strings_change_nothing_else(text: str) -> None:
    is_whole = not any(0xD800 <= ord(char) <= 0xDFFF for char in text)
    given_: JsonValue = {"a": [text, {"b": text}]}
    for is_escaped in (True, False):
        body = json.dumps(given_, ensure_ascii=is_escaped).encode("utf-8", "surrogatepass")
        document = parse_json(body)
        assert isinstance(document, dict)
        assert json.dumps(document, ensure_ascii=False).encode()
        assert not is_whole or document == given_


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_raise_nothing_but_value_error(body: bytes) -> None:
    try:
        document = parse_json(body)
    except ValueError:
        return
    assert not isinstance(document, float) or math.isfinite(document)
