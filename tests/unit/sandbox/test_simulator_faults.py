"""Fault rules: read strictly, taken in order, counted; and the ledger's own arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.simulator.faults import Fault, FaultBoard, FaultError, describe, read_faults
from sandbox.simulator.ledger import CallEntry, Ledger


def test_the_first_rule_that_fits_takes_the_call_until_it_is_spent() -> None:
    board = FaultBoard()
    board.add(Fault(on="submit", kind="drop_after", times=2, match="fun-asr"))
    board.add(Fault(on="submit", kind="status", times=None))
    kinds = [rule.kind for rule in (board.take("submit", "model fun-asr") for _ in range(4)) if rule]
    assert kinds == ["drop_after", "drop_after", "status", "status"]
    assert board.take("query", "fun-asr") is None
    board.clear()
    assert board.take("submit", "fun-asr") is None


def test_a_rule_does_the_work_first_only_where_the_fault_is_in_the_answer() -> None:
    first = {kind: Fault(on="query", kind=kind).works_first for kind in ("drop_after", "slow", "truncate")}
    assert all(first.values())
    assert not any(
        Fault(on="query", kind=kind).works_first for kind in ("drop_before", "hang", "status", "garbage")
    )
    assert Fault(on="submit", kind="hang", accept=True).works_first
    assert Fault(on="list", kind="lag").works_first


@pytest.mark.parametrize("kind", ["lag", "shuffle", "misdate", "rename"])
def test_what_a_list_may_say_is_for_lists(kind: str) -> None:
    with pytest.raises(FaultError, match=f"kind {kind} is for lists"):
        Fault(on="query", kind=kind)


@pytest.mark.parametrize("kind", ["break_stream", "end_stream", "stream_error"])
def test_what_breaks_a_stream_is_for_synchronous_calls(kind: str) -> None:
    with pytest.raises(FaultError, match=f"kind {kind} is for transcribe calls"):
        Fault(on="submit", kind=kind)
    assert Fault(on="transcribe", kind=kind).works_first


def test_rules_read_from_json_keep_every_field() -> None:
    given_rule = {
        "on": "result",
        "kind": "status",
        "status": 429,
        "code": "Throttling",
        "message": "m",
        "retry_after": 2,
        "seconds": 0.5,
        "times": None,
        "match": "x",
        "accept": False,
        "size_bytes": 10,
        "gzip": True,
        "location": "http://x",
        "chunks": 3,
    }
    [rule] = read_faults([given_rule])
    assert describe(rule) == {**given_rule, "hits": 0}
    assert [read.kind for read in read_faults({"on": "list", "kind": "hang"})] == ["hang"]


@pytest.mark.parametrize(
    "rule",
    [
        7,
        {},
        {"on": "submit"},
        {"on": "nothing", "kind": "status"},
        {"on": "submit", "kind": "explode"},
        {"on": "submit", "kind": "unknown"},
        {"on": "submit", "kind": "status", "times": "3"},
        {"on": "submit", "kind": "status", "hits": 3},
        {"on": "submit", "kind": "status", "typo": 1},
        {"on": "submit", "kind": "status", "match": None},
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_whole(rule: object) -> None:
    with pytest.raises(FaultError):
        read_faults([{"on": "list", "kind": "hang"}, rule])


@given(st.lists(st.integers(0, 40).map(lambda half: half / 2), max_size=60), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_ledgers_peak_is_the_most_calls_in_any_span(walls: list[float], span: float) -> None:
    ledger = Ledger(calls=[CallEntry("query", 0.0, wall) for wall in walls])
    expected = max((sum(wall - span < other <= wall for other in walls) for wall in walls), default=0)
    assert ledger.peak("query", span) == expected
    assert ledger.peak("list", span) == 0
