"""One process's slots: whose they are, when they open, and what keeps them shut."""

import math

import pytest

from service.core.limits.slot_share import (
    DISTRUST_SECONDS,
    HAND_OVER_SECONDS,
    PAUSE_SECONDS,
    PROOF_SECONDS,
    TRUSTED_ERROR_SECONDS,
    Instant,
    Predecessor,
    SlotShare,
    Unused,
    VendorClockReading,
)
from service.core.limits.time_slots import (
    JITTER_SECONDS,
    LOWEST_FACTOR,
    RECOVERY_SECONDS,
    Grid,
    SlotSequence,
    grid_of,
    stride_of,
)
from service.core.time.vendor_clock import VendorClock

WALL_AHEAD = 1_000_000.0
NOW = 5_000.0


class Unknown(VendorClock):
    """A vendor that has not answered."""

    def offset_seconds(self, boot_seconds: float) -> tuple[float, float] | None:
        return None


class Vendor(VendorClock):
    """A vendor's clock that tests set."""

    bounds: tuple[float, float] | None = (0.0, 0.0)

    def offset_seconds(self, boot_seconds: float) -> tuple[float, float] | None:
        return self.bounds


def at(boot_seconds: float) -> Instant:
    return Instant(boot_seconds, boot_seconds + WALL_AHEAD)


def share_of(*partitions: int, count: int = 4) -> SlotShare:
    share = SlotShare(Vendor())
    share.prove(math.inf)
    share.set_partitions(count, NOW - PROOF_SECONDS)
    for each in partitions:
        share.resume(each, NOW)
    return share


def taken(slots: SlotSequence, seconds: float, step: float = 0.01) -> list[float]:
    """When a process that always wants to call does so."""
    moments = [NOW + number * step for number in range(round(seconds / step))]
    return [moment for moment in moments if slots.take(at(moment))]


@pytest.mark.parametrize(
    ("quota", "part", "spacing", "window"),
    [
        (20.0, 0.75, 1.35 / 20, 0.05),
        (20.0, 0.25, 0.2, 0.05),
        (10.0, 1.0, 0.135, 0.05),
        (100 / 60, 0.75, 0.8, 0.2),
        (1.0, 0.75, 1.5, 0.2),
    ],
)
def test_slots_lie_so_far_apart_that_one_call_too_many_takes_longer_than_a_second(
    quota: float, part: float, spacing: float, window: float
) -> None:
    grid = grid_of(quota, part)
    assert grid.spacing_seconds == pytest.approx(spacing)
    assert grid.window_seconds == window
    assert grid.most * grid.spacing_seconds >= 1 + grid.window_seconds + 0.3 - 1e-9


def test_without_a_quota_there_is_no_slot() -> None:
    slots = SlotSequence(grid_of(0.0, 0.75), share_of(0))
    assert slots.opens_at(at(NOW)) == math.inf
    assert (slots.take(at(NOW)), slots.share_per_second) == (False, 0.0)


@pytest.mark.parametrize("partitions", [1, 2, 3, 12, 48, 100])
def test_every_partition_has_one_slot_in_each_turn(partitions: int) -> None:
    stride = stride_of(partitions)
    assert sorted(place * stride % partitions for place in range(partitions)) == list(range(partitions))


@pytest.mark.parametrize("partitions", [1, 2, 3, 12, 48])
@pytest.mark.parametrize("error", [0.1, 0.3, 0.5, 1.0])
def test_no_partition_is_without_slots_however_badly_the_clock_is_known(
    partitions: int, error: float
) -> None:
    vendor = Vendor()
    vendor.bounds = (-error, error)
    for partition in range(partitions):
        share = share_of(partition, count=partitions)
        share.vendor = vendor
        assert SlotSequence(Grid(20, 0.0675, 0.05), share).opens_at(at(NOW)) < NOW + 4 * partitions * 0.07


