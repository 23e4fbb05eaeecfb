"""What the chart makes of its values, rendered by Helm itself; no cluster has seen it."""

from typing import Any

import pytest
import yaml

from service import settings
from service.settings.environment import variables
from tools.chart import CHART, complaints

helm = pytest.importorskip("helm_python", reason="Helm's library has no wheel for this platform.")

Manifest = dict[str, Any]


def rendered(values: Manifest | None = None) -> dict[str, Manifest]:
    """The manifests by their kind."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="speech")
    manifests = [yaml.safe_load(text) for name, text in texts.items() if name.endswith(".yaml")]
    return {manifest["kind"]: manifest for manifest in manifests}


def pod(values: Manifest | None = None) -> Manifest:
    spec: Manifest = rendered(values)["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def test_helm_finds_nothing_to_complain_about() -> None:
    assert complaints() == []


def test_settings_reach_the_container_as_they_are_and_under_names_that_the_service_knows() -> None:
    (container,) = pod({"env": {"SCRIBE_TOPICS__PARTITIONS": "6", "SCRIBE_LOG__LEVEL": "yes"}})["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["SCRIBE_TOPICS__PARTITIONS"] == "6"
    assert given["SCRIBE_LOG__LEVEL"] == "yes"
    assert set(given) <= set(variables(settings.Settings))


def test_each_pod_is_a_static_member_and_takes_the_key_from_the_secret() -> None:
    values = {"apiKey": {"secretName": "vault", "secretKey": "dashscope"}}
    (container,) = pod(values)["containers"]
    sources = {each["name"]: each["valueFrom"] for each in container["env"] if "valueFrom" in each}
    assert sources == {
        "SCRIBE_KAFKA__GROUP_INSTANCE_ID": {"fieldRef": {"fieldPath": "metadata.name"}},
        "SCRIBE_PROVIDER__API_KEY": {"secretKeyRef": {"name": "vault", "key": "dashscope"}},
    }


@pytest.mark.parametrize(
    "values",
    [
        {"env": {"LOG_LEVEL": "info"}},
        {"env": {"SCRIBE_TOPICS__PARTITIONS": 6}},
        {"apiKey": {"secretName": ""}},
        {"replica": 3},
        {"terminationGracePeriodSeconds": 5},
    ],
    ids=["foreign variable", "number", "no secret", "misspelt", "no time to stop"],
)
def test_values_that_would_go_wrong_are_refused(values: Manifest) -> None:
    with pytest.raises(helm.HelmValuesError):
        rendered(values)


def test_the_pod_has_no_rights_and_the_time_to_stop() -> None:
    spec = pod()
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    shutdown = settings.Settings().shutdown
    assert spec["terminationGracePeriodSeconds"] > shutdown.grace_seconds + shutdown.answer_seconds


def test_probes_and_scrapes_find_the_port_by_its_name() -> None:
    (container,) = pod()["containers"]
    port = settings.Settings().http.port
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert rendered()["Service"]["spec"]["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]
    assert rendered()["Service"]["spec"]["selector"].items() <= (
        rendered()["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
    )
