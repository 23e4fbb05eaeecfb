"""`scribe doctor` where Kafka wants a certificate or a token: a test does what it says, and is let in."""

from pathlib import Path

import pytest

from sandbox.simulator import Simulator
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client.cluster import ClusterConfig
from tests.brokers import TopicNames
from tests.integration.stack import ROLES, settings_for
from tests.integration.test_doctor import Patient, sim, sim_config
from tests.permissions import needed
from tests.secured import Secured
from tests.tokens import Endpoint, serving

__all__ = ["sim", "sim_config"]

pytestmark = pytest.mark.needs_java


@pytest.fixture
async def guarded(secured: Secured, topic_names: TopicNames, sim: Simulator) -> Patient:
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    settings = settings_for(secured.bootstrap, topics, sim, 6_000, transactions=True)
    await prepare(ClusterConfig(secured.bootstrap), Topics(**topics), Creation(1, 1))
    return Patient(settings, topics, sim, secured.bootstrap)


async def test_a_client_certificate_is_asked_for_and_lets_the_service_in(
    secured: Secured, guarded: Patient, tmp_path: Path
) -> None:
    way = {
        "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": secured.cluster.secure_bootstrap("MUTUAL"),
        "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SSL",
        "SCRIBE_KAFKA__CA_FILE": str(secured.ca_file),
    }
    words = (await guarded.diagnosis(**way)).failed()["kafka"]
    assert "set SCRIBE_KAFKA__CERT_FILE and SCRIBE_KAFKA__KEY_FILE" in words

    secured.grant("CN=doctored", needed({"always", "exactly_once", "sharing"}, guarded.topics))
    cert_file, key_file = secured.authority.client(tmp_path, "doctored", "opens-the-canary")
    way |= {"SCRIBE_KAFKA__CERT_FILE": str(cert_file), "SCRIBE_KAFKA__KEY_FILE": str(key_file)}
    words = (await guarded.diagnosis(**way)).failed()["kafka"]
    assert "check SCRIBE_KAFKA__KEY_PASSWORD_FILE" in words

    password = tmp_path / "password"
    password.write_text("opens-the-canary\n")
    found = await guarded.diagnosis(**way, SCRIBE_KAFKA__KEY_PASSWORD_FILE=str(password))
    assert found.failed() == {}
    assert found.checks["kafka"][1].endswith("takes our client certificate")


async def test_a_token_endpoint_is_asked_as_it_wants_to_be(
    secured: Secured, guarded: Patient, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-wrong-canary")
    secured.grant("doctored", needed({"always", "exactly_once", "sharing"}, guarded.topics))
    async with serving(Endpoint(secured.issuer, "doctored")) as endpoint:
        way = {
            "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": secured.cluster.secure_bootstrap("SASL_SSL"),
            "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "SCRIBE_KAFKA__SASL_MECHANISM": "OAUTHBEARER",
            "SCRIBE_KAFKA__CA_FILE": str(secured.ca_file),
            "SCRIBE_KAFKA__OAUTH_TOKEN_URL": endpoint.url,
            "SCRIBE_KAFKA__OAUTH_CLIENT_ID": "scribe",
            "SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE": str(secret),
        }
        words = (await guarded.diagnosis(**way)).failed()["kafka"]
        assert "check SCRIBE_KAFKA__OAUTH_CLIENT_ID, SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE" in words

        secret.write_text(endpoint.secret)
        found = await guarded.diagnosis(**way)
        assert found.failed() == {}
        assert found.checks["kafka"][1].endswith("takes our token")


async def test_a_token_file_is_read_and_what_it_lacks_is_named(
    secured: Secured, guarded: Patient, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    secured.grant("doctored", needed({"always", "exactly_once", "sharing"}, guarded.topics))
    way = {
        "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": secured.cluster.secure_bootstrap("SASL_SSL"),
        "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "SCRIBE_KAFKA__SASL_MECHANISM": "OAUTHBEARER",
        "SCRIBE_KAFKA__CA_FILE": str(secured.ca_file),
        "SCRIBE_KAFKA__OAUTH_TOKEN_FILE": str(file),
    }
    assert "check SCRIBE_KAFKA__OAUTH_TOKEN_FILE" in (await guarded.diagnosis(**way)).failed()["kafka"]
    file.write_text(secured.issuer.token("doctored", aud="another"))
    words = (await guarded.diagnosis(**way)).failed()["kafka"]
    assert "check its issuer, audience and scope" in words
    file.write_text(secured.issuer.token("doctored"))
    assert (await guarded.diagnosis(**way)).failed() == {}
