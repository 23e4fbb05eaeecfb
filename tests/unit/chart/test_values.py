"""What values may be, and what the chart says of those that make no sense."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from service import settings
from service.settings.environment import variable, variables
from tests.unit.chart.rendering import by_kind, environment, helm, manifests, refusal, values_of, worker
from tools.chart.lint import HELM, complaints
from tools.chart.schema import SCHEMA, settings_schema, whole
from tools.generate_chart import main

Values = dict[str, Any]


def test_helm_finds_nothing_to_complain_about_in_any_of_the_example_values() -> None:
    assert complaints() == []


def test_the_schema_is_what_the_settings_say() -> None:
    text = SCHEMA.read_text("utf-8")
    assert whole(text) == text
    assert main(["--check"]) == 0


def test_the_schema_takes_each_setting_and_nothing_else() -> None:
    assert tuple(settings_schema()["properties"]) == variables(settings.Settings)  # type: ignore[arg-type]


def test_each_default_of_a_setting_is_within_its_schema() -> None:
    defaults = {
        variable(group, name): list(value) if isinstance(value, tuple) else value
        for group, inner in settings.Settings()
        for name, value in inner
        if isinstance(value, bool | int | float | str | tuple)
    }
    jsonschema.validate(defaults, settings_schema())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"settings": {"SCRIBE_KAFKA__SECURITY_PROTOCOL": "TLS"}}, "one of 'PLAINTEXT', 'SSL'"),
        ({"settings": {"SCRIBE_TOPICS__PARTITION": 6}}, "SCRIBE_TOPICS__PARTITION"),
        ({"settings": {"LOG_LEVEL": "info"}}, "LOG_LEVEL"),
        ({"settings": {"SCRIBE_TOPICS__PARTITIONS": 0}}, "minimum"),
        ({"settings": {"SCRIBE_TOPICS__PARTITIONS": "6"}}, "want integer"),
        ({"settings": {"SCRIBE_QUOTA__PART": 1.5}}, "maximum"),
        ({"settings": {"SCRIBE_TOPICS__CREATE": "yes"}}, "want boolean"),
        ({"kafka": {"sasl": {"mechanism": "SCRAM"}}}, "one of '', 'PLAIN'"),
        ({"provider": {"region": "frankfurt"}}, "one of '', 'cn-beijing'"),
        ({"provider": {"apiKey": {"existingSecret": ""}}}, "minLength"),
        ({"replica": 3}, "replica"),
        ({"port": 0}, "minimum"),
        ({"image": {"digest": "latest"}}, "pattern"),
        ({"fullnameOverride": "s" * 53}, "maxLength"),
        ({"resources": {"limit": {"memory": "1Gi"}}}, "limit"),
        ({"tolerations": [{"keys": "speech"}]}, "keys"),
        ({"affinity": {"podAntiaffinity": {}}}, "podAntiaffinity"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_values_that_the_schema_refuses(values: Values, reason: str) -> None:
    assert reason in refusal(values)


SECRETS_AND_FILES = [
    variable(group, name)
    for group, info in settings.Settings.model_fields.items()
    for name, form in info.annotation.model_json_schema()["properties"].items()  # type: ignore[union-attr]
    if any(each.get("format") in ("password", "path") for each in form.get("anyOf", [form]))
]


@pytest.mark.parametrize("name", SECRETS_AND_FILES)
def test_no_secret_and_no_path_is_given_as_a_setting(name: str) -> None:
    """A secret would lie in the release's history, and a path would name a file that nobody mounts."""
    assert f"settings.{name}: the chart sets it" in refusal({"settings": {name: "x"}})


