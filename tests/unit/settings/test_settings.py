"""The settings: defaults, how variables are read, and the sentence for each that is wrong."""

import re
from pathlib import Path

import pytest
from aiokafka.conn import collect_hosts
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from service.core.limits.price import Price
from service.errors import ConfigError
from service.settings import Settings, load
from service.settings.environment import variables
from service.settings.provider_groups import MEMORY_TIMES

SECRET = "sk-5f2e9a7714d0canary"


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return str(caught.value)


def groups() -> dict[str, type[BaseModel]]:
    found = {name: info.annotation for name, info in Settings.model_fields.items()}
    return {
        name: group
        for name, group in found.items()
        if isinstance(group, type) and issubclass(group, BaseModel)
    }


def test_an_empty_environment_gives_the_production_defaults() -> None:
    settings = load({})
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert settings.provider.base_url == "https://dashscope-intl.aliyuncs.com/api/v1"
    assert settings.quota.part == 0.75
    assert settings.fetch.hosts == ("aliyuncs.com",)
    assert settings.fetch.plain_http_hosts == ()
    assert settings.topics.replication == 3


WRONG_BROKERS = (
    "a:port",
    "a:",
    ":9092",
    "a:0",
    "a:-1",
    "a:+9092",
    "a:65536",
    "host:90920",
    "host:9092000000000000000000",
    "host:9 092",
    "host:٩٠٩٢",
    "host:9092/",
    "host/9092",
    "kafka://host:9092",
    "PLAINTEXT://host:9092",
    '["a:9092","b:9092"]',
    "[a:9092]",
    '"a:9092"',
    "a:9092;b:9092",
    "a:9092 b:9092",
    "a:9092,",
    "a:9092,,b:9092",
    ",",
    "a:9092:9092",
    "user:secret@host:9092",
    "host\n:9092",
    "hôst:9092",
    "a..b:9092",
    f"{'a' * 64}:9092",
    "::1",
    "[::1",
    "::1]:9092",
    "[::g]:9092",
    "[127.0.0.1]:9092",
    "[]:9092",
)


@pytest.mark.parametrize("value", WRONG_BROKERS)
def test_brokers_of_a_wrong_form_are_one_sentence_and_no_traceback(value: str) -> None:
    sentence = refusal({"SCRIBE_KAFKA__BOOTSTRAP_SERVERS": value})
    assert sentence.startswith("SCRIBE_KAFKA__BOOTSTRAP_SERVERS must be host:port, separated by commas")
    assert "secret" not in sentence


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a:9092", "a:9092"),
        (" a:9092 , b-1.example_x.com.:1,c:65535 ", "a:9092,b-1.example_x.com.:1,c:65535"),
        ("kafka", "kafka"),
        ("10.0.0.7:9092", "10.0.0.7:9092"),
        ("[::1]:9092,[2001:db8::7]", "[::1]:9092,[2001:db8::7]"),
        ("[::ffff:10.0.0.7]:9092", "[::ffff:10.0.0.7]:9092"),
    ],
)
def test_brokers_are_read_as_the_client_reads_them(value: str, read: str) -> None:
    servers = load({"SCRIBE_KAFKA__BOOTSTRAP_SERVERS": value}).kafka.bootstrap_servers
    assert servers == read
    assert len(collect_hosts(servers, randomize=False)) == read.count(",") + 1


@given(st.text(max_size=60))
def test_whatever_is_named_as_brokers_is_refused_or_can_be_read_by_the_client(value: str) -> None:
    try:
        servers = load({"SCRIBE_KAFKA__BOOTSTRAP_SERVERS": value}).kafka.bootstrap_servers
    except ConfigError as error:
        assert str(error).startswith("SCRIBE_KAFKA__BOOTSTRAP_SERVERS must ")
        return
    assert all(host and 0 < port < 65_536 for host, port, _ in collect_hosts(servers, randomize=False))


