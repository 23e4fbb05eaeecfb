"""Submissions that are over: known for a day, in little memory."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.job.identity import SubmissionKey
from service.core.shard.state import ENDED_RETENTION_MS, SLOT_MS, EndedSubmissions

NOW_MS = 1_760_000_000_000
PAIRS = st.tuples(st.integers(NOW_MS, NOW_MS + 10**7), st.integers(0, 5), st.integers(0, 2**53 - 1))


def test_no_submission_is_forgotten_within_a_day_of_its_making() -> None:
    kept = EndedSubmissions()
    kept.add(NOW_MS, SubmissionKey(1, 2))
    assert kept.take(NOW_MS + ENDED_RETENTION_MS, 10) == []
    assert kept.take(NOW_MS + ENDED_RETENTION_MS + SLOT_MS, 10) == [SubmissionKey(1, 2)]
    assert len(kept) == 0


@given(st.lists(PAIRS, max_size=40), st.integers(1, 7))
def test_every_submission_leaves_once_and_the_oldest_first(
    pairs: list[tuple[int, int, int]], limit: int
) -> None:
    kept = EndedSubmissions()
    for created_ms, epoch, number in pairs:
        kept.add(created_ms, SubmissionKey(epoch, number))
    made = sorted(SubmissionKey(epoch, number) for _, epoch, number in pairs)
    assert sorted(kept) == made
    taken: list[SubmissionKey] = []
    while batch := kept.take(NOW_MS + 10**7 + ENDED_RETENTION_MS + 2 * SLOT_MS, limit):
        assert len(batch) <= limit
        taken += batch
    assert sorted(taken) == made
    slots = {SubmissionKey(epoch, number): created_ms // SLOT_MS for created_ms, epoch, number in pairs}
    if len(slots) == len(pairs):
        assert [slots[key] for key in taken] == sorted(slots.values())


@given(st.lists(PAIRS, max_size=20), st.integers(0, 5), st.integers(0, 3))
def test_a_submission_is_found_only_where_it_was_kept(
    pairs: list[tuple[int, int, int]], epoch: int, number: int
) -> None:
    kept = EndedSubmissions()
    for created_ms, *key in pairs:
        kept.add(created_ms, SubmissionKey(*key))
    for _, *key in pairs:
        assert kept.has(SubmissionKey(*key))
    wanted = SubmissionKey(epoch, number)
    assert kept.has(wanted) == (wanted in list(kept))


def test_the_halves_of_two_keys_are_no_key() -> None:
    kept = EndedSubmissions()
    for _ in range(2):
        kept.add(NOW_MS, SubmissionKey(5, 7))
    assert not kept.has(SubmissionKey(7, 5))
