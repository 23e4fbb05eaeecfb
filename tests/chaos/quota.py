"""How many calls the provider saw in one window of its quota; pure."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.evidence import Complaint, Quota

SECOND, MINUTE = 1.0, 60.0
ROUNDING = 1e-6
Gaps = Sequence[tuple[float, float]]


def too_fast(
    calls: Mapping[str, Sequence[float]], gaps: Gaps, quotas: Mapping[str, Quota]
) -> Iterator[Complaint]:
    """One complaint for each kind of call and span of which some window held too many: the worst one.

    What arrived while the simulator's own process stood still was sent in a longer span than the window:
    such a window may hold the quota of each second that was begun.
    """
    for kind, moments in calls.items():
        quota = quotas[kind]
        for span, most in ((SECOND, quota.per_second), (MINUTE, quota.per_minute)):
            if most is not None:
                worst = max(_excesses(sorted(moments), gaps, span, most), default=(0.0, 0, 0))
                if worst[0] > 1:
                    yield _complaint(kind, span, worst)


def _complaint(kind: str, span: float, worst: tuple[float, int, int]) -> Complaint:
    times, count, allowed = worst
    subject = kind if span == SECOND else f"{kind} a minute"
    words = f"N7: {count} calls of {kind} in {span:g} s, at most {allowed}"
    return Complaint("quota", subject, words, times=times)


def _excesses(
    moments: Sequence[float], gaps: Gaps, span: float, most: int
) -> Iterator[tuple[float, int, int]]:
    """For the window that ends with each call: its calls by what is allowed, its calls, what is allowed."""
    for last, at in enumerate(moments):
        # A call exactly one span before is in the window before.
        count = last - bisect_right(moments, at - span + ROUNDING) + 1
        if count > most:
            allowed = most * math.ceil(1 + _stood_still(gaps, at - span, at) / span)
            yield count / allowed, count, allowed


def _stood_still(gaps: Gaps, begin: float, end: float) -> float:
    """How long, whole gaps that reach into the window."""
    first = bisect_left(gaps, begin, key=lambda gap: gap[1])
    return sum(until - since for since, until in gaps[first:] if since <= end)
