"""From an earlier chart, with the code of its day, to this one: no request is lost or paid for twice."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.history import CHART, FIRST, exported, has_structured_values, last_with_another_chart
from tests.cluster.kube import CommandError, Kube
from tests.cluster.release import KEY, SECRET, Release, requests_throughout, values_for
from tests.integration.stack import Stack

pytestmark = [pytest.mark.needs_cluster, pytest.mark.needs_java, pytest.mark.timeout(420)]

BEFORE = {"repository": "scribe", "tag": "before"}


def old_values(kube: Kube, stack: Stack, folder: Path, **changed: Any) -> dict[str, Any]:
    """For the chart of that commit; its code is an image of the node from now on."""
    kube.cluster.has_image("{repository}:{tag}".format(**BEFORE), folder)
    return values_for(stack, image=BEFORE, **changed)


def first_values(values: dict[str, Any], stack: Stack) -> dict[str, Any]:
    """The same for the first chart, which had one map of variables and knew one port."""
    settings = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in values["settings"].items()
    }
    return {
        "image": values["image"],
        "replicas": values["replicas"],
        "env": {
            **settings,
            "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap,
            "SCRIBE_PROVIDER__BASE_URL": stack.sim.base_url,
        },
        "apiKey": {"secretName": SECRET, "secretKey": "api-key"},
    }


async def test_the_last_commit_with_another_chart_is_upgraded_in_place_and_rolled_back(
    kube: Kube, stack: Stack, tmp_path: Path
) -> None:
    """Both versions serve side by side meanwhile, each reading what the other wrote."""
    folder = exported(last_with_another_chart(), tmp_path)
    if not has_structured_values(folder):
        pytest.fail("the chart before this one is the first: its upgrade is a reinstallation")
    values = old_values(kube, stack, folder, replicas=2)
    release = Release(kube, values, chart=str(folder / CHART))
    await release.install()
    async with requests_throughout(stack, release):
        await release.settled(2)
        release.chart = CHART
        with kube.measured.took(
            "upgrade of 2 replicas from the chart and the code before, until all are ready"
        ):
            await release.upgrade({"image": values_for(stack)["image"]})
        await release.settled(2)
        with kube.measured.took("the way back to the chart and the code before, until all are ready"):
            await release.roll_back()
        await release.settled(2)


async def test_a_release_of_the_first_chart_is_installed_anew(
    kube: Kube, stack: Stack, tmp_path: Path
) -> None:
    # With today's code: what that commit wrote into the journal no later one reads.
    chart = exported(FIRST, tmp_path) / CHART
    first = Release(kube, first_values(values_for(stack, replicas=2), stack), chart=str(chart))
    await kube.secret(SECRET, api_key=KEY)
    await first.install()
    release = Release(kube, values_for(stack, replicas=2))
    async with requests_throughout(stack, release):
        with pytest.raises(CommandError, match=r"[Ff]orbidden|cannot patch"):
            await release.upgrade({})
        with kube.measured.took("reinstallation over the first chart, 2 replicas, until all are ready"):
            await first.uninstall()
            await release.install()
        await release.settled(2)
