"""Map the settings to values for the parts, and to the provider's client.

Connect nothing.
"""

import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from urllib.parse import urlsplit

from pydantic import SecretStr

from service.clock import Clock
from service.contract.request_decoder import RequestLimits
from service.core.job.transition_context import Rules
from service.core.shard.admission import AdmissionRules
from service.core.time.vendor_clock import VendorClock
from service.frozen import dataclass
from service.kafka.admin.topics import DAY_MS, Creation, Topics
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.error_reasons import TOKEN_MECHANISMS
from service.kafka.login.credentials import Credentials
from service.kafka.login.tls_files import TlsFiles
from service.kafka.login.token_sources import MskSigner, TokenEndpoint, TokenFile
from service.kafka.login.tokens import Tokens, TokenSource
from service.observability.metric_definitions import Definition
from service.observability.process_definitions import BILLED_COST_LIMIT, BILLED_SECONDS_LIMIT, OPEN_JOBS_LIMIT
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.http.proxy import Proxy
from service.provider.http.trust import tls_context
from service.provider.result_files import FetchGuard
from service.settings import Settings
from service.settings.environment import read_secret, variable
from service.settings.groups import ROLES, KafkaSettings


def _ignore(_told: object) -> None:
    """Nobody is told: the command line writes no log."""


@dataclass(frozen=True, slots=True)
class LoginObserver:
    """Who hears of what is shown to Kafka."""

    secret: Callable[[SecretStr], None] = _ignore
    """Of a secret that was read while the process runs."""
    token: Callable[[SecretStr], None] = _ignore
    """Of each token."""
    refused: Callable[[str], None] = _ignore
    """Why no new token can be had while the last one still holds, or none does."""


def cluster_of(settings: Settings, observer: LoginObserver | None = None) -> ClusterConfig:
    """How to reach Kafka; reads the files of the password and the certificates.

    Raises `ConfigError`.
    """
    kafka, told = settings.kafka, observer or LoginObserver()
    key_password = partial(_told, kafka.private_key_password, told.secret)
    files = TlsFiles(kafka.ca_file, kafka.cert_file, kafka.key_file, key_password)
    credentials = Credentials(kafka.password(), files, _tokens_of(kafka, told))
    cluster = ClusterConfig(
        bootstrap_servers=kafka.bootstrap_servers,
        client_id=kafka.client_id,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        credentials=credentials,
    )
    cluster.connection()  # what cannot be used is named now, not at the first connection
    return cluster


def _tokens_of(kafka: KafkaSettings, told: LoginObserver) -> Tokens | None:
    if not (kafka.security_protocol.startswith("SASL") and kafka.sasl_mechanism in TOKEN_MECHANISMS):
        return None
    return Tokens(_token_source(kafka, told), kafka.oauth_extensions, told.token, told.refused)


def _token_source(kafka: KafkaSettings, told: LoginObserver) -> TokenSource:
    if kafka.sasl_mechanism == "AWS_MSK_IAM":
        return MskSigner(str(kafka.aws_region))
    if kafka.oauth_token_file is not None:
        name = variable("kafka", "oauth_token_file")
        return TokenFile(partial(_present, partial(read_secret, kafka.oauth_token_file, name), told.token))
    return TokenEndpoint(
        url=str(kafka.oauth_token_url),
        client_id=str(kafka.oauth_client_id),
        secret=partial(_present, kafka.client_secret, told.secret),
        scope=kafka.oauth_scope,
        ca_file=kafka.oauth_ca_file,
    )


def _told(read: Callable[[], SecretStr | None], hide: Callable[[SecretStr], None]) -> SecretStr | None:
    """The secret that is read, hidden from the log before anything uses it."""
    secret = read()
    if secret is not None:
        hide(secret)
    return secret


def _present(read: Callable[[], SecretStr | None], hide: Callable[[SecretStr], None]) -> SecretStr:
    secret = _told(read, hide)
    assert secret is not None, "the settings require it"
    return secret


def topics_of(settings: Settings) -> Topics:
    """The topics' names."""
    names = settings.topics
    return Topics(names.requests, names.results, names.failures, names.journal)


