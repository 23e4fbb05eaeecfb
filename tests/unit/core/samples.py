"""Jobs, records and moments for the tests of the core."""

import json
from dataclasses import replace

from pydantic import JsonValue

from service.contract.speech import AudioProperties, Channel, Sentence, Word
from service.core.admission import Admission, AdmissionRules, admit
from service.core.identity import JobKey, Position
from service.core.job import Job, Spec, State
from service.core.moment import Moment, Rules
from service.core.record import Record
from service.core.shard import Shard
from service.core.task import TaskStatus, TaskView, Trouble
from service.errors import InvalidRecord
from service.messages import RequestLimits, Transcript, read_request

NOW_MS = 1_760_000_000_000
DEADLINE_MS = NOW_MS + 3_600_000
URL = "https://h.example/a.wav?Signature=secret"
TROUBLE = Trouble("timeout", "no answer")
KEY = JobKey("r", 0, 0)


def spec(**fields: object) -> Spec:
    """A spec of a request with one file."""
    plain = Spec(
        request_id="r",
        replay=0,
        file_count=1,
        job_count=1,
        model="fun-asr",
        options={},
        metadata={"n": 1},
        headers=(("traceparent", "00-1"),),
        deadline_ms=DEADLINE_MS,
        origin=Position("transcription.requests", 0, 7, NOW_MS - 500),
        digest="d",
        duplicates_detected=True,
        accepted_ms=NOW_MS - 100,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def job(state: State = State.ACCEPTED, **fields: object) -> Job:
    """A job in a state, with what a job has when it has come there."""
    has_intent = state in (State.SUBMITTING, State.UNCERTAIN)
    has_task = state in (State.RUNNING, State.COLLECTING)
    plain = Job(
        spec(),
        0,
        URL,
        0,
        state=state,
        submit_attempts=0 if state is State.ACCEPTED else 1,
        sealed_ms=NOW_MS - 50 if has_intent else None,
        task_id="t1" if has_task else None,
        task_files=1 if has_task or has_intent else 0,
        submitted_ms=NOW_MS - 10_000 if has_task else None,
        transcription_url="https://r.example/1" if state is State.COLLECTING else None,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def moment(now_ms: int = NOW_MS, draw: float = 0.5, rules: Rules | None = None) -> Moment:
    """A moment, with the default rules unless others are given."""
    return Moment(now_ms, draw, rules or Rules())


def task(status: TaskStatus = TaskStatus.SUCCEEDED, **fields: object) -> TaskView:
    """A look at the task of `job()`."""
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


def take(shard: Shard, taken: Record, rules: AdmissionRules | None = None, now_ms: int = NOW_MS) -> Admission:
    """Decode a record and admit it."""
    try:
        read = read_request(taken.value, taken.headers, RequestLimits())
    except InvalidRecord as error:
        return admit(shard, taken, error, rules or AdmissionRules(), moment(now_ms))
    return admit(shard, taken, read, rules or AdmissionRules(), moment(now_ms))
