"""`scribe jobs`: the open jobs as the journal has them, and the story of one request.

It joins no group and prints no URL query.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from pydantic import JsonValue

from service.cli import client
from service.cli.exit_codes import ExitCode, sentences
from service.cli.pages import base_of
from service.cli.replica_status import StatusView, replica_at
from service.cli.selection import Ids, is_named
from service.cli.story import show
from service.cli.tables import Output, OutputForm, age, aligned, print_json, time_of
from service.clock import SYSTEM_CLOCK
from service.contract.redaction import without_query
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.journal.job_list import ListedJob, listed_jobs
from service.frozen import dataclass
from service.kafka.client.topic_reader import topic_reader
from service.kafka.journal.journal_view import JournalPartition, view_journal
from service.settings import load

STATES = (*(state.value for state in SubmissionState), JobState.FINISHING.value)
HEAD = ("JOB", "STATE", "AGE", "MODEL", "SUBMITS", "TASK", "NEXT", "WHY")

jobs = typer.Typer(help="Show the open jobs, from the journal.", invoke_without_command=True)
jobs.command("show")(show)

States = Annotated[
    list[str] | None,
    typer.Option("--state", metavar="STATE", help=f"Only this state: {', '.join(STATES)}. Repeatable."),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME", help="Only this model. Repeatable.")
]
OlderThan = Annotated[
    float, typer.Option("--older-than", min=0, metavar="SECONDS", help="Only jobs accepted longer ago.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="NUMBER", help="At most so many, the oldest first.")
]
Replicas = Annotated[
    list[str] | None,
    typer.Option("--replica", metavar="URL", help="Ask this replica's /status why jobs wait. Repeatable."),
]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs to show."""

    ids: Sequence[str] = ()
    states: Sequence[str] = ()
    models: Sequence[str] = ()
    older_than_seconds: float = 0.0

    def takes(self, job: ListedJob, now_ms: int) -> bool:
        """Whether the job is to be shown: it matches one of each kind that is given."""
        return (
            job.end is None
            and is_named(job.request.request_id, self.ids)
            and (not self.states or job.state in self.states)
            and (not self.models or job.request.model in self.models)
            and now_ms - job.request.accepted_ms >= 1000 * self.older_than_seconds
        )


@jobs.callback()
def list_jobs(
    context: typer.Context,
    ids: Ids = None,
    state: States = None,
    model: Models = None,
    older_than: OlderThan = 0.0,
    limit: Limit = None,
    replica: Replicas = None,
    form: Output = OutputForm.TEXT,
) -> None:
    """Show the open jobs, from the journal.

    `scribe jobs show ID` tells the story of one request. Exit code 6 if a part of the journal cannot be read.
    """
    if context.invoked_subcommand is not None:
        return
    unknown = [each for each in state or () if each not in STATES]
    if unknown:
        raise typer.BadParameter(f"the states are {', '.join(STATES)}", param_hint="--state")
    with sentences():
        place = client.config_of(load(os.environ))
        statuses = asyncio.run(_statuses(replica or ()))
        partitions = asyncio.run(_read(place))
    now_ms = SYSTEM_CLOCK.wall_ms()
    wanted = Filter(tuple(ids or ()), tuple(state or ()), tuple(model or ()), older_than)
    found = _selected(partitions, wanted, now_ms)
    document = _document(partitions, found[:limit], statuses, now_ms)
    if form is OutputForm.JSON:
        print_json(document)
    else:
        for line in _table(found[:limit], statuses, now_ms):
            typer.echo(line)
    for line in _summary(partitions, found):
        typer.echo(line, err=True)
    if any(each.error for each in partitions):
        raise typer.Exit(ExitCode.INCOMPLETE)


async def _read(place: client.ClientConfig) -> list[JournalPartition]:
    names = place.topics
    async with topic_reader(
        place.cluster, [names.requests, names.journal], place.fetch_max_wait_ms
    ) as reader:
        return await view_journal(reader, names.requests, names.journal)


async def _statuses(urls: Sequence[str]) -> list[StatusView]:
    """What the replicas that answer say."""
    found = await asyncio.gather(*(replica_at(base_of(url)) for url in urls))
    for replica in found:
        if replica.status is None:
            typer.echo(f"{replica.url} does not answer: {replica.error}", err=True)
    return [replica.status for replica in found if replica.status is not None]