def test_a_call_leaves_in_the_window_of_a_slot_of_ours_and_each_slot_is_used_once() -> None:
    share = share_of(1)
    slots = SlotSequence(Grid(10, 0.2, 0.05), share)
    moments = taken(slots, 8)
    assert len(moments) == 10
    numbers = [math.floor(moment / 0.2 + 1e-9) for moment in moments]
    assert {number % 4 * stride_of(4) % 4 for number in numbers} == {1}
    assert all(moment - number * 0.2 <= 0.05 + 1e-6 for moment, number in zip(moments, numbers, strict=True))


def test_the_slots_behind_the_next_one_open_in_their_order() -> None:
    slots = SlotSequence(Grid(10, 0.2, 0.05), share_of(0, 1, 2, 3, count=5))
    opens = [slots.opens_at(at(NOW + 0.1), behind) for behind in range(5)]
    numbers = [round((each - NOW) / 0.2, 6) for each in opens]
    assert numbers == sorted(set(numbers))
    assert len([each for each in range(1, 6) if each not in numbers]) == 1


@pytest.mark.parametrize("count", [1, 12])
def test_a_process_that_has_all_slots_waits_for_nothing_but_its_own_last_call(count: int) -> None:
    share = share_of(*range(count), count=count)
    share.vendor = Unknown()
    slots = SlotSequence(grid_of(1.0, 0.75), share)
    assert slots.opens_at(at(NOW + 0.7)) == NOW + 0.7
    assert slots.take(at(NOW + 0.7))
    assert slots.opens_at(at(NOW + 0.8)) == pytest.approx(NOW + 0.5 + 1.5)
    assert slots.opens_at(at(NOW + 0.8), behind=2) == pytest.approx(NOW + 0.5 + 3 * 1.5)
    assert slots.opens_at(at(NOW + 60)) == NOW + 60


@pytest.mark.parametrize("gone", [0, 1])
def test_a_call_from_between_two_slots_has_its_distance_when_slots_are_shared_again(gone: int) -> None:
    share = share_of(0, 1, count=2)
    slots = SlotSequence(Grid(1, 1.5, 0.2), share)
    begins_at = math.ceil(NOW / 1.5) * 1.5
    assert slots.take(at(begins_at - 0.1))
    share.stop(gone)
    shared_at = slots.opens_at(at(begins_at - 0.05))
    assert shared_at >= begins_at - 0.3 + 1.5
    assert slots.take(at(shared_at))
    share.resume(gone, shared_at)
    assert slots.opens_at(at(shared_at)) == shared_at + 1.5


def test_the_first_process_does_not_wait_and_one_of_several_waits_for_earlier_calls() -> None:
    share = SlotShare(Vendor())
    share.prove(math.inf)
    share.set_partitions(2, NOW)
    share.serve(0, NOW, Predecessor.NONE)
    slots = SlotSequence(Grid(10, 0.2, 0.05), share)
    assert slots.opens_at(at(NOW)) >= NOW + HAND_OVER_SECONDS
    share.serve(1, NOW, Predecessor.NONE)
    assert slots.opens_at(at(NOW)) == NOW


def test_what_a_predecessor_called_last_is_over_a_second_later() -> None:
    assert HAND_OVER_SECONDS > 1 + JITTER_SECONDS


def test_who_waits_for_a_predecessor_says_nothing_of_it_and_waits_on_after_a_suspension() -> None:
    share = share_of()
    share.serve(0, NOW, Predecessor.UNKNOWN)
    share.stop(0)
    assert not share.may_release(0, NOW + 9)
    share.resume(0, NOW + 2)
    assert share.served == {0: NOW + PROOF_SECONDS}
    assert share.may_release(0, NOW + PROOF_SECONDS)
    share.set_partitions(5, NOW + 20)
    assert not share.may_release(0, NOW + 29)