def creation_of(settings: Settings) -> Creation:
    """How to create missing topics."""
    topics = settings.topics
    return Creation(topics.partitions, topics.replication, topics.outcome_retention_days * DAY_MS)


def member_of(settings: Settings) -> str:
    """The name of this process in claims, logs and /status.

    Unique among the replicas on a host.
    """
    return settings.kafka.group_instance_id or f"{socket.gethostname()}-{os.getpid()}"


def about(settings: Settings) -> Mapping[str, object]:
    """The fields of the first log line: what this process is connected to."""
    return {
        "member": member_of(settings),
        "brokers": settings.kafka.bootstrap_servers,
        "group": settings.kafka.group_id,
        "topics": {role: getattr(settings.topics, role) for role in ROLES},
        "delivery": settings.kafka.delivery,
        "provider": urlsplit(settings.provider.url).netloc,
    }


def provider_of(
    settings: Settings, clock: Clock | None = None, vendor_clock: VendorClock | None = None
) -> DashScope:
    """The provider's client; reads the files of the key, the proxy and the authorities."""
    provider, fetch = settings.provider, settings.fetch
    config = DashScopeConfig(
        base_url=provider.url,
        api_key=provider.key(),
        workspace=provider.workspace_header,
        submit_timeout_seconds=provider.submit_timeout_seconds,
        call_timeout_seconds=provider.call_timeout_seconds,
        data_inspection=provider.data_inspection,
        # Each kind of call may use all its places at the same time.
        max_connections=max(64, 2 * settings.limits.calls_in_flight),
        proxy=proxy_of(settings),
    )
    guard = FetchGuard(
        hosts=tuple(fetch.hosts),
        plain_http_hosts=tuple(fetch.plain_http_hosts),
        max_compressed_bytes=fetch.max_compressed_bytes,
        max_decoded_bytes=fetch.max_decoded_bytes,
        timeout_seconds=fetch.timeout_seconds,
    )
    trust = tls_context(provider.ca_file)
    return DashScope(config, guard, ssl_context=trust, clock=clock, vendor_clock=vendor_clock)


def proxy_of(settings: Settings) -> Proxy | None:
    """The proxy on the way to the provider; reads its file. Raises `ConfigError`."""
    url = settings.provider.proxy()
    return None if url is None else Proxy.of(url)


def unused_proxy(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """A sentence for an operator whose environment names a proxy that we do not use; else None."""
    names = [name for name in environ if name.upper() in ("HTTPS_PROXY", "ALL_PROXY") and environ[name]]
    if not names or settings.provider.proxy() is not None:
        return None
    advice = "if the provider is reached through it, set SCRIBE_PROVIDER__PROXY_URL"
    return f"{names[0]} is set and not used; {advice}"


def rules_of(settings: Settings) -> Rules:
    """The rules of the core."""
    return Rules(
        uncertain=settings.submit.on_uncertain,
        submit_seconds=settings.provider.submit_timeout_seconds,
        settle_seconds=settings.submit.settle_seconds,
    )


def limits_of(settings: Settings) -> RequestLimits:
    """The hosts and models that a request may name."""
    hosts, models = settings.requests.allowed_hosts, settings.requests.allowed_models
    return RequestLimits(
        None if hosts is None else frozenset(hosts), None if models is None else frozenset(models)
    )


def admission_of(settings: Settings) -> AdmissionRules:
    """The rules of admission."""
    requests = settings.requests
    return AdmissionRules(
        default_ttl_seconds=requests.default_ttl_seconds,
        copied_headers=frozenset(requests.copied_headers),
    )


def shown_limits_of(settings: Settings) -> Mapping[Definition, float | None]:
    """The limits that metrics show; None: no limit."""
    return {
        OPEN_JOBS_LIMIT: settings.limits.open_jobs,
        BILLED_SECONDS_LIMIT: settings.spend.seconds_per_day,
        BILLED_COST_LIMIT: settings.spend.cost_per_day,
    }


def fingerprint_of(settings: Settings) -> str:
    """A hash of the settings in which replicas may not differ; secrets take no part in it."""
    shown = settings.model_dump_json(
        exclude={"kafka": {"group_instance_id", "client_id"}, "http": True, "log": True, "tracing": True}
    )
    return sha256(shown.encode()).hexdigest()[:12]
