"""A request record from Kafka, and the cursor that says how far a shard has read."""

import zlib

from service.core.job.identity import Origin, Position
from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the request topic.

    `damage` says why the client could not read the record; then only its position is known.
    """

    position: Position
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    damage: str | None = None

    @property
    def crc(self) -> int:
        """A checksum of the value: it reveals that the topic was re-created."""
        return zlib.crc32(self.value or b"")

    @property
    def origin_id(self) -> str:
        """The identity of an outcome that belongs to the record and to no job."""
        return f"{self.position.topic}/{self.position.partition}/{self.position.offset}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next request record that is not yet in the journal.

    It also recognises the record before it.

    `generation` counts how often reading the request topic has started over: offsets of two generations
    cannot be compared.
    """

    next_offset: int
    timestamp_ms: int | None = None
    crc: int | None = None
    generation: int = 0

    def is_past(self, origin: Origin) -> bool:
        """Whether the record at `origin` is already behind the cursor."""
        return origin < Origin(self.generation, self.next_offset)


def cursor_after(record: Record, generation: int) -> Cursor:
    """The cursor once `record` is accepted."""
    return Cursor(record.position.offset + 1, record.position.timestamp_ms, record.crc, generation)
