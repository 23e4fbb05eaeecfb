"""Reads the body of an answer within limits on its wire size and its decoded size."""

import zlib

import httpx


class BodyTooLarge(Exception):
    """The body is over a limit; reading stopped there."""


class BodyBroken(Exception):
    """The body is not what its headers say: cut short, or encoded in a way we did not ask for."""


async def read_body(response: httpx.Response, max_wire_bytes: int, max_decoded_bytes: int) -> bytes:
    """The decoded body; holds no more than the limits. Raises BodyTooLarge, BodyBroken and httpx's errors."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise BodyBroken("the content encoding is neither gzip nor identity")
    gunzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body = bytearray()
    wire_bytes = 0
    async for chunk in response.aiter_raw():
        wire_bytes += len(chunk)
        if wire_bytes > max_wire_bytes:
            raise BodyTooLarge(f"the body is over {max_wire_bytes} bytes")
        body += _inflated(gunzip, chunk, max_decoded_bytes - len(body)) if gunzip else chunk
        if len(body) > max_decoded_bytes:
            raise BodyTooLarge(f"the decoded body is over {max_decoded_bytes} bytes")
    if gunzip is not None and not gunzip.eof:
        raise BodyBroken("the gzip stream is cut short")
    return bytes(body)


def _inflated(gunzip: "zlib._Decompress", chunk: bytes, room_bytes: int) -> bytes:
    """What `chunk` decodes to, at most one byte more than there is room for."""
    try:
        return gunzip.decompress(chunk, room_bytes + 1)
    except zlib.error as error:
        raise BodyBroken("the gzip stream is damaged") from error
