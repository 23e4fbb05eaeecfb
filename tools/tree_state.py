"""Prints a digest of all that the outcome of a test may hang on, so that what passed is known by it.

It covers each file of the tree that git does not ignore, Python, the installed packages, and what the
environment hands to tests.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

LIST_FILES = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")


def digest_of(root: Path) -> str:
    """The same for the same state only; raises CalledProcessError where git does not know the tree."""
    digest = hashlib.sha256()
    for part in (*_surroundings(), *_files(root)):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _surroundings() -> Iterator[bytes]:
    yield sys.version.encode()
    yield "\n".join(sorted(f"{each.name}=={each.version}" for each in distributions())).encode()
    yield "\n".join(sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("TEST_"))).encode()


def _files(root: Path) -> Iterator[bytes]:
    listed = subprocess.run(LIST_FILES, cwd=root, capture_output=True, timeout=60, check=True).stdout
    for name in sorted(set(listed.split(b"\0")) - {b""}):
        path = root / os.fsdecode(name)
        yield name
        if path.is_symlink():
            yield os.fsencode(path.readlink())
        elif path.is_file():
            yield b"x" if os.access(path, os.X_OK) else b"-"
            yield path.read_bytes()


if __name__ == "__main__":
    print(digest_of(Path()))
