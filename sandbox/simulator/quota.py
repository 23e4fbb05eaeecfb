"""Account quotas as sliding windows: which call is over the limit. It never waits and never counts
a call that it refused.
"""

import math
from collections import deque

from sandbox.simulator.config import SimulatorConfig


class SlidingWindow:
    """At most `limit` admitted calls in any `span_seconds`."""

    def __init__(self, limit: int, span_seconds: float) -> None:
        self._limit = limit
        self._span = span_seconds
        self._admitted: deque[float] = deque()

    def has_room(self, now: float) -> bool:
        """Whether one more call at `now` stays within the limit."""
        while self._admitted and self._admitted[0] <= now - self._span:
            self._admitted.popleft()
        return len(self._admitted) < self._limit

    def count(self, now: float) -> None:
        """Note an admitted call."""
        self._admitted.append(now)


class Quotas:
    """The windows of all accounts, made on first use.

    Query, list, cancel and hotwords: calls a second per account, whatever the model. Policy (leave to
    upload): calls a second per account and model. Submit: calls a minute per account and model, and, as the
    vendor enforces it, RPM/60 (rounded up) in any second.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self._qps = {
            "query": config.query_qps,
            "list": config.list_qps,
            "cancel": config.cancel_qps,
            "hotwords": config.hotwords_qps,
            "policy": config.policy_qps,
        }
        self._rpm = config.submit_rpm or {}
        self._windows: dict[tuple[str, str, str], tuple[SlidingWindow, ...]] = {}

    def admits(self, kind: str, account: str, model: str, now: float) -> bool:
        """Count one call and say True, or say False when a window of its quota is full."""
        key = (kind, account, model if kind in ("submit", "policy") else "")
        windows = self._windows.get(key)
        if windows is None:
            windows = self._windows[key] = self._windows_of(kind, model)
        if not all(window.has_room(now) for window in windows):
            return False
        for window in windows:
            window.count(now)
        return True

    def _windows_of(self, kind: str, model: str) -> tuple[SlidingWindow, ...]:
        if kind == "submit":
            rpm = self._rpm.get(model)
            return () if rpm is None else (SlidingWindow(rpm, 60.0), SlidingWindow(math.ceil(rpm / 60), 1.0))
        qps = self._qps.get(kind)
        return () if qps is None else (SlidingWindow(qps, 1.0),)
