"""A kill point: the place in a worker at which it ends, or freezes, itself."""

import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Literal

VARIABLE = "CHAOS_POINT"
"""Names the point, as NAME:OCCURRENCE:ACTION. The service's settings begin otherwise."""
DOORS_VARIABLE = "CHAOS_DOORS"
"""Where the broker's nodes are reached, as PORT=DOOR,PORT=DOOR."""
REACHED = "chaos: reached"
"""How the line begins that a worker writes before it acts."""

Action = Literal["kill", "stop"]
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@dataclass(frozen=True)
class KillPoint:
    """The `occurrence`-th time (from 1) that a worker passes `name`, `action` happens to it."""

    name: str
    occurrence: int
    action: Action

    def __str__(self) -> str:
        return f"{self.name}:{self.occurrence}:{self.action}"

    @staticmethod
    def read(text: str) -> "KillPoint":
        """Read NAME:OCCURRENCE:ACTION; raises `ValueError` for anything else."""
        name, occurrence, action = text.split(":")
        if action not in ("kill", "stop"):
            raise ValueError(f"{action} is neither kill nor stop")
        return KillPoint(name, int(occurrence), "kill" if action == "kill" else "stop")


class Trap:
    """Counts how often each place is passed and springs at the kill point, if there is one."""

    def __init__(self, point: KillPoint | None) -> None:
        self._point = point
        self._passed: Counter[str] = Counter()

    def at(self, name: str) -> None:
        """Pass the place `name`; a SIGKILL never returns, a SIGSTOP returns after SIGCONT."""
        self._passed[name] += 1
        point = self._point
        if point is not None and (name, self._passed[name]) == (point.name, point.occurrence):
            print(f"{REACHED} {point}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), _SIGNALS[point.action])

    def waits_for(self, name: str) -> bool:
        """Whether the kill point is the next passage of `name`: only then is it worth a detour."""
        point = self._point
        return point is not None and (point.name, point.occurrence) == (name, self._passed[name] + 1)
