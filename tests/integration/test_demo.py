"""`make demo` as a newcomer meets it: a process, what it prints, how it ends and what is left of it."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
import wave
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import sandbox
from sandbox.demo import servers
from sandbox.demo.files import file_server
from sandbox.demo.log import NAME
from sandbox.demo.plan import DemoError
from sandbox.simulator import SimulatorConfig, serve
from tests.plugins.environment import NO_TRUST

ROOT = Path(sandbox.__file__).parents[1]
SPEECH = ROOT / "sandbox" / "speech"
TEXTS = dict(line.split("\t") for line in (SPEECH / "texts.tsv").read_text().splitlines())
KEY = "sk-demo-canary-0123456789"
LIVE = {"DASHSCOPE_API_KEY": KEY, "URLS": "https://a.example/1.wav", "CONFIRM": "1"}
DEMO_SECONDS = 120.0
CHECK_SECONDS = 0.02


@dataclass(frozen=True)
class Ended:
    """A demo that is over."""

    code: int
    out: str
    err: str
    log: str


@dataclass(frozen=True)
class Demo:
    """A demo while it runs, in a folder of its own."""

    process: asyncio.subprocess.Process
    folder: Path

    @property
    def log(self) -> str:
        """What the servers have written so far."""
        path = self.folder / NAME
        return path.read_text() if path.exists() else ""

    def children(self) -> dict[int, str]:
        """Command lines of the servers, by process id."""
        return dict(_children(self.process.pid))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; fails when the demo is over before."""
        async with asyncio.timeout(DEMO_SECONDS):
            while not condition():
                assert self.process.returncode is None, "the demo ended too early"
                await asyncio.sleep(CHECK_SECONDS)

    async def end(self) -> Ended:
        """Wait for its end, and require that no process and no temporary file is left."""
        children = self.children()
        async with asyncio.timeout(DEMO_SECONDS):
            out, err = await self.process.communicate()
        assert [line for pid, line in children.items() if _is_alive(pid)] == []
        assert list((self.folder / "tmp").iterdir()) == []
        assert self.process.returncode is not None
        return Ended(self.process.returncode, out.decode(), err.decode(), self.log)


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator["Start"]:
    async with starter(tmp_path) as start:
        yield start


class Start:
    """Starts demos."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[asyncio.subprocess.Process] = []

    async def __call__(self, **variables: str) -> Demo:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            **NO_TRUST,
            **variables,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandbox", "demo"),
            cwd=self.folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.started.append(process)
        return Demo(process, self.folder)


@asynccontextmanager
async def starter(folder: Path) -> AsyncIterator[Start]:
    (folder / "tmp").mkdir()
    start = Start(folder)
    try:
        yield start
    finally:
        for process in start.started:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _children(parent: int) -> Iterator[tuple[int, str]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(stat.parent.name), (stat.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it ended while we looked
            continue


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _errors(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Word edits between the two."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def _said(out: str, name: str) -> list[tuple[float, float, str]]:
    """Begin, end and text of the lines under a file's name."""
    under = out.partition(f"\n{name}\n")[2].partition("\n\n")[0].splitlines()
    found = [re.fullmatch(r"  \[(\d+\.\d) - (\d+\.\d)\] (.+)", line) for line in under]
    return [(float(match[1]), float(match[2]), match[3]) for match in found if match]


async def test_the_bundled_recordings_come_out_nearly_word_for_word_with_their_times(demo: Start) -> None:
    ended = await (await demo(DASHSCOPE_API_KEY=KEY, SCRIBE_KAFKA__GROUP_ID="not-ours")).end()

    assert (ended.code, ended.err) == (0, "")
    errors = total = 0
    for name, text in TEXTS.items():
        said = _said(ended.out, name)
        times = [time for begin, end, _ in said for time in (begin, end)]
        assert said, ended.out
        assert times == sorted(times)
        assert times[-1] > 1
        errors += _errors(_words(text), _words(" ".join(line for _, _, line in said)))
        total += len(_words(text))
    assert errors / total <= 0.2, ended.out
    assert "3 of 3 transcribed" in ended.out
    assert "DASHSCOPE_API_KEY is not used" in ended.out
    assert KEY not in ended.out + ended.log
    assert ended.log.count('"event": "job_finished"') == 3
    assert f"What the servers logged is in {demo.folder / NAME}" in ended.out


