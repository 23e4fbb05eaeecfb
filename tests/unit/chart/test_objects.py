"""What the chart makes of its values."""

from pathlib import Path
from typing import Any

import pytest

from service import settings
from service.settings.environment import variables
from tests.unit.chart.rendering import (
    CI,
    Manifest,
    by_kind,
    container,
    environment,
    manifests,
    pod_templates,
    values_of,
    worker,
)

SELECTOR = {
    "app.kubernetes.io/name": "scribe",
    "app.kubernetes.io/instance": "speech",
    "app.kubernetes.io/component": "worker",
}


def mounted(values: Manifest | None = None) -> dict[str, str]:
    """Where each key of an object is mounted: path, and object and key."""
    (volume,) = (each for each in worker(values)["volumes"] if each["name"] == "files")
    found = {}
    for source in volume["projected"]["sources"]:
        for kind in source.keys() & {"secret", "configMap"}:
            for item in source[kind]["items"]:
                found[f"/etc/scribe/{item['path']}"] = f"{source[kind]['name']}/{item['key']}"
        if token := source.get("serviceAccountToken"):
            found[f"/etc/scribe/{token['path']}"] = f"a token for {token['audience']}"
    return found


@pytest.mark.parametrize("name", CI)
def test_the_service_knows_each_variable_and_no_secret_is_one(name: str) -> None:
    values = values_of(name)
    given = {each["name"]: each for each in container(values)["env"]}
    ours = {variable for variable in given if variable.startswith("SCRIBE_")}
    assert ours <= set(variables(settings.Settings))
    assert not any("secretKeyRef" in each.get("valueFrom", {}) for each in given.values())
    settings.load({k: str(v["value"]) for k, v in given.items() if k in ours})


@pytest.mark.parametrize("name", CI)
def test_each_file_that_a_variable_names_is_mounted(name: str) -> None:
    values = values_of(name)
    named = {value for value in environment(values).values() if value.startswith("/etc/scribe/")}
    assert named == mounted(values).keys()
    assert container(values)["volumeMounts"][0] == {
        "name": "files",
        "mountPath": "/etc/scribe",
        "readOnly": True,
    }


def test_secrets_are_files_of_existing_secrets() -> None:
    assert mounted(values_of("keda")) == {
        "/etc/scribe/provider/api-key": "scribe-api-key/api-key",
        "/etc/scribe/kafka/ca.crt": "kafka-ca/ca.crt",
        "/etc/scribe/kafka/password": "kafka-login/password",
    }
    assert mounted(values_of("mtls")) == {
        "/etc/scribe/provider/api-key": "scribe-api-key/api-key",
        "/etc/scribe/kafka/ca.crt": "cluster-ca/ca.crt",
        "/etc/scribe/kafka/tls.crt": "scribe-user/user.crt",
        "/etc/scribe/kafka/tls.key": "scribe-user/user.key",
    }
    assert mounted(values_of("oauth")) == {
        "/etc/scribe/provider/api-key": "scribe-api-key/api-key",
        "/etc/scribe/kafka/client-secret": "kafka-oauth/client-secret",
        "/etc/scribe/kafka/oauth-ca.crt": "company-ca/bundle.pem",
    }
    assert mounted(values_of("oauth-token"))["/etc/scribe/kafka/token"] == "a token for kafka"


def test_no_file_is_mounted_by_subpath_which_would_never_change() -> None:
    for pod in pod_templates(manifests(values_of("everything"))):
        assert not any(
            "subPath" in mount for each in pod["containers"] for mount in each.get("volumeMounts", [])
        )


def test_the_group_instance_id_holds_the_namespace_and_the_pod() -> None:
    env = container()["env"]
    names = [each["name"] for each in env]
    instance = names.index("SCRIBE_KAFKA__GROUP_INSTANCE_ID")
    assert env[instance]["value"] == "$(POD_NAMESPACE).$(POD_NAME)"
    assert {"POD_NAMESPACE", "POD_NAME"} <= set(names[:instance]), "Kubernetes expands what stands before"
    paths = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in env if "valueFrom" in each}
    assert paths == {"POD_NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name"}


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("minimal", "PLAINTEXT"), ("tls", "SSL"), ("plain-login", "SASL_PLAINTEXT"), ("scram", "SASL_SSL")],
)
def test_the_security_protocol_follows_tls_and_login(name: str, protocol: str) -> None:
    assert environment(values_of(name))["SCRIBE_KAFKA__SECURITY_PROTOCOL"] == protocol


