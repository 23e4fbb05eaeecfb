"""What goes to the broker in one piece, and the ways that can end."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from service.core.record import Cursor
from service.core.shard import Move
from service.core.smaller import shrink


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
    """Nobody can say yet. The same batch, appended again, is written once, or again with the same ids."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The shard is another's: nothing of it is durable, and nothing of this owner will be any more."""

    reason: str


Appended = Committed | Unknown | Refused


def one_by_one(batch: Batch) -> tuple[Batch, ...]:
    """The batch in pieces that cannot be divided, in their order: each move, then the cursor."""
    pieces = tuple(replace(batch, moves=(move,), cursor=None) for move in batch.moves)
    return (*pieces, replace(batch, moves=())) if batch.cursor else pieces


def smaller(batch: Batch) -> Batch | None:
    """A batch of one move, with a smaller form of its outcome; None where there is none."""
    form = next((shrink(move.outcome) for move in batch.moves if move.outcome), None)
    return replace(batch, moves=(replace(batch.moves[0], outcome=form),)) if form else None


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
