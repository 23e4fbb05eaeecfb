"""The names that a test cluster gets."""

import base64
import secrets

import pytest

from sandbox.kafka.cluster import new_cluster_id


def test_a_cluster_id_never_reads_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        secrets, "token_urlsafe", lambda size: base64.urlsafe_b64encode(b"\xfb" * size).decode().rstrip("=")
    )
    assert secrets.token_urlsafe(16).startswith("-")
    identity = new_cluster_id()
    assert not identity.startswith("-")
    assert len(base64.urlsafe_b64decode(identity + "==")) == 16