@pytest.mark.parametrize("predecessor", list(Predecessor))
def test_who_gives_up_before_its_first_call_passes_on_what_it_found(predecessor: Predecessor) -> None:
    """Else a few rebalances in a row keep everybody waiting for owners that stopped long ago."""
    share = share_of()
    share.serve(0, NOW, predecessor)
    share.stop(0)
    assert share.may_release(0, NOW) is (predecessor is not Predecessor.UNKNOWN)


def test_a_partition_beyond_the_groups_number_has_no_slots() -> None:
    assert SlotSequence(Grid(10, 0.2, 0.05), share_of(7)).opens_at(at(NOW)) == math.inf


def test_a_partition_that_is_not_served_any_more_has_no_slots() -> None:
    share = share_of(0, 1)
    share.stop(0)
    share.stop(0)
    assert SlotSequence(Grid(10, 0.2, 0.05), share).share_per_second == pytest.approx(0.25 / 0.2)
    share.stop(1)
    assert SlotSequence(Grid(10, 0.2, 0.05), share).opens_at(at(NOW)) == math.inf


@pytest.mark.parametrize(
    ("predecessor", "wait"),
    [
        (Predecessor.NONE, 0.0),
        (Predecessor.RELEASED, HAND_OVER_SECONDS),
        (Predecessor.UNKNOWN, PROOF_SECONDS),
    ],
)
def test_a_claimed_partition_has_slots_after_its_predecessors_are_over(
    predecessor: Predecessor, wait: float
) -> None:
    share = share_of()
    share.serve(0, NOW, predecessor)
    slots = SlotSequence(Grid(10, 0.2, 0.05), share)
    assert NOW + wait <= slots.opens_at(at(NOW)) < NOW + wait + 1
    assert min(taken(slots, wait + 2)) >= NOW + wait


def test_a_partition_that_has_just_been_claimed_lends_no_slots_to_one_that_is_served() -> None:
    share = share_of(0)
    share.serve(1, NOW, Predecessor.UNKNOWN)
    slots = SlotSequence(Grid(10, 0.2, 0.05), share)
    assert len(taken(slots, 8)) == 10
    assert len([moment for moment in taken(slots, 24) if moment > NOW + PROOF_SECONDS]) > 30


def test_without_proof_of_membership_no_call_is_made() -> None:
    share = SlotShare(Vendor())
    share.set_partitions(1, NOW)
    share.resume(0, NOW)
    slots = SlotSequence(Grid(10, 0.2, 0.05), share)
    assert slots.opens_at(at(NOW)) == math.inf
    share.prove(NOW)
    share.prove(NOW - 5)
    last = max(taken(slots, 30))
    assert NOW + PROOF_SECONDS - 0.3 < last < NOW + PROOF_SECONDS


def test_a_new_number_of_partitions_counts_once_no_member_uses_the_old_one() -> None:
    share = share_of(0)
    share.set_partitions(4, NOW)
    assert share.opens_at(NOW) == NOW
    share.set_partitions(5, NOW)
    assert share.opens_at(NOW) == NOW + PROOF_SECONDS


def test_unused_slots_are_reported_with_their_reason() -> None:
    share = SlotShare(Vendor())
    assert list(share.unused(NOW)) == [Unused.MEMBERSHIP], "before the first assignment"
    share.set_partitions(2, NOW)
    share.serve(0, NOW, Predecessor.UNKNOWN)
    assert list(share.unused(NOW)) == [Unused.MEMBERSHIP, Unused.PREDECESSOR]
    share.prove(NOW + 20)
    assert list(share.unused(NOW + 20)) == []
    share.set_partitions(3, NOW + 20)
    share.call(NOW + 20)
    assert list(share.unused(NOW + 22)) == [Unused.SILENCE, Unused.PARTITIONS]


