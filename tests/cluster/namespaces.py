"""Namespaces of a test cluster that leave nothing behind."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sandbox.cluster import Api, ApiError, Cluster, Document
from tests.cluster.kube import MEASURED, Kube, until

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@asynccontextmanager
async def namespace(cluster: Cluster) -> AsyncIterator[Kube]:
    """A new one, in which Pod Security admits only what is `restricted`.

    What is in it is gone at the end, its processes too.
    """
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
