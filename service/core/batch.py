"""What goes to the broker in one piece, and the three ways that can end."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.core.record import Cursor
from service.core.shard import Move


@dataclass(frozen=True, slots=True)
class Batch:
    """Moves in their order, and the cursor that may become durable only after them."""

    number: int
    moves: tuple[Move, ...]
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """All of it is durable. `journal_offset` is its last journal record's (-1: there was none)."""

    journal_offset: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say; appending the batch again is safe, since records of one id are one outcome."""

    reason: str


Appended = Committed | Unknown


def without_superseded(moves: Iterable[Move]) -> tuple[Move, ...]:
    """The moves, without journal entries that a later move of the batch writes over.

    A move with an outcome keeps its place and its entries.
    """
    ordered = list(moves)
    last: dict[str, int] = {move.key: index for index, move in enumerate(ordered) if move.key is not None}
    return tuple(
        move
        for index, move in enumerate(ordered)
        if move.key is None or move.outcome is not None or last[move.key] == index
    )
