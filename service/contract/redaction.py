"""Makes foreign text safe to publish and log.

No URL query, no credential, no control character passes.

It does not interpret the text, and cannot find a secret that looks like an ordinary word.
"""

import re

from pydantic import JsonValue

MAX_CHARS = 500
"""Longest redacted text: enough for every known vendor message, short enough for a log line."""

_READ_CHARS = 4_000
"""Only the beginning of a long text is read, so that a vendor's HTML page costs no time."""

_NAME_CHARS = 64
"""As long as the name of any known field; what is longer is no name."""

# C0, DEL, C1, line and paragraph separators, bidirectional controls, byte order mark, surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_BLANKS = re.compile(r"\s+")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)(?:[^\s/?#\"<>]*@)?([^\s?#\"<>]*)(?:[?#][^\s\"<>]*)?")
_QUERY = re.compile(r"\?[\w.%~-]+=[^\s\"<>]*")
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[^\s\"'<>,;]+", re.IGNORECASE)
_KEY = re.compile(r"(?<![A-Za-z0-9])(sk|st)-[A-Za-z0-9_.-]{8,}|(?<![A-Za-z0-9])(LTAI|eyJ)[A-Za-z0-9_.-]{8,}")
_PAIR = re.compile(
    r"((?:OSSAccessKeyId|x-oss-[a-z-]{1,40}|x-amz-[a-z-]{1,40}|security-?token|signature|access_?key(?:_?id|_?secret)?"
    r"|api[_-]?key|(?<![a-z])token|password|passwd|secret)\\?[\"']?\s*(?:[:=]|%3D)\s*\\?[\"']?)[^\s\"'<>&,;\\*]+",
    re.IGNORECASE,
)

_PLAIN = re.compile(rf"(?!.*s[kt]-)[a-z0-9._/-]{{0,{MAX_CHARS}}}")
"""Names, numbers and ids, which match none of the patterns above: most of what is logged."""


def redact(text: str) -> str:
    """`text` as one line of at most `MAX_CHARS` characters, without what must not be published.

    Removed: queries, fragments and user:password of URLs, bearer tokens, `sk-`/`st-` keys, signatures
    and other `name=value` credentials outside URLs, control characters. Redacting twice changes nothing.
    """
    if _PLAIN.fullmatch(text):
        return text
    line = _masked(text[:_READ_CHARS])
    # A mask, or the cut at the end, may leave text that the next pass reads differently.
    while (again := _masked(line)) != line:
        line = again
    return line


def shown(name: str) -> str:
    """A foreign field name for an error message: redacted, printable, at most 64 characters."""
    short = redact(name)[:_NAME_CHARS].replace("`", "'")
    return "".join(char if char.isprintable() else "?" for char in short)


def without_query(url: str) -> str:
    """`url` without its query and fragment, otherwise unchanged."""
    return url.partition("#")[0].partition("?")[0]


def without_queries(document: JsonValue) -> JsonValue:
    """A copy of `document` without the query of any string that holds a URL."""
    if isinstance(document, str):
        return without_query(document) if "://" in document else document
    if isinstance(document, list):
        return [without_queries(item) for item in document]
    if isinstance(document, dict):
        return {key: without_queries(value) for key, value in document.items()}
    return document


def _masked(text: str) -> str:
    line = _CONTROL.sub(" ", text)
    line = _URL.sub(r"\1\2", line)
    line = _QUERY.sub("", line)
    line = _SCHEME.sub(r"\1 *", line)
    line = _KEY.sub("*", line)
    line = _PAIR.sub(r"\1*", line)
    return _BLANKS.sub(" ", line).strip()[:MAX_CHARS].rstrip()
