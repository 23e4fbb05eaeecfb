"""How far a run is: what the simulator's output in the log says of the recogniser's way through each file."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_BEGINNING = b'{"heard":'
_MOST_BYTES = 1024 * 1024
"""Of the log, read at a time."""


class Progress:
    """Reads on in the log, and puts into words what there is to say. `now` is any clock in seconds."""

    def __init__(self, log_path: Path, names: Mapping[str, str], now: Callable[[], float]) -> None:
        self._log_path = log_path
        self._names = names
        """What to call each file, by its URL."""
        self._now = now
        self._began = now()
        self._offset = 0
        self._heard: dict[str, tuple[int, int]] = {}
        self._done: set[str] = set()

    def finish(self, url: str) -> None:
        """This file is done, whatever came of it."""
        self._done.add(url)

    def words(self) -> str:
        """How many files are done, for how long the run lasts, and how much of each open file is heard."""
        self._read_on()
        lasted = _clock(self._now() - self._began)
        counted = f"Transcribing ({len(self._done)} of {len(self._names)} done, {lasted})"
        ways = [
            f"{self._names[url]}: {_clock(seconds)} of {_clock(length)} heard"
            for url, (seconds, length) in self._heard.items()
            if url not in self._done
        ]
        return ": ".join([counted, "; ".join(ways)]) if ways else counted

    def _read_on(self) -> None:
        with self._log_path.open("rb") as log:
            log.seek(self._offset)
            whole, newline, _ = log.read(_MOST_BYTES).rpartition(b"\n")
        self._offset += len(whole + newline)
        for line in whole.splitlines():
            if line.startswith(_BEGINNING):
                self._note(line)

    def _note(self, line: bytes) -> None:
        """Others write to this log too, and may break a line."""
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            if said["heard"] in self._names:
                self._heard[said["heard"]] = (int(said["seconds"]), int(said["of"]))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
