"""`python -m tools.image.rebuild`: builds the image of this checkout once more, and compares the two.

Their layers are equal to the byte, so all files are. Only the configuration differs: buildah writes a
container id and a host name of its own into each.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.image import build, storage

AGAIN = "localhost/scribe-again:latest"
OF_ONE_BUILD = frozenset({"container", "Hostname"})
"""What buildah draws anew for each build, in the configuration of an image of Docker's format."""


def main() -> int:
    """0 if the two are equal in all but that."""
    try:
        source = build.ensure()
        with storage.alone():
            storage.tell("Building the image once more ...")
            build.build(source, AGAIN)
            try:
                first, second = (_configuration(each) for each in (build.named(source), AGAIN))
            finally:
                storage.podman("rmi", AGAIN)
    except storage.ImageError as error:
        print(error, file=sys.stderr)
        return 1
    if first != second:
        print(f"two builds of {source.revision} differ:\n{first}\n{second}", file=sys.stderr)
        return 1
    print(f"two builds of {source.revision} have equal layers: {' '.join(first['rootfs']['diff_ids'])}")
    return 0


def _configuration(reference: str) -> Any:
    """The image's own document, which names its layers by their digests, without what each build draws."""
    image = storage.podman("image", "inspect", "--format", "{{.Id}}", reference).strip()
    with tempfile.TemporaryDirectory(prefix="scribe-configuration-") as folder:
        storage.podman("save", "--quiet", "--format", "docker-dir", "--output", folder, reference)
        text = (Path(folder) / image).read_text()
    return json.loads(text, object_hook=_without_drawn)


def _without_drawn(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in OF_ONE_BUILD}


if __name__ == "__main__":
    sys.exit(main())
