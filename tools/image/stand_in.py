"""Makes a stand-in for the base image `python:3.13-slim-trixie` where no registry of images can be reached.

It holds Debian 13 and Debian's own Python 3.13, moved to where the official image has its own.
It shows that the Dockerfile works, not that the official image does: that one was never pulled by the tests.
"""

import re
import shutil
import tarfile
import tempfile
from pathlib import Path

from tools.image import storage

BASE = "docker.io/library/python:3.13-slim-trixie"
SUITE = "trixie"
_INCLUDED = "ca-certificates,netbase,tzdata,python3.13-venv"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SEARCHED = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_LEFT_OUT = ("./var/cache/apt", "./var/lib/apt/lists", "./var/log")


def ensure() -> str:
    """The digest of the base in our storage; made in some minutes where it is not there."""
    kept_by = storage.digest([Path(__file__).read_bytes()])
    kept = f"localhost/scribe-base:{kept_by}"
    if not storage.exists(kept):
        storage.tell("Making a stand-in for the base image from Debian's packages (once, 70 MB to fetch) ...")
        with tempfile.TemporaryDirectory(prefix="scribe-base-", dir=storage.folder()) as folder:
            storage.podman("import", "--change", f"ENV {_SEARCHED}", str(_packed(Path(folder))), kept)
    storage.podman("tag", kept, BASE)
    return storage.podman("image", "inspect", "--format", "{{.Digest}}", BASE).strip()


def _packed(folder: Path) -> Path:
    root = folder / "root"
    variant = ("--variant=minbase", f"--include={_INCLUDED}", f"--keyring={_KEYRING}")
    storage.command("debootstrap", *variant, SUITE, str(root), _mirror())
    _move_python(root)
    path = folder / "root.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(root, ".", filter=lambda member: None if member.name in _LEFT_OUT else member)
    return path


def _mirror() -> str:
    """The archive that apt asks on this machine."""
    shown = storage.command(
        "apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Created-By: Packages"
    )
    release = re.search(r'^VERSION_CODENAME="?(\w+)', Path("/etc/os-release").read_text(), re.MULTILINE)
    sites = re.findall(rf"^{release[1] if release else ''} (\S+)$", shown, re.MULTILINE)
    if not sites:
        raise storage.ImageError("apt knows no archive of Debian here: a stand-in base needs one.")
    return str(sites[0])


def _move_python(root: Path) -> None:
    """From /usr to /usr/local, without what Debian adds and the official image lacks, bytecode too."""
    there, here = root / "usr", root / "usr/local"
    shutil.rmtree(here / "lib/python3.13", ignore_errors=True)
    (there / "lib/python3.13").rename(here / "lib/python3.13")
    (there / "bin/python3.13").rename(here / "bin/python3.13")
    for name in ("EXTERNALLY-MANAGED", "sitecustomize.py"):
        (here / "lib/python3.13" / name).unlink()
    for name in ("python", "python3"):
        (here / "bin" / name).symlink_to("python3.13")
    for cache in [path for path in root.rglob("__pycache__") if path.is_dir()]:
        shutil.rmtree(cache)
    proof = "import ssl, sqlite3, sys; print(sys.prefix)"
    shown = storage.command("chroot", str(root), "/usr/local/bin/python3", "-I", "-B", "-c", proof)
    if shown.strip() != "/usr/local":
        raise storage.ImageError(f"Debian's Python does not run from /usr/local, but from {shown}")
