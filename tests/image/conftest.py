"""The image of this checkout, built once for all runs on this content, and containers of it as services."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typing_extensions import override

from sandbox.child import die_with_parent
from sandbox.simulator import SimulatorConfig, serve
from tests.brokers import TopicNames
from tests.integration.stack import ROLES, Scribe, Stack, settings_for, standing
from tools.image import build, storage

CONFINED = (
    *("--network", "host", "--read-only", "--read-only-tmpfs=false"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""What a Kubernetes of the level `restricted` asks for, and a read-only root without /tmp."""


@pytest.fixture(scope="session")
def source() -> build.Source:
    return build.ensure()


@pytest.fixture(scope="session")
def image(source: build.Source) -> str:
    return build.named(source)


class ImageStack(Stack):
    """A stack whose services are containers; `podman` hands on signals and exit codes."""

    image: str = ""

    @override
    async def launch(self, **settings: str) -> Scribe:
        port = self._unused_port()
        log_path = self.folder / f"scribe-{port}.log"
        name = f"scribe-{self.folder.name}-{port}"
        environment = {**self.settings, "SCRIBE_HTTP__PORT": str(port), **settings}
        given = [word for each in environment.items() for word in ("--env", "=".join(each))]
        podman = ("podman", *storage.podman_arguments())
        storage.podman("create", "--name", name, *storage.run_arguments(), *CONFINED, *given, self.image)
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(*podman, "start", "--attach", "--sig-proxy", name),
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),
            )
        self.scribes.append(Scribe(process, port, log_path))
        return self.scribes[-1]

    def names(self) -> list[str]:
        """Its containers."""
        return [f"scribe-{self.folder.name}-{each.port}" for each in self.scribes]


@pytest.fixture
async def containers(
    image: str, kafka_bootstrap: str, topic_names: TopicNames, tmp_path: Path
) -> AsyncIterator[ImageStack]:
    """Real Kafka, the simulator, and the image's containers; what a test left of them is removed."""
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    async with serve(SimulatorConfig(speed=10)) as sim:
        settings = settings_for(kafka_bootstrap, topics, sim, 6_000, transactions=True)
        stack = ImageStack(kafka_bootstrap, topics, sim, tmp_path, settings)
        stack.image = image
        try:
            async with standing(stack):
                yield stack
        finally:
            for name in stack.names():
                storage.podman("rm", "--force", "--ignore", name)
