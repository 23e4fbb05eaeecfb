"""The provider's settings: its API, our account's quota, spend limits, result files."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from service.contract.regions import base_url_of
from service.errors import ConfigError
from service.settings.base_url import BaseUrl
from service.settings.environment import Hosts, Prices, Text, read_secret, variable
from service.settings.groups import Group, exclusive

VENDOR_KEY = "DASHSCOPE_API_KEY"
"""The variable that the vendor's own tools read."""
MIB = 1024**2
MEMORY_TIMES = 21
"""Factor between the memory of result files and the largest file: reading word times needs that much."""
Region = Literal["cn-beijing", "ap-southeast-1", "us-east-1", "cn-hongkong", "ap-northeast-1", "eu-central-1"]


class ProviderSettings(Group):
    """The provider's API and our account on it."""

    base_url: BaseUrl = Field(
        default="https://dashscope-intl.aliyuncs.com/api/v1",
        description="The API of the region that the key belongs to; ends in /api/v1.",
    )
    region: Region | None = Field(
        default=None, description="The key's region, in place of the URL; with a workspace, its own host."
    )
    api_key: SecretStr | None = Field(
        default=None,
        description=f"The API key; better from a file. {VENDOR_KEY} is read when neither is set.",
    )
    api_key_file: Path | None = Field(
        default=None, description="A file that holds the API key; a new key in it is used within a minute."
    )
    workspace: Text | None = Field(
        default=None,
        description="The workspace's id: a header, for keys that need one; with a region, its own host.",
    )
    submit_timeout_seconds: float = Field(
        default=30.0, ge=1, le=300, description="Total time of a submit, connection included."
    )
    call_timeout_seconds: float = Field(
        default=10.0, ge=0.5, le=120, description="Total time of any other call."
    )
    data_inspection: Text | None = Field(
        default=None, description="The vendor's `X-DashScope-DataInspection` header, such as enable."
    )

    ca_file: Path | None = Field(
        default=None,
        description="PEM file of authorities to trust besides the usual ones: a company's own.",
    )
    proxy_url: SecretStr | None = Field(
        default=None,
        description="http://USER:PASSWORD@HOST:PORT of a proxy for https, or without the login; none means no"
        " proxy, whatever HTTPS_PROXY says.",
    )
    proxy_url_file: Path | None = Field(
        default=None, description="A file that holds that URL; better, if it holds a password."
    )

    def proxy(self) -> SecretStr | None:
        """The proxy's URL, read from its file if one is set; raises `ConfigError`."""
        return self.proxy_url or read_secret(self.proxy_url_file, variable("provider", "proxy_url_file"))

    def key(self) -> SecretStr:
        """The key, read from its file if one is set.

        Raises `ConfigError`, also if there is no key.
        """
        key = self.api_key or read_secret(self.api_key_file, variable("provider", "api_key_file"))
        if key is None:
            file, direct = variable("provider", "api_key_file"), variable("provider", "api_key")
            raise ConfigError(f"the provider's API key is missing; set {file}, {direct} or {VENDOR_KEY}")
        return key

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return str(self.base_url) if self.region is None else base_url_of(self.region, self.workspace)

    @property
    def workspace_header(self) -> str | None:
        """The workspace header of each call.

        None with a region, whose host already names the workspace.
        """
        return self.workspace if self.region is None else None

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if self.api_key and self.api_key_file:
            raise exclusive("provider", "api_key", "api_key_file")
        if self.proxy_url and self.proxy_url_file:
            raise exclusive("provider", "proxy_url", "proxy_url_file")
        return self

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if self.region is None:
            return self
        if "base_url" in self.model_fields_set:
            raise exclusive("provider", "base_url", "region")
        try:
            base_url_of(self.region, self.workspace)
        except ValueError as error:
            raise ValueError(f"{variable('provider', 'workspace')} must fit: {error}") from None
        return self


class QuotaSettings(Group):
    """The part of the account's quota that all replicas together may use."""

    part: float = Field(default=0.75, gt=0, le=1, description="The part of the account's quota that is ours.")
    calls_per_second: float = Field(
        default=20.0,
        gt=0,
        le=10_000,
        description="The account's quota of queries, of list calls and of cancels (each).",
    )
    submits_per_minute: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="The account's quota of submits; if unset, the model table's.",
    )


class SpendSettings(Group):
    """Limits on a day's spending: billed seconds of results that state them, cost of models with a price."""

    seconds_per_day: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000_000,
        description="Billed seconds a UTC day, all replicas together; then submits wait for midnight.",
    )
    cost_per_day: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        description=(
            "The same in the currency of the prices: it sees the models that have one, also those billed by"
            " tokens."
        ),
    )
    prices: Prices = Field(
        default={},
        description="Prices of models, per second, or per input and output token; they make the cost metric.",
    )

    @model_validator(mode="after")
    def _has_prices(self) -> Self:
        if self.cost_per_day is not None and not self.prices:
            limit, prices = variable("spend", "cost_per_day"), variable("spend", "prices")
            raise ValueError(f"{limit} needs {prices}: without a price nothing costs anything")
        return self


class FetchSettings(Group):
    """Where result files may come from, and how large they may be."""

    hosts: Hosts = Field(
        default=("aliyuncs.com",),
        description="Hosts of results, reached by https, each with those below it; others are held.",
    )
    plain_http_hosts: Hosts = Field(
        default=(),
        description="Exact hosts reached also by http, on any port, private ones too, also as the API: a "
        "simulator's.",
    )
    max_compressed_bytes: int = Field(
        default=24 * MIB, ge=1024, le=1024 * MIB, description="Largest result file before decompression."
    )
    max_decoded_bytes: int = Field(
        default=24 * MIB, ge=1024, le=3120 * MIB, description="Largest result file after decompression."
    )
    memory_bytes: int = Field(
        default=512 * MIB,
        ge=16 * MIB,
        le=65_536 * MIB,
        description=(
            "Memory that result files may take together while they are fetched and read: half of the pod's."
            f" At least {MEMORY_TIMES} times the largest file: reading words with times takes nearly as much."
        ),
    )
    timeout_seconds: float = Field(default=120.0, ge=1, le=3600, description="Total time of one fetch.")

    @model_validator(mode="after")
    def _has_memory(self) -> Self:
        if self.memory_bytes < MEMORY_TIMES * self.max_decoded_bytes:
            memory, largest = variable("fetch", "memory_bytes"), variable("fetch", "max_decoded_bytes")
            raise ValueError(f"{memory} must be at least {MEMORY_TIMES} times {largest}")
        return self
