"""A record to send to Kafka, and the answer to it."""

from collections.abc import Sequence
from typing import Protocol

from service.errors import PublishError
from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """One record to send; without a partition, the key decides, hashed as in the Java client."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


SendResult = int | PublishError
"""A record's offset, or why it has none."""


class Sender(Protocol):
    """What a writer sends through: `Producer` or `Transactions`."""

    async def send(self, records: Sequence[ProducerRecord]) -> list[SendResult]:
        """Send the records and await every answer: an offset for each, or why it has none."""
        ...
