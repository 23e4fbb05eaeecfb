"""What the demo shows: a few lines, the transcripts with their times, and a sign that it is at work.

Text of others is shown without control characters, so that it cannot drive the terminal.
"""

import io
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from sandbox.demo.advice import advice

PROGRESS_SECONDS = 15.0
"""Between two lines about what goes on, where there is no terminal."""


class Screen:
    """Standard output for what was asked for, standard error for what went wrong."""

    def __init__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal may know fewer signs than a transcript has
                stream.reconfigure(errors="replace")
        self._out = Console(highlight=False, emoji=False)
        self._err = Console(highlight=False, emoji=False, stderr=True)
        self._told_at = time.monotonic()

    def say(self, text: str = "", style: str = "") -> None:
        """One line, which a terminal may break between words."""
        self._out.print(Text(plain(text), style), soft_wrap=not self._out.is_terminal)

    def complain(self, text: str) -> None:
        """One line on standard error."""
        self._err.print(Text(plain(text), "red"), soft_wrap=not self._err.is_terminal)

    def working(self, text: str) -> Status:
        """A context: a sign of life with this text, on terminals alone; `update` changes the text."""
        return self._out.status(Text(text, "dim"))

    def progress(self, status: Status, text: str) -> None:
        """What goes on: under the sign of life, or, where there is no terminal, as a line now and then."""
        if self._out.is_terminal:
            status.update(Text(plain(text), "dim"))
        elif time.monotonic() - self._told_at >= PROGRESS_SECONDS:
            self._told_at = time.monotonic()
            self.say(text)

    def show(self, name: str, lines: Iterable[tuple[str, str]], style: str = "bold") -> None:
        """A heading and what stands under it, each line as (times or nothing, text)."""
        self.say(name, style)
        for times, text in lines:
            self._line(times, text)

    def _line(self, times: str, text: str) -> None:
        if not self._out.is_terminal:
            self._out.print(Text("  " + f"{times} {plain(text)}".strip()), soft_wrap=True)
            return
        grid = Table.grid(padding=(0, 1))  # keeps the lines of a long sentence under its beginning
        grid.add_row(" ", *([Text(times, "cyan", no_wrap=True)] if times else []), Text(plain(text)))
        self._out.print(grid)


def transcript_lines(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(times, text) of each sentence of a result; times are empty where a line has none."""
    channels = body["transcript"]["channels"]
    for channel in channels:
        if len(channels) > 1:
            yield "", f"channel {channel['channel_id']}"
        yield from _sentences(channel)
    for warning in body.get("warnings", ()):  # silence is one of them
        yield "", f"note: {warning['message']}"


def failure_lines(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Code and message of a failure, and what its code asks the user to do."""
    provider_code = body.get("provider_code")
    said = "" if body["message"] == provider_code else f": {body['message']}"
    yield "", f"failed: {body['code']}{f' ({provider_code})' if provider_code else ''}{said}"
    yield "", advice(body["code"])


def span(begin_ms: int, end_ms: int) -> str:
    """`[0.5 - 3.2]`, in seconds; from a minute on as `[1:02.5 - 1:04.0]`."""
    return f"[{_clock(begin_ms)} - {_clock(end_ms)}]"


def plain(text: str) -> str:
    """The text without control characters."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") else char for char in text)


def _sentences(channel: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    sentences: Sequence[Mapping[str, Any]] | None = channel["sentences"]
    if sentences is None:  # left out, for the record would have been too large
        yield "", channel["text"]
    for sentence in sentences or ():
        yield span(sentence["begin_ms"], sentence["end_ms"]), sentence["text"].strip()


def _clock(time_ms: int) -> str:
    minutes, tenths = divmod(round(time_ms / 100), 600)
    return f"{minutes}:{tenths / 10:04.1f}" if minutes else f"{tenths / 10:.1f}"
