"""A release of the chart in a namespace, as its operator installs it and looks at it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from sandbox.child import free_ports
from sandbox.cluster import Document
from tests.cluster.kube import Kube, is_ready, page, until
from tests.integration.stack import ROLES, Stack
from tests.integration.test_failover import Traffic, all_end_well, traffic

CHART = "helm"
IMAGE = "scribe:now"
PARTITIONS = 6
REQUESTS = 6
PAUSE_SECONDS = 0.4
"""Between two requests: far below the quota, so that none waits for long behind a step of a test."""
KEY = "sk-simulator"
SECRET = "dashscope"


def values_for(stack: Stack, **changed: Any) -> dict[str, Any]:
    """Values of a release on this broker and this simulator."""
    repository, _, tag = IMAGE.partition(":")
    return {
        "image": {"repository": repository, "tag": tag},
        # Of its own, since all pods share the machine's network: another service may have the default.
        "port": free_ports(1)[0],
        "kafka": {"bootstrapServers": stack.bootstrap},
        "provider": {"baseUrl": stack.sim.base_url, "apiKey": {"existingSecret": SECRET, "key": "api-key"}},
        "settings": {
            "SCRIBE_KAFKA__GROUP_ID": stack.topics["requests"],
            "SCRIBE_KAFKA__FETCH_MAX_WAIT_MS": 60,
            "SCRIBE_FETCH__PLAIN_HTTP_HOSTS": ["127.0.0.1"],
            # An answer that is lost is looked for within the test's time.
            "SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": 5,
            "SCRIBE_SUBMIT__SETTLE_SECONDS": 10,
            "SCRIBE_TOPICS__PARTITIONS": PARTITIONS,
            "SCRIBE_TOPICS__REPLICATION": 1,
            **{f"SCRIBE_TOPICS__{role.upper()}": stack.topics[role] for role in ROLES},
        },
        **changed,
    }


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others laid over them, as Helm does it."""
    return {
        **values,
        **{
            name: merged(values[name], change)
            if isinstance(change, Mapping) and isinstance(values.get(name), Mapping)
            else change
            for name, change in changes.items()
        },
    }


@dataclass
class Release:
    """One release. `values` are those it was last given."""

    kube: Kube
    values: dict[str, Any]
    name: str = "scribe"
    chart: str = CHART
    key: str = KEY

    @property
    def port(self) -> int:
        port: int = self.values["port"]
        return port

    async def install(self) -> None:
        """Returns when Helm says that all pods are ready."""
        await self.kube.secret(SECRET, api_key=self.key)
        await self._helm("install")

    async def upgrade(self, changes: Mapping[str, Any], *options: str) -> None:
        """Returns when Helm says that all pods are ready in their new form; raises CommandError."""
        before = self.values
        self.values = merged(before, changes)
        try:
            await self._helm("upgrade", *options)
        except BaseException:
            self.values = before
            raise

    async def roll_back(self) -> None:
        """To the chart, the values and the image of the first revision, until all pods are ready."""
        await self.kube.helm("rollback", self.name, "1", "--wait", "--timeout=100s")

    async def _helm(self, verb: str, *options: str) -> None:
        wait = ("--wait", "--timeout=100s")
        await self.kube.helm(verb, self.name, self.chart, *wait, *options, values=self.values)

    async def uninstall(self) -> None:
        """Returns when its pods are gone; `--wait` alone returns before they are."""
        await self.kube.helm("uninstall", self.name, "--wait", "--cascade=foreground", "--timeout=120s")

    async def manifest(self, kind: str) -> Document:
        """What Helm sent of this kind."""
        text = await self.kube.helm("get", "manifest", self.name)
        found: Document = next(each for each in yaml.safe_load_all(text) if each and each["kind"] == kind)
        return found

    async def stateful_set(self) -> Document:
        path = f"/apis/apps/v1/namespaces/{self.kube.namespace}/statefulsets/{self.name}"
        return await self.kube.api.get(path)

    async def pods(self) -> dict[str, Document]:
        """Its workers by their names."""
        labels = (await self.stateful_set())["spec"]["selector"]["matchLabels"]
        return await self.kube.pods(",".join(f"{name}={value}" for name, value in labels.items()))

    async def serving(self) -> dict[int, tuple[str, int]]:
        """The pod that serves each partition, and the epoch of its shard, as the pods tell it."""
        found: dict[int, tuple[str, int]] = {}
        for name, pod in (await self.pods()).items():
            answer = await page(pod, self.port, "status")
            for shard in answer.json()["shards"] if answer is not None else []:
                if shard["state"] == "ready":
                    found[shard["partition"]] = (name, shard["epoch"])
        return found

    async def describe(self) -> str:
        """What the workers say of themselves, for a failure's message."""
        answers = {name: await page(pod, self.port, "status") for name, pod in (await self.pods()).items()}
        told = [f"{name}: {answer.text if answer else 'no answer'}" for name, answer in answers.items()]
        return "\n".join([*told, await self.kube.logs()])

    async def settled(self, replicas: int) -> dict[int, tuple[str, int]]:
        """What serves each partition, once so many pods are ready, no other is there, and all are served."""

        async def look() -> dict[int, tuple[str, int]] | None:
            pods = await self.pods()
            if len(pods) != replicas or not all(is_ready(pod) for pod in pods.values()):
                return None
            serving = await self.serving()
            return serving if len(serving) == PARTITIONS else None

        try:
            found: dict[int, tuple[str, int]] = await until(look, f"{replicas} pods serve all partitions")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.describe()}") from None
        return found


@asynccontextmanager
async def requests_throughout(stack: Stack, *releases: Release) -> AsyncIterator[Traffic]:
    """Requests for as long as the block lasts; then each must have one outcome, and be paid for once."""
    async with traffic(stack, PAUSE_SECONDS) as flowing:
        await flowing.goes_on(REQUESTS)
        yield flowing
        await flowing.goes_on(REQUESTS)
    try:
        await all_end_well(stack, flowing.published, "exactly_once")
    except AssertionError as error:
        pages = [await release.describe() for release in releases]
        raise AssertionError("\n".join([f"{len(flowing.published)} requests: {error}", *pages])) from None


def identities(pods: Mapping[str, Document]) -> dict[str, tuple[str, int]]:
    """The uid of each pod, and how often its container was restarted."""
    return {
        name: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for name, pod in pods.items()
    }
