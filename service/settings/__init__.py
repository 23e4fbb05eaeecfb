"""The settings as one frozen tree, read from `SCRIBE_...` variables.

They are listed in docs/configuration.md.
"""

from collections.abc import Mapping
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from service.contract.traceparent import TRACEPARENT
from service.errors import ConfigError
from service.settings.base_url import is_in_the_clear
from service.settings.environment import (
    DELIMITER,
    PREFIX,
    Environment,
    complaint,
    refuse_unknown,
    variable,
    variables,
)
from service.settings.groups import (
    DeduplicationSettings,
    HttpSettings,
    KafkaSettings,
    LimitSettings,
    LogSettings,
    OutcomeSettings,
    RequestSettings,
    ShutdownSettings,
    SubmitSettings,
    TopicSettings,
    TracingSettings,
)
from service.settings.provider_groups import (
    VENDOR_KEY,
    FetchSettings,
    ProviderSettings,
    QuotaSettings,
    SpendSettings,
)


class Settings(BaseSettings):
    """All settings; `load` makes it."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        hide_input_in_errors=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    provider: ProviderSettings = ProviderSettings()
    quota: QuotaSettings = QuotaSettings()
    spend: SpendSettings = SpendSettings()
    requests: RequestSettings = RequestSettings()
    submit: SubmitSettings = SubmitSettings()
    outcomes: OutcomeSettings = OutcomeSettings()
    deduplication: DeduplicationSettings = DeduplicationSettings()
    limits: LimitSettings = LimitSettings()
    fetch: FetchSettings = FetchSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    shutdown: ShutdownSettings = ShutdownSettings()

    @model_validator(mode="after")
    def _keeps_what_is_traced(self) -> Self:
        if self.tracing.enabled and TRACEPARENT not in self.requests.copied_headers:
            enabled, copied = variable("tracing", "enabled"), variable("requests", "copied_headers")
            raise ValueError(f"{enabled} needs {TRACEPARENT} among {copied}: it names the trace")
        return self

    @model_validator(mode="after")
    def _keeps_secrets(self) -> Self:
        if is_in_the_clear(self.provider.url, self.fetch.plain_http_hosts):
            url, hosts = variable("provider", "base_url"), variable("fetch", "plain_http_hosts")
            raise ValueError(f"{url} would send the key in the clear: use https, or name the host in {hosts}")
        tokens = self.kafka.oauth_token_url
        if tokens and is_in_the_clear(tokens, self.fetch.plain_http_hosts):
            url = variable("kafka", "oauth_token_url")
            raise ValueError(f"{url} would send the client's secret in the clear: use https")
        return self

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the values that `load` passes, not the process's own environment."""
        return (init_settings,)


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings from these variables.

    Raises `ConfigError` with a sentence for each invalid one.
    """
    refuse_unknown(environ, variables(Settings))
    try:
        return Settings(**Environment(Settings, _with_vendor_key(environ))())
    except ValidationError as error:
        raise ConfigError(complaint(error)) from None


def _with_vendor_key(environ: Mapping[str, str]) -> Mapping[str, str]:
    key, file = variable("provider", "api_key"), variable("provider", "api_key_file")
    if environ.get(key) or environ.get(file) or not environ.get(VENDOR_KEY):
        return environ
    return {**environ, key: environ[VENDOR_KEY]}
