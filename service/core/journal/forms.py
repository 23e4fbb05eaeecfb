"""The schemas of the journal's records: each field's type, bounds and default."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.contract.output_formats import OutputFormat
from service.contract.stage import Stage
from service.core.job.identity import JobRef
from service.core.job.submission import Counters
from service.errors import FailureCode

_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Time = Annotated[int, Field(ge=0, lt=2**53)]
_Apart = Annotated[int, Field(gt=-(2**53), lt=2**53)]
_Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Form(BaseModel):
    """A strict schema: a record with other types or fields is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class RequestForm(Form):
    """An open request, kept by the hundred thousand, so its names are short.

    `at` is when it was accepted; other times are relative to it. `until` is its deadline. It came from the
    record `of` a topic, a partition and a time. `count` is that of all files, if it is not that of `files`.
    """

    id: str
    replay: _Count = 0
    digest: str
    model: str
    files: Annotated[tuple[tuple[_Count, str], ...], Field(min_length=1)]
    count: _Count | None = None
    at: _Time
    until: _Apart
    of: tuple[str, _Count, _Apart | None]
    options: dict[str, JsonValue] | None = None
    metadata: dict[str, JsonValue] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    formats: tuple[OutputFormat, ...] = ()
    fixed: bool = False
    deduplicated: bool = True


class FinishedForm(Form):
    """A request's short form; `ends` are file index, success, billed seconds and cost."""

    ended: _Time
    id: str
    replay: _Count = 0
    digest: str
    ends: Annotated[tuple[tuple[_Count, bool, _Count | None, _Cost], ...], Field(min_length=1)]


class SubmissionForm(Form):
    """Written twice for most jobs, so its names are short.

    Times are relative to `at`, its creation.
    """

    state: str = "r"
    model: str
    jobs: tuple[Annotated[tuple[_Count, ...], Field(min_length=3)], ...] = ()
    at: _Time
    due: _Apart = 0
    tries: Annotated[tuple[_Count, ...], Field(max_length=4)] = ()
    intent: tuple[_Apart, _Apart | None, _Count, str] | None = None
    task: str | None = None
    sent: _Apart | None = None
    followed: bool = False


class JobForm(Form):
    """A job's own record."""

    cancel: bool = False
    result: bool = False
    ending: tuple[Stage, FailureCode, str, str | None, bool] | None = None
    accounted: tuple[_Count | None, bool, _Cost] | None = None
    done: tuple[bool, _Count | None, _Cost] | None = None


class CursorForm(Form):
    """The shard's cursor."""

    next: _Count
    timestamp: _Apart | None = None
    crc: _Count | None = None
    generation: _Count = 0


class SpendForm(Form):
    """What a day has cost."""

    day: _Count
    seconds: _Count
    cost: _Cost


class OwnerForm(Form):
    """A claim."""

    epoch: _Count
    member: str
    released: bool = False


def packed(jobs: Iterable[JobRef]) -> Iterator[list[int]]:
    """One row per request: generation and offset of its record, then the file indexes of the jobs."""
    for origin, refs in groupby(jobs, key=lambda ref: ref.origin):
        yield [origin.generation, origin.offset, *(ref.file_index for ref in refs)]


def without_last_zeros(counters: Counters) -> list[int]:
    """The counters up to the last one that is not zero."""
    kept = list(counters)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def unpacked(rows: Iterable[tuple[int, ...]]) -> Iterator[tuple[int, int, int]]:
    """For each job the generation and offset of its request, and its file index."""
    for generation, offset, *indexes in rows:
        for index in indexes:
            yield generation, offset, index


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(form: type[Form], **fields: object) -> bytes:
    """Encode the fields that differ from the form's defaults."""
    usual = _defaults(form)
    kept = {name: value for name, value in fields.items() if value != usual[name]}
    return _encode(kept).encode()


@cache
def _defaults(form: type[Form]) -> dict[str, object]:
    """The default of each field; `PydanticUndefined`, which equals no value, where there is none."""
    return {name: field.default for name, field in form.model_fields.items()}
