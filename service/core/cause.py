"""The kinds of reason for which a call to the provider fails; a closed set, for metrics and alerts."""

from enum import StrEnum


class Cause(StrEnum):
    """What stands between this process and a useful answer. The words beside it say more."""

    UNKNOWN_HOST = "unknown_host"
    """The host's name has no address, or no name server answers."""
    REFUSED = "refused"
    """Nothing listens on the port."""
    UNREACHABLE = "unreachable"
    """No way leads to the host."""
    CONNECT_TIMEOUT = "connect_timeout"
    """The host took too long to take a connection."""
    CERTIFICATE = "certificate"
    """The host's certificate is not trusted."""
    TLS = "tls"
    """The host and this process did not agree on an encrypted connection."""
    LOCAL = "local"
    """This machine or process had no connection, file or port to give."""
    TIMEOUT = "timeout"
    """A connection stood, and no answer came in time."""
    CONNECTION_LOST = "connection_lost"
    """A connection stood and broke before its answer was whole."""
    WRONG_ANSWER = "wrong_answer"
    """Something answered that is not the provider's API, as a web page does."""
    HTTP_ERROR = "http_error"
    """An error status without a code of the provider's."""
    PROVIDER_ERROR = "provider_error"
    """The provider's own error code."""
