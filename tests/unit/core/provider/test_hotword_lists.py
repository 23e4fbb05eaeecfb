"""Hotword lists: whose name is what, which of several counts, and which may go."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.core.provider.hotword_lists import (
    TOUCH_SECONDS,
    UNUSED_SECONDS,
    HotwordList,
    HotwordListEntry,
    ListedHotwordList,
    Need,
    chosen,
    in_utc,
    is_ours,
    need_of,
    needs_list,
    needs_touch,
    unused,
    with_list,
)

NOON_MS = 1_772_452_800_000
"""2026-03-02 12:00 UTC, 20:00 in the vendor's zone."""
A, B = HotwordListEntry("etcd", 4, "en"), HotwordListEntry("Kafka")
OURS = "sc0123abcd"


def listed(
    number: int, prefix: str = OURS, created: str = "2026-03-02 20:00:00", modified: str = ""
) -> ListedHotwordList:
    return ListedHotwordList(f"vocab-{prefix}-{number:04x}", created, modified or created)


def at(hours_ago: int) -> str:
    """A vendor's time so many hours before noon."""
    day, hour = divmod(20 - hours_ago, 24)
    return (
        f"2026-03-{2 + day:02} {hour:02}:00:00" if 2 + day > 0 else f"2026-02-{30 + day:02} {hour:02}:00:00"
    )


WORDS = st.lists(
    st.builds(
        HotwordListEntry, st.text(min_size=1, max_size=9), st.integers(1, 5), st.sampled_from(["en", None])
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda word: word.text,
)


@given(WORDS, st.randoms())
def test_the_name_is_the_content_whatever_its_order(words: list[HotwordListEntry], chance: object) -> None:
    shuffled = list(reversed(words))
    name = Need("fun-asr", words=tuple(words)).prefix
    assert name == Need("fun-asr", words=tuple(shuffled)).prefix
    assert re.fullmatch("sc[0-9a-z]{8}", name)


@pytest.mark.parametrize(
    "other",
    [
        Need("fun-asr-2025-11-07", words=(A, B)),
        Need("fun-asr", words=(A,)),
        Need("fun-asr", words=(A, HotwordListEntry("Kafka", 5))),
        Need("fun-asr", words=(A, HotwordListEntry("Kafka", 4, "en"))),
    ],
)
def test_another_model_or_content_has_another_name(other: Need) -> None:
    assert other.prefix != Need("fun-asr", words=(A, B)).prefix


def test_what_options_need() -> None:
    assert not needs_list({"channel_id": [0]})
    assert need_of("fun-asr", {"vocabulary_id": "vocab-mine-1"}) == Need("fun-asr", "vocab-mine-1")
    hotwords: JsonValue = [{"text": "etcd", "language": "en"}, {"text": "Kafka", "weight": 5}]
    assert need_of("fun-asr", {"hotwords": hotwords}) == Need(
        "fun-asr", words=(HotwordListEntry("etcd", 4, "en"), HotwordListEntry("Kafka", 5))
    )


def test_a_list_is_sent_in_place_of_its_words() -> None:
    assert with_list({"hotwords": [], "channel_id": [0]}, "v") == {"channel_id": [0], "vocabulary_id": "v"}
    assert with_list({"vocabulary_id": "mine"}, "mine") == {"vocabulary_id": "mine"}


def test_of_several_the_first_that_was_made_counts_and_at_once_the_lowest_name() -> None:
    late, early = listed(1, created="2026-03-02 20:00:01"), listed(9, created="2026-03-02 20:00:00")
    assert chosen([late, early], OURS) == early
    assert chosen([listed(3), listed(2)], OURS) == listed(2)
    assert chosen([listed(1, prefix="sc99999999")], OURS) is None


@pytest.mark.parametrize(
    "name", ["vocab-demo-01", "vocab-sc-01", "vocab-sc0123abcde-01", "sc0123abcd", "vocab-scribe-01", ""]
)
def test_a_foreign_list_name_is_not_ours(name: str) -> None:
    assert ListedHotwordList(name).prefix is None


@pytest.mark.parametrize(("hours", "expected"), [(23, False), (24, True), (100, True)])
def test_a_list_is_touched_once_it_was_not_for_a_day(hours: int, expected: bool) -> None:
    assert needs_touch(listed(1, modified=at(hours)), NOON_MS) is expected


def test_only_ours_and_only_the_longest_unused_may_go() -> None:
    stale, older = listed(1, modified=at(50)), listed(2, modified=at(60))
    others = [
        listed(3, prefix="demo", modified=at(90)),
        listed(4, modified=at(47)),
        listed(5, modified="odd"),
    ]
    assert unused([stale, *others, older], NOON_MS) == [older, stale]
    assert unused(others, NOON_MS) == []


def test_a_time_that_cannot_be_read_makes_nothing_old() -> None:
    assert not needs_touch(listed(1, modified="yesterday"), NOON_MS)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-11-29 08:00:00", "2026-11-29T00:00:00Z"),
        ("2026-11-29 07:59:59", "2026-11-28T23:59:59Z"),
        ("2026-03-01 00:00:00", "2026-02-28T16:00:00Z"),
        ("2028-03-01 07:00:00", "2028-02-29T23:00:00Z"),
        ("2026-01-01 00:30:00", "2025-12-31T16:30:00Z"),
        ("", ""),
        ("soon", "soon"),
        ("2026-11-29", "2026-11-29"),
        ("2026-11-29T08:00:00Z", "2026-11-29T08:00:00Z"),
        ("2026-13-29 08:00:00", "2026-13-29 08:00:00"),
        ("0001-01-01 00:00:00", "0001-01-01 00:00:00"),
    ],
)
def test_a_time_without_a_zone_is_not_shown_as_if_it_were_ours(given: str, shown: str) -> None:
    assert in_utc(given) == shown


def test_a_day_lies_between_the_last_touch_and_the_end_of_a_list() -> None:
    assert UNUSED_SECONDS - TOUCH_SECONDS >= 24 * 3600 - 1


def test_a_list_is_ours_where_its_name_says_what_it_holds() -> None:
    need = Need("fun-asr", words=(A, B))
    ours = HotwordList(f"vocab-{need.prefix}-01", "fun-asr", is_ready=True, words=(B, A))
    assert is_ours(ours)
    assert not is_ours(replace(ours, words=(A,)))
    assert not is_ours(replace(ours, target_model="fun-asr-mtl"))
    assert not is_ours(replace(ours, target_model=None))
    assert not is_ours(replace(ours, vocabulary_id="vocab-scheduling-01"))
    assert not is_ours(replace(ours, vocabulary_id="vocab-demo-01"))


def test_a_need_has_a_name_of_its_own() -> None:
    needs = [Need("a", "v"), Need("b", "v"), Need("a", "w"), Need("a", words=(A,)), Need("a", words=(B,))]
    assert len({need.name for need in needs}) == len(needs)
