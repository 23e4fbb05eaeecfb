"""`scribe status`: the health of one or several replicas, from the page /status of each."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Annotated

import typer
from pydantic import JsonValue

from service.cli.exit_codes import ExitCode, sentences
from service.cli.pages import addresses_of, base_of
from service.cli.replica_status import Replica, ShardView, StatusView, replica_at
from service.cli.tables import Output, OutputForm, age, plain, print_json, ranges
from service.clock import SYSTEM_CLOCK
from service.settings import load

WATCH_SECONDS = 2.0
_CLEARED = "\x1b[2J\x1b[H"
"""Clears a terminal."""
Urls = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="URL",
        help="Health ports, as http://scribe:8080, at all addresses of the name; this machine's if none.",
    ),
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Ask again every 2 seconds until Ctrl-C.")]


def status(urls: Urls = None, watch: Watch = False, form: Output = OutputForm.TEXT) -> None:
    """Show the health of replicas: shards, holds, outages, jobs.

    Exit code 3 if one has a fault, 4 if one does not answer.
    """
    with sentences():
        given = urls or [f"http://127.0.0.1:{load(os.environ).http.port}"]
        code = asyncio.run(_shown([base_of(url) for url in given], form, watch=watch))
    if code is not ExitCode.DONE:
        raise typer.Exit(code)


async def _shown(bases: Sequence[str], form: OutputForm, *, watch: bool) -> ExitCode:
    while True:
        replicas = await ask(bases)
        if form is OutputForm.JSON:
            print_json(document_of(replicas), in_one_line=watch)
        else:
            if watch and sys.stdout.isatty():
                typer.echo(_CLEARED, nl=False)
            for line in lines(replicas):
                typer.echo(line)
        if not watch:
            return exit_code(replicas)
        await SYSTEM_CLOCK.sleep(WATCH_SECONDS)


async def ask(bases: Sequence[str]) -> list[Replica]:
    """The replicas at these URLs, in their order, each at every address of its name."""
    found = await asyncio.gather(*(addresses_of(base) for base in bases))
    return list(await asyncio.gather(*(replica_at(base) for group in found for base in group)))


def exit_code(replicas: Sequence[Replica]) -> ExitCode:
    """The worst of what was found: no answer outweighs a fault."""
    if any(replica.status is None for replica in replicas):
        return ExitCode.UNREACHABLE
    return ExitCode.DONE if all(replica.is_healthy for replica in replicas) else ExitCode.UNHEALTHY


def document_of(replicas: Sequence[Replica]) -> dict[str, JsonValue]:
    """The replicas for a program, each with its page as it was answered."""
    found: list[JsonValue] = [
        {
            "url": replica.url,
            "reachable": replica.status is not None,
            "healthy": replica.is_healthy,
            "error": replica.error or None,
            "problems": list(replica.problems),
            "status": replica.document,
        }
        for replica in replicas
    ]
    return {"healthy": all(replica.is_healthy for replica in replicas), "replicas": found}


def lines(replicas: Sequence[Replica]) -> Iterator[str]:
    """The replicas for people, then what only several of them show."""
    for replica in replicas:
        yield from map(plain, _lines(replica))
    answered = [replica.status for replica in replicas if replica.status is not None]
    if len(answered) > 1:
        yield from map(plain, _together(answered))


def _lines(replica: Replica) -> Iterator[str]:
    status = replica.status
    if status is None:
        yield f"{replica.url}  NO ANSWER: {replica.error}"
        return
    health = "healthy" if replica.is_healthy else "UNHEALTHY"
    yield f"{status.member}  {status.version}  {replica.url}  {health}"
    yield from (f"  ! {problem}" for problem in replica.problems)
    yield f"  shards       {_shards(status.shards)}"
    oldest = status.oldest_job_age_seconds
    since = "" if oldest is None else f"; the oldest for {age(oldest)}"
    yield f"  jobs         {_counts(status.jobs)}{since}"
    yield f"  submissions  {_counts(status.submissions)}"
    if status.waiting:
        why = (f"{each.model} {each.reason} {each.jobs}" for each in status.waiting if each.jobs)
        yield f"  waiting      {', '.join(why)}"
    if status.unused_slots:
        yield f"  no calls     {', '.join(status.unused_slots)}"


def _shards(shards: Sequence[ShardView]) -> str:
    by_state = sorted((shard.state, shard.partition) for shard in shards)
    grouped = groupby(by_state, key=lambda each: each[0])
    return ", ".join(f"{state} {ranges([p for _, p in group])}" for state, group in grouped) or "none"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{state} {number}" for state, number in counts.items() if number) or "none"


def _together(statuses: Sequence[StatusView]) -> Iterator[str]:
    """The sums, and partitions that two replicas list, or none: normal for seconds during a rebalance."""
    holders: dict[int, list[str]] = {}
    for status in statuses:
        for shard in status.shards:
            holders.setdefault(shard.partition, []).append(status.member)
    jobs = sum(number for status in statuses for number in status.jobs.values())
    yield f"{len(statuses)} replicas, {len(holders)} partitions, {jobs} open jobs"
    for partition, members in sorted(holders.items()):
        if len(members) > 1:
            yield f"  ? partition {partition} is listed by {' and '.join(members)}"
    missing = sorted(set(range(max(holders, default=-1) + 1)) - set(holders))
    if missing:
        yield f"  ? none of these lists partition {ranges(missing)}"
