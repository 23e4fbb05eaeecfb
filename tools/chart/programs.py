"""The programs that check the chart, built or fetched once and kept in the user's cache folder.

`python -m tools.chart.programs` makes what is missing. Each folder there is named for what decides its
content; when it exists, it is complete.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
UNITTEST = HERE / "helm_unittest"
"""A Go module of its own, as helm-unittest cannot be installed by its name alone."""
POM = HERE / "strimzi.xml"
CHECKOV = HERE.parents[1] / "requirements" / "checkov.txt"
INSTALLED = {
    "github.com/norwoodj/helm-docs": ("v1.14.2", "h1:Ew3bCq1hZqMnnTopkk66Uy2mGwu/jAclAx+3JAVp1To="),
    "github.com/zegl/kube-score": ("v1.20.0", "h1:J1VqK86SunV4Gg8emPTmwUVxe0rmXnAs5K9ZUbGMKR8="),
}
"""Go modules with one program each: the version, and the hash that the built program must name."""
STRIMZI = {"topic.KafkaTopic": "kafkatopic.yaml", "user.KafkaUser": "kafkauser.yaml"}
_SECONDS = 1800.0


class NotMade(Exception):
    """A program could not be built or fetched; the text says why."""


def go_programs() -> Path:
    """The folder of helm-docs, kube-score and helm-unittest."""
    files = [(UNITTEST / name).read_bytes() for name in ("go.mod", "go.sum")]
    return _folder("chart-programs", repr(INSTALLED).encode(), *files)


def checkov() -> Path:
    """The folder of checkov and of what it needs."""
    return _folder("checkov", CHECKOV.read_bytes())


def strimzi_crds() -> Path:
    """The folder of Strimzi's CustomResourceDefinitions."""
    return _folder("strimzi-crds", POM.read_bytes())


def missing() -> str | None:
    """What is not here yet, with how to get it; None if nothing."""
    absent = [folder.name for folder in (go_programs(), checkov(), strimzi_crds()) if not folder.is_dir()]
    return f"not here yet: {', '.join(absent)}; run `make tools`." if absent else None


def make_missing() -> None:
    """Build and fetch what is not here: minutes of a processor, once. Raises NotMade."""
    steps: list[tuple[Path, Callable[[Path], None]]] = [
        (go_programs(), _build),
        (checkov(), _install_checkov),
        (strimzi_crds(), _write_crds),
    ]
    for folder, make in steps:
        if folder.is_dir():
            continue
        print(f"Making {folder} ...", file=sys.stderr, flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            make(made)
            try:
                made.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another run was faster, with the same content
                    raise


def _folder(name: str, *decided_by: bytes) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "scribe" / f"{name}-{hashlib.sha256(b'|'.join(decided_by)).hexdigest()[:8]}"


def _build(folder: Path) -> None:
    for module, (version, wanted) in INSTALLED.items():
        name = module.rpartition("/")[2]
        _run("go", "install", f"{module}/cmd/{name}@{version}", GOBIN=str(folder))
        if wanted not in _run("go", "version", "-m", str(folder / name)):
            raise NotMade(f"{name} {version} has another hash than {wanted}.")
    package = "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"
    _run("go", "-C", str(UNITTEST), "build", "-mod=readonly", "-o", f"{folder}/", package)


def _install_checkov(folder: Path) -> None:
    """Install into a plain folder: a virtual environment could not be moved to its place."""
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--require-hashes", "--requirement", str(CHECKOV), "--target", str(folder)),
    )


def _write_crds(folder: Path) -> None:
    maven, java = shutil.which("mvn"), shutil.which("java")
    if not maven or not java:
        raise NotMade("Strimzi's definitions need Java and Maven: `make tools` installs both.")
    with tempfile.TemporaryDirectory() as temporary:
        jars = f"-DoutputDirectory={temporary}"
        _run(maven, "-q", "-B", "-C", "-f", str(POM), "dependency:copy-dependencies", jars)
        kinds = [f"io.strimzi.api.kafka.model.{kind}={folder / file}" for kind, file in STRIMZI.items()]
        _run(java, "-cp", f"{temporary}/*", "io.strimzi.crdgenerator.CrdGenerator", "--yaml", *kinds)


def _run(*command: str, **environment: str) -> str:
    settings = {**os.environ, **environment}
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=settings
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotMade(f"{command[0]} did not run: {error}") from error
    if run.returncode != 0:
        told = (run.stderr or run.stdout).strip().splitlines()[-3:]
        raise NotMade(f"{' '.join(command[:3])} failed: {' '.join(told)}")
    return run.stdout


def main() -> int:
    try:
        make_missing()
    except NotMade as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
