"""The port of a shard's writer.

`at_least_once` and `exactly_once` are its two implementations.
"""

from typing import Protocol

from service.core.shard.batches import Appended, Batch


class Writer(Protocol):
    """The port: makes a batch durable, or reports an unknown outcome.

    One call at a time.
    """

    async def append(self, batch: Batch) -> Appended:
        """Write the batch. Bounded in time; never raises for a broker's errors.

        After `Unknown` the caller passes the same object again, until it is `Committed` or `BatchRefused`.
        """
        ...

    async def prove(self) -> Appended:
        """Write the owner's claim again with its own epoch, to prove that this writer is not fenced."""
        ...

    async def release(self) -> Appended:
        """Journal that this owner makes no calls to the provider until it proves itself again."""
        ...

    async def close(self) -> None:
        """Release all resources.

        Records in flight may or may not arrive. Bounded; may be called twice.
        """
        ...
