"""The settings by group, each with its unit in the name, a bound, a default safe in production, a sentence.

Nothing here opens a connection. Secret files are read on each call, so that a changed file takes effect.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from service.settings.base_url import is_url
from service.settings.environment import (
    Brokers,
    Hosts,
    Names,
    Pairs,
    Text,
    Topic,
    read_secret,
    variable,
)


def exclusive(group: str, first: str, second: str) -> ValueError:
    """The error for two variables that set the same thing."""
    return ValueError(f"{variable(group, first)} and {variable(group, second)} exclude each other")


class Group(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


ROLES = ("requests", "results", "failures", "journal")
"""The roles of the four topics."""


class KafkaSettings(Group):
    """How to reach Kafka, and this member's part in the group."""

    bootstrap_servers: Brokers = Field(
        default="127.0.0.1:9092", description="Brokers to begin with, as host:port,host:port."
    )
    client_id: Text = Field(default="scribe", description="The client name in the broker's logs and quotas.")
    group_id: Text = Field(default="scribe", description="The consumer group; all replicas share it.")
    group_instance_id: Text | None = Field(
        default=None,
        description="A name of its own makes each replica a static member: restarts move no partition. "
        "Of two processes with one name the later ends.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Encryption and login."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] = Field(
        default="SCRAM-SHA-512", description="How to log in, with a SASL protocol."
    )
    sasl_username: Text | None = Field(
        default=None, description="User name, for the mechanisms with a password."
    )
    sasl_password: SecretStr | None = Field(
        default=None, description="The user's password; better from a file."
    )
    sasl_password_file: Path | None = Field(
        default=None,
        description="A file that holds the password; new connections use a new one in it within a minute.",
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities to trust; none means the system's."
    )
    cert_file: Path | None = Field(
        default=None,
        description="PEM file of our client certificate and its intermediates, for brokers that ask for one;"
        " new connections use a new one within a minute.",
    )
    key_file: Path | None = Field(default=None, description="PEM file of the certificate's private key.")
    key_password: SecretStr | None = Field(
        default=None, description="The password of an encrypted private key; better from a file."
    )
    key_password_file: Path | None = Field(
        default=None, description="A file that holds the private key's password."
    )
    oauth_token_url: Text | None = Field(
        default=None, description="The token endpoint for OAUTHBEARER, asked with client credentials."
    )
    oauth_client_id: Text | None = Field(default=None, description="The client id at the token endpoint.")
    oauth_client_secret: SecretStr | None = Field(
        default=None, description="The client's secret; better from a file."
    )
    oauth_client_secret_file: Path | None = Field(
        default=None, description="A file that holds the client's secret; read again for each token."
    )
    oauth_scope: Text | None = Field(
        default=None, description="The scopes to ask for, separated by blanks, if the endpoint needs any."
    )
    oauth_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities to trust at the token endpoint; none means the system's.",
    )
    oauth_token_file: Path | None = Field(
        default=None,
        description="A file with a token, in place of the endpoint; read again while the service runs.",
    )
    oauth_extensions: Pairs = Field(
        default={}, description="SASL extensions to send with a token, as name=value."
    )
    aws_region: Text | None = Field(default=None, description="The cluster's region, for AWS_MSK_IAM.")
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once",
        description="exactly_once needs a broker with transactions; at_least_once repeats outcomes at times.",
    )
    idempotent: bool = Field(
        default=True,
        description="An idempotent producer in at_least_once; false only for brokers that have none.",
    )
    on_journal_mismatch: Literal["refuse", "start_over"] = Field(
        default="refuse", description="What to do with a shard whose journal does not fit its request topic."
    )
    session_timeout_seconds: float = Field(
        default=30.0, ge=1, le=1800, description="A member that is silent for this long loses its partitions."
    )
    fetch_max_wait_ms: int = Field(
        default=500,
        ge=1,
        le=5000,
        description="How long a broker may hold a fetch that finds nothing; 20 for the embedded one.",
    )

    def password(self) -> SecretStr | None:
        """The password, read from its file if one is set; raises `ConfigError`."""
        return self._secret("sasl_password")

    def private_key_password(self) -> SecretStr | None:
        """The password of the private key, likewise."""
        return self._secret("key_password")

    def client_secret(self) -> SecretStr | None:
        """The secret for the token endpoint, likewise."""
        return self._secret("oauth_client_secret")

    def _secret(self, name: str) -> SecretStr | None:
        direct: SecretStr | None = getattr(self, name)
        return direct or read_secret(getattr(self, f"{name}_file"), variable("kafka", f"{name}_file"))

    @model_validator(mode="after")
    def _has_one_of_each(self) -> Self:
        for name in ("sasl_password", "key_password", "oauth_client_secret"):
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise exclusive("kafka", name, f"{name}_file")
        if self.oauth_token_url and self.oauth_token_file:
            raise exclusive("kafka", "oauth_token_url", "oauth_token_file")
        return self

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        if not self.security_protocol.startswith("SASL"):
            return self
        protocol = variable("kafka", "security_protocol")
        mechanism = f"{variable('kafka', 'sasl_mechanism')}={self.sasl_mechanism}"
        match self.sasl_mechanism:
            case "OAUTHBEARER":
                _require(self, mechanism, *self._token_settings())
            case "AWS_MSK_IAM":
                _require(self, mechanism, "aws_region")
            case _:
                _require(self, f"{protocol} with a login", "sasl_username", "sasl_password_file")
        return self

    def _token_settings(self) -> tuple[str, ...]:
        if self.oauth_token_file is not None:
            return ()
        return ("oauth_token_url", "oauth_client_id", "oauth_client_secret_file")

    @model_validator(mode="after")
    def _has_what_its_protocol_uses(self) -> Self:
        if self.cert_file or self.key_file:
            _require(self, "a client certificate", "cert_file", "key_file")
            if not self.security_protocol.endswith("SSL"):
                protocol = variable("kafka", "security_protocol")
                raise ValueError(f"a client certificate needs {protocol}=SSL or SASL_SSL")
        if self.oauth_token_url and not is_url(self.oauth_token_url):
            raise ValueError(f"{variable('kafka', 'oauth_token_url')} must be an http or https URL")
        return self


