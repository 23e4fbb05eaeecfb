"""Whom we trust on the way to the provider: the usual authorities, and those of the operator's own file."""

import ssl
from pathlib import Path

import httpx

from service.errors import ConfigError
from service.tls import allow_old_extensions


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS for a client, whatever the environment says.

    Raises `ConfigError` for a file without certificates.
    """
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        is_there = isinstance(error, ssl.SSLError)
        reason = "it holds no certificate in PEM form" if is_there else error.strerror
        raise ConfigError(f"SCRIBE_PROVIDER__CA_FILE names a file that cannot be used ({reason})") from None
    allow_old_extensions(context)
    return context
