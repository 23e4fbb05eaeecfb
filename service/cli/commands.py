"""The command `scribe`: runs the service, and is a terminal client of its contract.

Answers go to standard output, everything else to standard error; `cli.exit_codes` has the exit codes.
"""

import asyncio
import os
from enum import StrEnum
from typing import Annotated

import typer

from service import __version__
from service.app import from_settings, process
from service.cli import client
from service.cli import hotword_commands as account
from service.cli.bundle import bundle
from service.cli.cancel import cancel
from service.cli.doctor import doctor
from service.cli.exit_codes import sentences
from service.cli.jobs import jobs
from service.cli.replay import replay
from service.cli.status import status
from service.cli.submit import submit
from service.cli.watch import watch
from service.contract import schemas as contract
from service.settings import load

app = typer.Typer(
    name="scribe",
    help="Speech to text over Kafka. All settings are SCRIBE_... variables: see docs/configuration.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

hotwords = typer.Typer(help="The account's hotword lists.", no_args_is_help=True)
app.add_typer(hotwords, name="hotwords")
for each in (submit, cancel, watch, doctor, status, replay, bundle):
    app.command()(each)
app.add_typer(jobs, name="jobs")


class Schema(StrEnum):
    """The records of the contract."""

    REQUEST = "request"
    RESULT = "result"
    FAILURE = "failure"


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
