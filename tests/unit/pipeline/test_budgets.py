"""This process's part of the account's quota (N7)."""

from service.core.budget import Budget
from service.pipeline.budgets import MAX_MODELS, Budgets
from tests.fakes.clock import FakeClock


def taken_in(budget: Budget, clock: FakeClock, seconds: int) -> int:
    """How many calls the budget allows while the time passes, asked a hundred times a second."""
    count = 0
    for _ in range(100 * seconds):
        clock.suspend(0.01)
        count += budget.try_take(clock.boot_seconds())
    return count


async def test_without_an_assignment_nothing_may_be_called(clock: FakeClock) -> None:
    budgets = Budgets(clock, 0.75, 20.0, None)
    for budget in (budgets.query, budgets.listing, budgets.cancel, budgets.submit("fun-asr")):
        assert taken_in(budget, clock, 60) == 0
        assert budget.wait_seconds(clock.boot_seconds()) == float("inf")


async def test_the_share_is_that_of_the_partitions(clock: FakeClock) -> None:
    budgets = Budgets(clock, 0.5, 20.0, 120.0)
    budgets.set_share(0.25)
    assert budgets.query.share_per_second == 0.5 * 20.0 * 0.25
    assert budgets.listing.share_per_second == 0.5 * 20.0 * 0.25
    assert budgets.cancel.share_per_second == 0.5 * 20.0 * 0.25
    assert budgets.submit("fun-asr").share_per_second == 0.5 * 2.0 * 0.25


async def test_a_rebalance_changes_every_budget_that_is_in_use(clock: FakeClock) -> None:
    budgets = Budgets(clock, 1.0, 20.0, 120.0)
    budgets.set_share(1.0)
    submit = budgets.submit("fun-asr")
    budgets.set_share(0.5)
    assert budgets.submit("fun-asr") is submit
    assert (submit.share_per_second, budgets.query.share_per_second) == (1.0, 10.0)


async def test_replicas_together_stay_within_the_quota(clock: FakeClock) -> None:
    parts = [Budgets(clock, 0.75, 20.0, None) for _ in range(3)]
    for budgets, share in zip(parts, (0.5, 0.3, 0.2), strict=True):
        budgets.set_share(share)
    total = sum(taken_in(budgets.query, clock, 60) for budgets in parts)
    assert 0.9 * 15 * 60 <= total <= 20 * 60


async def test_without_a_setting_the_model_table_counts_and_each_snapshot_has_its_own(
    clock: FakeClock,
) -> None:
    budgets = Budgets(clock, 1.0, 20.0, None)
    budgets.set_share(1.0)
    assert budgets.submit("fun-asr").share_per_second == 10.0
    assert budgets.submit("fun-asr-mtl").share_per_second == 100 / 60
    assert budgets.submit("fun-asr-2025-08-25") is not budgets.submit("fun-asr")
    assert budgets.submit("a-model-of-yesterday").share_per_second == 0.0


async def test_names_that_requests_make_up_are_not_kept_for_ever(clock: FakeClock) -> None:
    budgets = Budgets(clock, 1.0, 20.0, None)
    budgets.set_share(1.0)
    used = budgets.submit("fun-asr")
    for day in range(1, 29):
        for month in range(1, 13):
            budgets.submit(f"fun-asr-2026-{month:02}-{day:02}")
            assert budgets.submit("fun-asr") is used
    assert len(budgets.submits) == MAX_MODELS
