"""What the image holds, and what it must not hold."""

import importlib.metadata
import json
import re
from pathlib import Path, PurePath
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import service
from tools.image import build, figures, provenance, storage

ROOT = Path(__file__).parents[2]
SBOM = "/usr/share/scribe/sbom.cdx.json"
PROGRAMS = {"/opt/scribe/bin/python", "/opt/scribe/bin/scribe", "/usr/local/bin/python3.13"}
PYTHON = {"python_version": "3.13", "python_full_version": "3.13.0"}
EXPORTER = "service.observability.otlp"
ONLY_ELSEWHERE = {
    *(
        "typer._click._winconsole",
        "rich._win32_console",
        "rich._windows_renderer",
        "shellingham.nt",
    ),  # Windows
    "dotenv.cli",  # ends the process where python-dotenv[cli] is not installed
}
pytestmark = [
    pytest.mark.needs_debian("buildah", "podman", "runc", "debootstrap"),
    pytest.mark.computes,  # so that not every process of a run waits for one build
    pytest.mark.timeout(900),  # the image is built first
]


def inside(image: str, what: str) -> Any:
    """What tests/image/inside.py tells in a container."""
    code = (ROOT / "tests/image/inside.py").read_text()
    return json.loads(figures.python_in(image, code, arguments=(what,)))


@pytest.fixture(scope="session")
def files(image: str) -> dict[str, Any]:
    found: dict[str, Any] = inside(image, "files")
    return found


def locked() -> dict[str, str]:
    """The versions that requirements/runtime.txt locks for the image's Python."""
    lines = (ROOT / "requirements/runtime.txt").read_text().replace("\\\n", " ").splitlines()
    wanted = [Requirement(line.partition(" --hash")[0]) for line in lines if line and line[0] != "#"]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in wanted
        if each.marker is None or each.marker.evaluate(PYTHON)
    }


def test_of_programs_it_holds_python_and_scribe_alone(files: dict[str, Any]) -> None:
    paths = set(files["paths"])
    folders = ("bin", "sbin")
    assert {path for path in paths if PurePath(path).parent.name in folders} == PROGRAMS
    names = {PurePath(path).name for path in paths}
    assert names & {"sh", "bash", "dash", "busybox", "pip", "ensurepip", "gcc", "cc", "apt", "perl"} == set()


def test_nothing_in_it_may_be_changed_by_its_user(files: dict[str, Any]) -> None:
    assert files["user"] == [10_001, 10_001]
    assert (files["not of root"], files["writable by others"], files["with rights"]) == ([], [], [])


def test_each_module_has_bytecode_that_is_never_checked(files: dict[str, Any]) -> None:
    assert sum(path.endswith(".py") for path in files["paths"]) > 1_500
    assert files["checked or not compiled"] == []


def test_it_holds_neither_tests_nor_a_configuration_of_pip(files: dict[str, Any]) -> None:
    paths = files["paths"]
    assert [
        path for path in paths if re.search(r"pip\.conf|^/run/secrets|^/build|/\.cache|/test/", path)
    ] == []
    assert [path for path in paths if re.search(r"site-packages/(sandbox|tests|tools)\b", path)] == []


def test_neither_its_history_nor_its_files_name_the_hosts_of_packages(image: str) -> None:
    [about] = json.loads(storage.podman("image", "inspect", image))
    kept = [
        "/etc/os-release",
        "/opt/scribe/pyvenv.cfg",
        f"/opt/scribe/lib/python3.13/site-packages/scribe_speech-{service.__version__}.dist-info/direct_url.json",
        SBOM,
    ]
    text = figures.python_in(image, f"print(*(open(each).read() for each in {kept!r}))")
    written = json.dumps(about) + text
    hosts = re.findall(r"https?://([^/\"\s\\]+)", written)
    assert set(hosts) <= {"www.debian.org", "bugs.debian.org", "cyclonedx.org"}
    assert re.search(r"(?i)PIP_|index-url|password|secret=|token", written) is None


def test_it_says_what_it_is_and_what_it_was_built_from(image: str, source: build.Source) -> None:
    [about] = json.loads(storage.podman("image", "inspect", image))
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in about["Labels"].items()}
    assert labels["version"] == service.__version__
    assert labels["revision"] == source.revision
    assert labels["base.digest"] == source.base_digest
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels["base.digest"])
    assert (labels["title"], labels["licenses"]) == ("scribe", "Apache-2.0")
    assert about["Config"]["Entrypoint"] == ["scribe"]
    assert about["Config"]["Cmd"] == ["run"]
    assert about["User"] == "10001:10001"


def test_its_bill_of_materials_lists_exactly_what_is_locked(image: str) -> None:
    document = json.loads(figures.python_in(image, f"print(open({SBOM!r}).read())"))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    listed = {
        each["name"]: each["version"]
        for each in document["components"]
        if each["purl"].startswith("pkg:pypi/")
    }
    assert listed == locked()
    about = document["metadata"]["component"]
    assert (about["name"], about["version"]) == ("scribe-speech", service.__version__)
    others = {each["purl"].partition("@")[0] for each in document["components"]}
    assert {"pkg:generic/python", "pkg:deb/debian/libc6", "pkg:deb/debian/libssl3t64"} <= others


def test_the_statement_of_its_origin_names_what_was_read_and_nothing_else(
    image: str, source: build.Source
) -> None:
    statement = provenance.statement(source, image)
    digest = storage.podman("image", "inspect", "--format", "{{.Digest}}", image).strip()
    assert statement["subject"] == [{"name": image, "digest": {"sha256": digest.removeprefix("sha256:")}}]
    found = {
        each["name"]: each["digest"]
        for each in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    }
    assert found["source"] == {"gitCommit": source.revision.removesuffix("-dirty")}
    assert "requirements/runtime.txt" in found


def test_every_module_of_the_service_and_of_its_packages_can_be_imported(image: str) -> None:
    answer = inside(image, "imports")
    ours = [path for path in (ROOT / "service").rglob("*.py") if path.name != "__main__.py"]
    assert answer["counts"]["scribe-speech"] == len(ours)
    assert {canonicalize_name(name) for name in answer["counts"]} == {"scribe-speech", *locked()}
    absent = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
    known = importlib.metadata.packages_distributions()
    unexplained = {
        module: error
        for module, error in answer["failed"].items()
        if module not in ONLY_ELSEWHERE
        and not (
            (found := absent.match(error))
            and not {canonicalize_name(each) for each in known.get(found[1], ())} & locked().keys()
        )
    }
    assert unexplained == {}
    # The exporter is the extra `otel`, which the image holds only if `EXTRAS` asks for it.
    assert [module for module in answer["failed"] if module.startswith("service")] == [EXPORTER]


def test_it_is_small_and_its_imports_are_cheap(image: str) -> None:
    measured = figures.measure(image)
    print(measured)
    assert measured.size_mb <= figures.MOST_MB
    assert measured.archive_mb <= figures.MOST_ARCHIVE_MB
    # A bound on the work, not on the time: without bytecode the imports take four times as long.
    assert measured.import_seconds <= 3 * figures.MOST_IMPORT_SECONDS
