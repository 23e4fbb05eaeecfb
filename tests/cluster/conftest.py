"""One control plane and one Kafka for all tests here; a namespace, topics and a simulator for each."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox.cluster import Cluster, missing, real_cluster
from sandbox.simulator import SimulatorConfig, serve
from tests.brokers import TopicNames
from tests.cluster.kube import MEASURED, Kube
from tests.cluster.namespaces import namespace
from tests.cluster.release import IMAGE
from tests.integration.stack import ROLES, Stack


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