@pytest.mark.computes
async def test_own_files_are_taken_whatever_their_names_and_one_that_is_no_audio_fails_alone(
    demo: Start,
) -> None:
    odd = "caf\u00e9 #1 100%25 ?&a;$b [x].wav"
    shutil.copy(SPEECH / "austen-0890.wav", demo.folder / odd)
    (demo.folder / "notes.mp3").write_text("no audio at all\n" * 40)
    ended = await (await demo(AUDIO=f"notes.mp3 '{odd}'")).end()

    assert ended.code == 1
    [(_, _, text)] = _said(ended.out, odd)
    assert _errors(_words(TEXTS["austen-0890.wav"]), _words(text)) <= 3
    assert (
        "\nnotes.mp3\n  failed: audio_unusable (UNSUPPORTED_FORMAT)\n  The file holds no audio" in ended.out
    )
    assert "1 of 2 transcribed" in ended.out
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({**LIVE, "SCRIBE_PROVIDER__BASE_URL": "ftp://a.example"}, "SCRIBE_PROVIDER__BASE_URL must be"),
        ({**LIVE, "SCRIBE_PROVIDER__BASE": "https://a.example"}, "SCRIBE_PROVIDER__BASE is not a setting"),
        ({"AUDIO": "no.wav"}, "there is no file "),
        ({"URLS": "https://a.example/1.wav"}, "need DASHSCOPE_API_KEY"),
        ({"AUDIO": "a.wav", "URLS": "https://a.example/1.wav"}, "exclude each other"),
    ],
)
async def test_wrong_usage_is_one_sentence(demo: Start, variables: dict[str, str], sentence: str) -> None:
    ended = await (await demo(**variables)).end()
    assert (ended.code, ended.out, ended.log) == (2, "", "")
    assert ended.err.startswith("make demo: ")
    assert sentence in ended.err
    assert ended.err.count("\n") == 1


class TestProvider:
    """The way to the real provider, with a simulator in its place: the real one was never called."""

    URL = "http://media.test/hello.wav?text=Hello+world.&run=0.1&Signature=urlcanary"

    @pytest.mark.parametrize("confirm", ["", "yes"])
    async def test_without_confirmation_the_cost_is_shown_and_nothing_is_sent(
        self, demo: Start, confirm: str
    ) -> None:
        async with serve(SimulatorConfig(api_keys={KEY: "live"})) as sim:
            variables = {"DASHSCOPE_API_KEY": KEY, "SCRIBE_PROVIDER__BASE_URL": sim.base_url}
            ended = await (await demo(**variables, URLS=self.URL, CONFIRM=confirm)).end()
            assert sim.ledger().calls == []
        assert ended.code == 2
        assert "1 file for 127.0.0.1:" in ended.out
        assert "Estimated cost: USD 0.126 for each hour of speech" in ended.out
        assert ended.err == "Nothing was sent. Add CONFIRM=1 to the same command to send it.\n"
        assert ended.log == ""

    async def test_with_it_each_url_is_sent_once_with_the_key(self, demo: Start) -> None:
        async with serve(SimulatorConfig(api_keys={KEY: "live"}, speed=10)) as sim:
            variables = {
                "DASHSCOPE_API_KEY": KEY,
                "SCRIBE_PROVIDER__BASE_URL": sim.base_url,
                "SCRIBE_FETCH__PLAIN_HTTP_HOSTS": "127.0.0.1",
            }
            ended = await (await demo(**variables, URLS=self.URL, CONFIRM="1")).end()
            assert [entry.task.account for entry in sim.ledger().submits] == ["live"]
            assert sim.ledger().submitted_urls() == {self.URL: 1}
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.index("Estimated cost") < ended.out.index("Hello world.")
        assert "canary" not in ended.out + ended.err + ended.log


def long_recording(folder: Path) -> str:
    """AUDIO that keeps the recogniser busy for minutes, so that no demo ends before the test ends it."""
    with (
        wave.open(str(SPEECH / "austen-0890.wav")) as said,
        wave.open(str(folder / "long.wav"), "wb") as long,
    ):
        long.setparams(said.getparams())
        long.writeframes(said.readframes(said.getnframes()) * 40)
    return "long.wav"


