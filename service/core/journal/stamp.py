"""Keys of what belongs to the shard itself, and the stamp that says who wrote a journal record.

A stamp begins with the owner's epoch, so that a reader of any format version finds it.
"""

from dataclasses import dataclass

CURSOR_PREFIX = "~cursor/"
SPEND_PREFIX = "~spend/"
OWNER_PREFIX = "~owner/"
OWN_PREFIXES = (CURSOR_PREFIX, SPEND_PREFIX, OWNER_PREFIX)
"""Of what belongs to the shard itself. Each epoch has keys of its own, so that no record of a former owner
can compact away what the owner wrote, whoever sees to it, or nobody."""
STAMP_HEADER = "scribe-stamp"
_MAX_DIGITS = 18
FORMAT = 2
"""The version of the records' form; a journal that holds another one is refused."""


def owner_key(epoch: int) -> str:
    """The key of an epoch's claim."""
    return f"{OWNER_PREFIX}{epoch}"


def cursor_key(epoch: int) -> str:
    """The key of an epoch's cursor."""
    return f"{CURSOR_PREFIX}{epoch}"


def spend_key(epoch: int) -> str:
    """The key of what the day has cost, as an epoch's owner knows it."""
    return f"{SPEND_PREFIX}{epoch}"


def epoch_of_key(key: str) -> int | None:
    """The epoch in a key of the shard itself; None for any other key."""
    prefix = next((each for each in OWN_PREFIXES if key.startswith(each)), None)
    if prefix is None:
        return None
    try:
        return _whole(key.removeprefix(prefix).encode())
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who wrote a journal record: the owner epoch, the number of the batch, and in which form."""

    epoch: int
    batch: int
    format: int = FORMAT

    def encode(self) -> bytes:
        """As the header's value."""
        return f"{self.epoch}.{self.batch}.{self.format}".encode()

    @staticmethod
    def decode(value: bytes) -> "Stamp":
        """Read a header's value, of this format version or a later one; raises `ValueError` for no stamp."""
        epoch, batch, version = (_whole(part) for part in value.split(b".", 3)[:3])
        return Stamp(epoch, batch, version)


def epoch_of(stamp: bytes) -> int:
    """The owner epoch in a stamp of any format version; raises `ValueError` for no stamp."""
    return _whole(stamp.partition(b".")[0])


def format_of(key: str, stamp: bytes) -> int:
    """The version of a record's form; raises `ValueError` for no stamp.

    Stamps of format 1 began with the format; its keys name neither a request, a job nor a submission of ours.
    """
    first, version = _whole(stamp.partition(b".")[0]), Stamp.decode(stamp).format
    is_ours = key.startswith(("r/", "s/", "j/")) or epoch_of_key(key) is not None
    return 1 if first == 1 and version != FORMAT and not is_ours else version


def _whole(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise ValueError("no number of a stamp")
    return int(digits)
