"""Translate the exceptions of a call without an answer into a cause and a sentence for an operator.

The sentences contain fixed words, a host and a port, never foreign text that may quote a URL or a key.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

import httpx

from service.contract.redaction import redact
from service.core.provider.answers import Cause, ProviderError
from service.core.provider.own_codes import OwnCode
from service.frozen import dataclass
from service.provider.http.proxy import Proxy, ProxyFailed

_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_LOCAL = frozenset(
    {
        *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
        *(errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM),
    }
)
_CERTIFICATES = {
    2: "its issuer is unknown to this machine",
    9: "it is not valid yet: compare this machine's clock",
    10: "it has expired",
    18: "self-signed",
    19: "its chain ends in a self-signed certificate that this machine does not know",
    20: "its issuer is unknown to this machine",
    21: "its issuer is unknown to this machine",
    23: "it has been revoked",
    62: "it was made for another name",
    64: "it was made for another address",
}
"""By OpenSSL's verify codes (x509_vfy.h)."""
_HANDSHAKES = {
    "WRONG_VERSION_NUMBER": "what answers does not speak TLS; an http:// address, or another port?",
    "HTTP_REQUEST": "what answers does not speak TLS; an http:// address, or another port?",
    "UNEXPECTED_EOF_WHILE_READING": "the host closed the connection",
    "UNSUPPORTED_PROTOCOL": "there is no TLS version that both take",
    "TLSV1_ALERT_PROTOCOL_VERSION": "there is no TLS version that both take",
    "NO_PROTOCOLS_AVAILABLE": "there is no TLS version that both take",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the host asks for a client certificate",
}
"""By OpenSSL's reasons; any other reason is shown unchanged: it is one of OpenSSL's fixed names."""
_MAX_ERRORS = 100
"""Errors examined of one chain, which may be a circle or a large group."""
_CUT_OFF = ("disconnected", "peer closed connection")
"""In the texts of h11 and httpcore about a peer that closed the connection; other texts mean no HTTP."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The host of a call; `what` is its name in sentences, such as `host api.example`."""

    host: str
    port: int
    what: str = ""

    @classmethod
    def of(cls, url: httpx.URL, proxy: Proxy | None = None) -> "Peer":
        """The host of a URL, and the proxy on the way there."""
        what = f"host {url.host} (through the proxy {proxy})" if proxy and url.scheme == "https" else ""
        return cls(url.host, url.port or (443 if url.scheme == "https" else 80), what)

    def __str__(self) -> str:
        return self.what or f"host {self.host}"


def no_connection(
    error: BaseException, peer: Peer, seconds: float, *, in_handshake: bool = False
) -> ProviderError:
    """Why no connection was made within `seconds`; nothing was sent."""
    cause, words = _no_connection(error, peer, seconds, in_handshake)
    return ProviderError(OwnCode.CONNECT_FAILED, f"no connection: {words}", cause=cause, host=peer.host)


def no_answer(error: BaseException, peer: Peer, seconds: float) -> ProviderError:
    """Why a call got no answer within `seconds`."""
    if isinstance(error, _NO_CONNECTION):
        return no_connection(error, peer, seconds)
    if isinstance(error, TimeoutError):
        words = f"{peer} did not answer within {seconds:g} s"
        return ProviderError(OwnCode.TIMEOUT, words, cause=Cause.TIMEOUT, host=peer.host)
    cause, words = _broken(error, peer)
    return ProviderError(OwnCode.CONNECTION_LOST, words, cause=cause, host=peer.host)


def _no_connection(error: BaseException, peer: Peer, seconds: float, in_handshake: bool) -> tuple[Cause, str]:
    errors = list(_all(error))
    if isinstance(error, ProxyFailed):
        if refusal := error.refusal(peer.host, peer.port):
            return Cause.REFUSED, refusal
        peer, in_handshake = Peer(error.proxy.host, error.proxy.port, f"the proxy {error.proxy}"), False
    if isinstance(error, httpx.PoolTimeout):
        return Cause.LOCAL, f"all connections of this process to {peer} are in use"
    if tls := _tls(errors, peer):
        return tls
    if names := [each for each in errors if isinstance(each, socket.gaierror | UnicodeError)]:
        return Cause.UNKNOWN_HOST, _unknown(names[0], peer)
    return _by_number(errors, peer) or _in_time(error, peer, seconds, in_handshake)


def _in_time(error: BaseException, peer: Peer, seconds: float, in_handshake: bool) -> tuple[Cause, str]:
    is_late = isinstance(error, httpx.ConnectTimeout | TimeoutError)
    if in_handshake:
        how = f"did not end within {seconds:g} s" if is_late else "failed: the host closed the connection"
        return Cause.TLS, f"the TLS handshake with {peer} {how}"
    if is_late:
        return Cause.CONNECT_TIMEOUT, f"{peer} took no connection on port {peer.port} within {seconds:g} s"
    return Cause.UNREACHABLE, f"{peer} cannot be reached on port {peer.port}"


def _unknown(error: BaseException, peer: Peer) -> str:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return f"no name server answers for {peer}"
    return f"the name of {peer} has no address"


def _by_number(errors: list[BaseException], peer: Peer) -> tuple[Cause, str] | None:
    """The cause by system error numbers; of several addresses, an answer outweighs silence."""
    numbers = {each.errno for each in errors if isinstance(each, OSError) and each.errno}
    if errno.ECONNREFUSED in numbers:
        return Cause.REFUSED, f"{peer} refuses connections on port {peer.port}"
    if any(isinstance(each, ConnectionResetError | BrokenPipeError) for each in errors):
        return Cause.TLS, f"the TLS handshake with {peer} failed: the host closed the connection"
    if lacking := numbers & _LOCAL:
        return Cause.LOCAL, f"this machine cannot open a connection to {peer}: {os.strerror(min(lacking))}"
    if numbers & _UNREACHABLE:
        return Cause.UNREACHABLE, f"there is no route to {peer}"
    if errno.ETIMEDOUT in numbers:
        return Cause.CONNECT_TIMEOUT, f"{peer} did not answer on port {peer.port}"
    return None


def _broken(error: BaseException, peer: Peer) -> tuple[Cause, str]:
    if tls := _tls(list(_all(error)), peer):
        return tls
    if isinstance(error, httpx.RemoteProtocolError) and not any(word in str(error) for word in _CUT_OFF):
        return Cause.WRONG_ANSWER, f"what {peer} answers is not HTTP"
    if not isinstance(error, httpx.HTTPError):
        return Cause.WRONG_ANSWER, f"the answer of {peer} cannot be read"
    return Cause.CONNECTION_LOST, f"the connection to {peer} was lost"


def _tls(errors: list[BaseException], peer: Peer) -> tuple[Cause, str] | None:
    """OpenSSL's reason; only errors that OpenSSL itself raised have details."""
    for each in errors:
        if isinstance(each, ssl.SSLCertVerificationError) and (code := getattr(each, "verify_code", 0)):
            why = _CERTIFICATES.get(code) or redact(each.verify_message)
            return Cause.CERTIFICATE, f"the certificate of {peer} is not trusted: {why}"
    for each in errors:
        if isinstance(each, ssl.SSLError) and (reason := getattr(each, "reason", None)):
            why = _HANDSHAKES.get(reason) or reason.lower().replace("_", " ")
            return Cause.TLS, f"the TLS handshake with {peer} failed: {why}"
    return None


def _all(error: BaseException) -> Iterator[BaseException]:
    """The error with its causes and contexts, and the members of exception groups."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_ERRORS:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
