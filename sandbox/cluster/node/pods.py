"""One pod of the node: its containers and volumes from start to end, and its status at the API server."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.cluster.api import Api, ApiError, Document
from sandbox.cluster.node.container import Container, Surroundings
from sandbox.cluster.node.environment import expanded
from sandbox.cluster.node.objects import ConfigError, PodObjects
from sandbox.cluster.node.timestamps import now
from sandbox.cluster.node.volumes import Volumes

_REFRESH_SECONDS = 2.0
"""How soon a changed Secret reaches the files; a kubelet takes up to a minute and a half."""
_RETRY_SECONDS = 1.0
_OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass(frozen=True)
class Site:
    """What the pods of a node share."""

    node: str
    folder: Path
    images_file: Path
    given: dict[str, str]
    """Variables for every container; `$(POD_ADDRESS)` in them is the pod's."""


class Pod:
    """Runs one pod. `document` is what the API server said last."""

    def __init__(self, document: Document, api: Api, site: Site, address: str) -> None:
        self.document = document
        self._api = api
        metadata = document["metadata"]
        folder = site.folder / metadata["uid"]
        log_path = (
            site.folder / "logs" / f"{metadata['namespace']}.{metadata['name']}.{metadata['uid'][:8]}.log"
        )
        log_path.parent.mkdir(parents=True, exist_ok=True)
        objects = PodObjects(api, document, address, site.node)
        self._volumes = Volumes(folder / "volumes", objects)
        given = {name: expanded(text, {"POD_ADDRESS": address}) for name, text in site.given.items()}
        around = Surroundings(objects, self._volumes, site.images_file, given, folder, log_path)
        self._containers = [Container(spec, around, self._changed) for spec in document["spec"]["containers"]]
        self._address = address
        self._started_at = now()
        self._since: dict[str, tuple[str, str]] = {}
        self._is_changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None

    @property
    def path(self) -> str:
        metadata = self.document["metadata"]
        return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"

    def start(self) -> None:
        """Begin to run it."""
        work = [self._report(), self._refresh(), *(container.run() for container in self._containers)]
        self._tasks = [asyncio.create_task(each) for each in work]
        self._changed()

    def stop(self, grace_seconds: float) -> asyncio.Task[None]:
        """Begin to end it; the pod is gone from the API server when the task is done."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace_seconds))
        return self._stopping

    async def kill(self) -> None:
        """End its processes at once, and tell nobody."""
        await asyncio.gather(*(container.stop(0) for container in self._containers))
        await self._end_tasks()

    async def _stop(self, grace_seconds: float) -> None:
        await asyncio.gather(*(container.stop(grace_seconds) for container in self._containers))
        await self._end_tasks()
        uid = self.document["metadata"]["uid"]
        try:
            await self._api.patch(self.path + "/status", {"metadata": {"uid": uid}, "status": self._status()})
            await self._api.delete(self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _changed(self) -> None:
        self._is_changed.set()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self._volumes.refresh()
            except ConfigError as error:
                print(f"{self.path}: its volumes are not refreshed: {error}", file=sys.stderr, flush=True)

    async def _report(self) -> None:
        """Write the status whenever it has changed."""
        while True:
            await self._is_changed.wait()
            self._is_changed.clear()
            try:
                uid = self.document["metadata"]["uid"]
                body = {"metadata": {"uid": uid}, "status": self._status()}
                await self._api.patch(self.path + "/status", body)
            except ApiError as error:
                if error.code == 404:
                    return
                print(f"{self.path}: its status is not written: {error}", file=sys.stderr, flush=True)
                self._is_changed.set()
                await asyncio.sleep(_RETRY_SECONDS)

    def _status(self) -> Document:
        statuses = [container.status() for container in self._containers]
        is_ready = all(status["ready"] for status in statuses)
        values = dict.fromkeys(_OWN_CONDITIONS, "True" if is_ready else "False")
        values.update({"PodReadyToStartContainers": "True", "Initialized": "True"})
        others = [
            condition
            for condition in self.document.get("status", {}).get("conditions", [])
            if condition["type"] not in _OWN_CONDITIONS
        ]
        return {
            "phase": phase(statuses, self.document["spec"].get("restartPolicy", "Always")),
            "hostIP": "127.0.0.1",
            "podIP": self._address,
            "podIPs": [{"ip": self._address}],
            "startTime": self._started_at,
            "conditions": [*others, *(self._condition(kind, value) for kind, value in values.items())],
            "containerStatuses": statuses,
        }

    def _condition(self, kind: str, value: str) -> dict[str, Any]:
        before, since = self._since.get(kind, ("", ""))
        if before != value:
            since = now()
            self._since[kind] = (value, since)
        return {"type": kind, "status": value, "lastTransitionTime": since}


def phase(statuses: Sequence[Document], restart_policy: str) -> str:
    """The phase of a pod whose containers are in these states."""
    states = [status["state"] for status in statuses]
    ended = [state["terminated"]["exitCode"] for state in states if "terminated" in state]
    if len(ended) == len(states) and restart_policy != "Always":
        if not any(ended):
            return "Succeeded"
        return "Failed" if restart_policy == "Never" else "Running"
    if any("running" in state for state in states) or ended or any(each["restartCount"] for each in statuses):
        return "Running"
    return "Pending"
