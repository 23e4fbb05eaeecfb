"""Why Kafka refuses us, as one sentence that names the setting or permission to change.

No sentence contains a password: aiokafka's errors have none, and nothing secret is added.
"""

import re
import ssl
from collections.abc import Iterable

from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from service.contract.redaction import redact
from service.frozen import dataclass
from service.kafka.login.tokens import NoToken

PAGE = "docs/security.md lists what the service needs"
_ANOTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate made for another host name or address."""
_ABOUT_OUR_CERTIFICATE = re.compile(r"ALERT_.*(CERTIFICATE|UNKNOWN_CA)|UNKNOWN_CA|HANDSHAKE_FAILURE")
"""Alerts by which a peer says that ours is missing, unknown or expired."""
TOKEN_MECHANISMS = ("OAUTHBEARER", "AWS_MSK_IAM")
_GRANTS = {
    TopicAuthorizationFailedError: "no permission for topic {}",
    GroupAuthorizationFailedError: "no permission for group {}; grant Read on it",
    TransactionalIdAuthorizationFailed: "no permission for transactional id {}; grant Write on it",
    ClusterAuthorizationFailedError: "no permission on the cluster; grant IdempotentWrite on it",
}


def reason(error: BaseException) -> str:
    """The error in one line; aiokafka's messages mostly begin with the error's name."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    grant = _GRANTS.get(type(error))
    if grant is not None:
        return f"{grant.format(_named(error))} ({PAGE})"
    name, words = type(error).__name__, str(error)
    if "Unable to bootstrap" in words:
        return "no broker takes a connection"  # aiokafka's words are a list of socket constants
    if not words:
        return name
    return words if name in words else f"{name}: {words}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are to Kafka, and how we show it."""

    user: str | None
    mechanism: str
    shows_certificate: bool = False

    @property
    def has_token(self) -> bool:
        """Whether a token is shown, and no password."""
        return self.mechanism in TOKEN_MECHANISMS


def sentence(bootstrap_servers: str, error: BaseException, identity: Identity) -> str:
    """Why no client can connect."""
    kafka = f"Kafka at {bootstrap_servers}"
    if isinstance(error, ssl.SSLError):
        return _about_tls(kafka, error, identity)
    if type(error) in _GRANTS:
        return f"{kafka}: {reason(error)}"
    if isinstance(error, NoToken):
        return f"no token for {kafka}: {error}"
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return _about_login(kafka, error, identity)
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"{kafka} has no login by {identity.mechanism}; check SCRIBE_KAFKA__SASL_MECHANISM"
    if isinstance(error, HungUp | IllegalSaslStateError):
        return f"{kafka} does not speak to us ({reason(error)}); check SCRIBE_KAFKA__SECURITY_PROTOCOL"
    return f"{kafka} does not answer ({reason(error)}); check SCRIBE_KAFKA__BOOTSTRAP_SERVERS"


def _about_login(kafka: str, error: BaseException, identity: Identity) -> str:
    if not identity.has_token:
        return (
            f"{kafka} refuses the login of user {identity.user} by {identity.mechanism}; check "
            "SCRIBE_KAFKA__SASL_USERNAME, SCRIBE_KAFKA__SASL_PASSWORD_FILE and SCRIBE_KAFKA__SASL_MECHANISM"
        )
    if identity.mechanism == "AWS_MSK_IAM":
        return f"{kafka} refuses our token; check the role's policy and SCRIBE_KAFKA__AWS_REGION"
    return (
        f"{kafka} refuses our token ({redact(reason(error))}); check its issuer, audience and scope "
        "(SCRIBE_KAFKA__OAUTH_SCOPE) against what the brokers expect"
    )


class HungUp(KafkaConnectionError):  # type: ignore[misc] # aiokafka ships no types for it
    """A broker accepted the connection and closed it at our first request: it expects another protocol."""


def _about_tls(kafka: str, error: ssl.SSLError, identity: Identity) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        if error.verify_code in _ANOTHER_NAME:
            return f"{kafka} is certified for another name ({why}); check SCRIBE_KAFKA__BOOTSTRAP_SERVERS"
        return f"the certificate of {kafka} is not trusted ({why}); check SCRIBE_KAFKA__CA_FILE"
    alert = getattr(error, "reason", None) or ""
    if not _ABOUT_OUR_CERTIFICATE.search(alert):
        return f"{kafka} does not speak TLS with us ({reason(error)}); check SCRIBE_KAFKA__SECURITY_PROTOCOL"
    if identity.shows_certificate:
        return f"{kafka} refuses our client certificate ({alert}); check SCRIBE_KAFKA__CERT_FILE"
    wanted = f"{kafka} wants a client certificate ({alert})"
    return f"{wanted}; set SCRIBE_KAFKA__CERT_FILE and SCRIBE_KAFKA__KEY_FILE"


def _named(error: BaseException) -> str:
    """The resource or resources that the error names."""
    given = error.args[0] if error.args else "of an unknown name"
    if isinstance(given, Iterable) and not isinstance(given, str):
        return ", ".join(sorted(str(each) for each in given))
    return str(given)
