"""`scribe submit`: publishes one request, and waits for its outcomes if it is told to."""

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Annotated

import typer
from pydantic import JsonValue

from service.cli import client, output
from service.cli.arguments import Asked, RecordParts, Work, asking, new_request
from service.cli.client import NewRequest
from service.cli.exit_codes import ExitCode, sentences
from service.cli.local_files import stored
from service.cli.output import Form, Shape
from service.cli.tables import Output, OutputForm, print_json
from service.contract.redaction import without_queries
from service.kafka.client.terminal_client import partitions_of
from service.settings import Settings, load

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the outcomes and print them.")]
Timeout = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long --wait waits.")]
_tell = functools.partial(typer.echo, err=True)


@asking
def submit(
    work: Callable[[], Work],
    order: Callable[[], dict[str, JsonValue]],
    record: Callable[[], RecordParts],
    wait: Wait = False,
    timeout: Timeout = 3600.0,
    form: Shape = None,
    document: Output = OutputForm.TEXT,
) -> None:
    """Publish a request and print its id, or its transcripts.

    A local file is uploaded to the provider's temporary store first, for 48 hours: not for production.

    With --wait the transcripts are printed instead of the id, and the exit code is 1 if one is missing. What
    has outcomes already, under an id that you give, is printed and not published.
    """
    if form and not wait:
        raise typer.BadParameter("it needs --wait", param_hint="--format")
    if document is OutputForm.JSON and form:
        raise typer.BadParameter("choose --format or --output json", param_hint="--format")
    with sentences():
        settings = load(os.environ)
        place = client.config_of(settings)
        request = asyncio.run(_with_stored_files(settings, place, new_request(work, order, record)))
        if not wait:
            _print(request, asyncio.run(client.send(place, request)), document)
            return
        shape = Form.JSON if document is OutputForm.JSON else form
        show = functools.partial(output.show, form=shape)
        if not _in_time(client.send_and_wait(place, request, timeout, _tell, show)):
            raise typer.Exit(ExitCode.FAILED)


async def _with_stored_files(settings: Settings, place: client.ClientConfig, asked: Asked) -> NewRequest:
    """The request, once its local files are stored; without a topic to publish it to, none is."""
    if not asked.files:
        return asked.request
    await partitions_of(place.cluster, [place.topics.requests])
    return replace(asked.request, body=await stored(settings, asked.request.body, asked.files, _tell))


def _print(request: NewRequest, placed: tuple[int, int], document: OutputForm) -> None:
    if document is OutputForm.TEXT:
        typer.echo(request.request_id)
        return
    partition, offset = placed
    print_json(
        {
            "request_id": request.request_id,
            "replay": request.body.get("replay", 0),
            "partition": partition,
            "offset": offset,
            "file_urls": without_queries(request.body["file_urls"]),
        }
    )


def _in_time(waiting: Coroutine[None, None, bool]) -> bool:
    try:
        return asyncio.run(waiting)
    except TimeoutError:
        _tell("scribe: the outcomes did not come in time; `scribe watch` shows them when they do")
        return False
