"""Encrypted listeners, logins and an authorizer for a cluster, beside the plain listener of its own nodes.

Whoever comes through the plain listener, or by TLS without a login, is the super user: the nodes among
themselves, the readiness probe, and a test's administrator. Only loopback can reach them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LISTENERS = {
    "SSL": "SSL",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SASL_SSL": "SASL_SSL",
    "MUTUAL": "SSL",
    "BRIEF": "SASL_SSL",
}
"""The secure listeners, with their protocols. `MUTUAL` wants a client certificate; `BRIEF` ends sessions."""
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
OAUTH = "org.apache.kafka.common.security.oauthbearer"
BRIEF_SESSION_MS = 3000
"""After this long a connection of `BRIEF` must log in again, or ends."""


@dataclass(frozen=True)
class Security:
    """What a secured cluster needs.

    `key_store` is a PEM file: the nodes' private key, then its certificate for 127.0.0.1. `users` are names
    and passwords, good for SCRAM and for PLAIN; none may do anything until somebody grants it.
    """

    key_store: Path
    users: Mapping[str, str]
    trust_store: Path
    """The authorities of client certificates, as PEM."""
    tokens: "TokenIssuer"

    @property
    def java_options(self) -> list[str]:
        """What every JVM is told: from version 4 on Kafka reads keys only where this allows it."""
        return [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.tokens.keys_url}"]

    def settings(self) -> dict[str, str]:
        """What server.properties says of it, but for the listeners' addresses."""
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.key_store),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.truststore.type": "PEM",
            "listener.name.mutual.ssl.truststore.location": str(self.trust_store),
            "listener.name.brief.connections.max.reauth.ms": str(BRIEF_SESSION_MS),
            # By itself Kafka 4.1.1 takes the validator of clients, which looks at no signature.
            "sasl.oauthbearer.jwt.validator.class": f"{OAUTH}.BrokerJwtValidator",
            "sasl.enabled.mechanisms": ",".join((*SCRAM, "PLAIN", "OAUTHBEARER")),
            **dict(self._logins()),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def format_options(self) -> list[str]:
        """What the storage tool is told, so that the users are there from the first moment."""
        return [
            word
            for name, password in self.users.items()
            for mechanism in SCRAM
            for word in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
        ]

    def _logins(self) -> Iterator[tuple[str, str]]:
        security = "org.apache.kafka.common.security"
        plain = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        for protocol in ("sasl_plaintext", "sasl_ssl", "brief"):
            for mechanism in SCRAM:
                name = f"listener.name.{protocol}.{mechanism.lower()}.sasl.jaas.config"
                yield name, f"{security}.scram.ScramLoginModule required;"
            name = f"listener.name.{protocol}.plain.sasl.jaas.config"
            yield name, f"{security}.plain.PlainLoginModule required {plain};"
            prefix = f"listener.name.{protocol}.oauthbearer.sasl"
            yield f"{prefix}.jaas.config", f"{OAUTH}.OAuthBearerLoginModule required;"
            handler = f"{OAUTH}.OAuthBearerValidatorCallbackHandler"
            yield f"{prefix}.server.callback.handler.class", handler
            yield f"{prefix}.oauthbearer.jwks.endpoint.url", self.tokens.keys_url
            yield f"{prefix}.oauthbearer.expected.audience", self.tokens.audience
            yield f"{prefix}.oauthbearer.expected.issuer", self.tokens.issuer


@dataclass(frozen=True)
class TokenIssuer:
    """Whose tokens the brokers take: where its public keys are, and the claims that they expect."""

    keys_url: str
    issuer: str
    audience: str
