"""Where the programs of a test cluster are kept: named for their content, and there only when complete."""

import re
import shutil
from pathlib import Path

import pytest

from sandbox.child import ServerStartError
from sandbox.cluster import programs


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the Go module, and an empty cache."""
    copy = tmp_path / "module"
    shutil.copytree(programs.MODULE, copy)
    monkeypatch.setattr(programs, "MODULE", copy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return copy


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go"])
def test_another_content_of_the_module_is_another_folder(module: Path, name: str) -> None:
    before = programs.find_programs()
    path = module / name
    path.write_text(path.read_text() + "\n")
    after = programs.find_programs()
    assert after.control_plane != before.control_plane
    assert after.prometheus != before.prometheus
    assert after.helm == before.helm


def test_a_build_that_fails_leaves_no_folder_and_says_why(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "go").write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    (broken / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(broken), prepend=":")
    monkeypatch.setattr(programs, "_unpack_clients", lambda folder: None)
    with pytest.raises(ServerStartError, match="no such module"):
        programs.fetch_programs()
    cache = tmp_path / "cache" / "scribe"
    assert [path.name.partition("-")[0] for path in cache.iterdir()] == ["kubernetes"]


def test_the_version_that_the_servers_tell_is_the_one_that_the_module_pins() -> None:
    text = (programs.MODULE / "go.mod").read_text()
    assert re.findall(r"^\tk8s\.io/kubernetes (\S+)$", text, re.MULTILINE) == [programs.KUBERNETES]
    assert (programs.MODULE / "go.sum").read_text().count(f"k8s.io/kubernetes {programs.KUBERNETES} h1:") == 1
