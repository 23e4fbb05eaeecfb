"""The settings by group, each with its unit in the name, a bound, a default safe in production, a sentence.

Nothing here opens a connection. Secret files are read on each call, so that a changed file takes effect.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from service.settings.environment import Brokers, Hosts, Names, Text, Topic, read_secret, variable


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
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How to log in, with a SASL protocol."
    )
    sasl_username: Text | None = Field(default=None, description="User name, with a SASL protocol.")
    sasl_password: SecretStr | None = Field(
        default=None, description="The user's password; better from a file."
    )
    sasl_password_file: Path | None = Field(default=None, description="A file that holds the password.")
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities to trust; none means the system's."
    )
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
        return self.sasl_password or read_secret(
            self.sasl_password_file, variable("kafka", "sasl_password_file")
        )

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        if self.sasl_password and self.sasl_password_file:
            raise exclusive("kafka", "sasl_password", "sasl_password_file")
        has_password = self.sasl_password is not None or self.sasl_password_file is not None
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and has_password):
            names = variable("kafka", "sasl_username"), variable("kafka", "sasl_password_file")
            raise ValueError(
                f"{variable('kafka', 'security_protocol')} with a login needs {' and '.join(names)}"
            )
        return self


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
