"""What an image is on this node: a folder of code that the machine's own Python runs, or an image of podman.

The node's file of images maps a reference, `repository:tag`, to one of them; no other can be pulled.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sandbox.cluster.node.launch import Launch

_ENTER = Path(__file__).with_name("enter.py")
_APP = "/app"
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


class Image(Protocol):
    def start(self, launch: Launch) -> list[str]:
        """The command of this machine that becomes the container's process."""
        ...

    def clean(self, launch: Launch) -> list[str] | None:
        """The command that removes what a start has left, if any."""
        ...


@dataclass(frozen=True)
class CodeImage:
    """The package `service` in a folder; the machine's Python and libraries stand for the image's."""

    code: Path

    def start(self, launch: Launch) -> list[str]:
        """`enter.py` makes the root, takes the identity, and becomes the program."""
        identity = launch.identity
        root = launch.folder / f"root-{launch.name}"
        root.mkdir(parents=True, exist_ok=True)
        shown = [(path, target, True) for path, target in self._binds()]
        mounted = [(mount.source, mount.target, mount.is_read_only) for mount in launch.mounts]
        plan = {
            "root": str(root),
            "links": {path: str(Path(path).readlink()) for path in _SYSTEM if Path(path).is_symlink()},
            "files": _USERS,
            "binds": [
                {"source": source, "target": target, "read_only": is_read_only}
                for source, target, is_read_only in [*shown, *mounted]
            ],
            "folder": "/",
            "command": self.command(launch.command, launch.arguments),
            "environment": {**self._environment(), **launch.variables},
            "uid": identity.user,
            "gid": identity.group,
            "groups": list(identity.groups),
            "read_only_root": identity.is_root_read_only,
            "no_new_privileges": identity.has_no_new_privileges,
            "drop_capabilities": identity.drops_capabilities,
        }
        path = launch.folder / f"plan-{launch.name}.json"
        path.touch(mode=0o600)  # it holds secrets
        path.write_text(json.dumps(plan))
        return [sys.executable, "-I", "-S", str(_ENTER), str(path)]

    def clean(self, launch: Launch) -> list[str] | None:
        """Its mounts end with the process."""
        return None

    def command(self, command: Sequence[str] | None, arguments: Sequence[str] | None) -> list[str]:
        """The entry point `scribe` and the argument `run`, unless the container says something else."""
        entry = list(command or ["scribe"])
        if entry[0] == "scribe":
            entry[:1] = [sys.executable, "-m", "service"]
        if arguments is None:
            return entry if command else [*entry, "run"]
        return [*entry, *arguments]

    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": _APP, "HOME": "/"}

    def _binds(self) -> list[tuple[str, str]]:
        """What of the machine is shown in the container, and where."""
        python = [Path(sys.base_prefix), Path(sys.prefix).resolve(), Path(sys.prefix)]
        shown = [path for path in (*_SYSTEM, *_CONFIGURATION) if Path(path).exists()]
        outside = dict.fromkeys(str(path) for path in python if not path.is_relative_to("/usr"))
        own = [path for path in shown if not Path(path).is_symlink() or path.startswith("/etc")]
        return [*((path, path) for path in [*own, *outside]), (str(self.code / "service"), f"{_APP}/service")]


@dataclass(frozen=True)
class PodmanImage:
    """A real image, which podman runs with the pod's security contexts, on the machine's network."""

    reference: str
    podman: Sequence[str]
    """The program with its global options."""
    run: Sequence[str]
    """Options of `podman run` that this machine needs."""

    def start(self, launch: Launch) -> list[str]:
        identity = launch.identity
        options = ["--rm", "--name", launch.name, "--network", "host", "--read-only-tmpfs=false"]
        options += ["--user", f"{identity.user}:{identity.group}"]
        for group in identity.groups:
            options += ["--group-add", str(group)]
        for wanted, option in (
            (identity.is_root_read_only, "--read-only"),
            (identity.drops_capabilities, "--cap-drop=all"),
            (identity.has_no_new_privileges, "--security-opt=no-new-privileges"),
        ):
            options += [option] if wanted else []
        for mount in launch.mounts:
            mode = "ro" if mount.is_read_only else "rw"
            options += ["--volume", f"{mount.source}:{mount.target}:{mode}"]
        for name, value in launch.variables.items():
            options += ["--env", f"{name}={value}"]
        if launch.command:
            options += ["--entrypoint", json.dumps(list(launch.command))]
        return [*self.podman, "run", *self.run, *options, self.reference, *(launch.arguments or [])]

    def clean(self, launch: Launch) -> list[str] | None:
        return [*self.podman, "rm", "--force", "--ignore", "--time=0", launch.name]


def find_image(images_file: Path, reference: str) -> Image | None:
    """None where this node has no such image; the file may change at any time."""
    known: Mapping[str, Any] = json.loads(images_file.read_text())
    found = known.get(reference.removeprefix("docker.io/library/").partition("@")[0])
    if found is None:
        return None
    return CodeImage(Path(found)) if isinstance(found, str) else PodmanImage(**found)
