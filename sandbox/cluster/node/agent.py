"""A node of a test cluster: it registers, and runs the pods bound to it as processes of this machine.

`python -m sandbox.cluster.node.agent SETTINGS` (a JSON file) runs until SIGTERM; its processes end with it.
It does what Scribe's chart needs, and says in a pod's status what it does not know. It leaves out: images
(see images.py), networks of their own, limits of memory and CPU, logs and exec through the API server.
"""

import asyncio
import ipaddress
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from sandbox.cluster.api import Access, Api, ApiError, Document
from sandbox.cluster.node.pods import Pod, Site
from sandbox.cluster.node.settings import Settings
from sandbox.cluster.node.timestamps import micro_now, now

_HEARTBEAT_SECONDS = 10.0
_LEASE_SECONDS = 40
_AGAIN_SECONDS = 0.5
_WATCH_SECONDS = "300"
_ENDED = ("Succeeded", "Failed")


class Agent:
    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._site = Site(
            settings.node, Path(settings.folder), Path(settings.images_file), dict(settings.given)
        )
        self._pods: dict[str, Pod] = {}
        self._addresses = _addresses(settings.subnet)
        self._endings: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until it is cancelled; then every process is killed."""
        try:
            await asyncio.gather(self._be_alive(), self._follow())
        finally:
            await asyncio.gather(*(pod.kill() for pod in self._pods.values()), return_exceptions=True)

    async def _be_alive(self) -> None:
        await self._api.post("/api/v1/nodes", _node(self._site.node))
        await self._api.patch(f"/api/v1/nodes/{self._site.node}/status", {"status": _node_status()})
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while True:
            try:
                lease = _lease(self._site.node)
                if await self._api.find(f"{path}/{self._site.node}") is None:
                    await self._api.post(path, lease)
                else:
                    await self._api.patch(f"{path}/{self._site.node}", {"spec": lease["spec"]})
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                print(f"no heartbeat: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_once()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                print(f"the watch ended: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow_once(self) -> None:
        """Read all pods of the node, and what changes from there on, until the server ends it."""
        selector = {"fieldSelector": f"spec.nodeName={self._site.node}"}
        found = await self._api.get("/api/v1/pods", selector)
        for document in found["items"]:
            self._seen(document)
        self._forget({document["metadata"]["uid"] for document in found["items"]})
        version = {"resourceVersion": found["metadata"]["resourceVersion"], "timeoutSeconds": _WATCH_SECONDS}
        async for kind, document in self._api.watch("/api/v1/pods", {**selector, **version}):
            if kind in ("ADDED", "MODIFIED"):
                self._seen(document)
            elif kind == "DELETED":
                self._gone(document["metadata"]["uid"])
            else:
                return

    def _seen(self, document: Document) -> None:
        metadata = document["metadata"]
        uid = metadata["uid"]
        pod = self._pods.get(uid)
        if pod is None:
            if document.get("status", {}).get("phase") in _ENDED and "deletionTimestamp" not in metadata:
                return
            pod = self._pods[uid] = Pod(document, self._api, self._site, next(self._addresses))
            if "deletionTimestamp" not in metadata:
                pod.start()
        pod.document = document
        if "deletionTimestamp" in metadata:
            self._keep(pod.stop(metadata.get("deletionGracePeriodSeconds", 30)))

    def _gone(self, uid: str) -> None:
        """It was deleted: by us, or by somebody who did not wait for us."""
        pod = self._pods.pop(uid, None)
        if pod is not None:
            self._keep(asyncio.create_task(pod.kill()))

    def _forget(self, present: set[str]) -> None:
        for uid in self._pods.keys() - present:
            self._gone(uid)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)


def _addresses(subnet: str) -> Iterator[str]:
    """One after another, and from the beginning again."""
    hosts = [str(host) for host in ipaddress.ip_network(subnet).hosts()]
    while True:
        yield from hosts


def _node(name: str) -> Document:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": "zone-1",
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def _node_status() -> Document:
    resources = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a node of tests"}
    times = {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
    return {
        "capacity": resources,
        "allocatable": resources,
        "conditions": [{**ready, **times}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
    }


def _lease(node: str) -> Document:
    spec = {"holderIdentity": node, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": micro_now()}
    metadata = {"name": node, "namespace": "kube-node-lease"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


async def _main(settings: Settings) -> None:
    access = Access(settings.server, Path(settings.ca_file), settings.token)
    async with Api(access) as api:
        running = asyncio.ensure_future(Agent(api, settings).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await asyncio.gather(running, return_exceptions=not sys.stderr.isatty())
        if not running.cancelled() and running.exception():
            raise SystemExit(f"the node ended: {running.exception()!r}")


def main() -> None:
    os.umask(0o022)
    asyncio.run(_main(Settings(**json.loads(Path(sys.argv[1]).read_text()))))


if __name__ == "__main__":
    main()
