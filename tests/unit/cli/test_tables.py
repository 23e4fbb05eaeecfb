"""Text for a terminal: columns, durations, times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.tables import age, aligned, plain, time_of


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (86_400 * 2 + 3 * 3600 + 59, "2 d 3 h"),
        (86_400 + 59, "1 d"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert list(aligned([("ID", "STATE"), ("call-17", "waiting")])) == ["ID       STATE", "call-17  waiting"]


@given(st.text())
def test_no_text_of_others_can_drive_the_terminal(text: str) -> None:
    controls = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u2028", "\u2029"}
    assert not set(plain(text)) & controls
    assert all(not set(line) & controls for line in aligned([(text, "x")]))


def test_a_time_beyond_the_calendar_is_none() -> None:
    assert time_of(1_772_446_500_000) == "2026-03-02T10:15:00.000Z"
    assert time_of(None) is None
    assert time_of(10**18) is None
