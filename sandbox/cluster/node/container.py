"""One container of a pod: its process, probes, restarts with back-off, and state for the pod's status."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.cluster.api import Document
from sandbox.cluster.node.environment import environment, expanded
from sandbox.cluster.node.images import Image, find_image
from sandbox.cluster.node.launch import Launch, Mount, identity_of, require_known
from sandbox.cluster.node.objects import ConfigError, PodObjects
from sandbox.cluster.node.probes import Prober
from sandbox.cluster.node.timestamps import now
from sandbox.cluster.node.volumes import Volumes

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
        self._cleaning: list[str] | None = None
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
        await self._clean()

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
        image, launch = await self._prepared()
        self._cleaning = image.clean(launch)
        began, started_at = time.monotonic(), now()
        with self._around.log_path.open("ab") as log:
            process = self._process = await asyncio.create_subprocess_exec(
                *image.start(launch),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"]},
            )
        self._set({"running": {"startedAt": started_at}})
        prober = Prober(self.spec, self._around.objects.address, self._told, self._condemned)
        probing = asyncio.create_task(prober.run())
        try:
            code = await process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
            await self._clean()
        exit_code = code if code >= 0 else 128 - code
        reason = "Completed" if code == 0 else "Error"
        ended = {"exitCode": exit_code, "reason": reason, "startedAt": started_at, "finishedAt": now()}
        self._told(False, False)
        self._set({"terminated": ended})
        return exit_code, time.monotonic() - began

    async def _prepared(self) -> tuple[Image, Launch]:
        """The image and the start, once all that the container needs is there."""
        while True:
            image = find_image(self._around.images_file, self.spec["image"])
            try:
                if image is None:
                    words = f"this node has no image {self.spec['image']}"
                    self._set({"waiting": {"reason": "ImagePullBackOff", "message": words}})
                else:
                    await self._around.volumes.refresh()
                    return image, await self._launch()
            except ConfigError as error:
                self._set({"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}})
            await asyncio.sleep(_RETRY_SECONDS)

    async def _launch(self) -> Launch:
        variables = await environment(self.spec, self._around.objects, self._around.given)
        variables.update(self._around.given)
        volumes, pod = self._around.volumes, self._around.objects.pod
        require_known(pod, self.spec)
        mounts = [
            Mount(str(volumes.source(each)), each["mountPath"], is_read_only=not volumes.is_writable(each))
            for each in self.spec.get("volumeMounts", [])
        ]
        command, arguments = (
            None if self.spec.get(name) is None else [expanded(word, variables) for word in self.spec[name]]
            for name in ("command", "args")
        )
        return Launch(
            name=f"{pod['metadata']['uid']}-{self.spec['name']}",
            command=command,
            arguments=arguments,
            variables=variables,
            mounts=mounts,
            identity=identity_of(pod, self.spec),
            folder=self._around.folder,
        )

    async def _clean(self) -> None:
        """Remove what the start has left; more than once is no error."""
        if self._cleaning is not None:
            quiet = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(*self._cleaning, stdout=quiet)
            await process.wait()

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
