"""What the project promises of its own files: locked lists, a wheel of the service, no host, one set-up."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import service

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LISTS = ("runtime", "otel", "demo", "dev", "bench")
EXTRA = "service.observability.otlp"
"""The one module that needs the extra `otel`."""


def output_of(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked_files() -> list[Path]:
    return [ROOT / name for name in output_of("git", "ls-files", "-z").split("\0") if (ROOT / name).is_file()]


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """The requirements of a list by their names, each with its hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for words in lines:
        hashes = [word for word in words if word.startswith("--hash=")]
        requirement = Requirement(" ".join(word for word in words if not word.startswith("--hash=")))
        found[canonicalize_name(requirement.name)] = (requirement, hashes)
    return found


# -- the locked lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_each_package_of_a_list_is_one_version_with_its_hashes(name: str) -> None:
    requirements = locked(name)
    assert requirements
    for requirement, hashes in requirements.values():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), requirement


def test_the_lists_agree_so_that_all_go_into_one_environment() -> None:
    versions: dict[str, set[str]] = {}
    for name in LISTS:
        for package, (requirement, _hashes) in locked(name).items():
            versions.setdefault(package, set()).add(str(requirement.specifier))
    assert {package: each for package, each in versions.items() if len(each) > 1} == {}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("runtime", PROJECT["dependencies"]),
        ("otel", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["otel"]),
    ]
    + [
        (name, [line.partition(" #")[0] for line in text.splitlines() if re.match(r"\w", line)])
        for name in ("demo", "dev", "bench")
        for text in [(ROOT / "requirements" / f"{name}.in").read_text()]
    ],
    ids=LISTS,
)
def test_a_list_holds_what_its_source_asks_for(name: str, wanted: list[str]) -> None:
    requirements = locked(name)
    for text in wanted:
        asked = Requirement(text)
        pinned, _hashes = requirements[canonicalize_name(asked.name)]
        (exact,) = pinned.specifier
        assert asked.specifier.contains(exact.version), f"{pinned} is not {asked}: run `make lock`"


@pytest.mark.parametrize("name", LISTS)
def test_a_list_tells_how_much_it_makes_pip_fetch(name: str) -> None:
    first = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()[0]
    assert re.match(r"# download: [1-9][0-9]* MB", first)


# -- the wheel and the image ----------------------------------------------------------------------------


def test_the_wheel_holds_the_service_and_nothing_else(tmp_path: Path) -> None:
    build = "import sys, flit_core.buildapi as backend; print(backend.build_wheel(sys.argv[1]))"
    name = output_of(sys.executable, "-c", build, str(tmp_path)).strip()
    files = set(zipfile.ZipFile(tmp_path / name).namelist())
    about = f"scribe_speech-{service.__version__}.dist-info/"
    assert {file for file in files if not file.startswith(("service/", about))} == set()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "service").rglob("*.py")}
    assert modules | {"service/py.typed"} <= files
    assert {f"{about}entry_points.txt", f"{about}licenses/LICENSE"} <= files


IMPORT_ALL = """
import importlib, json, sys
from importlib.metadata import packages_distributions
from packaging.utils import canonicalize_name

modules, locked = json.loads(sys.stdin.read())
walled = {"sandbox", "tests", "tools"}
for name, owners in packages_distributions().items():
    if not {canonicalize_name(owner) for owner in owners} & {"scribe-speech", *locked}:
        walled.add(name)

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in walled:
            raise ModuleNotFoundError(f"{name} is not in the list", name=name)

for name in list(sys.modules):
    if name.partition(".")[0] in walled:
        del sys.modules[name]
sys.meta_path.insert(0, Wall())
for name in ("numpy", "pytest", "sandbox"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"the wall let {name} through")
for name in modules:
    importlib.import_module(name)
print(len(modules))
"""


