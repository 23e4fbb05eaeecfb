"""How much memory a result file takes while it is read and becomes a record: a bound, from its bytes alone.

Measured on CPython 3.11 from the bytes to the encoded record, with every structure of JSON in its densest
form, which a test repeats. Files of words with times, which are the large ones, take half of the bound.
"""

import re

OBJECT_BYTES = 420
"""A dict of one key, and once more among what the contract does not know."""
LIST_BYTES = 200
ITEM_BYTES = 135
"""A number or a short string, its place in a list or dict, and once more."""
QUOTE_BYTES = 12
"""What each quote accounts for of a file: the rest of it are long strings."""
WORDS_TIMES = 17
"""How many times its size a file of words with times needs, unless it has characters beyond the first 65,536:
short words in Han, the densest, need 16.3."""
TEXT_COPIES, LONG_COPIES, RENDERED_COPIES = 2, 13, 10
"""Of the whole text while it is parsed; of long strings in the record; of these as subtitles and text."""

_WIDEST = re.compile(rb"[\xf0-\xff]|\\u[dD]")
"""A character beyond the first 65,536, plain or escaped: each of its string's then takes four bytes."""


def parse_bytes(body: bytes, *, is_rendered: bool) -> int:
    """The most that reading `body` takes beside the body itself, with or without renderings."""
    copies = LONG_COPIES + (RENDERED_COPIES if is_rendered else 0)
    long_strings = max(0, len(body) - QUOTE_BYTES * body.count(b'"'))
    text = _char_bytes(body) * (TEXT_COPIES * len(body) + copies * long_strings)
    parts = OBJECT_BYTES * body.count(b"{") + LIST_BYTES * body.count(b"[") + ITEM_BYTES * body.count(b",")
    return text + parts


def _char_bytes(body: bytes) -> int:
    if body.isascii() and b"\\u" not in body:
        return 1
    return 4 if _WIDEST.search(body) else 2
