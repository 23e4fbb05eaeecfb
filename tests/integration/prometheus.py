"""A real Prometheus that scrapes services once a second, with the chart's rules sixty times as fast."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from sandbox.child import die_with_parent, free_ports
from tools.monitoring.rules import groups

FACTOR = 1 / 60
TARGETS = "targets.json"
WAIT_SECONDS = 120.0
CHECK_SECONDS = 0.2


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    port: int
    folder: Path

    def targets(self, ports: Mapping[str, int]) -> None:
        """Scrape services at these ports of the loopback, under these names, from now on."""
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in ports.items()
        ]
        path = self.folder / TARGETS
        path.with_suffix(".new").write_text(json.dumps(targets))
        path.with_suffix(".new").rename(path)

    async def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer; fails with Prometheus' own words."""
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
            answer = (await client.get(url, params=parameters, timeout=30)).json()
        assert answer["status"] == "success", f"{parameters}: {answer['error']}"
        return answer["data"]

    async def rows(self, expression: str) -> list[dict[str, str]]:
        """The labels of what an expression gives now."""
        return [row["metric"] for row in (await self.ask("query", query=expression))["result"]]

    async def until(self, expression: str, seconds: float = WAIT_SECONDS) -> list[dict[str, str]]:
        """The labels of what it gives, once it gives something."""
        try:
            async with asyncio.timeout(seconds):
                while not (rows := await self.rows(expression)):
                    await asyncio.sleep(CHECK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{expression} gives nothing") from None
        return rows

    async def active(self) -> set[str]:
        """The alerts that fire now, or may soon."""
        return {row["alertname"] for row in await self.rows("ALERTS")}

    async def fired(self, begin: float, end: float) -> set[str]:
        """The alerts that fired between two times."""
        seconds = max(1, int(end - begin))
        query = f'count by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{seconds}s]))'
        rows = (await self.ask("query", query=query, time=str(end)))["result"]
        return {row["metric"]["alertname"] for row in rows}

    async def until_has_fired(self, alert: str, begin: float) -> None:
        """Wait until the alert fires, or has fired since then."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while alert not in await self.fired(begin, time.time()):
                    await asyncio.sleep(CHECK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{alert} does not fire") from None

    async def until_fires(self, alert: str) -> None:
        """Wait until the alert fires."""
        await self.until_has_fired(alert, time.time())


@asynccontextmanager
async def prometheus(folder: Path) -> AsyncIterator[Prometheus]:
    """A server that scrapes, as job `scribe`, what it is told later."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups(FACTOR)))
    (folder / TARGETS).write_text("[]")
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "scribe", "file_sd_configs": [{"files": [TARGETS]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    [port] = free_ports(1)
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(),
        )
    server = Prometheus(port, folder)
    try:
        await _answers(server)
        yield server
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), WAIT_SECONDS)


async def _answers(server: Prometheus) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            with suppress(httpx.HTTPError, ValueError):  # while it starts it answers with plain text
                await server.ask("query", query="1")
                return
            await asyncio.sleep(CHECK_SECONDS)
