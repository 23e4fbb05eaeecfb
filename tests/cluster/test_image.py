"""The image itself, run by podman with the security contexts of its pod: it serves, and drains at its end."""

import asyncio
import json
import sys

import pytest

from sandbox.cluster import Cluster
from tests.cluster.kube import Kube
from tests.cluster.release import Release, requests_throughout, values_for
from tests.integration.stack import Stack

pytestmark = [
    pytest.mark.needs_cluster,
    pytest.mark.needs_java,
    pytest.mark.needs_debian("podman", "buildah"),
    pytest.mark.timeout(1200),  # the first run builds the image
]

IMAGE = {"repository": "scribe", "tag": "image"}


@pytest.fixture
async def image(cluster: Cluster) -> dict[str, str]:
    """The node has the image that `make image` builds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.image", "--reference"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    told = json.loads(output)
    known = {"reference": told["image"], "podman": told["podman"], "run": told["run"]}
    cluster.has_image("{repository}:{tag}".format(**IMAGE), known)
    return IMAGE


async def test_the_image_serves_in_a_restricted_namespace_and_drains_when_its_pod_goes(
    kube: Kube, stack: Stack, image: dict[str, str]
) -> None:
    release = Release(kube, values_for(stack, replicas=2, image=image))
    with kube.measured.took("install of 2 replicas of the image under podman, until both are ready"):
        await release.install()
    assert "Succeeded" in await kube.helm("test", release.name, "--timeout=90s")
    async with requests_throughout(stack, release):
        await release.settled(2)
    with kube.measured.took("uninstallation of the image under podman, until no pod is left"):
        await release.uninstall()
    assert (await kube.logs()).count('"event": "drained"') == 2
