"""The command `scribe`: runs the service, and is a terminal client of its contract.

Answers go to standard output, everything else to standard error; `cli.exit_codes` has the exit codes.
"""

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import JsonValue

from service import __version__
from service.app import from_settings, process
from service.cli import client, output
from service.cli import hotword_commands as account
from service.cli.arguments import Made, RecordParts, asking, new_request
from service.cli.client import NewRequest
from service.cli.doctor import doctor
from service.cli.exit_codes import ExitCode, sentences
from service.cli.jobs import jobs
from service.cli.output import Form
from service.cli.replay import replay
from service.cli.status import status
from service.contract import schemas as contract
from service.settings import load

app = typer.Typer(
    name="scribe",
    help="Speech to text over Kafka. All settings are SCRIBE_... variables: see docs/configuration.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

hotwords = typer.Typer(help="The account's hotword lists.", no_args_is_help=True)
app.add_typer(hotwords, name="hotwords")
app.command()(doctor)
app.command()(status)
app.command()(replay)
app.add_typer(jobs, name="jobs")


class Schema(StrEnum):
    """The records of the contract."""

    REQUEST = "request"
    RESULT = "result"
    FAILURE = "failure"


Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the outcomes and print them.")]
Timeout = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long --wait waits.")]
Shape = Annotated[
    Form | None,
    typer.Option("--format", help="Print transcripts as this, not as lines with their times."),
]
Count = Annotated[
    int | None, typer.Option(min=1, metavar="NUMBER", help="Stop after this number of outcomes.")
]
SchemaName = Annotated[
    Schema | None, typer.Argument(metavar="RECORD", help="request, result or failure; all if not given.")
]


def main() -> None:
    """Run the command line; ends the process."""
    app(prog_name="scribe")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"scribe {__version__}")
        raise typer.Exit


@app.callback()
def _scribe(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Exists for its options; the commands do the work."""


@app.command()
def run() -> None:
    """Run the service until SIGTERM or Ctrl-C.

    A second signal skips the wait for calls on the wire; what is open is resumed by the next start.
    """
    with sentences():
        settings = load(os.environ)
        raise typer.Exit(process.run(settings, process.configure_log(settings)))


@app.command()
@asking
def submit(
    make: Callable[[], Made],
    record: Callable[[], RecordParts],
    wait: Wait = False,
    timeout: Timeout = 3600.0,
    form: Shape = None,
) -> None:
    """Publish a request and print its id, or its transcripts.

    With --wait the transcripts are printed instead of the id, and the exit code is 1 if one is missing. What
    has outcomes already, under an id that you give, is printed and not published.
    """
    if form and not wait:
        raise typer.BadParameter("it needs --wait", param_hint="--format")
    with sentences():
        place = client.config_of(load(os.environ))
        request = new_request(make, record)
        if not wait:
            asyncio.run(client.send(place, request))
            typer.echo(request.request_id)
            return
        tell = functools.partial(typer.echo, err=True)
        show = functools.partial(output.show, form=form)
        if not _in_time(client.send_and_wait(place, request, timeout, tell, show)):
            raise typer.Exit(ExitCode.FAILED)


@app.command()
def cancel(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The id of an open request.")],
    replay: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="The replay number of the request.")
    ] = 0,
) -> None:
    """Cancel an open request.

    Each unfinished file becomes a failure.
    """
    with sentences():
        place = client.config_of(load(os.environ))
        fields: dict[str, JsonValue] = {
            "request_id": request_id,
            "action": "cancel",
            "replay": replay or None,
        }
        asyncio.run(client.send(place, NewRequest(client.new_request(fields))))
        typer.echo(f"asked to cancel {request_id}", err=True)


@app.command()
def watch(
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest record that Kafka still has.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    form: Shape = None,
    count: Count = None,
) -> None:
    """Follow results and failures, and print each."""
    with sentences():
        place = client.config_of(load(os.environ))
        topics = " and ".join(place.outcome_topics)
        asyncio.run(
            client.watch(
                place,
                from_beginning=from_beginning,
                ready=lambda: typer.echo(f"following {topics}; Ctrl-C ends it", err=True),
                take=output.follower(form or (Form.JSON if as_json else None)),
                count=count,
            )
        )


@app.command()
def topics(
    create: Annotated[
        bool, typer.Option("--create/--check", help="Create what is missing, or only check.")
    ] = True,
) -> None:
    """Create the missing topics and check all four.

    A journal that would lose jobs is an error.
    """
    with sentences():
        settings = load(os.environ)
        place = client.config_of(settings)
        creation = from_settings.creation_of(settings) if create else None
        layout = asyncio.run(client.prepare_topics(place, creation))
        typer.echo(f"{', '.join(place.topics.all())}: {layout.partitions} partitions")
        for warning in layout.warnings:
            typer.echo(f"warning: {warning}", err=True)


@app.command()
def schemas(
    record: SchemaName = None,
) -> None:
    """Print the JSON Schemas of request, result and failure."""
    documents = contract.schemas()
    typer.echo(contract.rendered(documents[record] if record else {**documents}), nl=False)


@hotwords.command("list")
def list_hotwords() -> None:
    """Print every hotword list of the account, and which of them this service made."""
    with sentences():
        settings = load(os.environ)

        async def listing() -> list[str]:
            async with account.lists_of(settings) as lists:
                return await account.table(lists)

        for line in asyncio.run(listing()):
            typer.echo(line)


@hotwords.command("delete")
def delete_hotwords(
    ids: Annotated[list[str], typer.Argument(metavar="LIST", help="Names of lists.")],
    foreign: Annotated[bool, typer.Option("--foreign", help="Delete lists of others, too.")] = False,
) -> None:
    """Delete hotword lists; one that requests still name is made again."""
    with sentences():
        settings = load(os.environ)

        async def deleting() -> None:
            async with account.lists_of(settings) as lists:
                await account.delete(lists, ids, foreign=foreign)

        asyncio.run(deleting())
        typer.echo(f"deleted {', '.join(ids)}", err=True)


def _in_time(waiting: Coroutine[None, None, bool]) -> bool:
    try:
        return asyncio.run(waiting)
    except TimeoutError:
        late = "the outcomes did not come in time; `scribe watch` shows them when they do"
        typer.echo(f"scribe: {late}", err=True)
        return False
