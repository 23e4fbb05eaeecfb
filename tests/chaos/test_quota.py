"""A window of the provider's quota counts as the vendor counts, and no slowness of the judge decides."""

from tests.chaos.evidence import Complaint, Quota
from tests.chaos.quota import too_fast

TEN = {"submit": Quota(10, 600)}


def complaints(moments: list[float], *gaps: tuple[float, float]) -> list[Complaint]:
    return list(too_fast({"submit": moments}, gaps, TEN))


def test_ten_in_a_second_are_as_many_as_there_may_be_however_they_lie() -> None:
    bunched = [5.0] * 10 + [6.0] * 10
    assert complaints(bunched) == []
    assert [each.subject for each in complaints([*bunched, 5.99])] == ["submit"]


def test_what_is_even_over_five_seconds_and_not_in_one_is_a_violation() -> None:
    [told] = complaints([0.0] * 15 + [4.0] * 5)
    assert (told.kind, told.times) == ("quota", 1.5)


def test_a_minute_has_a_limit_of_its_own() -> None:
    just_enough = [number * 0.1 for number in range(600)]
    assert complaints(just_enough) == []
    assert "submit a minute" in [each.subject for each in complaints([*just_enough, 59.99])]


def test_calls_that_arrived_while_the_judge_stood_still_are_held_against_the_seconds_they_took() -> None:
    moments = [10.0 + number / 1000 for number in range(25)]
    assert complaints(moments)
    assert complaints(moments, (8.4, 10.0)) == []
    assert complaints([*moments, *[10.1] * 6], (8.4, 10.0))
    assert complaints(moments, (3.0, 4.6))
