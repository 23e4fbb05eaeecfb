"""`scribe bundle`: what a bug report needs, as one archive, without secrets, URL queries or transcripts."""

import asyncio
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.app.document_redactor import DocumentRedactor
from service.cli import client
from service.cli.bundle_parts import Form, Part, log_part, parts_of
from service.cli.doctor import examine, read_settings
from service.cli.exit_codes import ExitCode, sentences
from service.cli.findings import Finding
from service.cli.pages import base_of
from service.cli.status import Urls
from service.cli.tables import Output, OutputForm, plain, print_json, time_of
from service.clock import SYSTEM_CLOCK
from service.settings import Settings

STREAM = "-"
File = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE|-", help="The archive to write, or - for standard output."),
]
LogFile = Annotated[
    str | None,
    typer.Option("--log", metavar="FILE|-", help="Add the end of this log of the service (JSON lines)."),
]


def bundle(urls: Urls = None, file: File = None, log: LogFile = None, form: Output = OutputForm.TEXT) -> None:
    """Write what a bug report needs to one archive, without secrets.

    Versions, settings, the output of `doctor`, the pages of replicas, policies of the topics. Look through it
    before you publish it: it names hosts, topics, and ids of requests.
    """
    redactor, target = DocumentRedactor(os.environ), _target(file)
    added = [] if log is None else [_log(log, redactor)]
    with sentences():
        findings: list[Finding] = []
        settings = read_settings(findings.append)
        own = [] if settings is None or not settings.http.port else [f"http://127.0.0.1:{settings.http.port}"]
        bases = [base_of(url) for url in urls or own]
        parts = [*asyncio.run(_gathered(settings, findings, bases)), *added]
    archive = _archive(parts, redactor)
    if target is None:
        sys.stdout.buffer.write(archive)
    else:
        _write(target, archive)
    _report(target, parts, redactor, form)


async def _gathered(settings: Settings | None, findings: list[Finding], bases: Sequence[str]) -> list[Part]:
    if settings is not None:
        client.silence_library()
        await examine(settings, findings.append)
    return await parts_of(os.environ, settings, findings, bases)


def _target(file: str | None) -> Path | None:
    """Where to write; None for standard output. Refuses to replace a file."""
    if file == STREAM:
        return None
    seconds, _, _ = (time_of(SYSTEM_CLOCK.wall_ms()) or "").partition(".")
    path = Path(file or f"scribe-bundle-{re.sub('[^0-9T]', '', seconds)}.tar.gz")
    if path.exists():
        raise typer.BadParameter(f"{path} is there already", param_hint="--file")
    return path


def _log(name: str, redactor: DocumentRedactor) -> Part:
    try:
        if name == STREAM:
            return log_part(sys.stdin.buffer, redactor)
        with Path(name).open("rb") as stream:
            return log_part(stream, redactor)
    except OSError as error:
        raise typer.BadParameter(f"{name} cannot be read ({error.strerror})", param_hint="--log") from None


def _archive(parts: Sequence[Part], redactor: DocumentRedactor) -> bytes:
    """The parts, redacted: what is not redacted here leaves the process nowhere."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part in parts:
            content = _redacted(part, redactor).encode(errors="replace")
            entry = tarfile.TarInfo(f"scribe-bundle/{part.name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, SYSTEM_CLOCK.wall_ms() // 1000
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _redacted(part: Part, redactor: DocumentRedactor) -> str:
    if part.form is Form.DOCUMENT:
        return json.dumps(redactor.document(part.content), ensure_ascii=False, indent=2)
    if part.form is Form.LINES:
        return redactor.lines(str(part.content))
    safe = map(redactor.log_line, str(part.content).splitlines())
    return "".join(f"{line}\n" for line in safe if line is not None)


def _write(path: Path, archive: bytes) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(archive)
    except OSError as error:
        typer.echo(
            f"scribe: {path} cannot be written ({error.strerror}); --file names another place", err=True
        )
        raise typer.Exit(ExitCode.FAILED) from None


def _report(path: Path | None, parts: Sequence[Part], redactor: DocumentRedactor, form: OutputForm) -> None:
    notes = {part.name: str(redactor.document(part.note)) for part in parts}
    if path is not None and form is OutputForm.JSON:
        print_json({"file": str(path), "parts": {**notes}})
        return
    for name, note in notes.items():
        typer.echo(plain(f"{name:16}{note}"), err=True)
    typer.echo("look through it before you publish it: it names hosts, topics and ids of requests", err=True)
    if path is not None:
        typer.echo(str(path))
