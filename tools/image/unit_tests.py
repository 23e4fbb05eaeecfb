"""`python -m tools.image.unit_tests`: the unit tests under the Python of the base, in a container of it.

The packages for tests are installed once, into the cache. Arguments go to pytest.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.image import build, stand_in, storage

LISTS = ("runtime", "demo", "dev", "otel")
LEFT_OUT = ("tests/unit/test_project.py", "tests/unit/tools")
"""Tests of the checkout itself: they call git and make, which the base has not."""
_SECRETS = "/run/secrets"


def main() -> int:
    """Install, run; hands back pytest's exit code."""
    try:
        with storage.alone():
            stand_in.ensure()
            packages = _installed()
    except storage.ImageError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="scribe-checkout-") as folder:
        _copy_checkout(Path(folder))
        ignored = [f"--ignore={name}" for name in LEFT_OUT]
        options = ["--python-only", "--hypothesis-profile=few", "-p", "no:cacheprovider", "-n", "2"]
        command = ["/venv/bin/python", "-m", "pytest", "tests/unit", *ignored, *options, *sys.argv[1:]]
        mounts = ("--volume", f"{folder}:/src", "--volume", f"{packages}:/venv", "--workdir", "/src")
        return subprocess.run(_podman(*mounts, stand_in.BASE, *command), check=False).returncode


def _podman(*words: str) -> list[str]:
    options = (*storage.run_arguments(), "--rm", "--network", "host")
    return ["podman", *storage.podman_arguments(), "run", *options, *words]


def _installed() -> Path:
    """The folder of a virtual environment with all that the tests need, complete if it is there."""
    lists = [build.ROOT / f"requirements/{name}.txt" for name in LISTS]
    place = storage.folder() / f"packages-{storage.digest(each.read_bytes() for each in lists)}"
    if place.is_dir():
        return place
    storage.tell("Installing the packages that tests need, for Python 3.13 (once, 360 MB to fetch) ...")
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    named = " ".join(f"--requirement /src/requirements/{name}.txt" for name in LISTS)
    script = f"python3 -m venv /venv && /venv/bin/pip install --quiet --no-compile --require-hashes {named}"
    with tempfile.TemporaryDirectory(prefix="scribe-pip-") as folder:
        mounts = [f"{build.ROOT}:/src:ro", f"{part}:/venv"]
        mounts += [f"{path}:{target}:ro" for target, path in build.pip_files(Path(folder)).items()]
        volumes = [word for each in mounts for word in ("--volume", each)]
        storage.command(*_podman(*volumes, stand_in.BASE, "sh", "-c", script))
    part.rename(place)
    return place


def _copy_checkout(folder: Path) -> None:
    """What git knows of, so that tests write nothing here."""
    for name in build.checkout_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (build.ROOT / name).is_file():
            shutil.copy2(build.ROOT / name, target)


if __name__ == "__main__":
    sys.exit(main())
