"""One control plane and one Kafka for all tests here; a namespace, topics and a simulator for each."""

import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.cluster import Api, ApiError, Cluster, Document, missing, real_cluster
from sandbox.simulator import SimulatorConfig, serve
from tests.brokers import TopicNames
from tests.cluster.kube import Kube, Measured, until
from tests.cluster.release import IMAGE
from tests.integration.stack import ROLES, Stack

MEASURED = Measured()
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASURED.rows:
        terminalreporter.section("measured on the cluster, in seconds")
        for what, seconds in MEASURED.rows:
            terminalreporter.line(f"{seconds:7.1f}  {what}")
        MEASURED.rows.clear()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that lives as long as the run, and has this checkout's code as its image."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    entered = real_cluster({IMAGE: Path.cwd()})
    with MEASURED.took("start of the control plane and the node"):
        cluster = entered.__enter__()
    try:
        _apply_crds(cluster)
        yield cluster
    finally:
        entered.__exit__(None, None, None)


def _apply_crds(cluster: Cluster) -> None:
    """Of the Prometheus operator and of KEDA: their objects are stored, and no operator acts on them."""
    kubectl, files = str(cluster.programs.kubectl), f"--filename={cluster.programs.crds}"
    for command in (
        ("apply", "--server-side", files),
        ("wait", "--for=condition=Established", "--timeout=30s", files),
    ):
        subprocess.run(
            [kubectl, *command], env=cluster.environment(), check=True, capture_output=True, timeout=60
        )


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    """A namespace of the test's own, in which Pod Security admits only what is `restricted`."""
    async with namespace(cluster) as kube:
        yield kube


@asynccontextmanager
async def namespace(cluster: Cluster) -> AsyncIterator[Kube]:
    """A new namespace; what is in it is gone at the end, its processes too."""
    name = f"test-{secrets.token_hex(4)}"
    async with Api(cluster.access) as api:
        metadata = {"name": name, "labels": RESTRICTED}
        await api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        kube = Kube(cluster, api, name, MEASURED)
        try:
            await until(lambda: _has_account(api, name), "the namespace has a service account")
            yield kube
        finally:
            await _end_pods(kube)
            await api.delete(f"/api/v1/namespaces/{name}")


async def _has_account(api: Api, name: str) -> Document | None:
    return await api.find(f"/api/v1/namespaces/{name}/serviceaccounts/default")


async def _end_pods(kube: Kube) -> None:
    """Without their grace: the test is over."""
    sets = f"/apis/apps/v1/namespaces/{kube.namespace}/statefulsets"
    for each in (await kube.api.get(sets))["items"]:
        await kube.api.delete(f"{sets}/{each['metadata']['name']}")
    for name in await kube.pods(""):
        try:
            await kube.api.delete(f"{kube.path}/pods/{name}", {"gracePeriodSeconds": 0})
        except ApiError as error:
            if error.code != 404:
                raise

    async def are_gone() -> bool:
        return not await kube.pods("")

    await until(are_gone, "all pods are gone")


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """The simulator of `stack`; a test may override it."""
    return SimulatorConfig(speed=10)


@pytest.fixture
async def stack(
    kafka_bootstrap: str, topic_names: TopicNames, sim_config: SimulatorConfig, tmp_path: Path
) -> AsyncIterator[Stack]:
    """Topics of the test's own on real Kafka, and a simulator; pods are the cluster's, not the stack's."""
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    async with serve(sim_config) as sim:
        yield Stack(kafka_bootstrap, topics, sim, tmp_path, {})