def test_a_throttled_sequence_leaves_out_half_of_its_slots_and_recovers() -> None:
    slots = SlotSequence(Grid(10, 0.2, 0.05), share_of(0, 1, 2, 3))
    slots.penalise(NOW)
    assert slots.rate_per_second(NOW) == pytest.approx(2.5)
    assert len(taken(slots, 6)) <= 18
    assert slots.rate_per_second(NOW + RECOVERY_SECONDS) == pytest.approx(5)
    for _ in range(20):
        slots.penalise(NOW + 60)
    assert slots.rate_per_second(NOW + 60) == pytest.approx(5 * LOWEST_FACTOR)


def test_a_penalty_without_slots_costs_nothing() -> None:
    SlotSequence(Grid(10, 0.2, 0.05), share_of()).penalise(NOW)


def test_a_silent_path_stops_calls_until_a_second_after_the_next_answer() -> None:
    share = share_of(0)
    first, second = share.call(NOW), share.call(NOW + 0.1)
    assert share.opens_at(NOW + 0.4) == NOW + 0.4
    assert share.opens_at(NOW + 0.7) == math.inf
    share.end(second, NOW + 3)
    assert share.opens_at(NOW + 3.1) == NOW + 3 + PAUSE_SECONDS
    share.end(first, NOW + 3.2)
    assert share.opens_at(NOW + 5) == NOW + 5


def test_an_answer_that_takes_its_usual_time_is_no_silence() -> None:
    share = share_of(0)
    for number in range(100):
        share.end(share.call(NOW + number), NOW + number + 0.45)
    share.call(NOW + 200)
    assert share.opens_at(NOW + 200.85) < math.inf
    assert share.opens_at(NOW + 200.95) == math.inf


def late(*partitions: int) -> SlotSequence:
    """Polls of a provider that usually answers after two seconds."""
    slots = SlotSequence(Grid(10, 0.1, 0.05), share_of(*partitions), is_prompt=True)
    calls: list[int] = []
    for number in range(200):
        if number >= 10:
            slots.end(calls.pop(0), NOW - 100 + number / 5)
        calls.append(slots.call(NOW - 100 + number / 5))
    for number, call in enumerate(calls):
        slots.end(call, NOW - 60 + number / 5)
    return slots


@pytest.mark.parametrize(("partitions", "most"), [((0, 1, 2, 3), 10), ((0, 1), 5), ((0,), 2)])
def test_a_provider_that_usually_answers_late_has_at_most_our_part_of_a_seconds_quota_to_answer(
    partitions: tuple[int, ...], most: int
) -> None:
    slots = late(*partitions)
    calls = [slots.call(NOW) for _ in range(most - 1)]
    assert slots.opens_at(at(NOW + 1.5)) < NOW + 3
    calls.append(slots.call(NOW + 1.5))
    assert slots.opens_at(at(NOW + 1.5)) == math.inf
    slots.end(calls.pop(0), NOW + 2)
    assert slots.opens_at(at(NOW + 2)) < NOW + 3
    assert slots.opens_at(at(NOW + 8)) == math.inf


@pytest.mark.parametrize(("partitions", "most"), [((0, 1, 2, 3), 10), ((0, 1), 5), ((0,), 2)])
def test_counted_calls_wait_for_an_answer_once_our_part_of_a_seconds_quota_is_unanswered(
    partitions: tuple[int, ...], most: int
) -> None:
    slots = SlotSequence(Grid(10, 0.1, 0.05), share_of(*partitions), is_counted=True)
    calls = [slots.call(NOW) for _ in range(most - 1)]
    assert slots.opens_at(at(NOW + 20)) < math.inf
    calls.append(slots.call(NOW))
    assert slots.opens_at(at(NOW + 20)) == math.inf
    slots.end(calls.pop(), NOW + 20)
    assert slots.opens_at(at(NOW + 20)) < math.inf


def test_counted_calls_say_nothing_of_the_path_and_one_may_always_leave() -> None:
    share = share_of(0, count=40)
    slots = SlotSequence(Grid(10, 0.1, 0.05), share, is_counted=True)
    assert slots.opens_at(at(NOW + 20)) < math.inf
    slots.call(NOW)
    assert share.opens_at(NOW + 20) == NOW + 20


