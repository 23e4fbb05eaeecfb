"""The arguments of `scribe submit`, and the request built from them."""

import functools
from collections.abc import Callable
from inspect import Signature, signature
from typing import Annotated, Any

import typer
from pydantic import JsonValue

from service.cli import client
from service.cli.client import NewRequest

Urls = Annotated[list[str], typer.Argument(help="Audio files that the provider can download.", metavar="URL")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the model; JSON or text. Repeatable."),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata", metavar="NAME=VALUE", help="Metadata to return with each outcome. Repeatable."
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
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="TEXT", help="The record's key, not the id: repeats may not be noticed."),
]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME=VALUE", help="A header of the record. Repeatable."),
]


def _request(
    urls: Urls,
    model: Annotated[str, typer.Option(metavar="NAME", help="The provider's model.")] = "fun-asr",
    option: Options = None,
    metadata: Metadata = None,
    request_id: RequestId = None,
    deadline: Deadline = None,
    replay: Replay = 0,
    file_indexes: FileIndexes = None,
) -> tuple[dict[str, JsonValue], bool]:
    """The request, and whether the user has named it."""
    fields: dict[str, JsonValue] = {
        "request_id": request_id,
        "file_urls": [*urls],
        "model": model,
        "options": _pairs(option, "--option"),
        "metadata": _pairs(metadata, "--metadata"),
        "replay": replay or None,
        "file_indexes": _numbers(file_indexes),
        **client.deadline(deadline),
    }
    return client.new_request(fields), request_id is not None


def _record(key: Key = None, header: Headers = None) -> tuple[bytes | None, tuple[tuple[str, bytes], ...]]:
    """The record's key, if it is not the request's id, and its headers besides ours."""
    words = [word.partition("=") for word in header or ()]
    if not all(name and equals for name, equals, _ in words):
        raise typer.BadParameter("write it as name=value", param_hint="--header")
    return None if key is None else key.encode(), tuple((name, value.encode()) for name, _, value in words)


Made = tuple[dict[str, JsonValue], bool]
RecordParts = tuple[bytes | None, tuple[tuple[str, bytes], ...]]


def new_request(make: Callable[[], Made], record: Callable[[], RecordParts]) -> NewRequest:
    """The request of both."""
    (body, is_named), (key, headers) = make(), record()
    return NewRequest(body, is_named, key, headers)


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


asking = built_by(_request, _record)
"""Gives a command the parameters of a request and its record."""
