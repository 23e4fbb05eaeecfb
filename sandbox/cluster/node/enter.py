"""Becomes a container's process: a root of its own, its volumes, its user, no privileges; then its program.

Run by the node as `python -I -S enter.py PLAN`, as root, with Python's library alone. PLAN is a JSON file
that `container.py` writes. Processes and addresses are those of the machine: files, users and rights are not.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_LAST_CAPABILITY = 40
_COULD_NOT_START = 128

_libc = ctypes.CDLL(None, use_errno=True)


def main(plan_path: str) -> None:
    parent = os.getppid()
    plan: dict[str, Any] = json.loads(Path(plan_path).read_text())
    try:
        _enter_root(plan)
        _take_identity(plan)
        _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")  # lost whenever the user changes
        if os.getppid() != parent:
            os._exit(_COULD_NOT_START)
        os.execvpe(plan["command"][0], plan["command"], plan["environment"])  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"the container could not start: {error}", file=sys.stderr, flush=True)
        os._exit(_COULD_NOT_START)


def _enter_root(plan: dict[str, Any]) -> None:
    root = Path(plan["root"])
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", str(root), "tmpfs", 0)
    root.chmod(0o755)
    for target, source in plan["links"].items():
        (root / target.lstrip("/")).symlink_to(source)
    for target, text in plan["files"].items():
        path = root / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for bind in plan["binds"]:
        _bind(bind["source"], root / bind["target"].lstrip("/"), is_read_only=bind["read_only"])
    (root / "tmp").mkdir(mode=0o1777, exist_ok=True)
    if plan["read_only_root"]:
        _mount(None, str(root), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
    os.chroot(root)
    os.chdir(plan["folder"])


def _bind(source: str, target: Path, *, is_read_only: bool) -> None:
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(source, str(target), None, _MS_BIND | _MS_REC)
    if is_read_only:
        _mount(None, str(target), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY)


def _take_identity(plan: dict[str, Any]) -> None:
    if plan["drop_capabilities"]:
        for capability in range(_LAST_CAPABILITY + 1):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups(plan["groups"])
    os.setgid(plan["gid"])
    os.setuid(plan["uid"])
    if plan["no_new_privileges"]:
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    texts: Sequence[bytes | None] = [text.encode() if text else None for text in (source, target, kind)]
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), None), f"mount {target}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1])
