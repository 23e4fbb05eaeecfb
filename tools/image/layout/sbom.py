"""Writes what the image consists of, as a CycloneDX 1.6 document (JSON).

It has neither a time nor a serial number: the same content has the same document.
"""

import json
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

SERVICE = "scribe-speech"

Component = dict[str, Any]


def write(path: Path, venv: Path, base: Path) -> None:
    """The packages of the environment, Python, and the Debian packages that the tree of the base names."""
    (site,) = venv.glob("lib/python3.*/site-packages")
    found = {_name(each): each for each in distributions(path=[str(site)])}
    service = found.pop(SERVICE)
    components = [_of_package(each) for _, each in sorted(found.items())]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**_of_package(service), "type": "application"}},
        "components": [*components, _of_python(), *_of_debian(base)],
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _name(package: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()


def _of_package(package: Distribution) -> Component:
    purl = f"pkg:pypi/{_name(package)}@{package.version}"
    found = {**_component(_name(package), package.version, purl), "licenses": _licenses(package)}
    return {key: value for key, value in found.items() if value}


def _licenses(package: Distribution) -> list[Mapping[str, Any]]:
    """What the package says of itself: an SPDX expression, or else its classifiers."""
    expression = package.metadata.json.get("license_expression")
    if expression:
        return [{"expression": expression}]
    classifiers = package.metadata.get_all("Classifier") or []
    names = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]
    return [{"license": {"name": name}} for name in names]


def _of_python() -> Component:
    version = platform.python_version()
    return _component("python", version, f"pkg:generic/python@{version}")


def _of_debian(base: Path) -> Iterator[Component]:
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', (base / "etc/os-release").read_text(), re.MULTILINE))
    for status in sorted((base / "var/lib/dpkg/status.d").iterdir()):
        said = dict(re.findall(r"^([\w-]+): (.*)", status.read_text(), re.MULTILINE))
        name, version = said["Package"], said["Version"]
        where = f"arch={said['Architecture']}&distro={release['ID']}-{release.get('VERSION_ID', 'unstable')}"
        purl = f"pkg:deb/{release['ID']}/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?{where}"
        yield _component(name, version, purl)


def _component(name: str, version: str, purl: str) -> Component:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
