"""Connects to the provider's host with a TLS handshake: an operator then sees which of both fails."""

import asyncio
import ssl

import httpx

from service.core.provider.answers import ProviderError
from service.provider.http.connection_errors import Peer, no_connection
from service.provider.http.proxy import Proxy, ProxyFailed

MAX_HEAD_BYTES = 16 * 1024
"""Of a proxy's answer to CONNECT."""


async def reach(
    base_url: str, seconds: float, tls: ssl.SSLContext, proxy: Proxy | None = None
) -> ProviderError | None:
    """Why no connection is made within `seconds`; None if one was. It sends no request to the host."""
    url = httpx.URL(base_url)
    peer, is_connected = Peer.of(url, proxy), False
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            if proxy is not None and url.scheme == "https":
                writer = await _tunnel(proxy, peer)
            else:
                _, writer = await asyncio.open_connection(peer.host, peer.port)
            is_connected = True
            if url.scheme == "https":
                await writer.start_tls(tls, server_hostname=peer.host)
    except (OSError, UnicodeError, ProxyFailed) as error:
        return no_connection(error, peer, seconds, in_handshake=is_connected)
    finally:
        if writer is not None:
            # No goodbye: a host that does not answer would hold us up.
            writer.transport.abort()
    return None


async def _tunnel(proxy: Proxy, peer: Peer) -> asyncio.StreamWriter:
    """A connection to the host through the proxy; raises ProxyFailed."""
    try:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port, limit=MAX_HEAD_BYTES)
    except (OSError, UnicodeError) as error:
        raise ProxyFailed(proxy) from error
    try:
        target = f"[{peer.host}]:{peer.port}" if ":" in peer.host else f"{peer.host}:{peer.port}"
        login = "" if proxy.authorization is None else f"Proxy-Authorization: {proxy.authorization}\r\n"
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode("ascii"))
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status != httpx.codes.OK:
            raise ProxyFailed(proxy, status)
    except (OSError, EOFError, LookupError, ValueError, asyncio.LimitOverrunError) as error:
        writer.transport.abort()
        raise ProxyFailed(proxy) from error
    except BaseException:
        writer.transport.abort()
        raise
    return writer
