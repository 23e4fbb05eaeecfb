"""The W3C `traceparent` header: what is read of it, what is refused, and what ours says."""

import pytest

from service.contract.traceparent import TraceParent, trace_parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
def test_the_lowest_flag_says_whether_the_trace_is_sampled(flags: str, is_sampled: bool) -> None:
    header = ("traceparent", f"00-{TRACE}-{SPAN}-{flags}")
    assert trace_parent([header]) == TraceParent(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00-aa-bb-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}\u0664-{SPAN}-01",
    ],
)
def test_a_header_that_is_not_a_trace_parent_names_no_trace(value: str) -> None:
    assert trace_parent([("traceparent", value)]) is None


def test_a_later_version_may_say_more() -> None:
    assert trace_parent([("traceparent", f"01-{TRACE}-{SPAN}-01-more")]) == TraceParent(TRACE, SPAN, True)


def test_of_several_headers_the_last_counts_and_others_do_not() -> None:
    first, last = f"00-{'1' * 32}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"
    headers = [("traceparent", first), ("traceparent", last), ("tracestate", first)]
    assert trace_parent(headers) == TraceParent(TRACE, SPAN, True)
    assert trace_parent([("Traceparent", first)]) is None


def test_a_child_has_the_same_id_whoever_computes_it_and_names_its_trace_and_flag() -> None:
    parent = TraceParent(TRACE, SPAN, True)
    child = parent.child_id("r-1/0/0")
    assert child == TraceParent(TRACE, SPAN, True).child_id("r-1/0/0")
    others = {parent.child_id("r-1/0/1"), TraceParent(TRACE, child, True).child_id("r-1/0/0")}
    assert child not in others
    assert len(others) == 2
    header = parent.header(child)
    assert trace_parent([("traceparent", header)]) == TraceParent(TRACE, child, True)
    assert parent._replace(is_sampled=False).header(child) == f"00-{TRACE}-{child}-00"
