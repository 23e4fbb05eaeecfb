"""A release from its installation to its end: requests published through it are done, and paid for, once."""

import asyncio

import pytest

from sandbox.cluster import ApiError
from tests.cluster.kube import CommandError, Kube, is_ready, until
from tests.cluster.release import PARTITIONS, REQUESTS, Release, identities, requests_throughout, values_for
from tests.integration.stack import Stack

pytestmark = [
    pytest.mark.needs_cluster,
    pytest.mark.needs_java,
    pytest.mark.timeout(420),
]

LONG_SESSION_SECONDS = 120
"""Without a leave, the partitions of a pod that is gone would be unserved for so long."""
UNSERVED_SECONDS = 60.0
"""Far from both: what it took is printed."""


async def evict(kube: Kube, name: str) -> int:
    """Ask for it as `kubectl drain` does; the status code of the answer."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    try:
        await kube.api.post(f"{kube.path}/pods/{name}/eviction", body)
    except ApiError as error:
        return error.code
    return 201


async def test_a_release_is_installed_tested_upgraded_rolled_back_and_drained(
    kube: Kube, stack: Stack
) -> None:
    release = Release(kube, values_for(stack, replicas=3))
    with kube.measured.took("install of 3 replicas, until all are ready"):
        await release.install()
    with kube.measured.took("helm test (scribe doctor)"):
        told = await kube.helm("test", release.name, "--timeout=60s")
    assert "Succeeded" in told

    async with requests_throughout(stack, release) as flowing:
        before, pods = await release.settled(3), identities(await release.pods())
        with kube.measured.took("rolling upgrade of 3 replicas, until all are ready"):
            await release.upgrade({"settings": {"SCRIBE_LOG__LEVEL": "debug"}})
        after = await release.settled(3)
        replaced = identities(await release.pods())
        assert not set(pods.values()) & set(replaced.values())
        assert {each: name for each, (name, _) in after.items()} == {
            each: name for each, (name, _) in before.items()
        }, "a rolling restart moves no partition"
        await flowing.goes_on(REQUESTS)

        # The process refuses one topic for two roles, which the schema does not know.
        bad = {"settings": {"SCRIBE_TOPICS__RESULTS": stack.topics["failures"]}}
        with (
            kube.measured.took("upgrade with a bad setting, until it was rolled back"),
            pytest.raises(CommandError, match="roll"),
        ):
            await release.upgrade(bad, "--rollback-on-failure", "--timeout=25s")
        await release.settled(3)
        still = identities(await release.pods())
        assert len(set(replaced.values()) & set(still.values())) >= 2, "one pod at a time was tried"
        await flowing.goes_on(REQUESTS)

        with kube.measured.took("eviction of 3 pods one after the other, until all are ready"):
            await drained(kube, release)
        await release.settled(3)
        await flowing.goes_on(REQUESTS)
    await release.uninstall()


async def drained(kube: Kube, release: Release) -> None:
    """Evict each pod once; the second is refused for as long as the first is away."""
    names = sorted(await release.pods())
    assert await evict(kube, names[0]) == 201
    assert await evict(kube, names[1]) == 429

    for name in names[1:]:

        async def is_evicted(name: str = name) -> bool:
            return await evict(kube, name) == 201

        await until(is_evicted, f"{name} may be evicted")

    async def all_ready() -> bool:
        pods = await release.pods()
        return len(pods) == len(names) and all(is_ready(pod) for pod in pods.values())

    await until(all_ready, "all pods are back")


async def test_partitions_of_pods_that_are_scaled_in_are_served_again_at_once(
    kube: Kube, stack: Stack
) -> None:
    values = values_for(stack, replicas=2)
    values["settings"]["SCRIBE_KAFKA__SESSION_TIMEOUT_SECONDS"] = LONG_SESSION_SECONDS
    release = Release(kube, values)
    await release.install()
    async with requests_throughout(stack, release) as flowing:
        await release.settled(2)
        await flowing.goes_on(REQUESTS)
        with kube.measured.took("scale out from 2 to 5, until all partitions are served"):
            await scale(kube, release, 5)
            await release.settled(5)
        await flowing.goes_on(REQUESTS)

        loop = asyncio.get_running_loop()
        with kube.measured.took("scale in from 5 to 2, until all partitions are served"):
            began = loop.time()
            await scale(kube, release, 2)
            while len(await served_by(release, {"scribe-0", "scribe-1"})) < PARTITIONS:
                assert loop.time() - began < UNSERVED_SECONDS, await kube.logs()
                await asyncio.sleep(0.1)
        await release.settled(2)
        await flowing.goes_on(REQUESTS)


async def scale(kube: Kube, release: Release, replicas: int) -> None:
    await kube.kubectl("scale", "statefulset", release.name, f"--replicas={replicas}")


async def served_by(release: Release, names: set[str]) -> set[int]:
    """The partitions that these pods serve."""
    return {each for each, (name, _) in (await release.serving()).items() if name in names}
