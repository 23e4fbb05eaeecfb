"""Reads the body of an answer within limits on its wire size and its decoded size."""

import zlib
from io import BytesIO

import httpx

MAX_MEMBERS = 16_384
"""Of one gzip body; each costs a copy of the bytes after it. In blocks of 64 KiB, 128 MiB have 2,048."""

_GZIP, _FRAMED, _BARE = 31, 15, -15
"""zlib's `wbits` for gzip, for deflate in the frame of zlib, and for deflate without one."""
_MAGIC = b"\x1f"
"""The first byte of a gzip member."""
_ENCODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _FRAMED}


class BodyTooLarge(Exception):
    """The body is over a limit; reading stopped there."""


class BodyBroken(Exception):
    """The body has an unsupported encoding, or one that its headers do not name."""


class BodyCutShort(BodyBroken):
    """The compressed body is cut short; a retry may bring all of it."""


async def read_body(response: httpx.Response, max_wire_bytes: int, max_decoded_bytes: int) -> bytes:
    """The decoded body; holds no more than the limits.

    Raises BodyTooLarge, BodyCutShort, BodyBroken and httpx's errors.
    """
    inflater = _inflater(response.headers.get("content-encoding", ""))
    # `getvalue` makes no copy; a copy would double the memory of the largest body.
    body = BytesIO()
    wire_bytes = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        wire_bytes += len(chunk)
        if wire_bytes > max_wire_bytes:
            raise BodyTooLarge(
                f"over {max_wire_bytes} bytes on the wire (SCRIBE_FETCH__MAX_COMPRESSED_BYTES)"
            )
        body.write(inflater.inflated(chunk, max_decoded_bytes - body.tell()) if inflater else chunk)
        if body.tell() > max_decoded_bytes:
            raise BodyTooLarge(f"over {max_decoded_bytes} bytes decoded (SCRIBE_FETCH__MAX_DECODED_BYTES)")
    if inflater is not None and not inflater.is_whole:
        raise BodyCutShort("the compressed body is cut short")
    return body.getvalue()


def _inflater(content_encoding: str) -> "_Inflater | None":
    """The decoder of the named encoding, None if there is none.

    Raises BodyBroken for an unsupported one.
    """
    named = (word.strip().lower() for word in content_encoding.split(","))
    applied = [word for word in named if word not in ("", "identity")]
    if not applied:
        return None
    if len(applied) > 1 or applied[0] not in _ENCODINGS:
        raise BodyBroken("its content encoding is not gzip, deflate or identity")
    return _Inflater(_ENCODINGS[applied[0]])


class _Inflater:
    """Decodes one encoding with a limit on its output, which httpx's decoders do not have.

    A gzip body may have several members in sequence (RFC 1952, 2.2), and zeros after them.
    """

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._member = zlib.decompressobj(wbits)
        self._members = 1
        self._first = b""
        """The first byte of a deflate body, until the second shows whether it has a frame."""
        self._is_detected = wbits == _GZIP

    @property
    def is_whole(self) -> bool:
        """Whether the body may end here."""
        return self._member.eof

    def inflated(self, chunk: bytes, room_bytes: int) -> bytes:
        """Decode `chunk`, to at most one byte more than `room_bytes`."""
        if not self._is_detected:
            chunk = self._detect_frame(chunk)
        decoded = bytearray()
        while chunk and len(decoded) <= room_bytes:
            if self._member.eof and not (chunk := self._next_member(chunk)):
                break
            decoded += self._fed(chunk, room_bytes + 1 - len(decoded))
            chunk = self._member.unused_data
        return bytes(decoded)

    def _detect_frame(self, chunk: bytes) -> bytes:
        """Find out whether a deflate body has its frame: many leave it out (RFC 9110, 8.4.1.2)."""
        chunk = self._first + chunk
        if len(chunk) < 2:
            self._first = chunk
            return b""
        self._is_detected = True
        has_frame = chunk[0] & 0x0F == zlib.DEFLATED and int.from_bytes(chunk[:2], "big") % 31 == 0
        if not has_frame:
            self._member = zlib.decompressobj(_BARE)
        return chunk

    def _next_member(self, chunk: bytes) -> bytes:
        """Begin the next member of a gzip body.

        Returns its bytes, or nothing if none follows.

        Trailing bytes that are no member are ignored, as gzip does: the body before them may be complete.
        """
        chunk = chunk.lstrip(b"\0")
        if self._wbits != _GZIP or chunk[:1] != _MAGIC:
            return b""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BodyBroken(f"its compressed body has more than {MAX_MEMBERS} members")
        self._member = zlib.decompressobj(_GZIP)
        return chunk

    def _fed(self, chunk: bytes, max_bytes: int) -> bytes:
        try:
            return self._member.decompress(chunk, max_bytes)
        except zlib.error as error:
            raise BodyBroken("its compressed body is damaged") from error