class TestEnding:
    @pytest.mark.computes
    async def test_ctrl_c_while_the_servers_start_leaves_nothing(self, demo: Start) -> None:
        running = await demo()
        await running.until(lambda: any("tansu" in line for line in running.children().values()))
        running.process.send_signal(signal.SIGINT)
        ended = await running.end()
        assert (ended.code, ended.err) == (130, "Stopped; nothing is left running.\n")

    @pytest.mark.parametrize(
        ("number", "code", "moment"),
        [
            (signal.SIGINT, 130, '"change": "taken"'),
            pytest.param(signal.SIGTERM, 143, '"base_url"', marks=pytest.mark.computes),
        ],
    )
    async def test_a_signal_amid_the_work_leaves_nothing_even_when_repeated(
        self, demo: Start, number: signal.Signals, code: int, moment: str
    ) -> None:
        running = await demo(AUDIO=long_recording(demo.folder))
        await running.until(lambda: moment in running.log and len(running.children()) == 3)
        running.process.send_signal(number)
        running.process.send_signal(number)
        ended = await running.end()
        assert (ended.code, ended.err) == (code, "Stopped; nothing is left running.\n")

    @pytest.mark.parametrize("moment_seconds", [0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2])
    async def test_ctrl_c_in_its_first_moments_prints_no_traceback_and_leaves_nothing(
        self, tmp_path: Path, moment_seconds: float
    ) -> None:
        """As a terminal does it: the signal goes to the shell and to all that it has started."""
        process = await asyncio.create_subprocess_exec(
            *(ROOT / "tools" / "demo.sh", sys.executable),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        await asyncio.sleep(moment_seconds)
        children = dict(_children(process.pid))
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(DEMO_SECONDS):
            out, err = await process.communicate()
        assert b"Traceback" not in out + err
        assert b"KeyboardInterrupt" not in out + err
        assert process.returncode in (130, -signal.SIGINT)
        assert [line for pid, line in children.items() if _is_alive(pid)] == []

    async def test_the_demo_by_its_script_ends_with_the_demos_own_code(self, tmp_path: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *(ROOT / "tools" / "demo.sh", sys.executable),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AUDIO": "no.wav"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert (process.returncode, b"there is no file" in err) == (2, True)

    async def test_a_demo_that_is_killed_takes_its_servers_with_it(self, demo: Start) -> None:
        running = await demo(AUDIO=long_recording(demo.folder))
        await running.until(lambda: len(running.children()) == 3)
        children = running.children()
        running.process.kill()
        async with asyncio.timeout(DEMO_SECONDS):
            await running.process.communicate()
            while any(map(_is_alive, children)):
                await asyncio.sleep(CHECK_SECONDS)
        shutil.rmtree(demo.folder / "tmp")  # nobody is left to do it

    async def test_a_server_that_dies_is_named_with_the_log(self, demo: Start) -> None:
        running = await demo(AUDIO=long_recording(demo.folder))
        await running.until(lambda: '"base_url"' in running.log and len(running.children()) == 3)
        [victim] = [pid for pid, line in running.children().items() if "tansu" in line]
        os.kill(victim, signal.SIGKILL)
        ended = await running.end()
        assert ended.code == 1
        assert ended.err == (
            "make demo: the embedded broker ended by itself (killed by signal 9).\n"
            f"What the servers logged is in {demo.folder / NAME}\n"
        )

    async def test_a_broker_that_does_not_run_here_is_a_sentence(self, demo: Start) -> None:
        ended = await (await demo(CALF_TANSU_BIN=str(SPEECH / "texts.tsv"))).end()
        assert ended.code == 1
        assert "make demo: the embedded broker does not run on this machine: " in ended.err
        assert ended.err.count("\n") == 2


class TestParts:
    def test_a_recogniser_that_is_not_installed_is_a_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(servers, "_RECOGNISER_PACKAGES", ("no_such_recogniser",))
        with (
            pytest.raises(
                DemoError, match=r"not installed \(no package no_such_recogniser\): run `make demo`"
            ),
            servers.running(tmp_path, tmp_path / NAME, None),
        ):
            pytest.fail("it must not begin")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port cannot be kept")
    def test_a_reserved_port_goes_to_the_server_that_was_given_it(self) -> None:
        with servers.reserved_port() as port:
            with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
                stranger.bind(("127.0.0.1", port))
            with socket.socket() as told:
                told.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                told.bind(("127.0.0.1", port))
                told.listen()
                socket.create_connection(("127.0.0.1", port)).close()

    async def test_only_the_chosen_files_are_served_and_only_under_their_urls(self, tmp_path: Path) -> None:
        chosen = [tmp_path / "a b%20.wav", tmp_path / "caf\udce9.wav"]
        for path in (*chosen, tmp_path / "private.wav"):
            path.write_bytes(os.fsencode(path.name))
        async with file_server(chosen) as urls, httpx.AsyncClient(trust_env=False) as client:
            for path, url in zip(chosen, urls, strict=True):
                assert re.fullmatch(r"[!-~]+", url)
                assert (await client.get(url)).content == path.read_bytes()
            scheme, _, host, token, _ = urls[0].split("/")
            origin = f"{scheme}//{host}"
            for wrong in ("", "/", f"/{token}", f"/{token}/../private.wav", "/guess/a%20b%2520.wav"):
                assert (await client.get(origin + wrong)).status_code == 404
