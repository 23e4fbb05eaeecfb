"""The parts of a bundle: what a bug report needs. Each is gathered for itself, so that none hides another."""

import importlib.metadata
import platform
import ssl
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import BinaryIO

from pydantic import JsonValue

from service import __version__
from service.app import from_settings
from service.app.document_redactor import DocumentRedactor
from service.cli import pages
from service.cli.findings import Finding, Result, document_of
from service.cli.pages import NoAnswer
from service.cli.status import ask
from service.cli.status import document_of as status_document
from service.errors import ConfigError
from service.frozen import dataclass
from service.kafka.admin.inspection import REQUEST_TIMEOUT_MS, Inspection
from service.settings import Settings
from service.settings.environment import PREFIX

MAX_LOG_BYTES = 4 * 1024 * 1024
"""Of the end of a log."""
CHUNK_BYTES = 64 * 1024


class Form(Enum):
    """How a part is written, and redacted."""

    DOCUMENT = "a JSON document"
    LINES = "lines of text"
    LOG = "JSON lines of our log; others are left out"


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the bundle, not redacted yet; `note` says what it has or lacks."""

    name: str
    content: JsonValue
    note: str
    form: Form = Form.DOCUMENT


async def parts_of(
    environ: Mapping[str, str], settings: Settings | None, findings: Sequence[Finding], bases: Sequence[str]
) -> list[Part]:
    """Everything but the log: of this process's settings, and of the replicas at these URLs.

    `settings` is None where they are refused; `findings` are those of `scribe doctor`.
    """
    failed = [each.check for each in findings if each.result is Result.FAILED]
    words = f"failed: {', '.join(failed)}" if failed else "nothing failed"
    found = [
        _versions(),
        _settings(environ, settings),
        Part("doctor.json", document_of(findings), words),
        *[part async for part in _replicas(bases)],
    ]
    if settings is not None and "kafka" not in failed:
        found.append(await _topics(settings))
    return found


def _versions() -> Part:
    packages: dict[str, JsonValue] = {
        each.name: each.version for each in importlib.metadata.distributions() if each.name
    }
    document: dict[str, JsonValue] = {
        "scribe": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "openssl": ssl.OPENSSL_VERSION,
        "packages": dict(sorted(packages.items())),
    }
    return Part("versions.json", document, f"Scribe {__version__}, {len(packages)} packages")


def _settings(environ: Mapping[str, str], settings: Settings | None) -> Part:
    named: list[JsonValue] = [name for name in sorted(environ) if name.upper().startswith(PREFIX)]
    shown = None if settings is None else settings.model_dump(mode="json")
    note = "they are refused: doctor.json says why" if settings is None else f"{len(named)} variables are set"
    return Part("settings.json", {"variables": named, "settings": shown}, note)


async def _replicas(bases: Sequence[str]) -> AsyncIterator[Part]:
    replicas = await ask(bases)
    silent = [f"{each.url} does not answer: {each.error}" for each in replicas if each.status is None]
    answering = [each.url for each in replicas if each.status is not None]
    note = "; ".join((*silent, *(f"{url} answers" for url in answering)))
    yield Part("status.json", status_document(replicas), note)
    for number, url in enumerate(answering):
        try:
            page = await pages.get(f"{url}/metrics")
        except NoAnswer as error:
            yield Part(f"metrics-{number}.txt", "", f"{url} does not answer: {error}", Form.LINES)
        else:
            yield Part(f"metrics-{number}.txt", page.text, url, Form.LINES)


async def _topics(settings: Settings) -> Part:
    """The policies of the topics, as far as we may see them."""
    topics = from_settings.topics_of(settings)
    found: dict[str, JsonValue] = {}
    try:
        cluster = replace(from_settings.cluster_of(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
        async with Inspection(cluster) as inspection:
            for name, extent in (await inspection.extents(topics)).items():
                policies = await inspection.settings_of(name)
                found[name] = {
                    "partitions": extent.partitions,
                    "replicas": extent.replicas,
                    "settings": None if policies is None else dict(sorted(policies.items())),
                }
            has_pages = await inspection.has(topics.pages)
    except ConfigError as error:
        return Part("topics.json", {"topics": found, "error": str(error)}, str(error))
    return Part("topics.json", {"topics": found, "has_pages": has_pages}, f"{len(found)} topics")


def log_part(stream: BinaryIO, redactor: DocumentRedactor) -> Part:
    """The lines of our own log at the end of a stream; no other line, since it may hold anything."""
    lines = _last(stream).decode(errors="replace").splitlines()
    kept = [safe for safe in map(redactor.log_line, lines) if safe is not None]
    note = f"{len(kept)} lines; {len(lines) - len(kept)} are no JSON lines of Scribe and are left out"
    return Part("log.jsonl", "".join(f"{line}\n" for line in kept), note, Form.LOG)


def _last(stream: BinaryIO) -> bytes:
    chunks: deque[bytes] = deque(maxlen=MAX_LOG_BYTES // CHUNK_BYTES)
    chunks.extend(iter(lambda: stream.read(CHUNK_BYTES), b""))
    return b"".join(chunks)