def test_there_are_at_most_eighty_five_knobs_each_with_a_sentence() -> None:
    assert set(groups()) == set(Settings.model_fields)
    knobs = [(name, field) for group in groups().values() for name, field in group.model_fields.items()]
    assert len(knobs) <= 85
    for name, field in knobs:
        assert (field.description or "").endswith("."), name


def test_every_number_is_bounded_on_both_sides() -> None:
    for group in groups().values():
        for name, schema in group.model_json_schema()["properties"].items():
            for form in schema.get("anyOf", [schema]):
                if form["type"] in ("integer", "number"):
                    assert {"minimum", "exclusiveMinimum"} & set(form), name
                    assert {"maximum", "exclusiveMaximum"} & set(form), name


def test_every_time_and_size_has_its_unit_in_its_name() -> None:
    units = re.compile(r"_(seconds|ms|days|bytes|per_second|per_minute)$")
    counts = {
        "part",
        "partitions",
        "replication",
        "files_per_task",
        "jobs",
        "open_jobs",
        "port",
        "calls_in_flight",
        "fetches_in_flight",
    }
    for group in groups().values():
        for name, field in group.model_fields.items():
            if field.annotation in (int, float):
                assert units.search(name) or name in counts, name


def test_a_list_is_written_with_commas() -> None:
    settings = load(
        {"SCRIBE_FETCH__HOSTS": "aliyuncs.com, Example.ORG,", "SCRIBE_REQUESTS__ALLOWED_MODELS": "a,b"}
    )
    assert settings.fetch.hosts == ("aliyuncs.com", "example.org")
    assert settings.requests.allowed_models == ("a", "b")


def test_prices_are_written_with_commas_by_the_second_or_by_the_token() -> None:
    prices = load({"SCRIBE_SPEND__PRICES": "fun-asr=0.5, qwen3.5-omni-flash=0.25/4"}).spend.prices
    assert prices == {"fun-asr": Price(0.5), "qwen3.5-omni-flash": Price(0.0, 0.25, 4.0)}


@pytest.mark.parametrize("value", ["fun-asr", "=1", "fun-asr=x", "fun-asr=-1", "a=1/2/3", "a=nan", "a=1001"])
def test_an_invalid_price_is_reported(value: str) -> None:
    with pytest.raises(ConfigError, match="SCRIBE_SPEND__PRICES must be model=price of a second"):
        load({"SCRIBE_SPEND__PRICES": value})


def test_a_limit_of_cost_needs_prices() -> None:
    prices = {"SCRIBE_SPEND__PRICES": "qwen3.5-omni-flash=0.25/4"}
    assert load({"SCRIBE_SPEND__COST_PER_DAY": "12.5", **prices}).spend.cost_per_day == 12.5
    with pytest.raises(ConfigError, match="SCRIBE_SPEND__COST_PER_DAY needs SCRIBE_SPEND__PRICES"):
        load({"SCRIBE_SPEND__COST_PER_DAY": "12.5"})


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e13", "a", "1,5"])
def test_an_invalid_cost_limit_is_reported(value: str) -> None:
    with pytest.raises(ConfigError, match="SCRIBE_SPEND__COST_PER_DAY must be"):
        load({"SCRIBE_SPEND__COST_PER_DAY": value, "SCRIBE_SPEND__PRICES": "fun-asr=1"})


@pytest.mark.parametrize("memory_bytes", [16_777_216, 22_020_096, 536_870_912, 4_294_967_296])
def test_the_largest_result_file_must_be_readable_within_the_memory_of_results(
    memory_bytes: int,
) -> None:
    most = memory_bytes // MEMORY_TIMES
    memory = {"SCRIBE_FETCH__MEMORY_BYTES": str(memory_bytes)}
    load({**memory, "SCRIBE_FETCH__MAX_DECODED_BYTES": str(most)})
    with pytest.raises(ConfigError, match="MEMORY_BYTES must be at least 21 times SCRIBE_FETCH__MAX_DECODED"):
        load({**memory, "SCRIBE_FETCH__MAX_DECODED_BYTES": str(most + 1)})


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = load({"SCRIBE_REQUESTS__ALLOWED_HOSTS": "", "SCRIBE_HTTP__PORT": ""})
    assert settings.requests.allowed_hosts is None
    assert settings.http.port == 8080


