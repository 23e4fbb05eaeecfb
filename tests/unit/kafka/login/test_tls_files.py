"""PEM files are used as they are together, or named; a change of any of them is seen."""

import shutil
import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.errors import ConfigError
from service.kafka.login.credentials import Credentials
from service.kafka.login.tls_files import TlsFiles
from tests.certificates import Authority, authority


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path / "ca.pem")


def files_of(signer: Authority, folder: Path, password: str | None = None) -> TlsFiles:
    cert_file, key_file = signer.client(folder, "client", password)
    return TlsFiles(signer.file, cert_file, key_file)


def opened_by(password: str) -> SecretStr:
    return SecretStr(password)


def test_equal_files_are_read_to_the_same_context_and_others_to_another(
    signer: Authority, tmp_path: Path
) -> None:
    files = files_of(signer, tmp_path)
    first = files.read()
    assert files.read(first) is first
    files_of(signer, tmp_path)  # another pair in their place
    second = files.read(first)
    assert second != first
    authority(signer.file)
    third = files.read(second)
    assert third != second


def test_a_key_is_opened_by_its_password_and_no_terminal_is_asked(signer: Authority, tmp_path: Path) -> None:
    files = files_of(signer, tmp_path, "opens-it")
    right = TlsFiles(files.ca_file, files.cert_file, files.key_file, lambda: opened_by("opens-it"))
    assert right.read() == right.read()
    for reader in (lambda: None, lambda: opened_by("another"), lambda: opened_by("x" * 5000)):
        wrong = TlsFiles(files.ca_file, files.cert_file, files.key_file, reader)
        with pytest.raises(ConfigError, match="check SCRIBE_KAFKA__KEY_PASSWORD_FILE") as error:
            wrong.read()
        assert "opens-it" not in str(error.value)
        assert "another" not in str(error.value)


def test_what_does_not_fit_together_is_named(signer: Authority, tmp_path: Path) -> None:
    files = files_of(signer, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, key_file = signer.client(other, "client")
    with pytest.raises(ConfigError, match="they are not a pair; check SCRIBE_KAFKA__CERT_FILE"):
        TlsFiles(files.ca_file, files.cert_file, key_file).read()
    assert files.cert_file is not None
    files.cert_file.write_text("no certificate")
    with pytest.raises(ConfigError, match="is not PEM"):
        files.read()
    files.cert_file.unlink()
    with pytest.raises(ConfigError, match=rf"no client certificate can be read from {files.cert_file}"):
        files.read()


async def test_clients_that_live_get_what_replaces_their_login(signer: Authority, tmp_path: Path) -> None:
    class Client:
        _sasl_plain_password = "old"
        _ssl_context: ssl.SSLContext | None = None

    credentials, client = Credentials(SecretStr("old"), files_of(signer, tmp_path)), Client()
    credentials.note(client)
    credentials.note(Client())  # of which nobody else knows
    credentials.use_password(SecretStr("new"))
    assert (client._sasl_plain_password, credentials.password) == ("new", SecretStr("new"))
    new_tls = credentials.read_tls()
    credentials.use_tls(new_tls)
    assert client._ssl_context is new_tls.context
    assert credentials.tls is new_tls


def test_files_that_are_swapped_by_a_link_as_kubernetes_does_are_seen(
    signer: Authority, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        signer.client(tmp_path / name, "client")
    link = tmp_path / "data"
    link.symlink_to("one")
    files = TlsFiles(signer.file, link / "client.crt", link / "client.key")
    first = files.read()
    (tmp_path / "new").symlink_to("two")
    shutil.move(tmp_path / "new", link.parent / "data-new")
    (link.parent / "data-new").replace(link)
    assert files.read(first) != first
