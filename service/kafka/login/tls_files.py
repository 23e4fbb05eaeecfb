"""TLS from PEM files: the authorities that we trust, and our own certificate if the brokers ask for one."""

import ssl
from collections.abc import Callable
from dataclasses import field
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr

from service.errors import ConfigError
from service.frozen import dataclass
from service.tls import allow_old_extensions

MAX_FILE_BYTES = 4 * 1024 * 1024
"""A system's bundle of authorities has a quarter of a megabyte."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a connection uses; equal if it was made of equal files."""

    digest: bytes
    context: ssl.SSLContext = field(compare=False, repr=False)


def _none() -> None:
    """The key is not encrypted."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files; without `ca_file` the system's authorities are trusted."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: Callable[[], SecretStr | None] = _none
    """Reads the key's password; raises `ConfigError`."""

    @property
    def has_own(self) -> bool:
        """Whether we show a certificate of our own."""
        return self.cert_file is not None

    @property
    def can_change(self) -> bool:
        """Whether there is a file to read again."""
        return self.ca_file is not None or self.has_own

    def read(self, known: Tls | None = None) -> Tls:
        """What the files hold now: `known` itself if they are as they were.

        Raises `ConfigError` for files that cannot be used, or do not fit together.
        """
        password = self.key_password()
        digest = sha256()
        for file, content in ((self.ca_file, "certificates"), *self._own()):
            digest.update(b"" if file is None else sha256(_bytes(file, content)).digest())
        digest.update(password.get_secret_value().encode() if password else b"")
        found = digest.digest()
        if known is not None and known.digest == found:
            return known
        return Tls(found, self._context(password))

    def _own(self) -> tuple[tuple[Path | None, str], ...]:
        return ((self.cert_file, "client certificate"), (self.key_file, "key"))

    def _context(self, password: SecretStr | None) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise _unreadable(self.ca_file, "certificates", error) from error
        if self.ca_file is not None:
            allow_old_extensions(context)
        if self.cert_file is None or self.key_file is None:
            return context
        try:
            # Without a function OpenSSL would ask the terminal for the password of an encrypted key.
            context.load_cert_chain(
                self.cert_file, self.key_file, lambda: password.get_secret_value() if password else ""
            )
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the client certificate in {self.cert_file} and the key in {self.key_file} cannot be used: "
                f"{_why(error)}"
            ) from error
        return context


def _bytes(file: Path, content: str) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES)
    except OSError as error:
        raise _unreadable(file, content, error) from error


def _unreadable(file: Path | None, content: str, error: OSError) -> ConfigError:
    why = error.strerror or type(error).__name__
    return ConfigError(f"no {content} can be read from {file} ({type(error).__name__}: {why})")


def _why(error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "they are not a pair; check SCRIBE_KAFKA__CERT_FILE and SCRIBE_KAFKA__KEY_FILE"
    return (
        "one of them is not PEM, or the key's password does not open it; "
        "check SCRIBE_KAFKA__KEY_PASSWORD_FILE"
    )
