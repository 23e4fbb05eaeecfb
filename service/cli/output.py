"""Prints outcomes: the requested form to standard output, everything else to standard error."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from service.cli import outcome_text
from service.cli.outcome_text import OutcomeView
from service.contract.output_formats import OutputFormat
from service.core.job.request_record import Record


class Form(StrEnum):
    """Forms of output other than lines for a terminal; all but JSON show results only."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"


Shape = Annotated[
    Form | None,
    typer.Option("--format", help="Print transcripts as this, not as lines with their times."),
]


def show(record: Record, outcome: OutcomeView, form: Form | None) -> bool:
    """Print an outcome.

    Returns whether it printed the transcript in the requested form.
    """
    if form is None:
        _print_lines(outcome, err=outcome.is_failure)
    elif form is Form.JSON:
        typer.echo(record.value)
    else:
        return _render(outcome, OutputFormat(form))
    return not outcome.is_failure


def follower(form: Form | None, wants: Callable[[OutcomeView], bool]) -> Callable[[Record], bool]:
    """Return a function that prints a record, and returns whether it printed an outcome that is wanted."""

    def take(record: Record) -> bool:
        outcome = outcome_text.read_outcome(record.value)
        if outcome is None:
            typer.echo(f"{record.origin_id} is no outcome", err=True)
        elif not wants(outcome):
            return False
        elif form is None:
            _print_lines(outcome, err=False)
        else:
            show(record, outcome, form)
        return outcome is not None

    return take


def _print_lines(outcome: OutcomeView, *, err: bool) -> None:
    for line in outcome_text.lines(outcome):
        typer.echo(line, err=err)


def _render(outcome: OutcomeView, form: OutputFormat) -> bool:
    """Print a rendering and an empty line, since another may follow."""
    if outcome.is_failure:
        _print_lines(outcome, err=True)
        return False
    typer.echo(outcome_text.name(outcome), err=True)
    text = outcome_text.rendering(outcome, form)
    if text is None:
        typer.echo(f"  its sentences have no times, so there is no {form}", err=True)
        return False
    typer.echo(text)
    return True
