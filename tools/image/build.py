"""Builds the image with buildah, from this checkout, and keeps it under the name of its content."""

import ast
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tools.image import stand_in, storage

ROOT = Path(__file__).parents[2]
INPUTS = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "requirements", "service")
_OF_BUILD = ("tools/image/layout", "tools/image/build.py")
KEPT = 5
"""Images that stay in the cache: one commit's, and those of who works in another checkout meanwhile."""
_PIP_OPTIONS = frozenset({"cert", "index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout"})
_AUTHORITIES = "/run/secrets/pip-ca.pem"


@dataclass(frozen=True)
class Source:
    """What an image is built from."""

    revision: str
    """The commit, with `-dirty` where files differ from it."""
    committed_at: int
    version: str
    base_digest: str
    content: str

    @property
    def reference(self) -> str:
        """The name of the image of this content."""
        return f"localhost/scribe:{self.version}-{self.revision[:12]}-{self.content}"


def source_of(base_digest: str) -> Source:
    """This checkout, on a base."""
    status = _git("status", "--porcelain", "--", *INPUTS, *_OF_BUILD)
    revision = _git("rev-parse", "HEAD").strip() + ("-dirty" if status.strip() else "")
    return Source(
        revision=revision,
        committed_at=int(_git("show", "--no-patch", "--format=%ct", "HEAD")),
        version=_version(),
        base_digest=base_digest,
        content=storage.digest([base_digest.encode(), *_contents()]),
    )


def ensure(extras: str = "") -> Source:
    """The image of this checkout, built where there is none; raises ImageError."""
    with storage.alone():
        source = source_of(stand_in.ensure())
        if not storage.exists(named(source, extras)):
            storage.tell("Building the image ...")
            build(source, named(source, extras), extras)
            storage.keep_newest(KEPT, named(source, extras))
    return source


def named(source: Source, extras: str = "") -> str:
    """The image's name; another for each choice of extras."""
    return "-".join([source.reference, *extras.split()])


def build(source: Source, reference: str, extras: str = "") -> None:
    """Build it anew; raises ImageError with the end of the log."""
    arguments = {
        "PYTHON_IMAGE": stand_in.BASE,
        "BASE_DIGEST": source.base_digest,
        "CREATED": datetime.fromtimestamp(source.committed_at, UTC).isoformat(),
        "REVISION": source.revision,
        "VERSION": source.version,
        "EXTRAS": extras,
    }
    with tempfile.TemporaryDirectory(prefix="scribe-image-") as folder:
        storage.buildah(
            "bud",
            *("--isolation", "chroot", "--format", "docker", "--pull-never"),
            # A layer for each step would copy the base two dozen times with this storage.
            *("--layers=false", "--timestamp", str(source.committed_at)),
            *_secrets(Path(folder)),
            *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
            *("--tag", reference, str(ROOT)),
        )


def _secrets(folder: Path) -> Iterator[str]:
    for target, path in pip_files(folder).items():
        yield from ("--secret", f"id={Path(target).name},src={path}")


def pip_files(folder: Path) -> dict[str, Path]:
    """pip's configuration of this machine, by the paths where a container shall see it, and keep none."""
    shown = storage.command(sys.executable, "-m", "pip", "config", "list")
    lines = sorted(shown.splitlines(), key=lambda line: line.startswith(":env:"))  # variables win over files
    said = {line.partition("=")[0].rpartition(".")[2]: line.partition("=")[2] for line in lines}
    options = {name: ast.literal_eval(value) for name, value in said.items() if name in _PIP_OPTIONS}
    found = {"/etc/pip.conf": folder / "pip.conf"}
    if "cert" in options:
        found[_AUTHORITIES] = Path(options["cert"])
        options["cert"] = _AUTHORITIES
    found["/etc/pip.conf"].write_text(
        "[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())
    )
    return found


def checkout_files(*below: str) -> list[str]:
    """Files that git knows, or would add."""
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *below)
    return sorted(set(listed.split("\0")) - {""})


def _contents() -> Iterator[bytes]:
    for name in checkout_files(*INPUTS, *_OF_BUILD):
        path = ROOT / name
        if path.is_file():
            yield json.dumps([name, path.stat().st_mode & 0o111]).encode()
            yield path.read_bytes()


def _version() -> str:
    text = (ROOT / "service/__init__.py").read_text()
    return str(ast.literal_eval(text.rpartition("__version__ = ")[2].strip()))


def _git(*words: str) -> str:
    return storage.command("git", "-C", str(ROOT), *words)
