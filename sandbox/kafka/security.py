"""Encrypted listeners, logins and an authorizer for a cluster, beside the plain listener of its own nodes.

Whoever comes through the plain listener, or by TLS without a login, is the super user: the nodes among
themselves, the readiness probe, and a test's administrator. Only loopback can reach them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SECURE_PROTOCOLS = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True)
class Security:
    """What a secured cluster needs.

    `key_store` is a PEM file: the nodes' private key, then its certificate for 127.0.0.1. `users` are names
    and passwords, good for SCRAM and for PLAIN; none may do anything until somebody grants it.
    """

    key_store: Path
    users: Mapping[str, str]

    def settings(self) -> dict[str, str]:
        """What server.properties says of it, but for the listeners' addresses."""
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.key_store),
            "sasl.enabled.mechanisms": ",".join((*SCRAM, "PLAIN")),
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
        for protocol in ("sasl_plaintext", "sasl_ssl"):
            for mechanism in SCRAM:
                name = f"listener.name.{protocol}.{mechanism.lower()}.sasl.jaas.config"
                yield name, f"{security}.scram.ScramLoginModule required;"
            name = f"listener.name.{protocol}.plain.sasl.jaas.config"
            yield name, f"{security}.plain.PlainLoginModule required {plain};"
