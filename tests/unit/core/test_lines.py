"""Lines: where text may be broken, and that no line is too wide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.lines import LINE_COLUMNS, Piece, ends, fit, imbalance, joined, pieces, plain, two_lines

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def texts(text: str) -> list[str]:
    return [piece.text for piece in pieces(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\r\n\x00\u3000", []),
        ("Hello,  world.\n", ["Hello,", "world."]),
        ("我们开始吧。", ["我", "们", "开", "始", "吧。"]),
        ("他说：「好！」", ["他", "说：", "「好！」"]),
        ("使用Python（3.11）吧", ["使", "用", "Python", "（3.11）", "吧"]),
        ("ちょっと", ["ちょっ", "と"]),
        ("“世界”", ["“世", "界”"]),
        ("안녕 세상", ["안녕", "세상"]),
        ("「", ["「"]),
    ],
)
def test_a_text_may_be_broken_at_spaces_and_between_unspaced_signs(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_a_word_that_is_wider_than_a_line_is_cut() -> None:
    assert [len(text) for text in texts("x" * 100)] == [42, 42, 16]
    assert [len(text) for text in texts("한" * 50)] == [21, 21, 8]


def test_an_accent_stays_with_its_letter_where_a_word_is_cut() -> None:
    assert texts("a" * 41 + "e\u0301" + "b" * 3) == ["a" * 41, "e\u0301bbb"]
    assert [len(text) for text in texts("e" + "\u0301" * 60)] == [42, 19]


def test_signs_of_east_asia_take_two_columns() -> None:
    assert [piece.columns for piece in pieces("a 好 한국")] == [1, 2, 4]


def test_no_space_is_made_up_or_lost() -> None:
    text = "他 用 Python写 code。"
    assert joined(pieces(text)) == text


@given(ANY_TEXT)
def test_no_piece_is_wider_than_a_line_or_blank_and_none_is_lost(text: str) -> None:
    found = pieces(text)
    assert joined(found) == plain(text)
    for piece in found:
        assert piece.text.strip()
        assert len(piece.text) <= piece.columns <= LINE_COLUMNS


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
    assert all(0 < len(line) <= LINE_COLUMNS for line in lines)
    assert "".join("".join(lines).split()) == "".join(text_of.text for text_of in found)


@pytest.mark.parametrize(("width", "fits"), [(42, True), (85, True), (86, False)])
def test_what_fits_has_a_border(width: int, fits: bool) -> None:
    found = (
        pieces("x" * 42 + " " + "y" * 42 + " z") if width > 85 else pieces(("x" * 42 + " ") * (width // 42))
    )
    assert fit(found) is fits


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