def test_names_and_selectors_stay_as_they_are() -> None:
    """They cannot change in an upgrade: a StatefulSet's selector never may, and pods are named after it."""
    stateful = by_kind()["StatefulSet"]
    assert stateful["metadata"]["name"] == "speech-scribe"
    assert stateful["spec"]["serviceName"] == "speech-scribe"
    assert stateful["spec"]["selector"] == {"matchLabels": SELECTOR}
    assert by_kind(name="scribe-eu")["StatefulSet"]["metadata"]["name"] == "scribe-eu"
    assert by_kind(values_of("second-release"))["StatefulSet"]["metadata"]["name"] == "speech-two"


@pytest.mark.parametrize("release", ["s", "s" * 53, "s" * 45 + "-" * 1 + "t" * 7])
def test_names_leave_room_for_the_label_that_kubernetes_adds(release: str) -> None:
    for each in manifests(values_of("monitoring"), name=release):
        for label in each["metadata"]["labels"].values():
            assert len(label) <= 63
    name = by_kind(name=release)["StatefulSet"]["metadata"]["name"]
    assert len(f"{name}-0123456789") <= 63
    assert not name.endswith("-")


def test_everything_that_selects_pods_finds_the_workers_and_not_the_test() -> None:
    objects = by_kind({**values_of("monitoring"), "networkPolicy": {"enabled": True}})
    labels = objects["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    test_labels = objects["Pod"]["metadata"]["labels"]
    selectors = [
        objects["StatefulSet"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["PodMonitor"]["spec"]["selector"]["matchLabels"],
        worker()["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test_labels.items()
    policy = objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= labels.items()
    assert policy.items() <= test_labels.items()


def test_pods_do_not_change_with_the_charts_version() -> None:
    labels = by_kind()["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert "helm.sh/chart" not in labels


def test_one_value_moves_the_port_everywhere() -> None:
    objects = by_kind({"port": 9000})
    (worker_container,) = objects["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert environment({"port": 9000})["SCRIBE_HTTP__PORT"] == "9000"
    assert worker_container["ports"] == [{"name": "http", "containerPort": 9000, "protocol": "TCP"}]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert worker_container[probe]["httpGet"]["port"] == "http"
    assert objects["Service"]["spec"]["ports"][0]["port"] == 9000
    assert by_kind()["Service"]["spec"]["ports"][0]["port"] == settings.Settings().http.port


def test_the_startup_probe_waits_for_a_slow_start_and_does_not_ask_for_readiness() -> None:
    probe = container({"startupSeconds": 301})["startupProbe"]
    assert probe["httpGet"]["path"] == "/livez"
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 301


@pytest.mark.parametrize("name", sorted(CI.keys() - {"all-off"}))
def test_every_pod_passes_restricted(name: str) -> None:
    for pod in pod_templates(manifests(values_of(name))):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in [*pod["containers"], *pod.get("initContainers", [])]:
            assert each["securityContext"]["allowPrivilegeEscalation"] is False
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        (first, *_) = pod["containers"]
        assert first["securityContext"]["readOnlyRootFilesystem"] is True


def test_only_a_worker_that_asks_has_a_token_and_it_may_read_its_own_stateful_set() -> None:
    objects = by_kind()
    assert worker()["automountServiceAccountToken"] is True
    assert objects["Pod"]["spec"]["automountServiceAccountToken"] is False
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert objects["Role"]["rules"] == [
        {
            "apiGroups": ["apps"],
            "resources": ["statefulsets"],
            "resourceNames": ["speech-scribe"],
            "verbs": ["get"],
        }
    ]
    assert objects["RoleBinding"]["roleRef"]["name"] == objects["Role"]["metadata"]["name"]
    assert objects["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "speech-scribe", "namespace": "voice"}
    ]
    assert environment()["SCRIBE_SHUTDOWN__LEAVE_GROUP"] == "when_removed"
    never: dict[str, Any] = {"leaveGroup": "never"}
    assert environment(never)["SCRIBE_SHUTDOWN__LEAVE_GROUP"] == "never"
    assert worker(never)["automountServiceAccountToken"] is False
    assert not by_kind(never).keys() & {"Role", "RoleBinding"}


def test_one_pod_at_a_time_is_evicted_and_an_unready_one_always() -> None:
    budget = by_kind()["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_an_update_replaces_one_pod_after_another_and_a_start_waits_for_none() -> None:
    spec = by_kind()["StatefulSet"]["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}


@pytest.mark.parametrize("name", ["hpa", "keda"])
def test_with_an_autoscaler_the_chart_sets_no_number_of_replicas(name: str) -> None:
    assert "replicas" not in by_kind(values_of(name))["StatefulSet"]["spec"]


def test_keda_reads_the_groups_lag_with_the_services_login() -> None:
    objects = by_kind(values_of("keda"))
    (trigger,) = objects["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"] == {
        "bootstrapServers": "kafka.example.org:9096",
        "consumerGroup": "speech",
        "topic": "speech.requests",
        "lagThreshold": "20000",
        "offsetResetPolicy": "earliest",
        "allowIdleConsumers": "false",
        "tls": "enable",
        "sasl": "scram_sha256",
        "username": "scribe",
    }
    assert trigger["authenticationRef"]["name"] == objects["TriggerAuthentication"]["metadata"]["name"]
    targets = objects["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert {each["parameter"]: each["name"] for each in targets} == {
        "password": "kafka-login",
        "ca": "kafka-ca",
    }
    (token,) = by_kind(values_of("oauth"))["ScaledObject"]["spec"]["triggers"]
    assert token["metadata"]["sasl"] == "oauthbearer"
    assert token["metadata"]["username"] == "scribe"
    assert token["metadata"]["scopes"] == "kafka,write"
    (plain,) = by_kind({"autoscaling": {"keda": {"enabled": True}}})["ScaledObject"]["spec"]["triggers"]
    defaults = settings.Settings()
    assert plain["metadata"]["consumerGroup"] == defaults.kafka.group_id
    assert plain["metadata"]["topic"] == defaults.topics.requests
    assert plain["metadata"]["lagThreshold"] == str(defaults.limits.open_jobs)


def test_the_network_policy_opens_what_the_values_name() -> None:
    values = {**values_of("proxy"), "kafka": {"bootstrapServers": ["a:9093", "b:9094", "c"]}}
    egress = by_kind(values)["NetworkPolicy"]["spec"]["egress"]
    ports = [[each["port"] for each in rule["ports"]] for rule in egress]
    assert ports == [[53, 53], ["http"], [9093, 9094, 9092], [443, 3128], [443, 6443]]
    peers = by_kind(values_of("networkpolicy"))["NetworkPolicy"]["spec"]
    assert peers["ingress"][0]["from"][1] == values_of("networkpolicy")["networkPolicy"]["ingressFrom"][0]
    assert peers["egress"][2]["to"] == values_of("networkpolicy")["networkPolicy"]["kafkaTo"]
    assert [each["port"] for each in peers["egress"][2]["ports"]] == [9093, 9092]


def test_helm_test_runs_the_doctor_with_a_workers_settings_and_files_and_is_removed() -> None:
    objects = by_kind(values_of("everything"))
    test, (tested, *_) = objects["Pod"], objects["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    (doctor,) = test["spec"]["containers"]
    assert doctor["args"] == ["doctor"]
    for part in ("image", "env", "envFrom", "volumeMounts", "securityContext", "resources"):
        assert doctor[part] == tested[part]
    assert test["spec"]["volumes"] == objects["StatefulSet"]["spec"]["template"]["spec"]["volumes"]
    assert test["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }


def test_dashboards_are_config_maps_with_the_label_and_the_folder_of_grafanas_sidecar() -> None:
    values = {"dashboards": {"enabled": True, "namespace": "grafana", "labelValue": 1}}
    maps = [each for each in manifests(values) if each["kind"] == "ConfigMap"]
    assert [each["metadata"]["name"] for each in maps] == [
        f"speech-scribe-dashboard-{board}" for board in ("kafka", "overview", "provider")
    ]
    for each in maps:
        assert each["metadata"]["namespace"] == "grafana"
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Scribe"}
        ((file, text),) = each["data"].items()
        assert text == (Path("helm/dashboards") / file).read_text("utf-8")


def test_a_number_as_a_tag_is_taken_as_it_was_typed() -> None:
    assert container({"image": {"tag": 1}})["image"] == "scribe:1"
    assert container(values_of("numbers"))["image"] == "scribe:20260301"
    assert container(values_of("everything"))["image"].startswith(
        "registry.example.org/speech/scribe@sha256:0123"
    )


def test_common_labels_and_annotations_are_on_every_object_and_change_no_selector() -> None:
    for each in manifests(values_of("everything")):
        if each["kind"] == "Pod" or each["metadata"]["name"].endswith(("-more", "-text")):
            continue
        assert each["metadata"]["labels"]["team"] == "speech"
        assert each["metadata"]["annotations"]["example.org/contact"] == "speech@example.org"
    overridden = {"commonLabels": {"app.kubernetes.io/name": "other"}}
    assert (
        by_kind(overridden)["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
        >= SELECTOR.items()
    )