def test_after_a_call_was_given_up_that_may_still_arrive_a_late_provider_is_left_alone() -> None:
    slots = late(0, 1, 2, 3)
    slots.end(slots.call(NOW), NOW + 10)
    assert slots.opens_at(at(NOW + 10.1)) == NOW + 10 + PAUSE_SECONDS


def test_answers_that_a_silent_path_held_are_not_taken_for_usual() -> None:
    share = share_of(0)
    slots = SlotSequence(Grid(100, 0.1, 0.05), share, is_prompt=True)
    calls = [slots.call(NOW) for _ in range(50)]
    for call in calls:
        slots.end(call, NOW + 9)
    slots.call(NOW + 11)
    assert slots.opens_at(at(NOW + 11.9)) < math.inf
    assert slots.opens_at(at(NOW + 12.1)) == math.inf


def test_calls_that_are_not_answered_at_once_wait_for_a_silent_path_however_late_answers_are() -> None:
    slots = late(0)
    slots.call(NOW)
    assert slots.share.opens_at(NOW + 0.9) == NOW + 0.9
    assert SlotSequence(Grid(10, 0.1, 0.05), slots.share).opens_at(at(NOW + 1.1)) == math.inf
    assert slots.opens_at(at(NOW + 1.1)) < math.inf


def test_until_the_vendor_has_answered_our_wall_clock_stands_in_for_its_clock() -> None:
    share = share_of(0)
    vendor = Vendor()
    vendor.bounds = None
    share.vendor = vendor
    assert share.read(at(NOW)) == VendorClockReading(WALL_AHEAD, TRUSTED_ERROR_SECONDS)


def test_a_vendors_clock_that_jumps_is_not_trusted_for_a_while_and_costs_a_pause() -> None:
    vendor = Vendor()
    share = share_of(0)
    share.vendor = vendor
    vendor.bounds = (100.0, 100.2)
    assert share.read(at(NOW)).offset_seconds == pytest.approx(100.1)
    vendor.bounds = (100.3, 100.5)
    assert share.read(at(NOW)).offset_seconds == pytest.approx(100.4)
    assert share.era == 0
    vendor.bounds = (3_700.0, 3_700.2)
    assert share.read(at(NOW)) == VendorClockReading(WALL_AHEAD, TRUSTED_ERROR_SECONDS)
    assert (share.era, share.opens_at(NOW)) == (1, NOW + PAUSE_SECONDS)
    assert share.read(at(NOW + DISTRUST_SECONDS + 1)).offset_seconds == pytest.approx(3_700.1)
    assert share.era == 2


def test_a_clock_that_jumps_costs_a_process_that_has_all_slots_no_pause() -> None:
    share = share_of(0, 1, count=2)
    share.vendor = vendor = Vendor()
    share.read(at(NOW))
    vendor.bounds = (3_600.0, 3_600.0)
    share.read(at(NOW + 1))
    assert (share.era, share.opens_at(NOW + 1)) == (1, NOW + 1)
    share.stop(1)
    assert share.opens_at(NOW + 1) == NOW + 1 + PAUSE_SECONDS


def test_after_a_jump_back_slots_are_used_again() -> None:
    vendor = Vendor()
    share = share_of(0, 1, 2, 3)
    share.vendor = vendor
    slots = SlotSequence(Grid(10, 0.2, 0.05), share)
    vendor.bounds = (WALL_AHEAD + 3600, WALL_AHEAD + 3600)
    assert taken(slots, 1)
    vendor.bounds = (WALL_AHEAD, WALL_AHEAD)
    assert min(slots.opens_at(at(NOW + 1 + wait)) for wait in (0, 1)) < NOW + 1 + PAUSE_SECONDS + 1
