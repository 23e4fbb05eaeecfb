"""Why Kafka does not serve us: each cause has its own sentence, with what to change in it."""

import ssl

import pytest
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

from service.kafka.client.error_reasons import PAGE, HungUp, Identity, reason, sentence


def certificate_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("error", "words", "setting"),
    [
        (certificate_error(19, "self-signed certificate in chain"), "is not trusted", "CA_FILE"),
        (certificate_error(10, "certificate has expired"), "certificate has expired", "CA_FILE"),
        (certificate_error(62, "Hostname mismatch."), "for another name (Hostname", "BOOTSTRAP_SERVERS"),
        (certificate_error(64, "IP address mismatch"), "for another name (IP", "BOOTSTRAP_SERVERS"),
        (ssl.SSLError(1, "wrong version number"), "does not speak TLS with us", "SECURITY_PROTOCOL"),
        (SaslAuthenticationFailed("no"), "login of user someone by PLAIN", "SASL_PASSWORD_FILE"),
        (AuthenticationFailedError("no"), "login of user someone by PLAIN", "SASL_USERNAME"),
        (UnsupportedSaslMechanismError("only GSSAPI"), "has no login by PLAIN", "SASL_MECHANISM"),
        (HungUp("closed"), "does not speak to us (HungUp: closed)", "SECURITY_PROTOCOL"),
        (IllegalSaslStateError(), "does not speak to us", "SECURITY_PROTOCOL"),
        (KafkaConnectionError("refused"), "does not answer", "BOOTSTRAP_SERVERS"),
        (TimeoutError(), "no answer in time", "BOOTSTRAP_SERVERS"),
    ],
)
def test_every_cause_names_the_setting_to_check(error: Exception, words: str, setting: str) -> None:
    said = sentence("a:1,b:2", error, Identity("someone", "PLAIN"))
    assert "a:1,b:2" in said
    assert words in said
    assert f"SCRIBE_KAFKA__{setting}" in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TopicAuthorizationFailedError("t"), "no permission for topic t"),
        (TopicAuthorizationFailedError({"u", "t"}), "no permission for topic t, u"),
        (TopicAuthorizationFailedError(), "no permission for topic of an unknown name"),
        (GroupAuthorizationFailedError("g"), "no permission for group g; grant Read on it"),
        (
            TransactionalIdAuthorizationFailed("j.0"),
            "no permission for transactional id j.0; grant Write on it",
        ),
        (
            ClusterAuthorizationFailedError(),
            "no permission on the cluster; grant IdempotentWrite on it",
        ),
    ],
)
def test_a_missing_permission_is_reported_with_its_resource(error: Exception, words: str) -> None:
    assert reason(error) == f"{words} ({PAGE})"
    assert sentence("a:1", error, Identity(None, "PLAIN")) == f"Kafka at a:1: {words} ({PAGE})"
