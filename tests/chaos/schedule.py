"""What happens to a fleet, and when: a pure function of the seed and the step, so that it can be replayed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Track = Literal["workers", "world", "provider"]
TRACKS: Final[Mapping[Track, Sequence[str]]] = {
    "workers": ("kill", "stop", "join", "freeze", "rolling_restart", "forget_offsets"),
    "world": ("restart_broker", "stranger", "cut_off", "grow", "clock_step"),
    "provider": ("errors", "refuse", "lose_answers", "throttle", "hold_account", "hold_model", "unknown"),
}
"""Things happen at once, but only one of each track: those of a track would undo each other."""
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 4.0
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 5.0


@dataclass(frozen=True)
class Act:
    """One thing that happens: after `pause_seconds`, for `seconds`, to whom `draw` (from 0 to 1) picks.

    What an act cannot do where it runs it leaves out; the others come at the same steps all the same.
    """

    step: int
    name: str
    draw: float
    seconds: float
    pause_seconds: float

    def __str__(self) -> str:
        return (
            f"step {self.step}: {self.name} (draw {self.draw:.3f}, {self.seconds:.1f} s) "
            f"after {self.pause_seconds:.1f} s"
        )


def act_at(seed: int, step: int, track: Track) -> Act:
    """The act of a track's step. Each round of steps holds every act once, in an order of its own."""
    names = TRACKS[track]
    deck = random.Random(f"{seed}/{track}/{step // len(names)}").sample(names, len(names))
    draw = random.Random(f"{seed}/{track}/{step}")
    return Act(
        step,
        deck[step % len(names)],
        draw.random(),
        draw.uniform(SHORTEST_SECONDS, LONGEST_SECONDS),
        draw.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
    )
