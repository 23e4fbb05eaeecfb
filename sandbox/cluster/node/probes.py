"""The probes of one container: they say when it has started, when it is ready, and when it must be ended."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from sandbox.cluster.api import Document
from sandbox.cluster.node.objects import ConfigError

_SUCCESS = range(200, 400)


@dataclass(frozen=True)
class Probe:
    """One probe with the defaults of the API."""

    url: str
    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    failures: int
    successes: int

    async def ask(self) -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=self.timeout_seconds)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self.url, allow_redirects=False) as answer,
            ):
                return answer.status in _SUCCESS
        except (aiohttp.ClientError, TimeoutError):
            return False


def probe_of(container: Document, name: str, address: str) -> Probe | None:
    """The container's `livenessProbe`, `readinessProbe` or `startupProbe`; None where it has none."""
    spec = container.get(name)
    if not spec:
        return None
    if "httpGet" not in spec:
        raise ConfigError(f"this node knows HTTP probes only: {name}")
    get = spec["httpGet"]
    ports = {each.get("name"): each["containerPort"] for each in container.get("ports", [])}
    port = ports.get(get["port"]) if isinstance(get["port"], str) else get["port"]
    if port is None:
        raise ConfigError(f"{name}: the container has no port named {get['port']}")
    scheme, path = get.get("scheme", "HTTP").lower(), get.get("path", "/")
    return Probe(
        url=f"{scheme}://{get.get('host', address)}:{port}{path}",
        initial_delay_seconds=spec.get("initialDelaySeconds", 0),
        period_seconds=spec.get("periodSeconds", 10),
        timeout_seconds=spec.get("timeoutSeconds", 1),
        failures=spec.get("failureThreshold", 3),
        successes=spec.get("successThreshold", 1),
    )


class Prober:
    """Asks the probes of one run of a container, until it is cancelled."""

    def __init__(
        self,
        container: Document,
        address: str,
        tell: Callable[[bool, bool], None],
        end: Callable[[str], None],
    ) -> None:
        """`tell(has_started, is_ready)` is called at each change, `end(reason)` when a probe condemns it."""
        self._startup = probe_of(container, "startupProbe", address)
        self._liveness = probe_of(container, "livenessProbe", address)
        self._readiness = probe_of(container, "readinessProbe", address)
        self._tell, self._end = tell, end

    async def run(self) -> None:
        if self._startup and not await self._has_started(self._startup):
            self._end("startup probe failed")
            return
        self._tell(True, self._readiness is None)
        await asyncio.gather(self._watch_readiness(), self._watch_liveness())

    async def _has_started(self, probe: Probe) -> bool:
        await asyncio.sleep(probe.initial_delay_seconds)
        for _ in range(probe.failures):
            if await probe.ask():
                return True
            await asyncio.sleep(probe.period_seconds)
        return False

    async def _watch_readiness(self) -> None:
        if self._readiness is None:
            return
        probe, is_ready, run = self._readiness, False, 0
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            answer = await probe.ask()
            run = 0 if answer == is_ready else run + 1
            if run >= (probe.successes if answer else probe.failures) and answer != is_ready:
                is_ready, run = answer, 0
                self._tell(True, is_ready)
            await asyncio.sleep(probe.period_seconds)

    async def _watch_liveness(self) -> None:
        if self._liveness is None:
            return
        failed = 0
        await asyncio.sleep(self._liveness.initial_delay_seconds)
        while failed < self._liveness.failures:
            failed = 0 if await self._liveness.ask() else failed + 1
            if failed < self._liveness.failures:
                await asyncio.sleep(self._liveness.period_seconds)
        self._end("liveness probe failed")
