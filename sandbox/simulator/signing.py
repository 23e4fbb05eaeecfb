"""Signed result URLs in the manner of OSS V1 (`Expires`, `OSSAccessKeyId`, `Signature`). The path is
signed and compared byte for byte, never decoded.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Literal
from urllib.parse import parse_qs, urlencode

ACCESS_KEY_ID = "EXAMPLE"
ErrorPolicy = Literal["valid", "expired", "mismatch", "unsigned"]


class UrlSigner:
    """Signs result paths with a secret of this process; another signer's URLs do not verify."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(32)

    def query_for(self, raw_path: str, expires: int) -> str:
        """The query string that makes `raw_path` readable until `expires` (epoch seconds)."""
        signature = self._signature(raw_path, str(expires))
        return urlencode({"Expires": expires, "OSSAccessKeyId": ACCESS_KEY_ID, "Signature": signature})

    def check(self, raw_path: str, query: str, now: float) -> ErrorPolicy:
        """Judge a request; as OSS does, an expired URL is called expired before its signature is compared."""
        fields = parse_qs(query)
        expires, key_id, signature = (
            fields.get(name, [""])[0] for name in ("Expires", "OSSAccessKeyId", "Signature")
        )
        if not (signature and key_id and expires.isascii() and expires.isdigit() and len(expires) < 16):
            return "unsigned"
        if now >= int(expires):
            return "expired"
        good = hmac.compare_digest(self._signature(raw_path, expires).encode(), signature.encode())
        return "valid" if good and key_id == ACCESS_KEY_ID else "mismatch"

    def _signature(self, raw_path: str, expires: str) -> str:
        return signature_of(f"GET\n\n\n{expires}\n{raw_path}", self._secret)


def signature_of(text: str, secret: bytes) -> str:
    """The store's HMAC-SHA1 of a text, in base64."""
    return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha1).digest()).decode()