def _selected(partitions: Sequence[JournalPartition], wanted: Filter, now_ms: int) -> list[ListedJob]:
    """The jobs to show, the oldest first."""
    listed = (job for each in partitions for job in listed_jobs(each.restored))
    found = [job for job in listed if wanted.takes(job, now_ms)]
    return sorted(found, key=lambda job: (job.request.accepted_ms, job.key))


def reasons(job: ListedJob, statuses: Sequence[StatusView]) -> str:
    """Why the job waits, as far as the replicas say; empty for one that does not wait."""
    if not statuses or job.state not in (SubmissionState.WAITING, SubmissionState.UNCERTAIN):
        return ""
    found = dict.fromkeys(reason for status in statuses for reason in _stops(job.request.model, status))
    return ", ".join(found) or "quota, backoff, or another replica's reason"


def _stops(model: str, status: StatusView) -> Iterator[str]:
    """What stops the submits of a model."""
    for hold in status.holds:
        if hold.model in (None, model):
            yield f"hold: {hold.code}"
    for submits in status.submits:
        if submits.model == model and submits.outage_since is not None:
            yield f"outage: {submits.outage.cause if submits.outage else 'unknown'}"
    for held in status.result_holds:
        if held.model == model:
            yield f"results held: {held.host}"


def _table(found: Sequence[ListedJob], statuses: Sequence[StatusView], now_ms: int) -> Iterator[str]:
    """A header line, then one line for each job; nothing without jobs. The last column needs a replica."""
    rows = [HEAD, *((*_row(job, now_ms), reasons(job, statuses)) for job in found)]
    columns = len(HEAD) if statuses else len(HEAD) - 1
    return aligned([row[:columns] for row in rows]) if found else iter(())


def _row(job: ListedJob, now_ms: int) -> tuple[str, ...]:
    task = (job.submission and job.submission.task_id) or "-"
    waited = age((now_ms - job.request.accepted_ms) / 1000)
    state = f"{job.state} (cancelled)" if job.cancelled else job.state
    return (str(job.key), state, waited, job.request.model, str(job.submits), task, _next(job, now_ms))


def _next(job: ListedJob, now_ms: int) -> str:
    due_ms = 0 if job.submission is None else job.submission.due_ms
    return "now" if due_ms <= now_ms else f"in {age((due_ms - now_ms) / 1000)}"


def _document(
    partitions: Sequence[JournalPartition],
    found: Sequence[ListedJob],
    statuses: Sequence[StatusView],
    now_ms: int,
) -> dict[str, JsonValue]:
    unreadable: list[JsonValue] = [
        {"partition": each.number, "error": each.error} for each in partitions if each.error
    ]
    not_accepted = sum(each.not_accepted.end - each.not_accepted.begin for each in partitions)
    shown: list[JsonValue] = [_job(job, reasons(job, statuses), now_ms) for job in found]
    return {"jobs": shown, "requests_not_accepted": not_accepted, "unreadable": unreadable}


def _job(job: ListedJob, why: str, now_ms: int) -> dict[str, JsonValue]:
    request, submission = job.request, job.submission
    return {
        "request_id": request.request_id,
        "replay": request.replay,
        "file_index": job.file_index,
        "file_url": without_query(request.url(job.file_index)),
        "state": job.state,
        "cancelled": job.cancelled,
        "age_seconds": max(0, now_ms - request.accepted_ms) / 1000,
        "model": request.model,
        "submits": job.submits,
        "task_id": submission.task_id if submission else None,
        "next_at": time_of(submission.due_ms or None) if submission else None,
        "accepted_at": time_of(request.accepted_ms),
        "submitted_at": time_of(submission.submitted_ms) if submission else None,
        "deadline": time_of(request.deadline_ms),
        "partition": request.partition,
        "offset": request.origin.offset,
        "why": why or None,
    }


def _summary(partitions: Sequence[JournalPartition], found: Sequence[ListedJob]) -> Iterator[str]:
    counts = Counter(job.state for job in found)
    states = ", ".join(f"{state} {counts[state]}" for state in STATES if counts[state])
    waiting = sum(each.not_accepted.end - each.not_accepted.begin for each in partitions)
    yield f"{len(found)} jobs{f' ({states})' if states else ''}; {waiting} records are not accepted yet"
    for each in partitions:
        if each.error:
            yield f"partition {each.number} is not shown as a whole: {each.error}"
