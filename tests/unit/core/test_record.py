"""Request records: their checksum, the id of what comes of them, and the cursor behind them."""

import zlib

from service.core.record import Cursor, cursor_after
from tests.unit.core.samples import NOW_MS, record


def test_the_cursor_behind_a_record_names_the_next_and_knows_this_one() -> None:
    assert cursor_after(record(7, b"value")) == Cursor(8, NOW_MS - 500, zlib.crc32(b"value"))


def test_a_null_value_has_a_checksum_too() -> None:
    assert record(7, None).crc == zlib.crc32(b"")


def test_a_record_is_called_by_its_place() -> None:
    assert record(7, None).origin_id == "transcription.requests/0/7"
