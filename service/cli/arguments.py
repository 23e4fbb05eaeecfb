"""The arguments of `scribe submit`, and the request built from them."""

import functools
from collections.abc import Callable, Mapping
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import JsonValue

from service.cli import client
from service.cli.client import NewRequest
from service.cli.local_files import local_files, placeholder
from service.contract.output_formats import OutputFormat
from service.frozen import dataclass

Urls = Annotated[
    list[str],
    typer.Argument(
        help="Audio files that the provider can download, or local files, which are uploaded to it.",
        metavar="URL|FILE",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the model; JSON or text. Repeatable."),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="NAME=VALUE|JSON",
        help="Metadata to return with each outcome, also as an object. Repeatable.",
    ),
]
RequestId = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="The request_id; generated if not given.")
]
Deadline = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        "--ttl",
        "--ttl-seconds",
        metavar="TIME|SECONDS",
        help="The deadline: a time such as 2026-03-02T10:15:00Z, or seconds from now.",
    ),
]
Replay = Annotated[
    int,
    typer.Option("--replay", min=0, metavar="NUMBER", help="An unused number runs the request again."),
]

FileIndexes = Annotated[
    str | None,
    typer.Option("--file-indexes", metavar="0,2,...", help="Only these of the URLs, counted from 0."),
]
Renderings = Annotated[
    list[OutputFormat] | None,
    typer.Option("--rendering", help="A form that the result shall hold, too. Repeatable."),
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="TEXT", help="The record's key, not the id: repeats may not be noticed."),
]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME=VALUE", help="A header of the record. Repeatable."),
]


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done: fields of the request, with placeholders for local files; the files by index."""

    fields: Mapping[str, JsonValue]
    files: Mapping[int, Path]


def _work(
    urls: Urls,
    model: Annotated[str, typer.Option(metavar="NAME", help="The provider's model.")] = "fun-asr",
    option: Options = None,
    rendering: Renderings = None,
) -> Work:
    """The audio, and what to make of it."""
    files = local_files(urls, model)
    formats: list[JsonValue] = [each.value for each in rendering or ()]
    fields: dict[str, JsonValue] = {
        "file_urls": [placeholder(files[n]) if n in files else url for n, url in enumerate(urls)],
        "model": model,
        "options": _pairs(option, "--option"),
        "output": {"formats": formats} if formats else None,
    }
    return Work(fields, files)


def _order(
    metadata: Metadata = None,
    request_id: RequestId = None,
    deadline: Deadline = None,
    replay: Replay = 0,
    file_indexes: FileIndexes = None,
) -> dict[str, JsonValue]:
    """The fields of the request that say nothing of the audio."""
    return {
        "request_id": request_id,
        "metadata": _pairs(metadata, "--metadata"),
        "replay": replay or None,
        "file_indexes": _numbers(file_indexes),
        **client.deadline(deadline),
    }


def _record(key: Key = None, header: Headers = None) -> tuple[bytes | None, tuple[tuple[str, bytes], ...]]:
    """The record's key, if it is not the request's id, and its headers besides ours."""
    words = [word.partition("=") for word in header or ()]
    if not all(name and equals for name, equals, _ in words):
        raise typer.BadParameter("write it as name=value", param_hint="--header")
    return None if key is None else key.encode(), tuple((name, value.encode()) for name, _, value in words)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the user gave it; its local files are not stored yet."""

    request: NewRequest
    files: Mapping[int, Path]


RecordParts = tuple[bytes | None, tuple[tuple[str, bytes], ...]]


def new_request(
    work: Callable[[], Work], order: Callable[[], dict[str, JsonValue]], record: Callable[[], RecordParts]
) -> Asked:
    """The request of all three; raises `InvalidRecord` for one that the service would refuse."""
    done, fields, (key, headers) = work(), order(), record()
    if done.files and fields["file_indexes"] is not None:
        raise typer.BadParameter("name only the local files to transcribe", param_hint="--file-indexes")
    body = client.new_request({**fields, **done.fields})
    return Asked(NewRequest(body, fields["request_id"] is not None, key, headers), done.files)


def built_by(*builders: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the parameters of builders; its own first parameters call the builders with them."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        asked = {name: each for builder in builders for name, each in signature(builder).parameters.items()}
        own = list(signature(command).parameters.values())[len(builders) :]

        @functools.wraps(command)
        def both(**given: Any) -> None:
            made = [
                functools.partial(
                    builder, **{name: given.pop(name) for name in signature(builder).parameters}
                )
                for builder in builders
            ]
            command(*made, **given)

        # Typer reads a command's options from its signature.
        both.__dict__["__signature__"] = Signature([*asked.values(), *own])
        return both

    return decorate


def _pairs(words: list[str] | None, option: str) -> dict[str, JsonValue]:
    try:
        return client.pairs(words or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _numbers(text: str | None) -> list[JsonValue] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and word.isascii() and len(word) < 9 for word in words):
        raise typer.BadParameter("write it as 0,2,5", param_hint="--file-indexes")
    return [int(word) for word in words]


asking = built_by(_work, _order, _record)
"""Gives a command the parameters of a request and its record."""
