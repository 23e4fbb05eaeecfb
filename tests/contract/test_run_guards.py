"""What every run of the tests is held to, shown by runs within a run: they fail when they should.

Each guard is alone in the inner run, so that it cannot lean on another.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("loopback", source, *arguments)`: pytest with that guard over tests with this source."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # none is needed, and each takes its time

    def run_inner(guard: str, source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        plugin = f"tests.plugins.{guard}"
        return pytester.runpytest_subprocess("-p", plugin, "-p", "no:cacheprovider", *arguments, timeout=150)

    return run_inner


def test_a_run_that_keeps_to_itself_is_green(run: Run) -> None:
    source = """
        import socket, subprocess, tempfile

        def test_clean():
            with socket.create_server(("127.0.0.1", 0)) as server:
                with socket.create_connection(server.getsockname()):
                    pass
            assert socket.getaddrinfo("localhost", 80)
            assert socket.getaddrinfo("192.0.2.1", 80)  # an address needs no resolver
            subprocess.run(["true"])
            with tempfile.TemporaryDirectory(prefix="scribe-"):
                pass

        async def coroutine(): ...
    """
    for guard in ("loopback", "leftovers"):
        result = run(guard, source)
        assert result.ret == pytest.ExitCode.OK
        result.assert_outcomes(passed=1)


def test_no_socket_reaches_out(run: Run) -> None:
    result = run(
        "loopback",
        """
        import asyncio, socket, urllib.request
        import pytest

        def test_connect(): socket.create_connection(("192.0.2.1", 80), timeout=1)

        def test_connect_ex(): socket.socket().connect_ex(("192.0.2.1", 80))

        def test_v6(): socket.socket(socket.AF_INET6).connect(("::ffff:192.0.2.1", 80))

        def test_datagram(): socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53))

        def test_name(): socket.getaddrinfo("example.org", 80)

        def test_http(): urllib.request.urlopen("http://example.org", timeout=1)

        def test_loop(): asyncio.run(asyncio.open_connection("192.0.2.1", 80))

        def test_swallowed():
            try:
                socket.create_connection(("192.0.2.1", 80))
            except Exception:
                pass

        def test_no_such_name():
            with pytest.raises(socket.gaierror):
                socket.getaddrinfo("nowhere.invalid", 80)
        """,
    )
    result.assert_outcomes(failed=8, passed=1)
    result.stdout.fnmatch_lines(["*tests talk to loopback only, and this one reached for 192.0.2.1*"])
    result.stdout.fnmatch_lines(["*the test reached for 192.0.2.1, and went on*"])


@pytest.mark.computes
def test_a_process_left_behind_fails_the_run_also_when_its_parent_is_gone(run: Run) -> None:
    result = run(
        "leftovers",
        """
        import subprocess

        def test_child(): subprocess.Popen(["sleep", "51"])

        def test_daemon(): subprocess.run(["sh", "-c", "sleep 52 & sleep 0"], stdout=subprocess.DEVNULL)
        """,
    )
    left = re.findall(r"^process (\d+): (sleep \d+)$", result.stdout.str(), re.MULTILINE)
    for pid, _command in left:
        os.kill(int(pid), signal.SIGKILL)
    result.assert_outcomes(passed=2)
    assert {command for _pid, command in left} == {"sleep 51", "sleep 52"}
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_listening_port_left_behind_fails_the_run(run: Run) -> None:
    result = run(
        "leftovers",
        """
        import socket

        KEPT = []

        def test_port(): KEPT.append(socket.create_server(("127.0.0.1", 0)))
        """,
    )
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"listening port \d+"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_temporary_folder_left_behind_fails_the_run_and_is_removed(run: Run) -> None:
    result = run(
        "leftovers",
        """
        import tempfile

        def test_folder(): print("made in", tempfile.mkdtemp(prefix="scribe-left-"))
        """,
        "-s",
    )
    result.stdout.fnmatch_lines(["in the temporary folder: scribe-left-*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (made,) = re.findall(r"made in (\S+)", result.stdout.str())
    assert not Path(made).exists()


def test_what_a_worker_of_xdist_leaves_behind_fails_the_run(run: Run) -> None:
    source = """
        import tempfile

        def test_folder(): tempfile.mkdtemp(prefix="scribe-left-")
    """
    result = run("leftovers", source, "-p", "xdist", "-n", "1")
    result.assert_outcomes(passed=1)
    left = [line for line in result.outlines if line.startswith("in the temporary folder: scribe-left-")]
    assert len(left) == 1
    assert result.ret == pytest.ExitCode.TESTS_FAILED


SKIPPING = """
    import pytest

    @pytest.mark.needs_debian("no-such-program")
    def test_marked(): raise AssertionError

    @pytest.mark.needs_debian("sh")
    def test_that_has_its_program(): pass

    def test_by_itself(): pytest.skip("no reason")

    @pytest.mark.xfail(reason="a bug", strict=True)
    def test_expected_to_fail(): raise AssertionError
