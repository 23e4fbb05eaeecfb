"""How often each fault comes: a world has its own, drawn from its seed, unless a test asks for another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weather:
    """Shares of what could go wrong that does."""

    disturbed: float = 0.02
    """Of the steps: crashes, freezes, drains, compactions, jumps of time, steps of clocks."""
    strange: float = 0.15
    """Of the steps, while there are strangers: one of them acts."""
    unacknowledged: float = 0.01
    """Of the records sent: half of them are durable nevertheless. Of transactions five times as many."""
    unfetched: float = 0.2
    """Of the fetches: for a reason that may pass."""
    hurried: float = 0.35
    """Of the requests: they have a deadline, mostly a short one."""
    synchronous: float = 0.15
    """Of the requests: their model answers at once."""
    hotwords: float = 0.15
    """Of the other requests: they have a hotword list."""
    stepping: float = 0.0
    """Of the disturbances: a machine's clock steps, by seconds to days, forward or backward."""
