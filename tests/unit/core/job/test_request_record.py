"""Request records: their checksum, the id of what comes of them, and the cursor behind them."""

import zlib

from service.core.job.identity import Origin
from service.core.job.request_record import Cursor, cursor_after
from tests.unit.core.samples import NOW_MS, record


def test_the_cursor_behind_a_record_names_the_next_and_knows_this_one() -> None:
    assert cursor_after(record(7, b"value"), 2) == Cursor(8, NOW_MS - 500, zlib.crc32(b"value"), 2)


def test_a_cursor_is_past_what_lies_below_it_and_all_of_an_older_topic() -> None:
    cursor = Cursor(8, generation=2)
    passed = {Origin(2, 7): True, Origin(2, 8): False, Origin(1, 99): True, Origin(3, 0): False}
    assert {origin: cursor.is_past(origin) for origin in passed} == passed


def test_a_null_value_has_a_checksum_too() -> None:
    assert record(7, None).crc == zlib.crc32(b"")


def test_a_record_is_called_by_its_place() -> None:
    assert record(7, None).origin_id == "transcription.requests/0/7"
