"""Builds the image with buildah, from this checkout, and keeps it under the name of its content."""

import ast
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.image import stand_in, storage

ROOT = Path(__file__).parents[2]
INPUTS = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "requirements", "service")
_OF_BUILD = ("tools/image/layout", "tools/image/build.py")
_PIP_OPTIONS = frozenset(
    {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"}
)
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
    return source


def named(source: Source, extras: str = "") -> str:
    """The image's name; another for each choice of extras."""
    return "-".join([source.reference, *extras.split()])


def build(source: Source, reference: str, extras: str = "") -> None:
    """Build it anew; raises ImageError with the end of the log."""
    arguments = {
        "PYTHON_IMAGE": stand_in.BASE,
        "BASE_DIGEST": source.base_digest,
        "CREATED": _git("show", "--no-patch", "--format=%cI", "HEAD").strip(),
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
    """pip's configuration of this machine, seen by two steps of the build and kept by none."""
    shown = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    said = {line.partition("=")[0].rpartition(".")[2]: line.partition("=")[2] for line in shown.splitlines()}
    options = {
        name: ast.literal_eval(value) for name, value in said.items() if name in {*_PIP_OPTIONS, "cert"}
    }
    if "cert" in options:
        yield from ("--secret", f"id=pip-ca.pem,src={options['cert']}")
        options["cert"] = _AUTHORITIES
    path = folder / "pip.conf"
    path.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    yield from ("--secret", f"id=pip.conf,src={path}")


def _contents() -> Iterator[bytes]:
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *INPUTS, *_OF_BUILD)
    for name in sorted(set(listed.split("\0")) - {""}):
        path = ROOT / name
        if path.is_file():
            yield json.dumps([name, path.stat().st_mode & 0o111]).encode()
            yield path.read_bytes()


def _version() -> str:
    text = (ROOT / "service/__init__.py").read_text()
    return str(ast.literal_eval(text.rpartition("__version__ = ")[2].strip()))


def _git(*words: str) -> str:
    return storage.command("git", "-C", str(ROOT), *words)
