"""Decides from the environment what the demo does: which files, which provider, and what must be said first.

It looks at files, and starts and sends nothing.
"""

import glob
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import sandbox

KEY = "DASHSCOPE_API_KEY"
BASE_URL = "SCRIBE_PROVIDER__BASE_URL"
MODEL = "fun-asr"

_SPEECH = Path(sandbox.__file__).with_name("speech")
_PASSED_ON = ("SCRIBE_PROVIDER__", "SCRIBE_FETCH__")
_NOT_PASSED_ON = ("SCRIBE_PROVIDER__API_KEY", "SCRIBE_PROVIDER__API_KEY_FILE")
_SCHEMES = ("https", "http", "oss")


class DemoError(Exception):
    """The demo cannot go on; the text is one sentence for a person, `code` the exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Plan:
    """What to do: `files` of this machine go to the simulator, or `urls` to the real provider.

    `provider_settings` is what the service must know of the real one, key included; None for the simulator.
    `notes` are sentences that the user should read.
    """

    files: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()
    is_confirmed: bool = False
    provider_settings: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether it costs money."""
        return bool(self.urls)

    @property
    def names(self) -> tuple[str, ...]:
        """What to call each file on the screen; a URL loses its query, which may hold a signature."""
        if self.is_live:
            return tuple(without_query(url) for url in self.urls)
        return tuple(os.fsencode(path.name).decode(errors="replace") for path in self.files)


def read_plan(environ: Mapping[str, str]) -> Plan:
    """The plan, every file of it there and readable; raises DemoError."""
    audio, urls, key = _words("AUDIO", environ), _words("URLS", environ), environ.get(KEY, "").strip()
    if not urls:
        return Plan(files=_files(audio), notes=_why_simulator(key, audio))
    if audio:
        raise DemoError("AUDIO and URLS exclude each other: name files of this machine or URLs.", 2)
    if not key:
        raise DemoError(
            f"URLS go to the real provider and need {KEY}; files of this machine are named in AUDIO.", 2
        )
    for url in urls:
        if urlsplit(url).scheme not in _SCHEMES:
            raise DemoError(f"{without_query(url)} in URLS is no http or https URL.", 2)
    return Plan(
        urls=tuple(urls),
        is_confirmed=environ.get("CONFIRM") == "1",
        provider_settings={**_passed_on(environ), KEY: key},
    )


def without_query(url: str) -> str:
    """The URL as far as it may be shown."""
    return url.partition("?")[0].partition("#")[0]


def _words(name: str, environ: Mapping[str, str]) -> list[str]:
    try:
        return shlex.split(environ.get(name, ""))
    except ValueError:
        raise DemoError(f"{name} has a quote or a backslash that nothing follows.", 2) from None


def _files(words: Sequence[str]) -> tuple[Path, ...]:
    if not words:
        return tuple(sorted(_SPEECH.glob("*.wav")))
    found = [path for word in words for path in _expanded(word)]
    for path in found:
        _require_readable(path)
    return tuple(found)


def _expanded(word: str) -> list[Path]:
    """What a shell would have made of the word, had the quotes of AUDIO="..." not kept it away."""
    path = Path(os.path.expanduser(word)).absolute()  # noqa: PTH111 - Path's own fails for an unknown user
    matches = [] if path.exists() else sorted(glob.glob(str(path)))  # noqa: PTH207 - takes a whole path
    return [Path(match) for match in matches] or [path]


def _require_readable(path: Path) -> None:
    if not path.exists():
        raise DemoError(f"there is no file {path}.", 2)
    if not path.is_file():
        raise DemoError(f"{path} is not a file.", 2)
    if not os.access(path, os.R_OK):
        raise DemoError(f"{path} may not be read by you.", 2)


def _why_simulator(key: str, audio: Sequence[str]) -> tuple[str, ...]:
    if not key:
        return ()
    where = "put the files on the web and name them" if audio else "name audio on the web"
    return (
        f"{KEY} is not used: files of this machine go to the simulator, since the provider could not fetch"
        f' them. To use it, {where} in URLS="https://...".',
    )


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(_PASSED_ON) and name not in _NOT_PASSED_ON
    }