@pytest.mark.parametrize("name", ["runtime", "otel"])
def test_the_service_needs_a_list_and_nothing_else(name: str) -> None:
    """With the extra all of its modules; without it all but the one that sends spans."""
    paths = sorted((ROOT / "service").rglob("*.py"))
    found = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths]
    modules = [module.removesuffix(".__init__") for module in found]
    if name == "runtime":
        modules.remove(EXTRA)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        input=json.dumps([modules, list(locked(name))]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(modules)


def test_the_image_installs_the_runtime_list_and_the_wheel() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(
        r"--python /opt/scribe/bin/python install (.*?) *(?:\|\||$)", dockerfile, re.MULTILINE
    )
    assert installs == [
        '--require-hashes --requirement "requirements/${list}.txt"',
        "--no-deps --no-index wheels/*.whl",
    ]
    assert "for list in runtime ${EXTRAS}; do" in dockerfile
    assert '\nARG EXTRAS=""\n' in dockerfile
    last_stage = dockerfile.rpartition("FROM ")[2]
    assert last_stage.startswith("scratch\n")
    trees = [f"--from=build /image/{name} /" for name in ("python", "packages", "service")]
    assert re.findall(r"^(?:COPY|ADD) (.*)", last_stage, re.MULTILINE) == trees


def test_the_chart_runs_the_version_that_the_service_names() -> None:
    chart = (ROOT / "helm/Chart.yaml").read_text()
    assert f"\nversion: {service.__version__}\n" in chart
    assert f"\nappVersion: {service.__version__}\n" in chart


# -- what no file may name ------------------------------------------------------------------------------

REGISTRIES = {
    ".".join(parts)  # in parts, for this file is looked into as well
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("deb", "debian", "org"),
    ]
}
ON_THIS_MACHINE = ("~/.npmrc", "~/.m2/settings.xml", "/etc/apt/sources.list")


def registries_of_this_machine() -> Iterator[str]:
    """Hosts that the package clients are set up to ask here: mirrors, which are nobody else's concern."""
    texts = [output_of(sys.executable, "-m", "pip", "config", "list")]
    texts += [value for name, value in os.environ.items() if re.match(r"(?i)(pip|npm_config|uv)_", name)]
    texts += [
        path.read_text() for path in (Path(name).expanduser() for name in ON_THIS_MACHINE) if path.exists()
    ]
    for text in texts:
        for url in re.findall(r"https?://[^\s'\"<>]+", text):
            host = urlsplit(url).hostname
            if host and host not in ("localhost", "127.0.0.1"):
                yield host


def test_no_file_names_a_registry() -> None:
    hosts = re.compile("|".join(map(re.escape, REGISTRIES | set(registries_of_this_machine()))))
    named = {
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in tracked_files()
        if (found := hosts.search(path.read_bytes().decode("utf-8", "replace")))
    }
    assert named == set()


def test_nothing_that_runs_reads_what_lies_beside_the_repository() -> None:
    running = (".py", ".sh", ".toml", ".yaml", ".xml", "Makefile", "Dockerfile", "run")
    beside = re.compile(r"\.\./" + "shared|/" + "work/")
    named = [
        path for path in tracked_files() if path.name.endswith(running) and beside.search(path.read_text())
    ]
    assert named == []


# -- make -----------------------------------------------------------------------------------------------


def test_each_target_for_people_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = output_of("make", "help")
    for target in set(re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)) - {"tools"}:
        assert re.search(rf"^  {target} +\w", shown, re.MULTILINE), target


@pytest.mark.parametrize("value", ["a.wav b.mp3", 'it\'s "b" $HOME $(x) #1.wav', "https://h/a?b=1&c=$d;e"])
@pytest.mark.parametrize("name", ["AUDIO", "URLS", "PYTEST_ARGS", "KEY_FILE"])
def test_make_hands_on_what_was_typed(name: str, value: str) -> None:
    make = ("make", "--eval", f"show: ; @printenv {name}", "show")
    alone = {each: text for each, text in os.environ.items() if not each.startswith(("MAKE", "MFLAGS", name))}
    assert output_of(*make, f"{name}={value}", env=alone) == f"{value}\n"
    assert output_of(*make, env={**alone, name: value}) == f"{value}\n"


def test_a_machine_without_a_fitting_python_gets_a_sentence() -> None:
    done = subprocess.run(
        [ROOT / "tools/find-python.sh"],
        env={**os.environ, "PYTHON": "/nowhere/python3"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Scribe needs Python 3.11 or later")
    assert done.stdout == ""


def test_a_set_up_that_failed_is_done_again(tmp_path: Path) -> None:
    for name in ("Makefile", "tools", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    pip = tmp_path / ".venv/bin/pip"
    pip.parent.mkdir(parents=True)
    pip.write_text("#!/bin/sh\n[ $1 = cache ]\n")  # fails to install
    pip.chmod(0o755)
    (tmp_path / ".venv/.python").touch()
    for _time in range(2):
        done = subprocess.run(
            ["make", ".venv/.dev"], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
        )
        assert done.returncode != 0
        assert "MB to fetch" in done.stderr
        assert "Not installed" in done.stderr
        assert not (tmp_path / ".venv/.dev").exists()