LOGIN = {"mechanism": "PLAIN", "username": "scribe", "password": {"existingSecret": "login"}}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}},
            "autoscaling.hpa.enabled and autoscaling.keda.enabled exclude each other",
        ),
        ({"replicas": 13}, "replicas is 13, but the request topic has 12 partitions"),
        (
            {"autoscaling": {"keda": {"enabled": True, "maxReplicas": 13}}},
            "autoscaling.keda.maxReplicas is 13, but the request topic has 12 partitions",
        ),
        (
            {"autoscaling": {"keda": {"enabled": True, "minReplicas": 0}}},
            "autoscaling.keda.minReplicas must be 1 or more: without a replica nobody collects results",
        ),
        (
            {"autoscaling": {"hpa": {"enabled": True, "minReplicas": 5}}},
            "autoscaling.hpa.maxReplicas (4) is less than its minReplicas (5)",
        ),
        ({"terminationGracePeriodSeconds": 59}, "a stop may take 55 s"),
        ({"prometheusRule": {"enabled": True}}, "prometheusRule.enabled needs podMonitor.enabled"),
        (
            {"provider": {"region": "us-east-1", "baseUrl": "https://example.org/api/v1"}},
            "provider.region and provider.baseUrl exclude each other",
        ),
        (
            {"settings": {"SCRIBE_HTTP__PORT": 9000}},
            "settings.SCRIBE_HTTP__PORT: the chart sets it, from port",
        ),
        ({"settings": {"SCRIBE_PROVIDER__API_KEY": "sk-1"}}, "the chart sets it, from provider.apiKey"),
        ({"provider": {"proxyUrl": "http://me:secret@proxy:3128"}}, "provider.proxyUrl holds a login"),
        ({"kafka": {"tls": {"ca": {"existingSecret": "ca"}}}}, "but kafka.tls.enabled is false"),
        (
            {"kafka": {"tls": {"enabled": True, "ca": {"existingSecret": "a", "existingConfigMap": "b"}}}},
            "kafka.tls.ca takes existingSecret or existingConfigMap, not both",
        ),
        (
            {"kafka": {"sasl": {"mechanism": "PLAIN"}}},
            "PLAIN needs kafka.sasl.username and kafka.sasl.password",
        ),
        ({"kafka": {"sasl": {**LOGIN, "mechanism": ""}}}, "and kafka.sasl.mechanism is empty"),
        (
            {"kafka": {"sasl": {"awsRegion": "eu-central-1"}}},
            "AWS_MSK_IAM and kafka.sasl.awsRegion need each",
        ),
        ({"kafka": {"sasl": {"mechanism": "OAUTHBEARER"}}}, "OAUTHBEARER needs kafka.sasl.oauth.tokenUrl"),
        (
            {**values_of("oauth-token"), "autoscaling": {"keda": {"enabled": True}}},
            "autoscaling.keda logs in with a password or at a token endpoint",
        ),
        (
            {"kafka": {"sasl": {**LOGIN, "oauth": {"clientId": "scribe"}}}},
            "kafka.sasl.oauth is for OAUTHBEARER, and kafka.sasl.mechanism is PLAIN",
        ),
    ],
)
def test_senseless_combinations_are_refused_with_a_sentence(values: Values, reason: str) -> None:
    assert reason in refusal(values)


def test_what_a_parent_chart_passes_is_taken() -> None:
    assert by_kind(values_of("subchart"))["StatefulSet"]["metadata"]["name"] == "speech-transcriber"


def test_more_replicas_than_the_defaults_partitions_are_taken_where_others_make_the_topics() -> None:
    created_by_others = {"replicas": 13, "settings": {"SCRIBE_TOPICS__CREATE": False}}
    assert by_kind(created_by_others)["StatefulSet"]["spec"]["replicas"] == 13
    assert "has 6 partitions" in refusal({**created_by_others, "settings": {"SCRIBE_TOPICS__PARTITIONS": 6}})


def test_the_partitions_that_the_chart_counts_with_are_the_services_default() -> None:
    partitions = settings.Settings().topics.partitions
    assert by_kind({"replicas": partitions})["StatefulSet"]["spec"]["replicas"] == partitions
    assert f"has {partitions} partitions" in refusal({"replicas": partitions + 1})


