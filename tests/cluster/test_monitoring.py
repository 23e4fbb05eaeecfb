"""A real Prometheus finds and scrapes the pods that the chart's PodMonitor names, and takes its rules."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cluster.kube import Kube, until
from tests.cluster.pod_monitor import scrape_configs
from tests.cluster.release import Release, values_for
from tests.integration.prometheus import running
from tests.integration.stack import Stack

pytestmark = [pytest.mark.needs_cluster, pytest.mark.needs_java, pytest.mark.timeout(300)]

READS_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}


async def reader(kube: Kube) -> str:
    """A token of an account that may only read the pods of the namespace, as a Prometheus gets it."""
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": "prometheus", "namespace": kube.namespace}
    role = {"apiGroup": group, "kind": "Role", "name": "prometheus"}
    metadata = {"name": "prometheus"}
    objects = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [READS_PODS]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [account],
        },
    ]
    await kube.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(objects))
    return (await kube.kubectl("create", "token", "prometheus")).strip()


async def test_prometheus_finds_each_worker_by_the_labels_of_the_pod_monitor(
    kube: Kube, stack: Stack, tmp_path: Path
) -> None:
    monitor = {"enabled": True, "interval": "1s", "scrapeTimeout": "1s"}
    rule = {"enabled": True}
    release = Release(kube, values_for(stack, replicas=2, podMonitor=monitor, prometheusRule=rule))
    await release.install()
    # A pod of the release that is no worker, and one of somebody else that has a port of the same name.
    await kube.helm("test", release.name, "--timeout=60s")
    await kube.kubectl("apply", "-f", "-", text=json.dumps(someone_else(release)))

    path = f"/apis/monitoring.coreos.com/v1/namespaces/{kube.namespace}"
    stored = await kube.api.get(f"{path}/podmonitors/{release.name}")
    rules = await kube.api.get(f"{path}/prometheusrules/{release.name}")
    access = kube.cluster.access
    discovery = {
        "api_server": access.server,
        "tls_config": {"ca_file": str(access.ca_file)},
        "authorization": {"credentials": await reader(kube)},
    }
    settings = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": scrape_configs(stored, discovery),
    }
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))
    async with running(tmp_path, settings, str(kube.cluster.programs.prometheus)) as server:

        async def both_are_up() -> bool:
            return len(await server.rows("up == 1")) == 2

        with kube.measured.took("Prometheus, until it has scraped both pods"):
            await until(both_are_up, "both pods are scraped")
        rows = sorted(await server.rows("up"), key=lambda row: row["instance"])
        assert [(row["job"], row["instance"], row["namespace"]) for row in rows] == [
            ("scribe", "scribe-0", kube.namespace),
            ("scribe", "scribe-1", kube.namespace),
        ]
        assert await server.rows('scribe_shard_state{job="scribe"} == 1')

        async def are_evaluated() -> bool:
            found = [rule for group in (await server.ask("rules"))["groups"] for rule in group["rules"]]
            return bool(found) and all(rule["health"] == "ok" for rule in found)

        await until(are_evaluated, "each rule was evaluated without an error")


def someone_else(release: Release) -> dict[str, object]:
    """A pod with a port named as ours."""
    container = {
        "name": "other",
        "image": "not-here:1",
        "ports": [{"name": "http", "containerPort": release.port}],
        "securityContext": RESTRICTED,
    }
    spec = {"containers": [container], "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}
    metadata = {"name": "other", "labels": {"app.kubernetes.io/name": "scribe-other"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "capabilities": {"drop": ["ALL"]},
}
