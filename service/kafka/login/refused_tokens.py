"""Makes aiokafka hear that a token is refused.

A broker answers a refused token with a reason, and an accepted one with nothing. aiokafka 0.14 reads neither:
it takes the connection as logged in, and what the broker answers next as a cluster without brokers.
"""

from aiokafka import conn
from aiokafka.errors import SaslAuthenticationFailed
from typing_extensions import override


class CheckedAuthenticator(conn.OAuthAuthenticator):  # type: ignore[misc] # aiokafka ships no types for it
    """Sends the token, and reads the answer."""

    @override
    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        """Raise `SaslAuthenticationFailed` with the reason, if there is one."""
        if payload:
            raise SaslAuthenticationFailed(payload.decode(errors="replace"))
        answer: tuple[bytes, bool] | None = await super().step(payload)
        return answer


def hear_refusals() -> None:
    """Let all connections of this process use it; clients offer no other way to give them one."""
    conn.OAuthAuthenticator = CheckedAuthenticator
