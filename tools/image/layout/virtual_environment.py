"""Lays out the virtual environment: the packages in one tree, the service in another."""

import shutil
import sys
from pathlib import Path

OURS = ("service", "scribe_speech-*.dist-info")


def lay_out(venv: Path, packages: Path, service: Path) -> None:
    """Fill both trees. Of the programs only `python` and `scribe` stay."""
    (site,) = venv.glob("lib/python3.*/site-packages")
    ours, theirs = service / site.relative_to("/"), packages / site.relative_to("/")
    shutil.copytree(site, theirs, ignore=shutil.ignore_patterns("__pycache__", *OURS))
    for pattern in OURS:
        (found,) = site.glob(pattern)
        shutil.copytree(found, ours / found.name, ignore=shutil.ignore_patterns("__pycache__"))
    root = packages / venv.relative_to("/")
    shutil.copy2(venv / "pyvenv.cfg", root)
    (root / "bin").mkdir()
    (root / "bin/python").symlink_to(Path(sys.executable).resolve())
    programs = service / venv.relative_to("/") / "bin"
    programs.mkdir()
    shutil.copy2(venv / "bin/scribe", programs)