def _require(kafka: KafkaSettings, why: str, *names: str) -> None:
    """Raise ValueError unless all of these are set; a secret's variable is as good as its file."""
    if not all(getattr(kafka, name) or getattr(kafka, name.removesuffix("_file"), None) for name in names):
        raise ValueError(f"{why} needs {' and '.join(variable('kafka', name) for name in names)}")


class TopicSettings(Group):
    """The four topics. Replicas share the task list through a fifth: the journal's name and `.pages`."""

    requests: Topic = Field(default="transcription.requests", description="Where users publish requests.")
    results: Topic = Field(default="transcription.results", description="Where transcripts go.")
    failures: Topic = Field(default="transcription.failures", description="Where failures go.")
    journal: Topic = Field(default="transcription.journal", description="The service's own compacted topic.")
    create: bool = Field(default=True, description="Create missing topics at the start.")
    partitions: int = Field(default=12, ge=1, le=1000, description="Partitions of topics that are created.")
    replication: int = Field(default=3, ge=1, le=10, description="Replicas of topics that are created.")
    outcome_retention_days: int = Field(
        default=7,
        ge=1,
        le=3650,
        description="How long results and failures are kept, in topics that are created.",
    )

    @model_validator(mode="after")
    def _are_four(self) -> Self:
        if len({self.requests, self.results, self.failures, self.journal}) < len(ROLES):
            names = ", ".join(variable("topics", role) for role in ROLES)
            raise ValueError(f"{names} must name four different topics")
        return self


class RequestSettings(Group):
    """The limits of requests, and their defaults."""

    allowed_hosts: Hosts | None = Field(
        default=None, description="Hosts that audio may come from, each with those below it."
    )
    allowed_models: Names | None = Field(default=None, description="Models that requests may name.")
    default_ttl_seconds: int = Field(
        default=604_800,
        ge=60,
        le=31_622_400,
        description="The deadline of requests without one, from their acceptance.",
    )
    files_per_task: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Files that one provider task may hold: of one request and, while submits wait for"
        " quota, of several; none means the model table's.",
    )
    copied_headers: Names = Field(
        default=("traceparent", "tracestate", "correlation-id", "kafka_correlationId"),
        description="Headers of the request that its outcomes repeat.",
    )


class SubmitSettings(Group):
    """How to treat a submit whose answer was lost: the provider may have done and billed the work."""

    on_uncertain: Literal["reconcile", "resubmit", "fail"] = Field(
        default="reconcile",
        description="Look for its task in the account's list; or submit again, perhaps paid twice; or fail.",
    )
    settle_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="A task is made and listed within this after its submit; later it counts as not there.",
    )


class OutcomeSettings(Group):
    """The content of results and failures."""

    source: Text = Field(default="/scribe", description="The CloudEvents `ce_source` of outcomes.")
    original_request: Literal["full", "no_query", "none"] = Field(
        default="full",
        description="How much of the request a failure repeats: URL queries may hold signatures.",
    )


class DeduplicationSettings(Group):
    """How long finished jobs are remembered, so that a repeated request is not done twice."""

    window_seconds: int = Field(
        default=86_400,
        ge=0,
        le=31_622_400,
        description="How long after its finish a request is remembered.",
    )
    jobs: int = Field(
        default=100_000,
        ge=0,
        le=10_000_000,
        description="How many finished jobs each shard remembers at most.",
    )


class LimitSettings(Group):
    """The bounds of one process's memory and connections."""

    open_jobs: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Limit on open jobs; at the limit, requests wait in Kafka.",
    )
    calls_in_flight: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="Limit on submits, on queries, and on synchronous calls in flight (each).",
    )
    fetches_in_flight: int = Field(
        default=8, ge=1, le=1000, description="Limit on result files that are fetched at the same time."
    )


class HttpSettings(Group):
    """The port of /livez, /readyz, /metrics and /status."""

    host: Text = Field(default="0.0.0.0", description="The address to listen on.")  # noqa: S104 - probes come from the node
    port: int = Field(default=8080, ge=0, le=65_535, description="The port; 0 takes any free one.")


class LogSettings(Group):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level written."
    )
    format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="auto is pretty on a terminal, else json."
    )


class TracingSettings(Group):
    """Spans of requests whose records have the header `traceparent`, for OpenTelemetry."""

    enabled: bool = Field(
        default=False,
        description="Send spans by OTLP over HTTP, as the OTEL_EXPORTER_OTLP_ variables say; needs the extra"
        " `otel`.",
    )


class ShutdownSettings(Group):
    """A clean stop: it may take ANSWER_SECONDS, then GRACE_SECONDS."""

    grace_seconds: float = Field(
        default=25.0,
        ge=1,
        le=600,
        description="How long a stop may take after ANSWER_SECONDS; a pod needs more than both.",
    )
    answer_seconds: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="Before GRACE_SECONDS a stop waits this long for the answers of synchronous models.",
    )
    leave_group: Literal["never", "always", "when_removed"] = Field(
        default="never",
        description="Whether a static member leaves the group as it stops: others then serve its partitions"
        " at once; when_removed asks Kubernetes whether the pod's StatefulSet will start it again.",
    )
    service_account_dir: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="Where when_removed finds the token and the CA of the Kubernetes API server.",
    )