def test_the_tree_cannot_be_changed() -> None:
    settings = load({})
    with pytest.raises(ValidationError):
        settings.http.port = 1  # type: ignore[misc]


def test_variables_of_the_process_itself_do_not_seep_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBE_HTTP__PORT", "1234")
    assert load({}).http.port == 8080


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SCRIBE_KAFKA__GROUPID", "SCRIBE_KAFKA__GROUP_ID"),
        ("SCRIBE_KAFKA_GROUP_ID", "SCRIBE_KAFKA__GROUP_ID"),
        ("SCRIBE_HTTP_PORT", "SCRIBE_HTTP__PORT"),
        ("SCRIBE_PORT", "SCRIBE_HTTP__PORT"),
        ("scribe_http__port", "SCRIBE_HTTP__PORT"),
        ("SCRIBE_LOG__LEVEL__X", "SCRIBE_LOG__LEVEL"),
    ],
)
def test_an_unknown_name_refuses_to_start_and_names_the_nearest(name: str, nearest: str) -> None:
    assert refusal({name: "8080"}) == f"{name} is not a setting; the nearest one is {nearest}"


def test_an_unknown_name_that_is_like_no_other_leads_to_the_page() -> None:
    said = "SCRIBE_WHATEVER_IT_IS is not a setting; docs/configuration.md lists them"
    assert refusal({"SCRIBE_WHATEVER_IT_IS": "1"}) == said


def test_a_group_as_json_is_refused_like_any_unknown_name() -> None:
    assert "SCRIBE_PROVIDER is not a setting" in refusal({"SCRIBE_PROVIDER": f'{{"api_key": "{SECRET}"}}'})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCRIBE_SERVICE_HOST", "10.96.0.7"),
        ("SCRIBE_SERVICE_PORT", "8080"),
        ("SCRIBE_SERVICE_PORT_HTTP", "8080"),
        ("SCRIBE_SERVICE_PORT_METRICS_2", "9090"),
        ("SCRIBE_PORT", "tcp://10.96.0.7:8080"),
        ("SCRIBE_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("SCRIBE_PORT_8080_TCP_PROTO", "tcp"),
        ("SCRIBE_PORT_8080_TCP_PORT", "8080"),
        ("SCRIBE_PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("SCRIBE_PORT_53_UDP", "udp://[fd00::a]:53"),
        ("SCRIBE_HEADLESS_SERVICE_HOST", "10.96.0.8"),
        ("SCRIBE_HEADLESS_PORT", "tcp://10.96.0.8:8080"),
    ],
)
def test_what_kubernetes_injects_for_a_service_of_our_name_is_ignored(name: str, value: str) -> None:
    assert load({name: value}) == load({})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SCRIBE_HTTP__PORT", "many", "must be a valid integer"),
        ("SCRIBE_HTTP__PORT", "70000", "must be less than or equal to 65535"),
        ("SCRIBE_QUOTA__PART", "0", "must be greater than 0"),
        ("SCRIBE_QUOTA__PART", "nan", "must be"),
        ("SCRIBE_SHUTDOWN__GRACE_SECONDS", "inf", "must be less than or equal to 600"),
        ("SCRIBE_LOG__LEVEL", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
        ("SCRIBE_TOPICS__CREATE", "maybe", "must be a valid boolean"),
        ("SCRIBE_TOPICS__RESULTS", "a topic", "must match pattern"),
        ("SCRIBE_FETCH__HOSTS", "https://aliyuncs.com/", "must be host names"),
        ("SCRIBE_PROVIDER__BASE_URL", "ftp://x", "must be an http or https URL"),
        ("SCRIBE_PROVIDER__BASE_URL", "https://u:p@x/api", "must be an http or https URL"),
    ],
)
def test_a_wrong_value_is_a_sentence_that_begins_with_the_name(name: str, value: str, reason: str) -> None:
    assert refusal({name: value}).startswith(f"{name} {reason}")


