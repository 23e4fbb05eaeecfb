"""Why Kafka refuses us, as one sentence that names the setting or permission to change.

No sentence contains a password: aiokafka's errors have none, and nothing secret is added.
"""

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

PAGE = "docs/security.md lists what the service needs"
_ANOTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate made for another host name or address."""
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
    if not words:
        return name
    return words if name in words else f"{name}: {words}"


def sentence(bootstrap_servers: str, error: BaseException, user: str | None, mechanism: str) -> str:
    """Why no client can connect."""
    kafka = f"Kafka at {bootstrap_servers}"
    if isinstance(error, ssl.SSLError):
        return _about_tls(kafka, error)
    if type(error) in _GRANTS:
        return f"{kafka}: {reason(error)}"
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return (
            f"{kafka} refuses the login of user {user} by {mechanism}; check SCRIBE_KAFKA__SASL_USERNAME, "
            "SCRIBE_KAFKA__SASL_PASSWORD_FILE and SCRIBE_KAFKA__SASL_MECHANISM"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"{kafka} has no login by {mechanism}; check SCRIBE_KAFKA__SASL_MECHANISM"
    if isinstance(error, HungUp | IllegalSaslStateError):
        return f"{kafka} does not speak to us ({reason(error)}); check SCRIBE_KAFKA__SECURITY_PROTOCOL"
    return f"{kafka} does not answer ({reason(error)}); check SCRIBE_KAFKA__BOOTSTRAP_SERVERS"


class HungUp(KafkaConnectionError):  # type: ignore[misc] # aiokafka ships no types for it
    """A broker accepted the connection and closed it at our first request: it expects another protocol."""


def _about_tls(kafka: str, error: ssl.SSLError) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"{kafka} does not speak TLS with us ({reason(error)}); check SCRIBE_KAFKA__SECURITY_PROTOCOL"
    why = error.verify_message.rstrip(".")
    if error.verify_code in _ANOTHER_NAME:
        return f"{kafka} is certified for another name ({why}); check SCRIBE_KAFKA__BOOTSTRAP_SERVERS"
    return f"the certificate of {kafka} is not trusted ({why}); check SCRIBE_KAFKA__CA_FILE"


def _named(error: BaseException) -> str:
    """The resource or resources that the error names."""
    given = error.args[0] if error.args else "of an unknown name"
    if isinstance(given, Iterable) and not isinstance(given, str):
        return ", ".join(sorted(str(each) for each in given))
    return str(given)
