"""Lays out what the service needs of the base image: the interpreter, its library, and what both load."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from tools.image.layout import libraries

UNUSED = (
    *("__pycache__", "site-packages", "dist-packages"),  # packages of the base, pip among them
    *("ensurepip", "config-*"),  # pip once more, and what a compiler needs
    *("test", "_test*", "xxlimited*", "_xx*"),
    *("idlelib", "tkinter", "_tkinter*", "turtle.py", "turtledemo", "lib2to3", "pydoc_data"),
)
"""What of the standard library stays out."""
USER = 10_001
FILES = {
    "etc/passwd": f"root:x:0:0::/root:/sbin/nologin\nscribe:x:{USER}:{USER}::/nonexistent:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nscribe:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
COPIED = ("etc/os-release", "etc/ld.so.conf", "etc/ld.so.conf.d", "etc/ssl/certs/ca-certificates.crt")


def lay_out(tree: Path, modules_of: Path) -> None:
    """Fill the tree; `modules_of` is a folder whose extension modules must find their libraries as well."""
    interpreter, standard_library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    _copy(interpreter, tree)
    shutil.copytree(standard_library, _in(tree, standard_library), ignore=shutil.ignore_patterns(*UNUSED))
    used = [interpreter, *libraries.elf_files(_in(tree, standard_library)), *libraries.elf_files(modules_of)]
    needed = {path for path in libraries.needed_by(used) if not path.is_relative_to(modules_of)}
    _lay_out_libraries(tree, needed | {libraries.known_to_the_loader("libgcc_s.so.1")})
    for name in COPIED:
        _copy(Path("/", name), tree)
    for name, text in FILES.items():
        (tree / name).write_text(text)
    subprocess.run(["ldconfig", "-X", "-r", str(tree)], check=True)
    shutil.rmtree(tree / "var/cache", ignore_errors=True)  # of ldconfig; it names inodes


def _lay_out_libraries(tree: Path, paths: Iterable[Path]) -> None:
    for name in ("lib", "lib64"):
        if Path("/", name).is_symlink():
            (tree / name).symlink_to(Path("/", name).readlink())
    found = sorted({path.parent.resolve() / path.name for path in paths})
    for path in found:
        _copy(path, tree)
    for name, status in libraries.debian_packages(found).items():
        # Where scanners of images look, in the form of distroless images, and the terms of use.
        _write(tree / "var/lib/dpkg/status.d" / name, status)
        _copy(Path("/usr/share/doc", name, "copyright"), tree)


def _copy(path: Path, tree: Path) -> None:
    """Copy a file or a folder to its own path in the tree, links as what they point to."""
    target = _in(tree, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target)
    elif path.exists():
        shutil.copy2(path, target)
    elif "doc" not in path.parts:  # slim images leave documents out
        sys.exit(f"The base image lacks {path}.")


def _in(tree: Path, path: Path) -> Path:
    return tree / path.relative_to("/")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
