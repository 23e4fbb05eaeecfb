"""The URL of an audio file: accepts what every downloader accepts, and explains each refusal.

Never resolves a host name and never checks its addresses.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, WithJsonSchema

from service.contract.validation_errors import refusal

MAX_URL_CHARS = 8_192
"""As long as object stores and proxies take; a signed URL has some 500 characters."""
MAX_HOST_CHARS = 253
MAX_LABEL_CHARS = 63
"""RFC 1035, section 2.3.4: of a whole host name, and of one label."""
MAX_PORT = 65_535
"""A port has 16 bits."""

_PLAIN = r"[!-$&-\[\]-~]*"
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_PORT = r"0{0,4}([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
URL_PATTERN = (
    r"^([hH][tT][tT][pP][sS]?|[oO][sS][sS])://"
    rf"(({_LABEL}\.)*{_LABEL}\.?|\[[0-9A-Fa-f:.]+\])(:({_PORT})?)?"
    rf"([/?#]{_PLAIN}(%[0-9A-Fa-f]{{2}}{_PLAIN})*)?$"
)
"""http, https or oss; a host of labels without user or password; a valid port, or none after its
colon; printable ASCII without spaces and backslashes, each percent sign with two hex digits."""

_URL = re.compile(URL_PATTERN)
_NOT_IN_A_URL = re.compile(r"[^!-~]|\\")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(:(?P<port>[^:]*))?")
_END_OF_HOST = re.compile(r"[/?#]")
_PORT_NUMBER = re.compile(_PORT)
_NUMBERS = re.compile(r"[0-9.]+")


def _usable_url(url: str) -> str:
    if len(url) > MAX_URL_CHARS:
        raise refusal(f"has {len(url)} characters; a URL may have {MAX_URL_CHARS}")
    fault = _host_fault(url) if _URL.fullmatch(url) else _url_fault(url)
    if fault is not None:
        raise refusal(fault)
    return url


def _host_fault(url: str) -> str | None:
    """Check the host of a URL that fits the pattern, by the rules that a pattern cannot express."""
    host = _END_OF_HOST.split(url.partition("://")[2], maxsplit=1)[0]
    if host.startswith("["):
        is_address = _is_address(ipaddress.IPv6Address, host[1 : host.index("]")])
        return None if is_address else "has a host that is no IPv6 address"
    host = host.partition(":")[0]
    if len(host.rstrip(".")) > MAX_HOST_CHARS:
        return f"has a host of {len(host)} characters; at most {MAX_HOST_CHARS} are allowed"
    if any(label != label.strip("-") for label in host.split(".")):
        return "has a label in its host that begins or ends with a hyphen"
    if _NUMBERS.fullmatch(host) and not _is_address(ipaddress.IPv4Address, host.rstrip(".")):
        return "has a host that is no IPv4 address"
    return None


def _is_address(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _url_fault(url: str) -> str:
    """Why a URL does not fit the pattern."""
    if _NOT_IN_A_URL.search(url):
        return "must be percent-encoded: it has a space, a backslash, a control or a non-ASCII character"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is not a valid URL"
    if parts.scheme not in {"http", "https", "oss"}:
        return "must be an http, https or oss URL"
    if "@" in parts.netloc:
        return "must not have a user or password in it"
    if not parts.hostname:
        return "has no host"
    return _part_fault(parts.netloc, url)


def _part_fault(authority: str, url: str) -> str:
    split = _AUTHORITY.fullmatch(authority)
    if split is None:
        return "is not a valid URL"
    labels, port = split["host"].removesuffix(".").split("."), split["port"]
    if not all(labels):
        return "has an empty label in its host, as two dots in a row make one"
    if any(len(label) > MAX_LABEL_CHARS for label in labels) and not split["host"].startswith("["):
        return f"has a label of more than {MAX_LABEL_CHARS} characters in its host"
    if port and not _PORT_NUMBER.fullmatch(port):
        return f"has a port that is not between 1 and {MAX_PORT}"
    if _BROKEN_ESCAPE.search(url):
        return "has a percent sign without two hex digits behind it: write %25 for one"
    return "is not a valid URL"


FileUrl = Annotated[
    str,
    AfterValidator(_usable_url),
    WithJsonSchema({"type": "string", "maxLength": MAX_URL_CHARS, "pattern": URL_PATTERN}),
]
