"""What of a batch need not be written, because the batch itself writes over it."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.batch import without_superseded
from service.core.events import QueueSubmit
from service.core.outcomes import Outcome, OutcomeRules, record_failure
from service.core.shard import Move
from service.errors import FailureCode, InvalidRecord
from tests.unit.core.samples import KEY, NOW_MS, record


def outcome() -> Outcome:
    """Some outcome."""
    return record_failure(
        record(7, b"x"), InvalidRecord(FailureCode.INVALID_JSON, "no"), NOW_MS, OutcomeRules()
    )


OUTCOME = outcome()
MOVES = st.lists(
    st.builds(
        Move,
        key=st.none() | st.sampled_from(["a", "b", "c"]),
        entry=st.none() | st.binary(max_size=2),
        outcome=st.none() | st.just(OUTCOME),
    )
)


@given(MOVES)
def test_every_outcome_and_the_last_entry_of_every_key_stay_in_their_order(moves: list[Move]) -> None:
    kept = without_superseded(moves)
    assert [move for move in kept if move.outcome] == [move for move in moves if move.outcome]
    assert {move.key: move.entry for move in kept} == {move.key: move.entry for move in moves}
    places = iter(moves)
    assert all(any(move is place for place in places) for move in kept)


@given(MOVES)
def test_an_entry_without_an_outcome_is_kept_once(moves: list[Move]) -> None:
    plain = [move.key for move in without_superseded(moves) if move.key and not move.outcome]
    assert len(plain) == len(set(plain))


def test_an_entry_that_is_written_over_is_left_out() -> None:
    first, second = Move("a", b"1", steps=(QueueSubmit(KEY, 0),)), Move("a", b"2")
    assert without_superseded([first, Move("b", b"3"), second]) == (Move("b", b"3"), second)
