"""`scribe watch`: follows results and failures, and prints those that are asked for."""

import asyncio
import os
from collections.abc import Callable
from typing import Annotated

import typer

from service.cli import client, output
from service.cli.exit_codes import sentences
from service.cli.output import Form, Shape
from service.cli.selection import Ids, is_named, time_ms
from service.cli.tables import Output, OutputForm
from service.core.job.request_record import Record
from service.kafka.client.terminal_client import following
from service.settings import load

FromBeginning = Annotated[
    bool, typer.Option("--from-beginning", help="Begin with the oldest record that Kafka still has.")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME|SECONDS", help="Begin at this time, or so many seconds ago."),
]
Failures = Annotated[bool, typer.Option("--failures", help="Only failures.")]
Count = Annotated[
    int | None, typer.Option(min=1, metavar="NUMBER", help="Stop after this number of outcomes.")
]


def watch(
    ids: Ids = None,
    failures: Failures = False,
    since: Since = None,
    from_beginning: FromBeginning = False,
    count: Count = None,
    form: Shape = None,
    document: Output = OutputForm.TEXT,
) -> None:
    """Follow results and failures, and print each.

    With --output json, or --format json: the records themselves, one a line.
    """
    if since is not None and from_beginning:
        raise typer.BadParameter("it is before any time", param_hint="--from-beginning")
    if document is OutputForm.JSON and form:
        raise typer.BadParameter("choose --format or --output json", param_hint="--format")
    since_ms = 0 if from_beginning else None if since is None else max(0, time_ms(since, "--since"))
    shape = Form.JSON if document is OutputForm.JSON else form
    take = output.follower(
        shape, lambda each: is_named(each.request_id, ids) and (each.is_failure or not failures)
    )
    with sentences():
        place = client.config_of(load(os.environ))
        topics = place.outcome_topics[1:] if failures else place.outcome_topics
        asyncio.run(_follow(place, topics, since_ms, take, count))


async def _follow(
    place: client.ClientConfig,
    topics: tuple[str, ...],
    since_ms: int | None,
    take: Callable[[Record], bool],
    count: int | None,
) -> None:
    """Pass the records to `take`.

    Ends once `take` has returned True `count` times; never ends without a count.
    """
    left = count
    async with following(place.cluster, topics, place.fetch_max_wait_ms, since_ms=since_ms) as records:
        typer.echo(f"following {' and '.join(topics)}; Ctrl-C ends it", err=True)
        async for record in records:
            # Brokers find a time only roughly.
            is_early = since_ms is not None and (record.position.timestamp_ms or since_ms) < since_ms
            if not is_early and take(record) and left is not None:
                left -= 1
            if left == 0:
                return
