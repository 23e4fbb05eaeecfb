"""Quotas: never more than the limit in any window, and no call lost to a neighbour's use."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.quota import Quotas, SlidingWindow

GAPS = st.lists(st.floats(0, 0.5), min_size=1, max_size=200)


@given(gaps=GAPS, limit=st.integers(1, 20))
def test_no_span_holds_more_admitted_calls_than_the_limit_and_a_refusal_means_a_full_one(
    gaps: list[float], limit: int
) -> None:
    window, now = SlidingWindow(limit, 1.0), 0.0
    admitted: list[float] = []
    for gap in gaps:
        now += gap
        recent = [at for at in admitted if at > now - 1.0]
        assert window.has_room(now) == (len(recent) < limit)
        if window.has_room(now):
            window.count(now)
            admitted.append(now)


def test_query_list_and_cancel_count_apart_and_per_account() -> None:
    quotas = Quotas(SimulatorConfig(query_qps=2, list_qps=1, cancel_qps=None))
    assert [quotas.admits("query", "a", "", 0.0) for _ in range(3)] == [True, True, False]
    assert quotas.admits("query", "b", "", 0.0)
    assert [quotas.admits("list", "a", "", 0.0) for _ in range(2)] == [True, False]
    assert all(quotas.admits("cancel", "a", "", 0.0) for _ in range(100))
    assert quotas.admits("query", "a", "", 1.0)


def test_submits_are_limited_by_the_minute_and_by_the_second_for_each_model() -> None:
    quotas = Quotas(SimulatorConfig(submit_rpm={"slow": 100, "fast": 6}))
    assert [quotas.admits("submit", "a", "slow", 0.0) for _ in range(3)] == [True, True, False]
    assert quotas.admits("submit", "a", "fast", 0.0)
    assert quotas.admits("submit", "a", "unlisted", 0.0)
    admitted = sum(quotas.admits("submit", "a", "fast", float(second)) for second in range(1, 60))
    assert admitted == 5
    assert quotas.admits("submit", "a", "fast", 60.0)


def test_the_default_quotas_are_the_vendors() -> None:
    quotas = Quotas(SimulatorConfig())
    assert [quotas.admits("query", "a", "", 0.0) for _ in range(21)].count(True) == 20
    assert [quotas.admits("submit", "a", "fun-asr", 0.0) for _ in range(11)].count(True) == 10
    assert [quotas.admits("submit", "a", "fun-asr-mtl", 0.0) for _ in range(3)].count(True) == 2


def test_quotas_can_be_turned_off() -> None:
    quotas = Quotas(SimulatorConfig(submit_rpm=None, query_qps=None))
    assert all(quotas.admits(kind, "a", "fun-asr", 0.0) for kind in ("submit", "query") for _ in range(1000))
