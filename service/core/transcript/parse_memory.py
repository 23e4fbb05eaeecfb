"""Bound the memory that a result file takes on its way to a record, from its bytes alone.

Measured on CPython 3.11 from the bytes to the encoded record, with every structure of JSON in its densest
form; a test repeats this. Files of words with times, which are the large ones, take half of the bound.
"""

import re

OBJECT_BYTES = 420
"""A dict of one key, and its copy in the provider's extra."""
LIST_BYTES = 200
"""A list of one item, and its copy."""
ITEM_BYTES = 135
"""A number or a short string, its slot in a list or dict, and a copy."""
QUOTE_BYTES = 12
"""Bytes of a file attributed to each quote: the rest is long strings."""
WORDS_TIMES = 17
"""Memory of a file of words with times, as a multiple of its size, unless it has characters above U+FFFF:
short words in Han, the densest, need 16.3."""
TEXT_COPIES, LONG_COPIES, RENDERED_COPIES = 2, 13, 10
"""Copies of the whole text while parsing; of long strings in the record; of these as subtitles and text."""

_WIDEST = re.compile(rb"[\xf0-\xff]|\\u[dD]")
"""A character above U+FFFF, plain or escaped: every character of its string then takes four bytes."""


def parse_bytes(body: bytes, *, is_rendered: bool) -> int:
    """Upper bound of the memory for reading `body`, without the body itself, with or without renderings."""
    copies = LONG_COPIES + (RENDERED_COPIES if is_rendered else 0)
    long_strings = max(0, len(body) - QUOTE_BYTES * body.count(b'"'))
    text = _char_bytes(body) * (TEXT_COPIES * len(body) + copies * long_strings)
    parts = OBJECT_BYTES * body.count(b"{") + LIST_BYTES * body.count(b"[") + ITEM_BYTES * body.count(b",")
    return text + parts


def _char_bytes(body: bytes) -> int:
    if body.isascii() and b"\\u" not in body:
        return 1
    return 4 if _WIDEST.search(body) else 2
