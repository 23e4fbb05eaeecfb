"""The journal's entries: how jobs, markers, the cursor and the owner are written down and read back.

Keys: `request_id/replay/file_index` for a job, `~cursor` and `~owner` for the shard itself (no request id
holds a tilde or a slash). Every record carries a stamp in its header: format version, the owner epoch and
the batch number of its writer.
"""

import json
from dataclasses import dataclass
from typing import Any

from service.contract.output import OutputFormat
from service.core.ending import FailureEnding, Tallied
from service.core.identity import JobKey, Position
from service.core.job import Job, Spec, State
from service.core.record import Cursor
from service.errors import FailureCode
from service.messages import Stage

OWNER_KEY = "~owner"
CURSOR_KEY = "~cursor"
STAMP_HEADER = "scribe-stamp"
FORMAT = 1
"""The version of the entries' format; a journal written by a newer one is refused."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who wrote a journal record: the owner epoch and the number of the batch."""

    epoch: int
    batch: int

    def encode(self) -> bytes:
        """As the header's value."""
        return f"{FORMAT}.{self.epoch}.{self.batch}".encode()

    @staticmethod
    def decode(value: bytes) -> "Stamp":
        """Read a header's value; raises `ValueError` for another format version."""
        version, epoch, batch = (int(part) for part in value.split(b"."))
        if version != FORMAT:
            raise ValueError(f"journal format {version} is not the {FORMAT} this version of Scribe reads")
        return Stamp(epoch, batch)


@dataclass(frozen=True, slots=True)
class Marker:
    """What is left of a finished job: enough to know it, and its tasks, again, and nothing of its content."""

    key: JobKey
    digest: str
    job_count: int
    succeeded: bool
    billed_seconds: int | None
    finished_ms: int
    task_ids: tuple[str, ...] = ()
    origin_offset: int | None = None
    """Where its request's record lies."""
    cost: float = 0.0


def marker_of(job: Job, tallied: Tallied, finished_ms: int) -> Marker:
    """What is left of the job, whose ending counts as `tallied` says."""
    spec = job.spec
    return Marker(
        job.key,
        digest=spec.digest,
        job_count=spec.job_count,
        # The journal keeps no transcript: what is no failure is a result, to be fetched again.
        succeeded=not isinstance(job.ending, FailureEnding),
        billed_seconds=tallied.billed_seconds,
        finished_ms=finished_ms,
        task_ids=job.task_ids,
        origin_offset=spec.origin.offset,
        cost=tallied.cost,
    )


@dataclass(frozen=True, slots=True)
class Owner:
    """A claim: from here on only entries of this epoch, or a later one, count."""

    epoch: int
    member: str


Entry = Job | Marker | Cursor | Owner


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def encode_job(job: Job) -> bytes:
    """An open job's entry; one that is COLLECTING is written as RUNNING, since a restore looks again."""
    spec = job.spec
    return _dump(
        {
            "state": State.RUNNING if job.state is State.COLLECTING else job.state,
            "url": job.file_url,
            "group": job.group,
            "due": job.due_ms,
            "submits": job.submit_attempts,
            "refusals": job.refusals,
            "tasks": job.tasks_made,
            "polls": job.poll_attempts,
            "fetches": job.fetch_attempts,
            "cancelled": job.cancelled,
            "sealed": job.sealed_ms,
            "offset": job.vendor_offset_ms,
            "task": job.task_id,
            "task_files": job.task_files,
            "former": job.former_tasks,
            "submitted": job.submitted_ms,
            "result": job.must_be_result,
            "lost": job.lost_calls,
            "ending": _ending(job),
            "tallied": _tallied(job),
            "spec": {
                "files": spec.file_count,
                "jobs": spec.job_count,
                "model": spec.model,
                "options": spec.options,
                "metadata": spec.metadata,
                "headers": spec.headers,
                "deadline": spec.deadline_ms,
                "origin": [
                    spec.origin.topic,
                    spec.origin.partition,
                    spec.origin.offset,
                    spec.origin.timestamp_ms,
                ],
                "digest": spec.digest,
                "deduplicated": spec.duplicates_detected,
                "accepted": spec.accepted_ms,
                "formats": spec.formats,
                "fixed": spec.has_fixed_deadline,
            },
        }
    )


