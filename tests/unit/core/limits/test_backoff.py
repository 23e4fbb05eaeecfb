"""Backoff: the bounds of the wait, whatever the attempt, the draw and the provider's wish."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.limits.backoff import Backoff

DRAWS = st.floats(0.0, 1.0, exclude_max=True)
WISHES = st.none() | st.floats(0.0, 300.0)
BACKOFFS = st.builds(Backoff, st.floats(0.1, 10.0), st.floats(10.0, 600.0))


@given(BACKOFFS, st.integers(1, 10**9), DRAWS, WISHES)
def test_the_wait_lies_between_the_wish_and_the_wish_plus_the_longest(
    backoff: Backoff, attempt: int, draw: float, wish: float | None
) -> None:
    wait_ms = backoff.wait_ms(attempt, draw, wish)
    asked_ms = 1000 * (wish or 0.0)
    assert asked_ms - 1 <= wait_ms <= asked_ms + 1000 * backoff.longest_seconds + 1


@given(BACKOFFS, st.integers(1, 100), DRAWS)
def test_the_ceiling_doubles_until_it_is_the_longest(backoff: Backoff, attempt: int, draw: float) -> None:
    ceiling_ms = 1000 * min(backoff.longest_seconds, backoff.first_seconds * 2.0 ** (attempt - 1))
    assert abs(backoff.wait_ms(attempt, draw) - ceiling_ms * draw) <= 1


def test_the_first_waits_at_half_a_draw() -> None:
    backoff = Backoff(1.0, 60.0)
    assert [backoff.wait_ms(attempt, 0.5) for attempt in (1, 2, 3, 7, 8)] == [500, 1000, 2000, 30_000, 30_000]
