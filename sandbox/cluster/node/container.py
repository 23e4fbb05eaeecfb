"""One container of a pod: its process, probes, restarts with back-off, and state for the pod's status."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.cluster.api import Document
from sandbox.cluster.node.environment import environment, expanded
from sandbox.cluster.node.images import Image, find_image
from sandbox.cluster.node.objects import ConfigError, PodObjects
from sandbox.cluster.node.probes import Prober
from sandbox.cluster.node.timestamps import now
from sandbox.cluster.node.volumes import Volumes

_ENTER = Path(__file__).with_name("enter.py")
_RETRY_SECONDS = 1.0
_FIRST_BACK_OFF_SECONDS = 10.0
_LONGEST_BACK_OFF_SECONDS = 300.0
_FORGET_FAILURES_SECONDS = 600.0


def back_off_seconds(failures: int) -> float:
    """How long the kubelet waits after this many failures in a row: the first restart comes at once."""
    if failures <= 1:
        return 0.0
    return min(_FIRST_BACK_OFF_SECONDS * 2.0 ** (failures - 2), _LONGEST_BACK_OFF_SECONDS)


@dataclass(frozen=True)
class Surroundings:
    """What the containers of a pod share."""

    objects: PodObjects
    volumes: Volumes
    images_file: Path
    given: Mapping[str, str]
    """Variables that the node adds for every container."""
    folder: Path
    log_path: Path


class Container:
    """Runs until it is stopped, or has ended for good. `changed` is called whenever its state has changed."""

    def __init__(self, spec: Document, around: Surroundings, changed: Callable[[], None]) -> None:
        self.spec = spec
        self._around = around
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._failures = 0
        self.restarts = 0
        self.has_started = self.is_ready = False
        self.state: Document = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Document = {}

    async def run(self) -> None:
        """Run it again and again, as the pod's restart policy says."""
        policy = self._around.objects.pod["spec"].get("restartPolicy", "Always")
        while not self._stopping.is_set():
            code, seconds = await self._run_once()
            if self._stopping.is_set() or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            self._failures = 1 if seconds > _FORGET_FAILURES_SECONDS else self._failures + 1
            self.last_state = self.state
            wait = back_off_seconds(self._failures)
            if wait:
                words = f"back-off {wait:.0f}s restarting failed container={self.spec['name']}"
                self._set({"waiting": {"reason": "CrashLoopBackOff", "message": words}})
                await asyncio.sleep(wait)
            self.restarts += 1

    async def stop(self, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL once the grace is over; returns when the process is gone."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def status(self) -> Document:
        """Its entry in the pod's `containerStatuses`."""
        return {
            "name": self.spec["name"],
            "image": self.spec["image"],
            "imageID": self.spec["image"],
            "ready": self.is_ready,
            "started": self.has_started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }

    async def _run_once(self) -> tuple[int, float]:
        plan = await self._planned()
        began, started_at = time.monotonic(), now()
        with self._around.log_path.open("ab") as log:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_ENTER), str(plan)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={},
            )
        self._set({"running": {"startedAt": started_at}})
        prober = Prober(self.spec, self._around.objects.address, self._told, self._condemned)
        probing = asyncio.create_task(prober.run())
        try:
            code = await process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        exit_code = code if code >= 0 else 128 - code
        reason = "Completed" if code == 0 else "Error"
        ended = {"exitCode": exit_code, "reason": reason, "startedAt": started_at, "finishedAt": now()}
        self._told(False, False)
        self._set({"terminated": ended})
        return exit_code, time.monotonic() - began

    async def _planned(self) -> Path:
        """The file that says how the process begins, once all that the container needs is there."""
        while True:
            image = find_image(self._around.images_file, self.spec["image"])
            try:
                if image is None:
                    words = f"this node has no image {self.spec['image']}"
                    self._set({"waiting": {"reason": "ImagePullBackOff", "message": words}})
                else:
                    await self._around.volumes.refresh()
                    return await self._plan(image)
            except ConfigError as error:
                self._set({"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}})
            await asyncio.sleep(_RETRY_SECONDS)

    async def _plan(self, image: Image) -> Path:
        given = {**image.environment(), **self._around.given}
        variables = await environment(self.spec, self._around.objects, given)
        variables.update(self._around.given)
        root = self._around.folder / f"root-{self.spec['name']}"
        root.mkdir(parents=True, exist_ok=True)
        mounts = self.spec.get("volumeMounts", [])
        binds = [_bind(source, target, is_read_only=True) for source, target in image.binds()]
        for mount in mounts:
            source, is_writable = (
                str(self._around.volumes.source(mount)),
                self._around.volumes.is_writable(mount),
            )
            binds.append(_bind(source, mount["mountPath"], is_read_only=not is_writable))
        plan = {
            "root": str(root),
            "links": image.links(),
            "files": image.files(),
            "binds": binds,
            "folder": "/",
            "command": [expanded(word, variables) for word in image.command(self.spec)],
            "environment": variables,
            **self._identity(),
        }
        path = self._around.folder / f"plan-{self.spec['name']}.json"
        path.write_text(json.dumps(plan))
        path.chmod(0o600)  # it holds secrets
        return path

    def _identity(self) -> dict[str, Any]:
        of_pod = self._around.objects.pod["spec"].get("securityContext") or {}
        own = {**of_pod, **(self.spec.get("securityContext") or {})}
        user = own.get("runAsUser", 0)
        if own.get("runAsNonRoot") and user == 0:
            raise ConfigError("container has runAsNonRoot and image will run as root")
        groups = [
            *of_pod.get("supplementalGroups", []),
            *([of_pod["fsGroup"]] if "fsGroup" in of_pod else []),
        ]
        return {
            "uid": user,
            "gid": own.get("runAsGroup", 0),
            "groups": groups,
            "read_only_root": bool(own.get("readOnlyRootFilesystem")),
            "no_new_privileges": own.get("allowPrivilegeEscalation") is False,
            "drop_capabilities": "ALL" in own.get("capabilities", {}).get("drop", []),
        }

    def _told(self, has_started: bool, is_ready: bool) -> None:
        self.has_started, self.is_ready = has_started, is_ready
        self._changed()

    def _condemned(self, reason: str) -> None:
        """The kubelet ends it with the pod's grace, and the restart policy decides what follows."""
        grace = self._around.objects.pod["spec"].get("terminationGracePeriodSeconds", 30)
        with self._around.log_path.open("ab") as log:
            log.write(f"node: {reason}; the container is ended\n".encode())
        self._killing = asyncio.ensure_future(self._end(grace))

    async def _end(self, grace_seconds: float) -> None:
        process = self._process
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(grace_seconds):
                    await process.wait()
            except TimeoutError:
                process.kill()

    def _set(self, state: Document) -> None:
        if state != self.state:
            self.state = state
            self._changed()


def _bind(source: str, target: str, *, is_read_only: bool) -> dict[str, Any]:
    return {"source": source, "target": target, "read_only": is_read_only}
