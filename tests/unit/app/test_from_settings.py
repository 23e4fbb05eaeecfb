"""What is made of the settings for metrics: limits, and a hash that tells whether replicas have the same."""

from pathlib import Path

import pytest

from service.app.from_settings import LoginObserver, cluster_of, fingerprint_of, shown_limits_of
from service.observability.process_definitions import (
    BILLED_COST_LIMIT,
    BILLED_SECONDS_LIMIT,
    OPEN_JOBS_LIMIT,
)
from service.settings import Settings, load


def settings(**changed: str) -> Settings:
    """Settings of a replica; names without their prefix."""
    given = {"PROVIDER__API_KEY": "sk-not-a-real-one", "QUOTA__PART": "0.5"} | changed
    return load({f"SCRIBE_{name}": value for name, value in given.items()})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA__GROUP_INSTANCE_ID", "scribe-1"),
        ("KAFKA__CLIENT_ID", "scribe-1"),
        ("HTTP__PORT", "9"),
        ("LOG__LEVEL", "debug"),
        ("PROVIDER__API_KEY", "sk-another"),
    ],
)
def test_what_replicas_may_have_of_their_own_and_secrets_change_no_hash(name: str, value: str) -> None:
    assert fingerprint_of(settings(**{name: value})) == fingerprint_of(settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [("QUOTA__PART", "0.6"), ("TOPICS__JOURNAL", "another"), ("KAFKA__GROUP_ID", "another")],
)
def test_what_all_replicas_must_share_changes_the_hash(name: str, value: str) -> None:
    assert fingerprint_of(settings(**{name: value})) != fingerprint_of(settings())


def test_the_limits_are_those_of_the_settings() -> None:
    limits = shown_limits_of(settings(LIMITS__OPEN_JOBS="7", SPEND__SECONDS_PER_DAY="100"))
    assert limits == {OPEN_JOBS_LIMIT: 7, BILLED_SECONDS_LIMIT: 100, BILLED_COST_LIMIT: None}


async def test_a_token_of_a_file_is_hidden_and_pushes_no_key_out(tmp_path: Path) -> None:
    secrets, tokens = list[str](), list[str]()
    observer = LoginObserver(
        lambda secret: secrets.append(secret.get_secret_value()),
        lambda token: tokens.append(token.get_secret_value()),
    )
    (tmp_path / "token").write_text("token-1")
    login = {
        "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA__OAUTH_TOKEN_FILE": str(tmp_path / "token"),
    }
    cluster = cluster_of(settings(**login), observer)
    assert cluster.credentials is not None
    assert cluster.credentials.tokens is not None
    assert await cluster.credentials.tokens.token() == "token-1"
    assert (secrets, set(tokens)) == ([], {"token-1"})
