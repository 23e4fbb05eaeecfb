"""Reads the environment for the settings: the names of our variables, their syntax, the error messages.

Never repeats a variable's value: it may be a secret, or a secret in the wrong variable.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr, StringConstraints, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode

from service.core.limits.price import Price
from service.errors import ConfigError

PREFIX = "SCRIBE_"
DELIMITER = "__"
MAX_SECRET_BYTES = 64 * 1024
"""A larger file cannot be a key or password."""

_SERVICE = re.compile(
    r"SCRIBE(_[A-Z0-9_]+)?(_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_PORT = re.compile(r"SCRIBE(_[A-Z0-9_]+)?_PORT")
_PORT_URL = re.compile(r"(tcp|udp|sctp)://[0-9a-fA-F.:\[\]]+")


def _split(value: object) -> object:
    return _parts(value) if isinstance(value, str) else value


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _host(host: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?", host):
        raise ValueError("must be host names, separated by commas, without scheme, port or path")
    return host.lower().rstrip(".")


def _brokers(value: str) -> str:
    addresses = [part.strip() for part in value.split(",")]
    if not all(map(_is_address, addresses)):
        raise ValueError(
            "must be host:port, separated by commas: host names or addresses (IPv6 in brackets) and ports "
            "from 1 to 65535, without scheme, path, quotes or JSON"
        )
    return ",".join(addresses)


def _is_address(text: str) -> bool:
    """Whether aiokafka accepts this as a broker address; without a port it uses 9092."""
    found = re.fullmatch(
        r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]{1,253}))(?::(?P<port>[0-9]+))?", text
    )
    if found is None:
        return False
    port, name = found["port"], found["name"]
    if port is not None and (len(port) > 5 or not 1 <= int(port) <= 65_535):
        return False
    if name is None:
        return _is_ipv6(found["six"])
    return all(1 <= len(label) <= 63 for label in name.removesuffix(".").split("."))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
Topic = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Brokers = Annotated[Text, AfterValidator(_brokers)]
Names = Annotated[tuple[Text, ...], NoDecode, BeforeValidator(_split)]
"""Separated by commas, not JSON."""
Hosts = Annotated[tuple[Annotated[Text, AfterValidator(_host)], ...], NoDecode, BeforeValidator(_split)]


def _prices(value: object) -> object:
    return dict(map(_price, _parts(value))) if isinstance(value, str) else value


def _price(entry: str) -> tuple[str, Price]:
    """`model=second`, or `model=input token/output token`."""
    name, _, numbers = entry.partition("=")
    try:
        amounts = [float(number) for number in numbers.split("/")]
        if not name or len(amounts) > 2 or not all(0 <= amount < 1000 for amount in amounts):
            raise ValueError
    except ValueError:
        message = "must be model=price of a second, or model=price of an input token/of an output token"
        raise ValueError(f"{message}, separated by commas") from None
    return name.strip(), Price(amounts[0]) if len(amounts) == 1 else Price(0.0, *amounts)


Prices = Annotated[dict[str, Price], NoDecode, BeforeValidator(_prices)]
"""Written as `fun-asr=0.000035,qwen3.5-omni-flash=0.0000004/0.000003`."""


def _pairs(value: object) -> object:
    return dict(map(_pair, _parts(value))) if isinstance(value, str) else value


def _pair(entry: str) -> tuple[str, str]:
    found = re.fullmatch(r"([A-Za-z]+)=([ -~]+)", entry)
    if found is None or found[1] == "auth":
        raise ValueError("must be name=value, separated by commas; names have letters only")
    return found[1], found[2]


Pairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_pairs)]
"""Written as `logicalCluster=lkc-1,identityPoolId=pool-1`: SASL extensions as RFC 7628 spells them."""


class Environment(EnvSettingsSource):
    """Reads a given mapping instead of the process's environment.

    An empty variable counts as not set.
    """

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items() if value}


def variable(*path: str) -> str:
    """The variable of a field, such as `SCRIBE_KAFKA__GROUP_ID`."""
    return PREFIX + DELIMITER.join(path).upper()


def variables(tree: type[BaseModel]) -> tuple[str, ...]:
    """The names of all variables of a settings tree, in its order."""
    return tuple(
        variable(group, field)
        for group, info in tree.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        for field in info.annotation.model_fields
    )


def refuse_unknown(environ: Mapping[str, str], known: Collection[str]) -> None:
    """Raise `ConfigError` for names with our prefix that are no settings, to catch typos."""
    unknown = [name for name in sorted(environ) if _is_ours(name) and name not in known]
    strays = [name for name in unknown if not _is_from_kubernetes(name, environ[name])]
    if strays:
        raise ConfigError("; ".join(_unknown(name, known) for name in strays))


def read_secret(file: Path | None, name: str) -> SecretStr | None:
    """The secret in a file, stripped; None without a file. Raises `ConfigError`."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{name} names a file that cannot be read ({reason})") from None
    if not text:
        raise ConfigError(f"{name} names a file that is empty")
    return SecretStr(text)


def complaint(error: ValidationError) -> str:
    """One sentence per invalid variable."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(dict.fromkeys(_sentence(detail) for detail in details))


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _is_from_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes set this variable for a Service whose name begins with `scribe`.

    Its `..._PORT` holds a URL; a bare number there is a mistyped setting.
    """
    if _PORT.fullmatch(name) and _PORT_URL.fullmatch(value):
        return True
    return _SERVICE.fullmatch(name) is not None


def _unknown(name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.7)
    hint = f"the nearest one is {nearest[0]}" if nearest else "docs/configuration.md lists them"
    return f"{name} is not a setting; {hint}"


def _sentence(detail: ErrorDetails) -> str:
    if len(detail["loc"]) < 2:  # a rule of one or more whole groups names its variables itself
        return _reason(detail)
    group, field, *_ = detail["loc"]
    return f"{variable(str(group), str(field))} {_reason(detail)}"


def _reason(detail: ErrorDetails) -> str:
    reason = detail["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|Value|String) should ", "must ", reason)