def _ending(job: Job) -> list[object] | None:
    """A failure whole, of a result only that it is one: its transcript is fetched again after a crash."""
    if not isinstance(job.ending, FailureEnding):
        return None
    end = job.ending
    return [end.stage, end.code, end.message, end.provider_code, end.retryable]


def _tallied(job: Job) -> list[object] | None:
    tallied = job.tallied
    return None if tallied is None else [tallied.billed_seconds, tallied.carries_summary, tallied.cost]


def encode_marker(marker: Marker) -> bytes:
    """A finished job's entry."""
    return _dump(
        {
            "state": State.DONE,
            "digest": marker.digest,
            "jobs": marker.job_count,
            "ok": marker.succeeded,
            "billed": marker.billed_seconds,
            "at": marker.finished_ms,
            "tasks": marker.task_ids,
            "origin": marker.origin_offset,
        }
        | ({"cost": marker.cost} if marker.cost else {})
    )


def encode_cursor(cursor: Cursor) -> bytes:
    """The shard's cursor."""
    return _dump({"next": cursor.next_offset, "timestamp": cursor.timestamp_ms, "crc": cursor.crc})


def encode_owner(owner: Owner) -> bytes:
    """A claim."""
    return _dump({"epoch": owner.epoch, "member": owner.member})


def decode(key: str, value: bytes) -> Entry:
    """Read one entry back; raises `ValueError`, `KeyError` or `TypeError` for what we did not write."""
    try:
        data = json.loads(value)
    except RecursionError as error:
        raise ValueError("nested too deep to be ours") from error
    if key == OWNER_KEY:
        return Owner(data["epoch"], data["member"])
    if key == CURSOR_KEY:
        return Cursor(data["next"], data["timestamp"], data["crc"])
    job_key = read_key(key)
    return _decode_marker(job_key, data) if data["state"] == State.DONE else _decode_job(job_key, data)


def read_key(key: str) -> JobKey:
    """The job key that `key` spells."""
    request_id, replay, file_index = key.split("/")
    return JobKey(request_id, int(replay), int(file_index))


def _decode_marker(key: JobKey, data: dict[str, Any]) -> Marker:
    return Marker(
        key,
        digest=data["digest"],
        job_count=data["jobs"],
        succeeded=data["ok"],
        billed_seconds=data["billed"],
        finished_ms=data["at"],
        task_ids=tuple(data["tasks"]),
        # Markers of before finished requests were answered have none.
        origin_offset=data.get("origin"),
        cost=float(data.get("cost", 0.0)),
    )


def _decode_job(key: JobKey, data: dict[str, Any]) -> Job:
    ending, tallied = data["ending"], data["tallied"]
    return Job(
        spec=_decode_spec(key, data["spec"]),
        file_index=key.file_index,
        file_url=data["url"],
        group=data["group"],
        state=State(data["state"]),
        due_ms=data["due"],
        submit_attempts=data["submits"],
        refusals=data["refusals"],
        tasks_made=data["tasks"],
        poll_attempts=data["polls"],
        fetch_attempts=data["fetches"],
        cancelled=data["cancelled"],
        sealed_ms=data["sealed"],
        vendor_offset_ms=data["offset"],
        task_id=data["task"],
        task_files=data["task_files"],
        former_tasks=tuple(data["former"]),
        submitted_ms=data["submitted"],
        must_be_result=data["result"],
        lost_calls=data.get("lost", 0),
        ending=None if ending is None else _decode_ending(*ending),
        tallied=None if tallied is None else Tallied(*tallied),
    )


def _decode_ending(
    stage: str, code: str, message: str, provider_code: str | None, retryable: bool
) -> FailureEnding:
    return FailureEnding(Stage(stage), FailureCode(code), message, provider_code, retryable)


def _decode_spec(key: JobKey, spec: dict[str, Any]) -> Spec:
    return Spec(
        request_id=key.request_id,
        replay=key.replay,
        file_count=spec["files"],
        job_count=spec["jobs"],
        model=spec["model"],
        options=spec["options"],
        metadata=spec["metadata"],
        headers=tuple((name, value) for name, value in spec["headers"]),
        deadline_ms=spec["deadline"],
        origin=Position(*spec["origin"]),
        digest=spec["digest"],
        duplicates_detected=spec["deduplicated"],
        accepted_ms=spec["accepted"],
        # Journals of before there were renderings have none.
        formats=tuple(OutputFormat(name) for name in spec.get("formats", ())),
        has_fixed_deadline=spec.get("fixed", False),
    )
