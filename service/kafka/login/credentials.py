"""The login that all Kafka clients of a process share; a new one holds for new connections of all of them."""

from weakref import WeakSet

from aiokafka.abc import AbstractTokenProvider
from aiokafka.client import AIOKafkaClient
from pydantic import SecretStr

from service.kafka.login.tls_files import Tls, TlsFiles


class Credentials:
    """Password, certificates and tokens.

    aiokafka's clients keep what they were made with and log in with it at each connection. So the clients are
    noted here, and get what replaces it.
    """

    def __init__(
        self,
        password: SecretStr | None = None,
        files: TlsFiles | None = None,
        tokens: AbstractTokenProvider | None = None,
    ) -> None:
        self.password = password
        self.files = files or TlsFiles()
        self.tokens = tokens
        self._tls: Tls | None = None
        self._clients: WeakSet[AIOKafkaClient] = WeakSet()

    @property
    def tls(self) -> Tls:
        """The certificates in use, read at the first call; raises `ConfigError` then."""
        if self._tls is None:
            self._tls = self.files.read()
        return self._tls

    def read_tls(self) -> Tls:
        """What the certificates' files hold now; raises `ConfigError`."""
        return self.files.read(self._tls)

    def note(self, client: AIOKafkaClient) -> None:
        """Pass later replacements on to this client, for as long as it lives."""
        self._clients.add(client)

    def use_password(self, password: SecretStr) -> None:
        """Log in with another password from now on; open connections stay."""
        self.password = password
        for client in self._clients:
            client._sasl_plain_password = password.get_secret_value()

    def use_tls(self, tls: Tls) -> None:
        """Show and trust other certificates from now on; open connections stay."""
        self._tls = tls
        for client in self._clients:
            client._ssl_context = tls.context