def test_all_wrong_variables_are_named_at_once() -> None:
    said = refusal({"SCRIBE_HTTP__PORT": "x", "SCRIBE_LOG__LEVEL": "y"})
    assert "SCRIBE_HTTP__PORT" in said
    assert "SCRIBE_LOG__LEVEL" in said


@given(st.sampled_from(variables(Settings)))
def test_no_complaint_repeats_the_value(name: str) -> None:
    odd = f"{SECRET}\x00 ,/?"
    try:
        load({name: odd})
    except ConfigError as error:
        assert SECRET not in str(error)
        assert name in str(error) or "SASL" in str(error)


@pytest.mark.parametrize("name", variables(Settings))
def test_every_variable_is_known_to_load(name: str) -> None:
    try:
        load({name: "1"})
    except ConfigError as error:
        assert "is not a setting" not in str(error)


def test_tracing_is_off_and_needs_the_header_that_names_the_trace() -> None:
    assert not load({}).tracing.enabled
    on = {"SCRIBE_TRACING__ENABLED": "true"}
    assert load(on).tracing.enabled
    said = refusal({**on, "SCRIBE_REQUESTS__COPIED_HEADERS": "tracestate,correlation-id"})
    assert said == (
        "SCRIBE_TRACING__ENABLED needs traceparent among SCRIBE_REQUESTS__COPIED_HEADERS: it names the trace"
    )


def test_topics_must_be_four_different_ones() -> None:
    assert "must name four different topics" in refusal({"SCRIBE_TOPICS__RESULTS": "transcription.journal"})


