"""The proxy through which https leaves a company's network, and what goes wrong there.

It gets a CONNECT with the host's name, and then carries bytes that it cannot read. It resolves the name
itself, so no address is checked on our side.
"""

import re
from base64 import b64encode
from http import HTTPStatus
from urllib.parse import unquote

import httpx
from pydantic import SecretStr

from service.errors import ConfigError
from service.frozen import dataclass

_URL = re.compile(
    r"http://(?:(?P<user>[^\s:/?#@]+)(?::(?P<password>[^\s:/?#@]*))?@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})/?"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy with its login, if it wants one."""

    host: str
    port: int
    user: str = ""
    password: SecretStr = SecretStr("")
    written: SecretStr = SecretStr("")
    """The password as it stands in the URL."""

    @classmethod
    def of(cls, url: SecretStr) -> "Proxy":
        """The proxy of a URL; raises `ConfigError`, which repeats nothing of it."""
        found = _URL.fullmatch(url.get_secret_value())
        if found is None or not 0 < int(found["port"]) < 65536:
            raise ConfigError(
                "SCRIBE_PROVIDER__PROXY_URL (or its file) must be http://HOST:PORT or"
                " http://USER:PASSWORD@HOST:PORT, with special characters of both as %XX"
            )
        user, password = unquote(found["user"] or ""), found["password"] or ""
        host, port = found["host"].lower().strip("[]"), int(found["port"])
        return cls(host, port, user, SecretStr(unquote(password)), SecretStr(password))

    @property
    def origin(self) -> str:
        """Its URL without the login."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of `Proxy-Authorization`."""
        if not self.user:
            return None
        login = f"{self.user}:{self.password.get_secret_value()}".encode()
        return f"Basic {b64encode(login).decode('ascii')}"

    def secrets(self) -> tuple[SecretStr, ...]:
        """What no log line may hold: the login in every form in which it is sent or written.

        Without a password the user is one, as with proxies that take a token there.
        """
        if not self.user:
            return ()
        encoded = SecretStr((self.authorization or "").removeprefix("Basic "))
        if not self.password.get_secret_value():
            return (SecretStr(self.user), encoded)
        return (self.password, self.written, encoded)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ProxyFailed(httpx.ConnectError):
    """The proxy opened no tunnel, so nothing was sent through it.

    `status` is its answer; None if it could not be reached.
    """

    def __init__(self, proxy: Proxy, status: int | None = None) -> None:
        super().__init__("no connection through the proxy")
        self.proxy = proxy
        self.status = status

    def refusal(self, host: str, port: int) -> str | None:
        """What it answered, as a sentence for an operator; None without an answer."""
        if self.status is None:
            return None
        if self.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return (
                f"the proxy {self.proxy} refuses our login: SCRIBE_PROVIDER__PROXY_URL_FILE needs its"
                " user and password"
            )
        return f"the proxy {self.proxy} answers {self.status} when asked for {host}:{port}: allow it there"
