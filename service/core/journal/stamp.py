"""Keys of the shard's own records, and the stamp that names the writer of a journal record.

A stamp begins with the owner's epoch, so that a reader of any format version finds it.
"""

from service.frozen import dataclass

CURSOR_PREFIX = "~cursor/"
SPEND_PREFIX = "~spend/"
OWNER_PREFIX = "~owner/"
OWN_PREFIXES = (CURSOR_PREFIX, SPEND_PREFIX, OWNER_PREFIX)
"""Prefixes of the shard's own keys. Each epoch has its own keys, so that compaction never replaces the
owner's record with one of a former owner."""
STAMP_HEADER = "scribe-stamp"
_MAX_DIGITS = 18
"""A number of 64 bits."""
FORMAT = 2
"""The version of the record format; a journal in another format is refused."""


def owner_key(epoch: int) -> str:
    """The key of an epoch's claim."""
    return f"{OWNER_PREFIX}{epoch}"


def cursor_key(epoch: int) -> str:
    """The key of an epoch's cursor."""
    return f"{CURSOR_PREFIX}{epoch}"


def spend_key(epoch: int) -> str:
    """The key of an epoch's day spending."""
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
    """The writer of a journal record: owner epoch, batch number and format version."""

    epoch: int
    batch: int
    format: int = FORMAT

    def encode(self) -> bytes:
        """Encode the stamp as the header's value."""
        return f"{self.epoch}.{self.batch}.{self.format}".encode()

    @staticmethod
    def decode(value: bytes) -> "Stamp":
        """Decode a header's value of this or a later format version.

        Raises `ValueError` for no stamp.
        """
        epoch, batch, version = (_whole(part) for part in value.split(b".", 3)[:3])
        return Stamp(epoch, batch, version)


def epoch_of(stamp: bytes) -> int:
    """The owner epoch in a stamp of any format version.

    Raises `ValueError` for no stamp.
    """
    return _whole(stamp.partition(b".")[0])


def format_of(key: str, stamp: bytes) -> int:
    """The format version of a record; raises `ValueError` for no stamp.

    Stamps of format 1 began with the format version, and its keys are none of this version's.
    """
    first, version = _whole(stamp.partition(b".")[0]), Stamp.decode(stamp).format
    is_ours = key.startswith(("r/", "s/", "j/")) or epoch_of_key(key) is not None
    return 1 if first == 1 and version != FORMAT and not is_ours else version


def _whole(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise ValueError("no number of a stamp")
    return int(digits)
