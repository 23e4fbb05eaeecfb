"""Two releases of one name, in two namespaces, on one Kafka and in one group: both serve."""

import pytest

from sandbox.cluster import Cluster
from tests.cluster.kube import Kube, is_ready, until
from tests.cluster.namespaces import namespace
from tests.cluster.release import PARTITIONS, Release, identities, requests_throughout, values_for
from tests.integration.stack import Stack

pytestmark = [pytest.mark.needs_cluster, pytest.mark.needs_java, pytest.mark.timeout(300)]


async def test_two_releases_of_one_name_in_two_namespaces_share_the_partitions(
    cluster: Cluster, kube: Kube, stack: Stack
) -> None:
    async with namespace(cluster) as other:
        # The same values for both: they differ in their ports alone, since they share the machine's network.
        releases = [Release(each, values_for(stack, replicas=1)) for each in (kube, other)]
        for release in releases:
            await release.install()

        async def all_served() -> bool:
            shares = [set(await release.serving()) for release in releases]
            return all(shares) and sum(map(len, shares)) == PARTITIONS == len(set.union(*shares))

        await until(all_served, "both serve, and each partition has one owner")
        before = [identities(await release.pods()) for release in releases]
        async with requests_throughout(stack, *releases):
            pass
        assert await all_served()
        pods = [await release.pods() for release in releases]
        assert all(is_ready(pod) for each in pods for pod in each.values())
        assert [identities(each) for each in pods] == before
