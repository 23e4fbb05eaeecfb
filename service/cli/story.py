"""`scribe jobs show`: what the journal and the outcomes tell of one request, with its times."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from service.cli import client
from service.cli.exit_codes import ExitCode, sentences
from service.cli.tables import Output, OutputForm, plain, print_json, time_of
from service.contract.redaction import without_query
from service.core.job.accepted_request import FinishedRequest
from service.core.journal.job_list import ListedJob, listed_jobs
from service.frozen import dataclass
from service.kafka.client.clients import ConsumerRecord
from service.kafka.client.topic_reader import TopicReader, topic_reader
from service.kafka.journal.journal_view import JournalPartition, view_journal
from service.settings import load

TIMES = ("requested_at", "accepted_at", "submitted_at", "completed_at", "fetched_at", "published_at")
Id = Annotated[str, typer.Argument(metavar="ID", help="The request_id.")]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class UsageView(_View):
    """What a file is billed."""

    billed_seconds: int | None = None


class AttemptsView(_View):
    """Calls made for a file."""

    submit: int = 0
    poll: int = 0
    fetch: int = 0


class StoryOutcome(_View):
    """The fields of an outcome that tell its story; never the transcript."""

    request_id: str
    replay: int | None = None
    file_index: int | None = None
    file_url: str | None = None
    model: str | None = None
    task_id: str | None = None
    code: str | None = None
    provider_code: str | None = None
    message: str | None = None
    attempts: AttemptsView = AttemptsView()
    usage: UsageView = UsageView()
    times: Mapping[str, JsonValue] = {}


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of a request id, under each of its replay numbers."""

    open: tuple[ListedJob, ...] = ()
    ended: tuple[FinishedRequest, ...] = ()
    outcomes: tuple[StoryOutcome, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return bool(self.open or self.ended or self.outcomes)


def show(request_id: Id, form: Output = OutputForm.TEXT) -> None:
    """Tell the story of one request, with its times.

    From the journal, and from the outcomes that Kafka still has. Exit code 5 if nothing is known of it.
    """
    with sentences():
        story = asyncio.run(_read(client.config_of(load(os.environ)), request_id))
    if form is OutputForm.JSON:
        print_json(document_of(request_id, story))
    else:
        for line in lines(request_id, story):
            typer.echo(plain(line))
    for each in story.unreadable:
        typer.echo(each, err=True)
    if not story.is_known:
        raise typer.Exit(ExitCode.INCOMPLETE if story.unreadable else ExitCode.UNKNOWN)


async def _read(place: client.ClientConfig, request_id: str) -> Story:
    names = place.topics
    async with topic_reader(place.cluster, names.all(), place.fetch_max_wait_ms) as topics:
        partitions = await view_journal(topics, names.requests, names.journal)
        outcomes = [
            each for topic in place.outcome_topics for each in await _outcomes(topics, topic, request_id)
        ]
    return Story(
        tuple(job for each in partitions for job in _jobs_of(each, request_id)),
        tuple(end for each in partitions for end in each.restored.finished() if end.request_id == request_id),
        tuple(outcomes),
        tuple(
            f"partition {each.number} is not read as a whole: {each.error}"
            for each in partitions
            if each.error
        ),
    )


def _jobs_of(partition: JournalPartition, request_id: str) -> Iterator[ListedJob]:
    return (job for job in listed_jobs(partition.restored) if job.request.request_id == request_id)


async def _outcomes(topics: TopicReader, topic: str, request_id: str) -> list[StoryOutcome]:
    """The request's outcomes in one topic: they have its id as their key, which decides the partition."""
    key, found = request_id.encode(), list[StoryOutcome]()

    def take(record: ConsumerRecord) -> None:
        if record.key == key:
            try:
                found.append(StoryOutcome.model_validate_json(record.value or b""))
            except ValidationError:
                return

    await topics.read_through(await topics.extent(topics.of_key(topic, key)), take)
    return found


def document_of(request_id: str, story: Story) -> dict[str, JsonValue]:
    """The story for a program: each replay number with its files."""
    numbers = {
        *(job.request.replay for job in story.open),
        *(end.replay for end in story.ended),
        *(each.replay or 0 for each in story.outcomes),
    }
    return {"request_id": request_id, "replays": [_replay(story, number) for number in sorted(numbers)]}


def _replay(story: Story, number: int) -> dict[str, JsonValue]:
    jobs = [job for job in story.open if job.request.replay == number]
    ended = next((end for end in story.ended if end.replay == number), None)
    outcomes = [each for each in story.outcomes if (each.replay or 0) == number]
    files: dict[int, dict[str, JsonValue]] = {job.file_index: _open_file(job) for job in jobs}
    answers: list[JsonValue] = []
    for each in outcomes:
        if each.file_index is None:
            answers.append(_outcome(each))
        else:
            files[each.file_index] = _outcome(each)
    for end in ended.ends if ended else ():
        # The outcome is gone from its topic, or is in it no longer under this key.
        files.setdefault(end.file_index, {"file_index": end.file_index, "state": _ended(end.succeeded)})
    state = "open" if jobs else "ended" if ended else "no longer remembered"
    request = jobs[0].request if jobs else None
    return {
        "replay": number,
        "state": state,
        "partition": request.partition if request else None,
        "offset": request.origin.offset if request else None,
        "model": request.model if request else next((each.model for each in outcomes if each.model), None),
        "accepted_at": time_of(request.accepted_ms) if request else None,
        "deadline": time_of(request.deadline_ms) if request else None,
        "ended_at": time_of(ended.finished_ms) if ended else None,
        "files": [files[index] for index in sorted(files)],
        "answers": answers,
    }


def _ended(succeeded: bool) -> str:
    return "result" if succeeded else "failure"


def _open_file(job: ListedJob) -> dict[str, JsonValue]:
    request, submission = job.request, job.submission
    intended_ms = submission.intent.intended_ms if submission and submission.intent else None
    times = {
        "requested_at": time_of(request.timestamp_ms),
        "accepted_at": time_of(request.accepted_ms),
        "intended_at": time_of(intended_ms),
        "submitted_at": time_of(submission.submitted_ms) if submission else None,
        "next_at": time_of(submission.due_ms or None) if submission else None,
    }
    return {
        "file_index": job.file_index,
        "file_url": without_query(request.url(job.file_index)),
        "state": f"{job.state} (cancelled)" if job.cancelled else job.state,
        "task_id": submission.task_id if submission else None,
        "attempts": {"submit": job.submits},
        "times": {name: time for name, time in times.items() if time},
    }


def _outcome(outcome: StoryOutcome) -> dict[str, JsonValue]:
    times = {name: outcome.times[name] for name in TIMES if outcome.times.get(name)}
    found: dict[str, JsonValue] = {
        "file_index": outcome.file_index,
        "file_url": outcome.file_url,
        "state": _ended(outcome.code is None),
        "task_id": outcome.task_id,
        "code": outcome.code,
        "provider_code": outcome.provider_code,
        "message": outcome.message,
        "attempts": outcome.attempts.model_dump(),
        "billed_seconds": outcome.usage.billed_seconds,
        "times": times,
    }
    return {name: value for name, value in found.items() if value is not None}


def lines(request_id: str, story: Story) -> Iterator[str]:
    """The story for people."""
    replays = document_of(request_id, story)["replays"]
    if not isinstance(replays, list) or not replays:
        yield f"nothing is known of {request_id}: no open or remembered request, and no outcome in Kafka"
        return
    for replay in replays:
        if isinstance(replay, dict):
            yield from _replay_lines(request_id, replay)


def _replay_lines(request_id: str, replay: Mapping[str, JsonValue]) -> Iterator[str]:
    yield f"{request_id}, replay {replay['replay']}: {replay['state']}, {replay['model'] or 'model unknown'}"
    for name in ("partition", "offset", "accepted_at", "deadline", "ended_at"):
        if replay[name] is not None:
            yield f"  {name.replace('_', ' '):13} {replay[name]}"
    for name in ("files", "answers"):
        entries = replay[name]
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield from _file_lines(entry)


def _file_lines(entry: Mapping[str, JsonValue]) -> Iterator[str]:
    index = entry.get("file_index")
    what = "answer to a record" if index is None else f"file {index}"
    yield f"  {what}: {entry['state']}  {entry.get('file_url') or ''}".rstrip()
    if entry.get("code"):
        provider_code = f" ({entry['provider_code']})" if entry.get("provider_code") else ""
        yield f"    {entry['code']}{provider_code}: {entry.get('message') or ''}"
    if entry.get("task_id"):
        yield f"    task          {entry['task_id']}"
    times, attempts = entry.get("times"), entry.get("attempts")
    for name, time in times.items() if isinstance(times, dict) else ():
        yield f"    {name.removesuffix('_at'):13} {time}"
    if isinstance(attempts, dict):
        yield f"    attempts      {', '.join(f'{kind} {number}' for kind, number in attempts.items())}"
    if entry.get("billed_seconds") is not None:
        yield f"    billed        {entry['billed_seconds']} s"
