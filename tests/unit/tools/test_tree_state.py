"""What is known by its digest is another as soon as anything changes that a test may hang on."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.tree_state import digest_of


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that git knows, with a file that it does not ignore and one that it does."""
    (tmp_path / "a.py").write_text("one")
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "b.log").write_text("1")
    subprocess.run(["git", "init", "-q", tmp_path], check=True, timeout=120)
    subprocess.run(["git", "-C", tmp_path, "add", "."], check=True, timeout=120)
    return tmp_path


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda tree: (tree / name).write_text(text)


def link(tree: Path) -> None:
    (tree / "a.py").unlink()
    (tree / "a.py").symlink_to("one")


CHANGES: dict[str, Callable[[Path], object]] = {
    "other content": write("a.py", "two"),
    "no content": write("a.py", ""),
    "a file more, not yet added": write("c.py", ""),
    "a file less": lambda tree: (tree / "a.py").unlink(),
    "another name": lambda tree: (tree / "a.py").rename(tree / "c.py"),
    "content that moves to a name": lambda tree: (tree / "a.py").rename(tree / "a.pyone"),
    "a program": lambda tree: (tree / "a.py").chmod(0o755),
    "a link in its place": link,
    "what git ignores": write(".gitignore", "*.log\n#"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_of_the_tree_makes_another_state(tree: Path, change: Callable[[Path], object]) -> None:
    before = digest_of(tree)
    change(tree)
    assert digest_of(tree) != before


def test_nothing_changed_and_what_git_ignores_make_the_same_state(tree: Path) -> None:
    before = digest_of(tree)
    (tree / "b.log").write_text("2")
    os.utime(tree / "a.py", (0, 0))
    subprocess.run(["git", "-C", tree, "rm", "-q", "--cached", "a.py"], check=True, timeout=120)
    assert digest_of(tree) == before


def test_another_environment_makes_another_state(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {digest_of(tree)}
    monkeypatch.setenv("TEST_KAFKA", "127.0.0.1:9")
    found.add(digest_of(tree))
    monkeypatch.setattr("sys.version", "another")
    found.add(digest_of(tree))
    monkeypatch.setattr("tools.tree_state.distributions", list)
    found.add(digest_of(tree))
    assert len(found) == 4


def test_a_tree_that_git_does_not_know_has_no_state(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        digest_of(tmp_path)
