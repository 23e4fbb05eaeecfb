"""The arguments of `scribe submit`, and the request built from them."""

import functools
from collections.abc import Callable
from inspect import Signature, signature
from typing import Annotated, Any, TypeVar

import typer
from pydantic import JsonValue

from service.cli import client

T = TypeVar("T")
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
        "--ttl-seconds",
        metavar="TIME|SECONDS",
        help="The deadline: a time such as 2026-03-02T10:15:00Z, or seconds from now.",
    ),
]
Replay = Annotated[
    int,
    typer.Option("--replay", min=0, metavar="NUMBER", help="An unused number runs the request again."),
]


def _request(
    urls: Urls,
    model: Annotated[str, typer.Option(metavar="NAME", help="The provider's model.")] = "fun-asr",
    option: Options = None,
    metadata: Metadata = None,
    request_id: RequestId = None,
    deadline: Deadline = None,
    replay: Replay = 0,
) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "request_id": request_id,
        "file_urls": [*urls],
        "model": model,
        "options": _pairs(option, "--option"),
        "metadata": _pairs(metadata, "--metadata"),
        "replay": replay or None,
        **client.deadline(deadline),
    }
    return client.new_request(fields)


def built_by(builder: Callable[..., T]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the parameters of a builder; its own first parameter calls the builder with them."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        asked, own = signature(builder).parameters, signature(command).parameters

        @functools.wraps(command)
        def both(**given: Any) -> None:
            make = functools.partial(builder, **{name: given.pop(name) for name in asked})
            command(make, **given)

        # Typer reads a command's options from its signature.
        both.__dict__["__signature__"] = Signature([*asked.values(), *list(own.values())[1:]])
        return both

    return decorate


asking = built_by(_request)
"""Gives a command the parameters of a request."""


def _pairs(words: list[str] | None, option: str) -> dict[str, JsonValue]:
    try:
        return client.pairs(words or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
