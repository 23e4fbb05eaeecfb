"""A namespace of a test cluster, and helm and kubectl in it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import yaml

from sandbox.cluster import Api, Cluster, Document

COMMAND_SECONDS = 150.0
WAIT_SECONDS = 120.0
CHECK_SECONDS = 0.1
HTTP_SECONDS = 5.0


class CommandError(Exception):
    """A command ended with an error; the text is what it wrote."""


@dataclass
class Measured:
    """What took how long, for a person to read: no test is decided by it."""

    rows: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def took(self, what: str) -> Iterator[None]:
        """Measure a block."""
        began = time.monotonic()
        yield
        self.rows.append((what, time.monotonic() - began))


MEASURED = Measured()
"""Of the whole run; printed at its end."""


@dataclass(frozen=True)
class Kube:
    """One namespace. Commands are bounded in time and raise CommandError."""

    cluster: Cluster
    api: Api
    namespace: str
    measured: Measured

    async def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Helm's standard output; `values` go in as a file."""
        given = [] if values is None else ["--values", "-"]
        return await self._run(
            *(str(self.cluster.programs.helm), "--namespace", self.namespace, *arguments, *given),
            text="" if values is None else yaml.safe_dump(dict(values)),
        )

    async def kubectl(self, *arguments: str, text: str = "") -> str:
        """kubectl's standard output; `text` is its standard input."""
        return await self._run(
            str(self.cluster.programs.kubectl), "--namespace", self.namespace, *arguments, text=text
        )

    async def _run(self, *command: str, text: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.cluster.environment(),
        )
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                output, errors = await process.communicate(text.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise CommandError(f"{' '.join(command[1:])}: {errors.decode()}\n{output.decode()[-2000:]}")
        return output.decode()

    @property
    def path(self) -> str:
        """Of the namespace's core objects."""
        return f"/api/v1/namespaces/{self.namespace}"

    async def secret(self, name: str, **data: str) -> None:
        """Make or replace a Secret."""
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {key.replace("_", "-"): value for key, value in data.items()},
        }
        await self.kubectl("apply", "-f", "-", text=json.dumps(document))

    async def pods(self, selector: str) -> dict[str, Document]:
        """Pods by their names."""
        found = await self.api.get(f"{self.path}/pods", {"labelSelector": selector})
        return {pod["metadata"]["name"]: pod for pod in found["items"]}

    async def logs(self) -> str:
        """The last of what the pods of the namespace wrote."""
        paths = sorted(self.cluster.logs.glob(f"{self.namespace}.*.log"))
        return "\n".join(f"-- {path.name}\n{path.read_text()[-3000:]}" for path in paths)


def is_ready(pod: Document) -> bool:
    """By its own condition, as controllers see it."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def page(pod: Document, port: int, name: str) -> httpx.Response | None:
    """One of the pages of a pod; None where it does not answer."""
    address = pod.get("status", {}).get("podIP")
    try:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            return await client.get(f"http://{address}:{port}/{name}", timeout=HTTP_SECONDS)
    except httpx.HTTPError:
        return None


async def until(look: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """The first true result of an asynchronous function; fails where none comes."""
    found = None
    try:
        async with asyncio.timeout(seconds):
            while not (found := await look()):
                await asyncio.sleep(CHECK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen: {found}") from None
    return found
