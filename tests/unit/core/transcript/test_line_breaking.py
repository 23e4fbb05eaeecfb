"""Lines: where text may be broken, and that no line is too wide."""

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicode_segmentation_rs import text_width

from service.core.transcript.line_breaking import (
    LINE_COLUMNS,
    Piece,
    columns_of,
    ends,
    fit,
    imbalance,
    joined,
    pieces,
    plain,
    two_lines,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def texts(text: str, words: Sequence[str] = ()) -> list[str]:
    return [piece.text for piece in pieces(text, words)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\r\n\x00\u3000", []),
        ("Hello,  world.\n", ["Hello,", "world."]),
        ("我们开始吧。", ["我", "们", "开", "始", "吧。"]),
        ("他说：「好！」", ["他", "说：", "「好！」"]),
        ("使用Python（3.11）吧", ["使", "用", "Python（3.11）", "吧"]),
        ("ちょっと", ["ちょっ", "と"]),
        ("“世界”", ["“世", "界”"]),
        ("안녕하세요 세상이여.", ["안녕하세요", "세상이여."]),
        ("한국어中文한국어", ["한국어", "中", "文", "한국어"]),
        ("Bonjour ! «\u00a0Oui\u202f»", ["Bonjour !", "«\u00a0Oui\u202f»"]),
        ("10\u00a0000 km\u00a0", ["10\u00a0000", "km"]),
        ("a well-known place", ["a", "well-", "known", "place"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया।"]),
        ("مرحبا، كيف حالك؟", ["مرحبا،", "كيف", "حالك؟"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("👨‍👩‍👧👍🏽🇫🇷🇩🇪1️⃣", ["👨‍👩‍👧", "👍🏽", "🇫🇷", "🇩🇪", "1️⃣"]),
        ("สวัสดี ครับผม", ["สวัสดี", "ครับผม"]),
        ("が\u3099き\u3099", ["が\u3099", "き\u3099"]),
        ("「", ["「"]),
    ],
)
def test_a_text_may_be_broken_at_spaces_and_between_unspaced_signs(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_thai_is_broken_between_the_words_that_were_heard() -> None:
    words = ["วันนี้", "เรา", "จะ", "not in the text", "", "ตัวเลข"]
    assert texts("วันนี้เราจะพูดถึงตัวเลข", words) == ["วันนี้", "เรา", "จะ", "พูดถึง", "ตัวเลข"]
    assert texts("ปี2024นี้ นะ", ["ปี", "2024", "นี้", "นะ"]) == ["ปี2024นี้", "นะ"]


def test_words_that_were_heard_do_not_break_scripts_that_have_spaces() -> None:
    assert texts("unbelievable stories", ["un", "believable", " stor", "ies"]) == ["unbelievable", "stories"]


def test_heard_words_that_end_within_a_character_of_the_script_do_not_cut_it() -> None:
    # A consonant without the vowel above it.
    assert texts("กี่กี่", ["ก", "ี่", "กี่"]) == ["กี่", "กี่"]


@pytest.mark.parametrize(
    "unit", ["กี่", "นี้", "x", "한", "क्षि", "e\u0301", "👨‍👩‍👧", "😀\ufe0f", "ﷺ", "a\u200d", "กำ", "あ゙"]
)
def test_a_word_that_is_wider_than_a_line_is_cut_between_its_characters(unit: str) -> None:
    """Those that a reader sees, so that no accent, vowel sign or joined emoji is torn apart."""
    found = texts(unit * 100)
    assert "".join(found) == unit * 100
    assert all(text == unit * (len(text) // len(unit)) for text in found)


def test_a_character_that_no_line_holds_is_cut_all_the_same() -> None:
    assert [columns_of(text) for text in texts("ᄀ" * 30)] == [28, 28, 4]
    assert texts("e" + "\u0301" * 60) == ["e" + "\u0301" * 60]


def test_what_may_not_be_broken_and_is_wider_than_a_line_is_broken_at_its_spaces() -> None:
    assert texts("! " * 60) == ["!"] * 60
    assert texts("\u00a0".join(["word"] * 20)) == ["word"] * 20


def test_signs_of_east_asia_take_two_columns() -> None:
    assert [piece.columns for piece in pieces("a 好 한국")] == [1, 2, 4]


def test_no_space_is_made_up_or_lost() -> None:
    text = "他 用 Python写 code。"
    assert joined(pieces(text)) == text


@given(ANY_TEXT | st.text("กาี่ำเ안ᄀa\u0301 \u00a0\u200b\u200d!-👨", max_size=200), st.lists(ANY_TEXT))
def test_no_piece_is_wider_than_a_line_or_blank_and_none_is_lost(text: str, words: list[str]) -> None:
    found = pieces(text, [*words, text[:3], text[3:5]])
    assert joined(found).split() == plain(text).split()
    for piece in found:
        assert piece.text.strip()
        assert piece.columns == text_width(piece.text) <= LINE_COLUMNS


@given(
    st.lists(st.sampled_from(["กี่", "नि", "e\u0301\u0302", "👨\u200d👩", "각", "🇫🇷", "مَ", "x"]), max_size=80)
)
def test_no_line_begins_with_a_mark_that_belongs_to_what_is_before(characters: list[str]) -> None:
    for piece in pieces("".join(characters)):
        assert not unicodedata.category(piece.text[0]).startswith("M")
        assert "\u200d" not in (piece.text[0], piece.text[-1])


@given(ANY_TEXT)
def test_plain_text_is_one_line_without_control_characters(text: str) -> None:
    assert len(plain(text).splitlines()) <= 1
    assert "  " not in plain(text)
    assert not any(char < " " or "\x7f" <= char <= "\x9f" for char in plain(text))


@given(ANY_TEXT)
def test_two_lines_hold_all_of_what_fits(text: str) -> None:
    found = pieces(text)
    if not found or not fit(found):
        return
    lines = two_lines(found)
    assert 1 <= len(lines) <= 2
    assert all(line and text_width(line) <= LINE_COLUMNS for line in lines)
    assert "".join("".join(lines).split()) == "".join(plain(text).split())


@pytest.mark.parametrize(("width", "fits"), [(42, True), (85, True), (86, False)])
def test_what_fits_has_a_bound(width: int, fits: bool) -> None:
    found = (
        pieces("x" * 42 + " " + "y" * 42 + " z") if width > 85 else pieces(("x" * 42 + " ") * (width // 42))
    )
    assert fit(found) is fits


def test_a_line_rather_ends_at_a_space() -> None:
    parts = [Piece("ab", 2, True), Piece("cd", 2, False), Piece("ef", 2, True)]
    costs = [imbalance(parts, ends(parts), 0, 3, at) for at in (1, 2)]
    assert costs[1] < costs[0]


def test_text_that_has_no_width_can_be_broken() -> None:
    assert two_lines(pieces("\u200b" * 3)) == ("\u200b" * 3,)
    parts = [Piece("\u200b", 0, False)] * 2
    assert imbalance(parts, ends(parts), 0, 2, 1) == 0


def test_nothing_does_not_fit() -> None:
    assert not fit([])


def test_lines_are_of_nearly_the_same_length() -> None:
    assert two_lines(pieces("the quick brown fox jumps over the lazy dog today")) == (
        "the quick brown fox jumps",
        "over the lazy dog today",
    )


def test_a_line_rather_ends_where_a_clause_does() -> None:
    assert two_lines(pieces("when you are ready, we can begin with the first")) == (
        "when you are ready,",
        "we can begin with the first",
    )


def test_the_end_of_a_sentence_is_a_better_break_than_that_of_a_clause_or_none() -> None:
    parts = [Piece(text, 1, False) for text in ("a.", "a,", "a", "a")]
    costs = [imbalance(parts, ends(parts), 0, 4, at) for at in (1, 2, 3)]
    assert costs == pytest.approx([-0.1, -0.4, 0.5])
