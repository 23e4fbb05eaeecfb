"""A real Kafka with TLS, logins and an authorizer, and the permissions that its administrator hands out."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its __all__ is short
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pydantic import SecretStr

from sandbox import kafka
from sandbox.kafka import Cluster, Security
from service.kafka.client.cluster import ClusterConfig, SecurityProtocol
from service.kafka.login.credentials import Credentials
from service.kafka.login.tls_files import TlsFiles
from service.kafka.login.tokens import Tokens
from tests.certificates import Authority, authority
from tests.tokens import Issuer, issuer

T = TypeVar("T")

WAIT_SECONDS = 60.0
USERS = 40
"""So many tests can have a user of their own: users are made with the cluster."""


@dataclass(frozen=True)
class Grant:
    """One permission, in the words of Kafka's own tool."""

    operation: str
    resource: str
    name: str
    is_prefix: bool = False

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource} {self.name}"


@dataclass(frozen=True)
class Secured:
    """The cluster; `bootstrap` is the plain listener, whose clients are administrators."""

    cluster: Cluster
    authority: Authority
    issuer: Issuer
    passwords: dict[str, str]
    free_users: Iterator[str]
    admin: AdminClient

    @property
    def ca_file(self) -> Path:
        """What a client trusts the brokers by."""
        return self.authority.file

    @property
    def bootstrap(self) -> str:
        return self.cluster.bootstrap

    def user(self) -> str:
        """A user that no other test has, and that may do nothing yet."""
        return next(self.free_users)

    def config(
        self,
        protocol: SecurityProtocol,
        user: str | None = None,
        password: str | None = None,
        files: TlsFiles | None = None,
        listener: str | None = None,
    ) -> ClusterConfig:
        """How a client gets in by this protocol; the password is the user's own unless one is given."""
        shown = password or (self.passwords[user] if user else None)
        return ClusterConfig(
            self.cluster.secure_bootstrap(listener or protocol),
            security_protocol=protocol,
            sasl_username=user,
            credentials=Credentials(SecretStr(shown) if shown else None, files or TlsFiles(self.ca_file)),
        )

    def token_config(self, tokens: Tokens, listener: str = "SASL_SSL") -> ClusterConfig:
        """How a client gets in with tokens."""
        return ClusterConfig(
            self.cluster.secure_bootstrap(listener),
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            credentials=Credentials(files=TlsFiles(self.ca_file), tokens=tokens),
        )

    def settings(self, user: str) -> dict[str, str]:
        """The environment of a service that logs in as this user, by SASL_SSL."""
        return {
            "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": self.cluster.secure_bootstrap("SASL_SSL"),
            "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "SCRIBE_KAFKA__SASL_USERNAME": user,
            "SCRIBE_KAFKA__SASL_PASSWORD": self.passwords[user],
            "SCRIBE_KAFKA__CA_FILE": str(self.ca_file),
        }

    def grant(self, user: str, grants: Iterable[Grant]) -> None:
        """Allow it; returns when the broker has said so, which is a moment before it does so."""
        bindings = [_binding(AclBinding, user, grant) for grant in grants]
        for answer in (self.admin.create_acls(bindings) if bindings else {}).values():
            answer.result(WAIT_SECONDS)

    def withdraw(self, user: str, grant: Grant) -> None:
        """Take a permission away again."""
        answers = self.admin.delete_acls([_binding(AclBindingFilter, user, grant)])
        for answer in answers.values():
            assert len(answer.result(WAIT_SECONDS)) == 1, f"{user} had no {grant}"


def _binding(kind: Callable[..., T], user: str, grant: Grant) -> T:
    resource = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactional-id": ResourceType.TRANSACTIONAL_ID,
    }[grant.resource]
    operation = "".join(f"_{letter}" if letter.isupper() else letter for letter in grant.operation)
    return kind(
        resource,
        grant.name,
        ResourcePatternType.PREFIXED if grant.is_prefix else ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[operation.lstrip("_").upper()],
        AclPermissionType.ALLOW,
    )


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The cluster, which lives as long as the run; the test must be marked needs_java."""
    folder = tmp_path_factory.mktemp("secured")
    signer = authority(folder / "ca.pem")
    passwords = {f"user{number}": secrets.token_urlsafe(12) for number in range(USERS)}
    tokens = issuer(folder / "keys.json")
    key_store = signer.key_store(folder / "broker.pem")
    security = Security(key_store, passwords, signer.file, tokens.known)
    with kafka.real_kafka(security=security) as cluster:
        # Silent: it would lament the cluster's end on standard error.
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        yield Secured(cluster, signer, tokens, passwords, iter(passwords), admin)
