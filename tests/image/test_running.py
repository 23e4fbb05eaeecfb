"""Containers of the image under podman: a read-only root without /tmp, no capability."""

import json
import time

import pytest

from tests.image.conftest import ImageStack
from tools.image import storage

HELLO = "http://media.test/hello.wav?text=Hello+world.&run=0.2&duration=4"
pytestmark = [
    pytest.mark.needs_debian("buildah", "podman", "runc", "debootstrap"),
    pytest.mark.needs_java,
    pytest.mark.computes,
    pytest.mark.timeout(900),  # the image is built first
]


async def test_a_container_serves_a_request_and_ends_with_0_after_sigterm(
    containers: ImageStack,
) -> None:
    begun = time.monotonic()
    scribe = await containers.start()
    ready = time.monotonic()
    await containers.publish({"request_id": "r-1", "file_urls": [HELLO], "model": "fun-asr"})
    [outcome] = await containers.outcomes(1)
    assert (outcome.kind, outcome.id) == ("result", "r-1/0/0")

    signalled = time.monotonic()
    code = await scribe.end()
    print(f"ready after {ready - begun:.1f} s; SIGTERM: gone {time.monotonic() - signalled:.1f} s later")
    assert code == 0, containers.logs()


async def test_the_health_check_follows_the_port_and_fails_where_nothing_listens(
    containers: ImageStack, image: str
) -> None:
    [about] = json.loads(storage.podman("image", "inspect", image))
    kind, *command = about["Healthcheck"]["Test"]
    assert kind == "CMD"  # without a shell
    await containers.start()
    [name] = containers.names()
    assert storage.podman("exec", name, *command) == ""
    with pytest.raises(storage.ImageError, match="does not answer"):
        storage.podman("exec", "--env", "SCRIBE_HTTP__PORT=1", name, *command)
