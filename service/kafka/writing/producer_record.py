"""A record on its way to Kafka, and what becomes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.errors import PublishError


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """One record to send; without a partition the key decides, hashed as Java does."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


Answer = int | PublishError
"""The offset a record got, or why it has none."""


class Sender(Protocol):
    """What a writer sends through: `Producer` does, and `Transactions`."""

    async def send(self, records: Sequence[ProducerRecord]) -> list[Answer]:
        """Send the records and await every answer: for each its offset, or why it is not there."""
        ...
