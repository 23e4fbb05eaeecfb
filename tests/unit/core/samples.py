"""Requests, jobs, submissions, records and contexts for the tests of the core."""

import json
from dataclasses import replace

from pydantic import JsonValue

from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.core.job.accepted_request import AcceptedRequest, RequestFile
from service.core.job.file_matching import files_digest
from service.core.job.identity import JobKey, JobRef, Origin, Position, SubmissionKey
from service.core.job.job import FetchProgress, Job, JobState
from service.core.job.request_record import Record
from service.core.job.submission import Counters, Intent, Submission, SubmissionState
from service.core.job.transition_context import Context, Rules
from service.core.provider.answers import ProviderError, TaskStatus, TaskView

NOW_MS = 1_760_000_000_000
DEADLINE_MS = NOW_MS + 3_600_000
URL = "https://h.example/a.wav?Signature=secret"
NO_ANSWER = ProviderError("timeout", "no answer")
KEY = JobKey("r", 0, 0)
ORIGIN = Origin(0, 7)
REF = JobRef(ORIGIN, 0)
SUBMISSION = SubmissionKey(5, 1)


def url(index: int) -> str:
    """The URL of a file of `request()`."""
    return URL if index == 0 else URL.replace("a.wav", f"{index}.wav")


def request(**fields: object) -> AcceptedRequest:
    """A request with one file."""
    plain = AcceptedRequest(
        origin=ORIGIN,
        topic="transcription.requests",
        partition=0,
        timestamp_ms=NOW_MS - 500,
        request_id="r",
        replay=0,
        digest="d",
        model="fun-asr",
        files=(RequestFile(0, URL),),
        file_count=1,
        deadline_ms=DEADLINE_MS,
        accepted_ms=NOW_MS - 100,
        options={},
        metadata={"n": 1},
        headers=(("traceparent", "00-1"),),
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def request_of(count: int, **fields: object) -> AcceptedRequest:
    """A request with so many files."""
    return request(files=tuple(RequestFile(n, url(n)) for n in range(count)), file_count=count, **fields)


def job(state: JobState = JobState.WAITING, **fields: object) -> Job:
    """The job of `request()` in a state, with what a job has there whose submission is `submission()`."""
    has_task = state is JobState.COLLECTING
    plain = Job(
        REF,
        request(),
        SUBMISSION,
        state=state,
        submit_attempts=0 if state is JobState.WAITING else 1,
        task_ids=("t1",) if has_task else (),
        task_files=1 if has_task else 0,
        submitted_ms=NOW_MS - 10_000 if has_task else None,
        fetch=FetchProgress(url="https://r.example/1" if has_task else None),
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def running_job(**fields: object) -> Job:
    """A job whose submission has a task."""
    told = {"task_ids": ("t1",), "task_files": 1, "submitted_ms": NOW_MS - 10_000}
    return job(JobState.SUBMITTED, **(told | fields))


def jobs_of(
    asked: AcceptedRequest, state: JobState = JobState.WAITING, **fields: object
) -> dict[JobRef, Job]:
    """All jobs of a request, in the submission `submission_of` makes."""
    refs = [asked.ref(file.index) for file in asked.files]
    return {ref: job(state, ref=ref, request=asked, **fields) for ref in refs}


def submission(state: SubmissionState = SubmissionState.WAITING, **fields: object) -> Submission:
    """The submission of `job()` in a state, with what a submission has when it has come there."""
    is_tried = state is not SubmissionState.WAITING
    is_running = state is SubmissionState.RUNNING
    plain = Submission(
        SUBMISSION,
        "fun-asr",
        (REF,),
        NOW_MS - 20_000,
        state=state,
        counters=Counters(submits=1 if is_tried else 0, tasks_made=1 if is_running else 0),
        intent=Intent(NOW_MS - 50, None, 1, "" if is_running else files_digest([URL])) if is_tried else None,
        task_id="t1" if is_running else None,
        submitted_ms=NOW_MS - 10_000 if is_running else None,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def submission_of(
    asked: AcceptedRequest, state: SubmissionState = SubmissionState.WAITING, **fields: object
) -> Submission:
    """A submission of all files of a request."""
    urls = [file.url for file in asked.files]
    plain = submission(state, jobs=tuple(asked.ref(file.index) for file in asked.files), model=asked.model)
    if plain.intent is not None:
        digest = plain.intent.files_digest and files_digest(urls)
        plain = replace(plain, intent=Intent(NOW_MS - 50, None, len(urls), digest))
    return replace(plain, **fields)  # type: ignore[arg-type]


def context(now_ms: int = NOW_MS, draw: float = 0.5, rules: Rules | None = None) -> Context:
    """A context, with the default rules unless others are given."""
    return Context(now_ms, draw, rules or Rules())


def task(status: TaskStatus = TaskStatus.SUCCEEDED, **fields: object) -> TaskView:
    """A poll of the task of `submission()`."""
    return replace(TaskView("t1", status, billed_seconds=9), **fields)  # type: ignore[arg-type]


def transcript(text: str = "Hello.") -> Transcript:
    """Three seconds of speech in one channel."""
    words = (Word(0, 1000, text),)
    return Transcript(
        audio=AudioProperties(duration_ms=5_000),
        channels=(Channel(0, text, text, 3_000, (Sentence(1, 0, 3_000, text, words=words),)),),
    )


def request_record(offset: int, request_id: str = "r", /, **fields: JsonValue) -> Record:
    """A record of the request topic; without other fields it asks for one file."""
    body: dict[str, JsonValue] = {"request_id": request_id}
    if fields.get("action") != "cancel":
        body |= {"file_urls": [URL], "model": "fun-asr"}
    value = json.dumps(body | fields).encode()
    return record(offset, value, key=request_id.encode())


def record(offset: int, value: bytes | None, key: bytes | None = b"k") -> Record:
    """Any record of the request topic."""
    return Record(Position("transcription.requests", 0, offset, NOW_MS - 500), key, value)
