"""Connects to the provider's host with a TLS handshake: an operator then sees which of both fails."""

import asyncio
import ssl

import httpx

from service.core.provider.answers import ProviderError
from service.provider.http.connection_errors import Peer, no_connection


async def reach(base_url: str, seconds: float, tls: ssl.SSLContext | None = None) -> ProviderError | None:
    """Why no connection is made within `seconds`; None if one was. It sends no request."""
    url = httpx.URL(base_url)
    peer, is_connected = Peer.of(url), False
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(peer.host, peer.port)
            is_connected = True
            if url.scheme == "https":
                await writer.start_tls(
                    tls or httpx.create_ssl_context(trust_env=False), server_hostname=peer.host
                )
    except (OSError, UnicodeError) as error:
        return no_connection(error, peer, seconds, in_handshake=is_connected)
    finally:
        if writer is not None:
            # No goodbye: a host that does not answer would hold us up.
            writer.transport.abort()
    return None
