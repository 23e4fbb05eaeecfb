"""Where images are kept, apart from the machine's others, and how buildah and podman are called there."""

import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path

_SECONDS = 1_800.0
_MOST_FILES, _MOST_PROCESSES = 4_096, 4_096


class ImageError(Exception):
    """An image could not be built or run; the text says why, and what to do."""


def folder() -> Path:
    """The cache of this user; it may be removed at any time, and costs a new build then."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = cache / "scribe" / "image"
    found.mkdir(parents=True, exist_ok=True)
    return found


def storage_arguments() -> tuple[str, ...]:
    """What follows `buildah` or `podman` so that it finds the images."""
    places = ("--root", str(folder() / "storage"), "--runroot", str(folder() / "run"))
    return (*places, "--storage-driver", "vfs")


def podman_arguments() -> tuple[str, ...]:
    """What follows `podman`, before its subcommand: it needs neither systemd nor crun."""
    return (
        *storage_arguments(),
        "--runtime",
        "runc",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "none",
    )


def run_arguments() -> tuple[str, ...]:
    """What follows `podman run` (or `create`) on any machine: limits that a root without all rights may set.

    No health check runs by itself: podman would ask systemd for a timer, which containers and tests have not.
    """
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], _MOST_FILES)
    limits = ("--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={_MOST_PROCESSES}:{_MOST_PROCESSES}")
    return (*limits, "--no-healthcheck")


def buildah(*arguments: str) -> str:
    """Run it and hand back its output; raises ImageError."""
    return command("buildah", *storage_arguments(), *arguments)


def podman(*arguments: str) -> str:
    """Run it and hand back its output; raises ImageError."""
    return command("podman", *podman_arguments(), *arguments)


def exists(reference: str) -> bool:
    """Whether there is an image of this name."""
    done = subprocess.run(
        ["podman", *podman_arguments(), "image", "exists", reference], timeout=_SECONDS, check=False
    )
    return done.returncode == 0


def keep_newest(count: int, made: str) -> None:
    """Remember that the image was made now; remove the images of its name that were made before the last few.

    podman knows the time of an image's commit alone. One that a container runs stays.
    """
    journal = folder() / "made"
    known = journal.read_text().splitlines() if journal.exists() else []
    others = [each for each in known if each != made]
    kept = [*others[-count + 1 :], made]
    journal.write_text("".join(f"{each}\n" for each in kept))
    name = made.rpartition(":")[0]
    listed = podman("images", "--filter", f"reference={name}", "--format", "{{.Repository}}:{{.Tag}}")
    for reference in set(listed.split()) - set(kept):
        with suppress(ImageError):
            podman("rmi", reference)


def command(*words: str) -> str:
    """Run a program and hand back its output; raises ImageError with the end of what it said."""
    searched = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}  # of Debian's root: debootstrap, chroot
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **searched},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise ImageError(f"{words[0]} is missing here (Debian: `make tools` installs it, as root).") from None
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ImageError(f"{words[0]} ended with {done.returncode}:\n{said}")
    return done.stdout


def digest(parts: Iterable[bytes]) -> str:
    """A short name for a content."""
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()[:12]


@contextmanager
def alone() -> Iterator[None]:
    """One process builds at a time; others wait, and then find what it built."""
    with (folder() / "lock").open("w") as file:
        flock(file, LOCK_EX)
        yield


def tell(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)
