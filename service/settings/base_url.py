"""Validate the provider's base URL: it ends where the API begins, and never exposes the key unencrypted.

Error messages repeat only the host of a wrong value and the part before a path that the vendor documents.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from service.contract.regions import API_PATH
from service.settings.environment import Text

_OTHER_API = re.compile(r"(?P<before>.*?)(/api/v1|/compatible-mode(/v1)?|/api-openai(/v1)?)(/.*)?")
"""A path that continues after ours, or another of the vendor's APIs on the same host."""


def _base_url(url: str) -> str:
    parts = _parts(url)
    if parts is None:
        raise ValueError("must be an http or https URL without user, password, query and fragment")
    if not parts.path.rstrip("/").endswith(API_PATH):
        known = _OTHER_API.fullmatch(parts.path)
        right = f"{parts.scheme}://{parts.netloc}{known['before'] if known else ''}{API_PATH}"
        raise ValueError(f"must end in {API_PATH}: {right}")
    return url.rstrip("/")


def _parts(url: str) -> SplitResult | None:
    """The URL's parts; None if it is no URL, or has too many or too few."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    is_url = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and port != 0
    is_odd = "@" in parts.netloc or "?" in url or "#" in url or not re.fullmatch(r"[!-~]+", url)
    return parts if is_url and not is_odd else None


def _is_host(host: str) -> bool:
    """Whether a resolver takes it: no part between its dots is empty or very long; it may end with a dot."""
    return all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))


def is_url(url: str) -> bool:
    """Whether it is an http or https URL without user, password, query and fragment."""
    return _parts(url) is not None


BaseUrl = Annotated[Text, AfterValidator(_base_url)]


def is_in_the_clear(base_url: str, plain_http_hosts: Collection[str]) -> bool:
    """Whether the key would be sent unencrypted over a network that is not known to be safe.

    Plain HTTP is allowed for addresses that are not public, for localhost, and for hosts that the operator
    names.
    """
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".")
    named = {each.strip("[]") for each in plain_http_hosts}
    return parts.scheme == "http" and host not in named and host != "localhost" and not _is_local(host)


def _is_local(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.teredo is not None or ip.sixtofour is not None:
            return False  # they tunnel to an IPv4 address across the internet
        ip = ip.ipv4_mapped or ip
    return not ip.is_global and not ip.is_multicast