@pytest.mark.parametrize(("answer", "grace"), [(None, None), (0, 7.5), (120, 25), (600, 600)])
def test_a_pod_has_the_time_that_a_stop_may_take(answer: float | None, grace: float | None) -> None:
    given = {"SCRIBE_SHUTDOWN__ANSWER_SECONDS": answer, "SCRIBE_SHUTDOWN__GRACE_SECONDS": grace}
    values: Values = {"settings": {name: value for name, value in given.items() if value is not None}}
    defaults = settings.Settings().shutdown
    drain = (defaults.answer_seconds if answer is None else answer) + (
        defaults.grace_seconds if grace is None else grace
    )
    assert drain + 15 <= worker(values)["terminationGracePeriodSeconds"] < drain + 16
    least = int(-(-drain // 1)) + 5
    assert (
        worker({**values, "terminationGracePeriodSeconds": least})["terminationGracePeriodSeconds"] == least
    )
    assert f"give {least} or more" in refusal({**values, "terminationGracePeriodSeconds": least - 1})


def test_values_reach_the_service_as_it_reads_them() -> None:
    given = environment(values_of("provider"))
    assert given["SCRIBE_FETCH__MEMORY_BYTES"] == "1073741824"
    assert given["SCRIBE_REQUESTS__ALLOWED_HOSTS"] == "example.org,example.com"
    assert given["SCRIBE_QUOTA__PART"] == "0.5"
    assert environment(values_of("plain-login"))["SCRIBE_TOPICS__CREATE"] == "false"
    assert environment(values_of("numbers"))["SCRIBE_SHUTDOWN__ANSWER_SECONDS"] == "0"


def test_the_values_of_the_chart_are_all_in_its_schema() -> None:
    """A value without a schema would be refused; a schema without a value would be documented nowhere."""
    values = yaml.safe_load((HELM / "values.yaml").read_text("utf-8"))
    assert values.keys() == json.loads(SCHEMA.read_text("utf-8"))["properties"].keys()


@pytest.mark.parametrize("ports", [[], None])
def test_an_empty_list_of_ports_opens_nothing(ports: list[int] | None) -> None:
    policy = {"enabled": True, "apiServerPorts": ports}
    assert "but leaveGroup: when_removed asks the API server" in refusal({"networkPolicy": policy})
    policy = {"enabled": True, "providerPorts": ports, "kafkaPorts": ports}
    rules = by_kind({"networkPolicy": policy})["NetworkPolicy"]["spec"]["egress"]
    assert all(rule.get("ports") for rule in rules)


def test_peers_of_the_provider_do_not_confine_the_token_endpoint() -> None:
    peers = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    oauth = {"tokenUrl": "https://login.example.org:8443/token", "clientId": "scribe"}
    secret = {"clientSecret": {"existingSecret": "login"}}
    values = {
        "kafka": {"sasl": {"mechanism": "OAUTHBEARER", "oauth": oauth | secret}, "tls": {"enabled": True}},
        "networkPolicy": {"enabled": True, "providerTo": peers},
    }
    rules = by_kind(values)["NetworkPolicy"]["spec"]["egress"]
    reached = {port["port"]: rule.get("to") for rule in rules for port in rule["ports"]}
    assert reached[8443] is None
    assert [rule["ports"] for rule in rules if rule.get("to") == peers] == [
        [{"port": 443, "protocol": "TCP"}]
    ]


def test_names_that_look_like_numbers_and_truths_stay_text() -> None:
    values = {
        "provider": {"apiKey": {"existingSecret": "4711", "key": "on"}},
        "serviceAccount": {"create": False, "name": "0815"},
        "priorityClassName": "1",
        "podMonitor": {"enabled": True},
        "rbac": {"create": True},
    }
    objects = manifests(values, name="true", namespace="4711")
    names = ("name", "namespace", "key", "path", "serviceAccountName", "priorityClassName", "serviceName")
    found = [value for each in objects for name, value in scalars(each) if name in names]
    assert "4711" in found
    assert [value for value in found if not isinstance(value, str)] == []
    labels = [value for each in objects for value in each["metadata"]["labels"].values()]
    assert [value for value in labels if not isinstance(value, str)] == []


def scalars(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Each scalar in a manifest with the name that it stands under."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from scalars(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from scalars(each, name)
    else:
        yield name, value


@pytest.mark.parametrize("release", ["scribe.eu", "2024-scribe"])
def test_a_release_that_would_name_no_service_says_what_to_set(release: str) -> None:
    with pytest.raises(helm.HelmError, match="set fullnameOverride"):
        manifests({}, name=release)
    assert by_kind({"fullnameOverride": "scribe-eu"}, name=release)["Service"]


@pytest.mark.parametrize("own", [{"matchLabels": {"team": "speech"}}, None])
def test_a_constraint_keeps_its_own_selector(own: dict[str, dict[str, str]] | None) -> None:
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    spread = [{**constraint, **({"labelSelector": own} if own else {})}]
    (found,) = worker({"topologySpreadConstraints": spread})["topologySpreadConstraints"]
    ours = by_kind()["StatefulSet"]["spec"]["selector"]
    assert found["labelSelector"] == (own or ours)
