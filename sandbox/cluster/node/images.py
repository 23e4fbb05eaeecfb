"""What an image is on this node: a folder of code that the machine's own Python runs in a root of its own.

The node's file of images maps a reference, `repository:tag`, to the folder; no other can be pulled.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

APP = "/app"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32", "/proc", "/dev", "/sys")
_CONFIGURATION = (
    "/etc/ssl",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/protocols",
    "/etc/services",
)
_USERS = {
    "/etc/passwd": "root:x:0:0::/:/bin/sh\nscribe:x:10001:10001::/:/bin/sh\n",
    "/etc/group": "root:x:0:\n",
}


@dataclass(frozen=True)
class Image:
    """How to start what the image holds, and which part of this machine stands for its files."""

    code: Path
    """Holds the package `service`."""

    def command(self, container: Mapping[str, Sequence[str]]) -> list[str]:
        """The entry point and the arguments, each replaced by what the container says."""
        entry = list(container.get("command") or [*_python(), "-m", "service"])
        if entry[0] == "scribe":
            entry[:1] = [*_python(), "-m", "service"]
        arguments = container.get("args")
        return entry + list(
            arguments if arguments is not None else [] if container.get("command") else ["run"]
        )

    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": APP, "HOME": "/"}

    def files(self) -> dict[str, str]:
        return dict(_USERS)

    def links(self) -> dict[str, str]:
        """The machine's own links in its root, as from /bin to /usr/bin."""
        return {path: str(Path(path).readlink()) for path in _SYSTEM if Path(path).is_symlink()}

    def binds(self) -> list[tuple[str, str]]:
        """What of the machine is shown in the container, and where."""
        python = [Path(sys.base_prefix), Path(sys.prefix).resolve(), Path(sys.prefix)]
        shown = [path for path in (*_SYSTEM, *_CONFIGURATION) if Path(path).exists()]
        outside = dict.fromkeys(str(path) for path in python if not path.is_relative_to("/usr"))
        own = [path for path in shown if not Path(path).is_symlink() or path.startswith("/etc")]
        return [*((path, path) for path in [*own, *outside]), (str(self.code / "service"), f"{APP}/service")]


def _python() -> list[str]:
    return [sys.executable]


def find_image(images_file: Path, reference: str) -> Image | None:
    """None where this node has no such image; the file may change at any time."""
    known: dict[str, str] = json.loads(images_file.read_text())
    name = reference.removeprefix("docker.io/library/").partition("@")[0]
    return Image(Path(known[name])) if name in known else None
