"""The arguments of clients, and the messages of their errors."""

import ssl
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError
from pydantic import SecretStr

from service.core.limits.slot_share import PROOF_SECONDS
from service.errors import ConfigError
from service.kafka.client.cluster import REQUEST_TIMEOUT_MS, ClusterConfig, unreachable
from service.kafka.client.error_reasons import reason
from service.kafka.group.consumer import COMMIT_BOUND_SECONDS, REBALANCE_TIMEOUT_MS
from service.kafka.login.credentials import Credentials
from service.kafka.login.tls_files import TlsFiles
from service.pipeline.assignment.assigned_partition import (
    ANSWER_SECONDS,
    ENDING_SECONDS,
    REVOCATION_SECONDS,
    UNSENT_SECONDS,
)


def test_a_plain_cluster_needs_no_more_than_its_address() -> None:
    assert ClusterConfig("a:1,b:2").connection() == {
        "bootstrap_servers": "a:1,b:2",
        "client_id": "scribe",
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "security_protocol": "PLAINTEXT",
    }


def test_a_login_goes_to_the_client_and_into_no_text() -> None:
    config = ClusterConfig(
        "a:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        credentials=Credentials(SecretStr("hunter2")),
    )
    connection = config.connection()
    assert (connection["sasl_plain_username"], connection["sasl_plain_password"]) == ("u", "hunter2")
    assert connection["sasl_mechanism"] == "PLAIN"
    assert "ssl_context" not in connection
    assert "hunter2" not in repr(config)


def test_tls_checks_the_broker_against_the_systems_certificates() -> None:
    context = ClusterConfig("a:1", security_protocol="SASL_SSL").connection()["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_file_without_certificates_is_refused_by_its_name(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        if path.name == "empty.pem":
            path.touch()
        config = ClusterConfig("a:1", security_protocol="SSL", credentials=Credentials(files=TlsFiles(path)))
        with pytest.raises(ConfigError, match=f"no certificates can be read from {path}"):
            config.connection()


def test_a_revocation_ends_before_the_group_gives_the_member_up() -> None:
    """A revocation waits for answers, then for writes, then for tasks that it has cancelled."""
    assert ANSWER_SECONDS + REVOCATION_SECONDS + ENDING_SECONDS < REBALANCE_TIMEOUT_MS / 1000
    assert UNSENT_SECONDS < REVOCATION_SECONDS


def test_no_request_is_given_up_before_the_group_has_waited_for_its_slowest_member() -> None:
    assert REQUEST_TIMEOUT_MS > REBALANCE_TIMEOUT_MS + 5_000
    assert COMMIT_BOUND_SECONDS <= PROOF_SECONDS < REBALANCE_TIMEOUT_MS / 1000
    assert ClusterConfig("a:1").bound_seconds == 60


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (KafkaConnectionError("refused"), "KafkaConnectionError: refused"),
        (KafkaConnectionError("Unable to bootstrap from [('a', 1, 0)]"), "no broker takes a connection"),
        (RequestTimedOutError(), "[Error 7] RequestTimedOutError"),
        (OSError("no such file"), "OSError: no such file"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_one_line_with_the_errors_name_once(error: Exception, words: str) -> None:
    assert reason(error) == words


def test_an_unreachable_cluster_is_a_sentence_with_the_setting_to_check() -> None:
    assert unreachable(ClusterConfig("a:1"), TimeoutError()) == (
        "Kafka at a:1 does not answer (no answer in time); check SCRIBE_KAFKA__BOOTSTRAP_SERVERS"
    )