"""
TOLD = [
    "Skipped 1: missing here, and packaged by Debian: no-such-program.",
    "Skipped 1: no reason",
    "Skipped 1: expected to fail: a bug",
]


def test_skipped_tests_are_reported_last(run: Run) -> None:
    result = run("skips", SKIPPING)
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    assert result.outlines[-3:] == TOLD


def test_without_skips_a_skip_fails_the_run(run: Run, pytester: pytest.Pytester) -> None:
    result = run("skips", SKIPPING, "--no-skips", "--skips-to=told.txt")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = (pytester.path / "told.txt").read_text().splitlines()
    assert told == [*TOLD, "Nothing may be skipped in this run, so it failed."]


def test_a_run_for_python_only_skips_what_needs_more_though_it_be_here(run: Run) -> None:
    """It stays short on every machine; `make test-all` is the one that runs everything."""
    source = "import pytest\n@pytest.mark.needs_debian('sh')\ndef test_with_a_tool(): pass\n"
    run("skips", source).assert_outcomes(passed=1)
    result = run("skips", source, "--python-only")
    result.assert_outcomes(skipped=1)
    assert "`make test-all`" in result.outlines[-1]


@pytest.mark.computes
def test_workers_of_xdist_leave_the_report_to_the_run(run: Run) -> None:
    result = run("skips", SKIPPING, "-p", "xdist", "-n", "1")
    assert [line for line in result.outlines if line.startswith("Skipped ")] == TOLD


def test_a_module_that_is_skipped_whole_is_reported_too(run: Run) -> None:
    result = run("skips", "import pytest\npytest.skip('not here', allow_module_level=True)\n", "--no-skips")
    assert result.ret != pytest.ExitCode.OK
    assert "Skipped 1: not here" in result.outlines[-2:]


def test_keys_proxies_and_settings_of_the_outer_environment_are_gone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = ["DASHSCOPE_API_KEY", "SCRIBE_LOG__LEVEL", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy"]
    for name in taken:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TEST_KAFKA", "127.0.0.1:9")
    result = run(
        "environment",
        f"""
        import os

        def test_gone(): assert not set(os.environ) & set({taken})

        def test_kept(): assert os.environ["TEST_KAFKA"]
        """,
    )
    result.assert_outcomes(passed=2)


HALF_PASSED = """
    import pytest

    def ran(name):
        with open("ran.txt", "a") as file: file.write(name + chr(10))

    @pytest.fixture
    def torn(): yield; TORN

    @pytest.mark.parametrize("n", [1, 2])
    def test_good(n): ran(f"good {n}")

    def test_good_also_with_more(torn): ran("torn")

    def test_skipped(): pytest.skip("no Java")

    @pytest.mark.xfail(reason="a bug", strict=True)
    def test_expected_to_fail(): raise AssertionError
"""


@pytest.mark.parametrize(
    "workers",
    [(), pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.computes)],
    ids=["alone", "xdist"],
)
def test_what_passed_is_left_out_of_the_next_run_and_nothing_else(
    run: Run, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    source = HALF_PASSED.replace("TORN", "")
    run("passed", source, "--passed-to=passed.txt", *workers).assert_outcomes(passed=3, skipped=1, xfailed=1)
    named = (pytester.path / "passed.txt").read_text().splitlines()
    assert [name.partition("::")[2] for name in named] == [
        "test_good[1]",
        "test_good[2]",
        "test_good_also_with_more",
    ]
    (pytester.path / "passed.txt").write_text(f"{named[0]}\n")
    (pytester.path / "ran.txt").unlink()
    again = run("passed", source, "--leave-out=passed.txt", *workers)
    again.assert_outcomes(passed=2, skipped=1, xfailed=1, deselected=0 if workers else 1)
    assert sorted((pytester.path / "ran.txt").read_text().splitlines()) == ["good 2", "torn"]
    assert "Left out 1 tests that have just passed." in again.outlines


@pytest.mark.parametrize("broken", ["raise RuntimeError", "assert False"])
def test_a_run_that_failed_leaves_no_word_of_what_passed(
    run: Run, pytester: pytest.Pytester, broken: str
) -> None:
    result = run("passed", HALF_PASSED.replace("TORN", broken), "--passed-to=passed.txt")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (pytester.path / "passed.txt").exists()


def test_a_run_that_left_something_behind_leaves_no_word_of_what_passed(
    run: Run, pytester: pytest.Pytester
) -> None:
    source = "import tempfile\ndef test_folder(): tempfile.mkdtemp(prefix='scribe-left-')\n"
    result = run("passed", source, "-p", "tests.plugins.leftovers", "--passed-to=passed.txt")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (pytester.path / "passed.txt").exists()
