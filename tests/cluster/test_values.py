"""What the chart makes of many values, as a real API server judges it: nothing is created."""

import asyncio
from pathlib import Path

import pytest
import yaml

from sandbox.cluster import Document
from tests.cluster.kube import CommandError, Kube
from tests.cluster.release import CHART
from tools.chart.programs import strimzi_crds

pytestmark = [pytest.mark.needs_cluster, pytest.mark.needs_go, pytest.mark.timeout(180)]

FILES = sorted(Path("helm/ci").glob("*.yaml"))
EXAMPLES = sorted(Path("helm/examples").glob("strimzi-*.yaml"))
STRICT = ("apply", "--dry-run=server", "--validate=strict")
AT_ONCE = asyncio.Semaphore(2)


async def rendered(kube: Kube, values: Path, folder: Path) -> Path:
    """The manifests of these values, after `lookup` has asked the API server."""
    async with AT_ONCE:
        text = await kube.helm("template", "scribe", CHART, "--dry-run=server", "--values", str(values))
    path = folder / f"{values.stem}-manifests.yaml"
    path.write_text(text)
    return path


def objects_in(manifests: Path) -> list[Document]:
    return [each for each in yaml.safe_load_all(manifests.read_text()) if each]


async def require_accounts(kube: Kube, objects: list[Document]) -> None:
    """Make the service accounts of the pods that `helm test` starts: no pod is admitted without its own."""
    names = {each["spec"].get("serviceAccountName", "default") for each in objects if each["kind"] == "Pod"}
    for name in names:
        if await kube.api.find(f"{kube.path}/serviceaccounts/{name}") is None:
            await kube.api.post(f"{kube.path}/serviceaccounts", {"metadata": {"name": name}})


async def test_the_api_server_takes_whatever_the_values_make(kube: Kube, tmp_path: Path) -> None:
    assert len(FILES) >= 12
    paths = await asyncio.gather(*(rendered(kube, path, tmp_path) for path in FILES))
    for path in paths:
        await require_accounts(kube, objects_in(path))
    told = await kube.kubectl(*STRICT, *(f"--filename={path}" for path in paths))
    assert told.count("(server dry run)") == sum(len(objects_in(path)) for path in paths)


async def test_the_examples_for_strimzi_fit_its_own_definitions(kube: Kube) -> None:
    definitions = f"--filename={strimzi_crds()}"
    await kube.kubectl("apply", "--server-side", definitions)
    await kube.kubectl("wait", "--for=condition=Established", "--timeout=30s", definitions)
    told = await kube.kubectl(*STRICT, "--filename=helm/examples")
    assert told.count("(server dry run)") == sum(len(objects_in(path)) for path in EXAMPLES) > 1


async def apply_strictly(kube: Kube, values: Path, folder: Path) -> None:
    """Ask the API server to judge what these values make."""
    manifests = await rendered(kube, values, folder)
    await require_accounts(kube, objects_in(manifests))
    await kube.kubectl(*STRICT, f"--filename={manifests}")


@pytest.mark.parametrize(
    ("name", "mistyped"),
    [
        ("resources", "resources: {limits: {memori: 1Gi}}"),
        ("tolerations", "tolerations: [{kee: a}]"),
        ("affinity", "affinity: {podAntiAfinity: {}}"),
    ],
)
async def test_a_mistyped_field_is_refused_by_the_schema_or_by_strict_validation(
    kube: Kube, tmp_path: Path, name: str, mistyped: str
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(mistyped)
    with pytest.raises(CommandError, match=rf"{name}|unknown field"):
        await apply_strictly(kube, values, tmp_path)
