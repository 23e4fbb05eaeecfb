"""Finds the shared libraries that programs load, and the Debian packages that they come from."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_ELF = b"\x7fELF"
_FOUND = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_MISSING = re.compile(r"^\s*(\S+ => not found)", re.MULTILINE)


def elf_files(folder: Path) -> Iterator[Path]:
    """Programs and libraries below the folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(len(_ELF)) == _ELF:
                    yield path


def needed_by(files: Iterable[Path]) -> set[Path]:
    """The libraries that the loader takes for them, and itself; ends the process where one is missing."""
    shown = _output("ldd", *map(str, files))
    missing = _MISSING.findall(shown)
    if missing:
        sys.exit(f"The base image lacks libraries that Python or its packages load: {sorted(set(missing))}")
    return {Path(path) for path in _FOUND.findall(shown)}


def known_to_the_loader(name: str) -> Path:
    """Where the loader finds a library that is named while a program runs (dlopen), such as libgcc_s.so.1."""
    found = re.search(rf"^\s*{re.escape(name)} .*=> (/\S+)$", _output("ldconfig", "-p"), re.MULTILINE)
    if found is None:
        sys.exit(f"The base image lacks {name}, which Python's threads load when they end.")
    return Path(found[1])


def debian_packages(files: Iterable[Path]) -> dict[str, str]:
    """The packages that hold the files, each with its paragraph of dpkg's status."""
    names: set[str] = set()
    for file in files:
        # dpkg knows a file by the path that its package names: /lib and /usr/lib are one folder.
        for path in {file, file.resolve(), Path(str(file.resolve()).removeprefix("/usr"))}:
            done = subprocess.run(
                ["dpkg-query", "--search", str(path)], capture_output=True, text=True, check=False
            )
            names |= {
                line.partition(":")[0]
                for line in done.stdout.splitlines()
                if not line.startswith("diversion by ")
            }
    return {name: _output("dpkg-query", "--status", name) for name in sorted(names)}


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
