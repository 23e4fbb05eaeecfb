"""Runs in a container of the image, under its own Python, and tells as JSON what is there.

`imports` imports every module of the service and of each installed package; `files` lists the files.
"""

import importlib
import importlib.util
import json
import os
import stat
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

HASHED, CHECKED = 0b01, 0b10
"""Flags of a .pyc (PEP 552)."""


def files() -> dict[str, object]:
    """Each file, link and folder of the image, and those whose owner, mode or bytecode is wrong."""
    found = [(str(path), path.lstat()) for path in _walk(Path("/"))]
    return {
        "user": [os.getuid(), os.getgid()],
        "paths": [path for path, _ in found],
        "not of root": [path for path, about in found if about.st_uid or about.st_gid],
        "writable by others": [
            path for path, about in found if not stat.S_ISLNK(about.st_mode) and about.st_mode & 0o022
        ],
        "with rights": [path for path, about in found if about.st_mode & (stat.S_ISUID | stat.S_ISGID)],
        "checked or not compiled": [
            path for path, _ in found if path.endswith(".py") and not _is_never_checked(path)
        ],
    }


def imports() -> dict[str, object]:
    """How many modules could be imported, and what those that could not say."""
    warnings.simplefilter("ignore")
    counts: dict[str, int] = {}
    failed: dict[str, str] = {}
    for package in distributions(path=[sysconfig.get_path("purelib")]):
        name = package.metadata["Name"]
        modules = sorted({each for file in package.files or [] if (each := _module(str(file)))})
        counts[name] = len(modules)
        for module in modules:
            try:
                importlib.import_module(module)
            except BaseException as error:  # noqa: BLE001 - whatever it says is the answer
                failed[module] = f"{type(error).__name__}: {error}"
    return {"counts": counts, "failed": failed, "version": sys.version}


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path in (Path("/proc"), Path("/sys"), Path("/dev")):
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _is_never_checked(path: str) -> bool:
    cached = Path(importlib.util.cache_from_source(path))
    if not cached.exists():
        return False
    flags = int.from_bytes(cached.read_bytes()[4:8], "little")
    return flags & HASHED != 0 and flags & CHECKED == 0


def _module(file: str) -> str | None:
    """The dotted name of a module's file; None for what is no module, or is a program."""
    stem = file.removesuffix(".py") if file.endswith(".py") else None
    if file.endswith(".so") and ".libs/" not in file:
        stem = file[: file.index(".", file.rindex("/") if "/" in file else 0)]
    if stem is None or file.startswith(".."):
        return None
    parts = stem.removesuffix("/__init__").split("/")
    is_named = all(part.isidentifier() for part in parts)
    return ".".join(parts) if is_named and parts[-1] != "__main__" else None


if __name__ == "__main__":
    print(json.dumps({"files": files, "imports": imports}[sys.argv[1]]()))
