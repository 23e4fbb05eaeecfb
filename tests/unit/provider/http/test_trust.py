"""Whom the provider's clients trust: the usual authorities, and a file of the operator's on top."""

import ssl
from pathlib import Path

import pytest

from service.errors import ConfigError
from service.provider.http.trust import tls_context
from tests.certificates import authority


def test_the_operators_authority_is_added_to_the_usual_ones(tmp_path: Path) -> None:
    usual = tls_context()
    authority(tmp_path / "ca.pem")
    ours = tls_context(tmp_path / "ca.pem")
    assert ours.cert_store_stats()["x509_ca"] == usual.cert_store_stats()["x509_ca"] + 1 > 50
    assert ours.verify_mode is ssl.CERT_REQUIRED
    assert ours.check_hostname
    assert not ours.verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "no certificate in PEM form"),
        (b"sk-secret", "no certificate in PEM form"),
    ],
)
def test_a_file_without_certificates_is_refused_with_the_variable(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="SCRIBE_PROVIDER__CA_FILE") as found:
        tls_context(file)
    assert reason in str(found.value)
    assert "secret" not in str(found.value)