class TestProviderKey:
    def test_a_missing_key_is_a_sentence_when_it_is_needed_and_not_before(self) -> None:
        settings = load({})
        with pytest.raises(ConfigError, match="SCRIBE_PROVIDER__API_KEY_FILE"):
            settings.provider.key()

    def test_the_vendors_variable_is_read_when_neither_is_set(self) -> None:
        key = load({"DASHSCOPE_API_KEY": SECRET}).provider.key()
        assert key.get_secret_value() == SECRET

    def test_our_variable_goes_before_the_vendors(self) -> None:
        environ = {"DASHSCOPE_API_KEY": "sk-other", "SCRIBE_PROVIDER__API_KEY": SECRET}
        assert load(environ).provider.key().get_secret_value() == SECRET

    def test_a_file_goes_before_the_vendors_variable_and_is_read_anew(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text(f" {SECRET}\n")
        provider = load({"DASHSCOPE_API_KEY": "sk-x", "SCRIBE_PROVIDER__API_KEY_FILE": str(file)}).provider
        assert provider.key().get_secret_value() == SECRET
        file.write_text("sk-rotated")
        assert provider.key().get_secret_value() == "sk-rotated"

    def test_key_and_file_exclude_each_other(self) -> None:
        environ = {"SCRIBE_PROVIDER__API_KEY": SECRET, "SCRIBE_PROVIDER__API_KEY_FILE": "/run/key"}
        said = refusal(environ)
        assert said == "SCRIBE_PROVIDER__API_KEY and SCRIBE_PROVIDER__API_KEY_FILE exclude each other"

    @pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
    def test_a_file_without_a_key_is_a_sentence_without_its_path(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        # Somebody may have put the key where its file's name belongs.
        file = tmp_path / SECRET
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigError, match="SCRIBE_PROVIDER__API_KEY_FILE names a file that") as caught:
            load({"SCRIBE_PROVIDER__API_KEY_FILE": str(file)}).provider.key()
        assert SECRET not in str(caught.value)


class TestLogin:
    def test_a_login_needs_a_user_and_a_password(self) -> None:
        said = refusal({"SCRIBE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "SCRIBE_KAFKA__SASL_USERNAME": "u"})
        assert said.startswith("SCRIBE_KAFKA__SECURITY_PROTOCOL with a login needs")

    def test_the_password_comes_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text("pass word\n")
        kafka = load(
            {
                "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
                "SCRIBE_KAFKA__SASL_USERNAME": "u",
                "SCRIBE_KAFKA__SASL_PASSWORD_FILE": str(file),
            }
        ).kafka
        password = kafka.password()
        assert password is not None
        assert password.get_secret_value() == "pass word"

    def test_password_and_file_exclude_each_other(self) -> None:
        environ = {"SCRIBE_KAFKA__SASL_PASSWORD": SECRET, "SCRIBE_KAFKA__SASL_PASSWORD_FILE": "/run/p"}
        assert refusal(environ).endswith("exclude each other")

    @pytest.mark.parametrize(
        ("environ", "words"),
        [
            ({"SASL_MECHANISM": "OAUTHBEARER"}, "needs SCRIBE_KAFKA__OAUTH_TOKEN_URL and"),
            (
                {"SASL_MECHANISM": "OAUTHBEARER", "OAUTH_TOKEN_URL": "https://i.example/t"},
                "and SCRIBE_KAFKA__OAUTH_CLIENT_ID and SCRIBE_KAFKA__OAUTH_CLIENT_SECRET_FILE",
            ),
            ({"SASL_MECHANISM": "AWS_MSK_IAM"}, "needs SCRIBE_KAFKA__AWS_REGION"),
            ({"CERT_FILE": "/c"}, "needs SCRIBE_KAFKA__CERT_FILE and SCRIBE_KAFKA__KEY_FILE"),
            ({"OAUTH_TOKEN_URL": "i.example"}, "SCRIBE_KAFKA__OAUTH_TOKEN_URL must be an http or https URL"),
            ({"OAUTH_TOKEN_URL": "http://i.example"}, "would send the client's secret in the clear"),
            ({"OAUTH_TOKEN_URL": "https://i.example", "OAUTH_TOKEN_FILE": "/t"}, "exclude each other"),
            ({"KEY_PASSWORD": "p", "KEY_PASSWORD_FILE": "/p"}, "exclude each other"),
            ({"OAUTH_CLIENT_SECRET": "p", "OAUTH_CLIENT_SECRET_FILE": "/p"}, "exclude each other"),
            ({"OAUTH_EXTENSIONS": "auth=x"}, "SCRIBE_KAFKA__OAUTH_EXTENSIONS must be name=value"),
        ],
    )
    def test_what_a_way_in_lacks_is_named(self, environ: dict[str, str], words: str) -> None:
        login = {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "u", "SASL_PASSWORD": "p", **environ}
        assert words in refusal({f"SCRIBE_KAFKA__{name}": value for name, value in login.items()})

    def test_a_client_certificate_needs_encryption(self) -> None:
        files = {"SCRIBE_KAFKA__CERT_FILE": "/c", "SCRIBE_KAFKA__KEY_FILE": "/k"}
        assert "needs SCRIBE_KAFKA__SECURITY_PROTOCOL=SSL or SASL_SSL" in refusal(files)

    def test_tokens_need_no_user(self) -> None:
        environ = {
            "SCRIBE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "SCRIBE_KAFKA__SASL_MECHANISM": "OAUTHBEARER",
            "SCRIBE_KAFKA__OAUTH_TOKEN_FILE": "/t",
            "SCRIBE_KAFKA__OAUTH_EXTENSIONS": "logicalCluster=lkc-1,identityPoolId=pool-1",
        }
        extensions = load(environ).kafka.oauth_extensions
        assert extensions == {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}

    def test_without_a_login_there_is_no_password(self) -> None:
        assert load({}).kafka.password() is None


def test_no_secret_shows_in_the_settings_own_text() -> None:
    settings = load({"SCRIBE_PROVIDER__API_KEY": SECRET})
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
