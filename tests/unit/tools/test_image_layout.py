"""The parts that lay out the image's files: bytecode, libraries, the bill of materials."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from tools.image.layout import base, bytecode, libraries, sbom

MODULE = 'KINDS = frozenset({"a", "b", "c", "d"})\n\n\ndef f(kind):\n    return kind in {"x", "y", "z"}\n'


def tree(folder: Path) -> Path:
    module = folder / "opt/package/module.py"
    module.parent.mkdir(parents=True)
    module.write_text(MODULE)
    return module


def test_bytecode_is_taken_without_its_source_and_names_the_path_in_the_image(
    tmp_path: Path,
) -> None:
    module = tree(tmp_path)
    bytecode.compile_tree(tmp_path)
    compiled = Path(cache_from_source(str(module))).read_bytes()
    assert int.from_bytes(compiled[4:8], "little") == 0b01  # PEP 552: by hash, and never checked
    assert b"/opt/package/module.py" in compiled
    assert str(tmp_path).encode() not in compiled


def test_two_processes_with_one_seed_write_the_same_bytecode(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from tools.image.layout.bytecode import compile_tree
compile_tree(Path(sys.argv[1]))
"""
    digests = set()
    for name in ("one", "two"):
        module = tree(tmp_path / name)
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)], env=environment, check=True, timeout=60
        )
        digests.add(hashlib.sha256(Path(cache_from_source(str(module))).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_module_that_cannot_be_compiled_ends_the_build(tmp_path: Path) -> None:
    tree(tmp_path).write_text("def (:\n")
    with pytest.raises(SystemExit, match="cannot be compiled"):
        bytecode.compile_tree(tmp_path)


def test_pip_and_what_a_compiler_needs_stay_out(tmp_path: Path) -> None:
    names = [
        "ensurepip",
        "config-3.13-x86_64-linux-gnu",
        "site-packages",
        "test",
        "_testcapi.so",
        "json",
        "ssl.py",
    ]
    ignored = shutil.ignore_patterns(*base.UNUSED)(str(tmp_path), names)
    assert set(names) - ignored == {"json", "ssl.py"}


@pytest.mark.skipif(sys.platform != "linux", reason="ldd is of Linux")
class TestLibraries:
    def test_the_loader_and_the_libraries_of_a_program_are_found(self) -> None:
        found = {path.name for path in libraries.needed_by([Path(sys.executable).resolve()])}
        assert "libc.so.6" in found
        assert any(name.startswith("ld-") for name in found)

    def test_a_library_that_is_missing_ends_the_build(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ldd = tmp_path / "ldd"
        ldd.write_text(
            "#!/bin/sh\necho '\tlibc.so.6 => /lib/libc.so.6 (0x00)'\necho '\tlibrt.so.1 => not found'\n"
        )
        ldd.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(SystemExit, match=r"librt\.so\.1"):
            libraries.needed_by([Path(sys.executable)])

    def test_a_package_is_named_once_and_a_diversion_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        query = tmp_path / "dpkg-query"
        query.write_text(
            '#!/bin/sh\nif [ "$1" = --search ]; then\n'
            'echo "diversion by libreadline8t64 from: $2"; echo "libc6:amd64: $2"\n'
            'else echo "Package: $2"; fi\n'
        )
        query.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert libraries.debian_packages([Path("/usr/lib/libc.so.6")]) == {"libc6": "Package: libc6\n"}


def test_the_bill_of_materials_names_packages_python_and_libraries(tmp_path: Path) -> None:
    site = tmp_path / "venv/lib/python3.13/site-packages"
    for name, version in (("Some_Package", "1.2"), ("scribe-speech", "0.1.0")):
        about = site / f"{name}-{version}.dist-info/METADATA"
        about.parent.mkdir(parents=True)
        about.write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n"
        )
    status = tmp_path / "base/var/lib/dpkg/status.d/libc6"
    status.parent.mkdir(parents=True)
    status.write_text("Package: libc6\nArchitecture: amd64\nVersion: 2.41-12+deb13u1\n")
    (tmp_path / "base/etc").mkdir()
    (tmp_path / "base/etc/os-release").write_text('ID=debian\nVERSION_ID="13"\n')

    sbom.write(tmp_path / "out/sbom.json", tmp_path / "venv", tmp_path / "base")
    document = json.loads((tmp_path / "out/sbom.json").read_text())
    package, python, debian = document["components"]
    assert (package["purl"], package["licenses"]) == ("pkg:pypi/some-package@1.2", [{"expression": "MIT"}])
    assert python["purl"].startswith("pkg:generic/python@3.")
    assert debian["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13"
    assert document["metadata"]["component"]["name"] == "scribe-speech"
