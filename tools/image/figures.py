"""Measures the image: its size, its size as an archive, and what its imports cost."""

import gzip
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.image import storage

PYTHON = "/opt/scribe/bin/python"
MOST_MB, MOST_ARCHIVE_MB, MOST_IMPORT_SECONDS = 160.0, 60.0, 1.0
IMPORTS = "import time, service.cli.commands, service.app.from_settings; print(time.process_time())"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Figures:
    """What an image costs."""

    size_mb: float
    archive_mb: float
    import_seconds: float

    def __str__(self) -> str:
        return (
            f"size {self.size_mb:.0f} MB (at most {MOST_MB:.0f})\n"
            f"archive {self.archive_mb:.0f} MB (at most {MOST_ARCHIVE_MB:.0f})\n"
            f"imports {self.import_seconds:.2f} s of processor time (at most {MOST_IMPORT_SECONDS:.0f})"
        )


def python_in(reference: str, code: str, arguments: Sequence[str] = ()) -> str:
    """Run Python code in a container of the image, on a read-only root without /tmp and network."""
    confined = ("--rm", "--network", "none", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all")
    options = (*storage.run_arguments(), *confined, "--entrypoint", PYTHON)
    return storage.podman("run", *options, reference, "-c", code, *arguments)


def measure(reference: str) -> Figures:
    """Measure an image that is here."""
    size = int(storage.podman("image", "inspect", "--format", "{{.Size}}", reference))
    return Figures(size / 1e6, _archived(reference) / 1e6, float(python_in(reference, IMPORTS)))


def _archived(reference: str) -> int:
    """Bytes of the image as a registry or a file would hold it, compressed."""
    with tempfile.TemporaryDirectory(prefix="scribe-archive-") as folder:
        plain, packed = Path(folder) / "image.tar", Path(folder) / "image.tar.gz"
        storage.podman("save", "--quiet", "--output", str(plain), reference)
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
            while chunk := source.read(_CHUNK_BYTES):
                target.write(chunk)
        return packed.stat().st_size
