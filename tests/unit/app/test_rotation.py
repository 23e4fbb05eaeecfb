"""A secret's file is read again and again; what is of no use changes nothing."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event

import pytest
from pydantic import SecretStr

from service.app.rotation import API_KEY, CERTIFICATES, CHECK_SECONDS, PASSWORD, Kind, Rotation
from service.errors import ConfigError
from service.observability import log
from service.settings import load
from tests.fakes.clock import FakeClock, LeapingLoop

OLD, NEW = "sk-old-0123456789", "sk-new-0123456789"


class Place:
    """A key's file, the keys that were passed on, and what was logged."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "key"
        self.file.write_text(OLD)
        self.used: list[str] = []
        self.events: list[str] = []
        self.clock = FakeClock()
        self.ticks = 0
        monkeypatch.setattr(log, "write", lambda event, **_fields: self.events.append(event.name))

    def use(self, key: SecretStr) -> None:
        """Take a key, as the provider does."""
        if " " in key.get_secret_value():
            raise ConfigError("not a key")
        self.used.append(key.get_secret_value())

    def tick(self) -> None:
        """Count a turn."""
        self.ticks += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the file meanwhile."""
        read = load({"SCRIBE_PROVIDER__API_KEY_FILE": str(self.file)}).provider.key
        rotation = Rotation(API_KEY, read, SecretStr(OLD), self.use, self.clock)
        task = asyncio.create_task(rotation.run(self.tick))
        try:
            yield
        finally:
            task.cancel()

    async def checked(self, times: int = 2) -> None:
        """Wait until the file was read so often."""
        await self.clock.sleep(times * (CHECK_SECONDS + 1))


def play(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    """Play the scene in time that leaps."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(scene())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_a_new_key_is_used_once_and_an_equal_one_never(place: Place) -> None:
    async def scene() -> None:
        async with place.running():
            await place.checked()
            assert place.used == []
            place.file.write_text(f"{NEW}\n")
            await place.checked(4)
            place.file.write_text(OLD)
            await place.checked()

    play(scene)
    assert place.used == [NEW, OLD]
    assert place.events == ["key_replaced", "key_replaced"]
    assert place.ticks >= 8


@pytest.mark.parametrize("content", [None, "", "two words", "\xff"])
def test_what_is_no_key_changes_nothing_and_is_reported_once(place: Place, content: str | None) -> None:
    async def scene() -> None:
        async with place.running():
            if content is None:
                place.file.unlink()
            else:
                place.file.write_bytes(content.encode("latin-1"))
            await place.checked(5)
            assert (place.used, place.events) == ([], ["key_refused"])
            place.file.write_text(OLD)
            await place.checked()
            assert (place.used, place.events) == ([], ["key_refused"])
            place.file.write_text("two words")
            await place.checked()
            assert place.events == ["key_refused", "key_refused"]
            place.file.write_text(NEW)
            await place.checked()

    play(scene)
    assert (place.used, place.events[-1]) == ([NEW], "key_replaced")


async def test_a_file_system_that_hangs_takes_one_thread_and_not_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.app.rotation.CHECK_SECONDS", 0.01)
    answers, reads, ticks = Event(), 0, 0

    def read() -> SecretStr:
        nonlocal reads
        reads += 1
        answers.wait(30)
        return SecretStr(OLD)

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    class Clock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    rotation = Rotation(API_KEY, read, SecretStr(OLD), lambda _key: None, Clock())
    task = asyncio.create_task(rotation.run(tick))
    async with asyncio.timeout(30):
        while ticks < 5:
            await asyncio.sleep(0.01)
    assert reads == 1
    answers.set()
    task.cancel()


def test_a_file_system_that_hangs_does_not_keep_the_process_from_its_end() -> None:
    """`asyncio.run` waits for the threads of `asyncio.to_thread`, and so does Python at its exit."""
    program = """
import asyncio, threading
from service.read_aside import read_aside

async def main():
    await asyncio.wait({read_aside(threading.Event().wait)}, timeout=0.01)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)


@pytest.mark.parametrize(("kind", "what"), [(PASSWORD, "password"), (CERTIFICATES, "certificates")])
def test_what_kafka_is_shown_is_replaced_likewise_and_named(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, what: str
) -> None:
    lines: list[tuple[str, object]] = []
    monkeypatch.setattr(log, "write", lambda event, **fields: lines.append((event.name, fields["what"])))
    found, used, clock = ["old"], list[str](), FakeClock()

    def read() -> str:
        if not found[0]:
            raise ConfigError("the file is empty")
        return found[0]

    async def scene() -> None:
        task = asyncio.create_task(Rotation(kind, read, "old", used.append, clock).run(lambda: None))
        for value in ("", "new"):
            found[0] = value
            await clock.sleep(3 * (CHECK_SECONDS + 1))
        task.cancel()

    play(scene)
    assert used == ["new"]
    assert lines == [("kafka_login_refused", what), ("kafka_login_replaced", what)]
