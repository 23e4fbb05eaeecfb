"""What happens to a fleet, and when: a pure function of the seed and the step, so that it can be replayed."""

import random
from dataclasses import dataclass
from typing import Final

ACTS: Final = (
    "kill",
    "stop",
    "join",
    "freeze",
    "restart_broker",
    "errors",
    "refuse",
    "lose_answers",
    "forget_offsets",
    "stranger",
)
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


def act_at(seed: int, step: int) -> Act:
    """The act of a step. Each ten steps hold every act once, in an order of their own."""
    deck = random.Random(f"{seed}/deck/{step // len(ACTS)}").sample(ACTS, len(ACTS))
    draw = random.Random(f"{seed}/{step}")
    return Act(
        step,
        deck[step % len(ACTS)],
        draw.random(),
        draw.uniform(SHORTEST_SECONDS, LONGEST_SECONDS),
        draw.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
    )
