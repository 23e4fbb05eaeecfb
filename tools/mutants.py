"""Take each protection away and show that its test goes red: a check that cannot fail proves nothing.

`tests/mutants.toml` lists the protections: a few lines to replace, and the tests that must fail then. Each is
tried in a copy of the tree, so that nothing here changes. Prints a table; exit code 1 when a mutant survives.

    python -m tools.mutants [PART_OF_A_NAME ...]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LIST = Path("tests/mutants.toml")
COPIED = (
    "service",
    "sandbox",
    "tests",
    "tools",
    "schemas",
    "helm",
    "docs",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
)
SECONDS = 180
"""A test that hangs without its protection has gone red too."""
ALL_SECONDS = 900
"""For the tests of the whole list, on the code as it is."""
AT_ONCE = 2
FAILED = 1
"""pytest's exit code for tests that failed; a mutant that does not even import has shown nothing (2)."""
HUNG = -1


@dataclass(frozen=True)
class Mutant:
    """One protection taken away."""

    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


class StaleMutantError(Exception):
    """The lines to replace are not in the file exactly once: the list has fallen behind the code."""


def read(path: Path) -> list[Mutant]:
    """The list."""
    entries = tomllib.loads(path.read_text())["mutant"]
    return [
        Mutant(each["name"], each["file"], each["find"], each["replace"], tuple(each["tests"]))
        for each in entries
    ]


def mutate(source: str, mutant: Mutant) -> str:
    """The file without the protection."""
    if source.count(mutant.find) != 1:
        found = source.count(mutant.find)
        raise StaleMutantError(f"{mutant.name}: its lines stand {found} times in {mutant.file}, not once")
    return source.replace(mutant.find, mutant.replace)


def is_killed(mutant: Mutant) -> bool:
    """Whether the tests fail without the protection."""
    with copy_of_tree() as folder:
        path = folder / mutant.file
        path.write_text(mutate(path.read_text(), mutant))
        return run(mutant.tests, folder) in (FAILED, HUNG)


class copy_of_tree:  # noqa: N801 - reads as the function it stands for
    """A copy of the tree for the length of a block."""

    def __enter__(self) -> Path:
        self._folder = Path(tempfile.mkdtemp(prefix="scribe-mutant-"))
        for name in COPIED:
            source = Path(name)
            if source.is_dir():
                shutil.copytree(source, self._folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, self._folder / name)
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def run(tests: Sequence[str], folder: Path, *options: str, seconds: float = SECONDS) -> int:
    """Run tests in a copy of the tree; a run that takes too long counts as failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, *tests]
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, timeout=seconds, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return HUNG


def survivors(mutants: Sequence[Mutant]) -> Iterator[Mutant]:
    """Print a line for each mutant; yields those that no test noticed."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for mutant, killed in zip(mutants, pool.map(is_killed, mutants), strict=True):
            print(f"{'killed  ' if killed else 'SURVIVED'}  {mutant.name}", flush=True)
            if not killed:
                yield mutant


def main() -> int:
    """Check that the tests pass as they are, and none is skipped, then try every mutant."""
    parser = argparse.ArgumentParser(prog="mutants", description="Take each protection away.")
    parser.add_argument("parts", nargs="*", help="only mutants whose name holds one of these; all without")
    parts = parser.parse_args().parts
    mutants = [each for each in read(LIST) if not parts or any(part in each.name for part in parts)]
    if not mutants:
        parser.error(f"no name in {LIST} holds {' or '.join(map(repr, parts))}")
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with copy_of_tree() as folder:
        if run(tests, folder, "--no-skips", seconds=ALL_SECONDS) != 0:
            print("the tests of the list fail, or are skipped, on the code as it is", file=sys.stderr)
            return 1
    left = list(survivors(mutants))
    print(f"{len(mutants) - len(left)} of {len(mutants)} protections shown")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
