"""What the text of each failure code advises, done word for word once the cause is gone, ends in a result."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import JsonValue

from service.contract.request_decoder import RequestLimits
from service.core.job.request_record import Record
from service.core.job.transition_context import Rules
from service.core.provider.answers import Lost, ProviderError, Refused, TaskStatus
from service.errors import FailureCode
from service.pipeline.shard.shard_runner import ShardRunner
from tests.fakes.clock import settle
from tests.fakes.provider import TIMEOUT
from tests.unit.contract.test_schemas import failure_codes
from tests.unit.core.samples import URL
from tests.unit.pipeline.world import Limits, World

FRESH: JsonValue = ["https://h.example/a.wav?Signature=fresh"]
SMALLER: JsonValue = ["https://h.example/a-1.wav", "https://h.example/a-2.wav"]
HOTWORDS: JsonValue = {"hotwords": [{"text": "etcd"}]}
OUR_OWN_FAULTS = {"internal_error"}
"""A bug of ours has no cause that a user could take away."""
HOURS = 3600.0
Cause = Callable[[World], object]


def nothing(_world: World) -> None:
    """There is no cause beside the request, or it is gone by itself."""


@dataclass(frozen=True)
class Case:
    """A failure and its advice: a part of the code's text, and what is published then.

    `asked` and `again` are the request's fields, first and then. `again` goes under the next replay number;
    with an id of its own, under that.
    """

    advice: str
    cause: Cause = nothing
    mend: Cause = nothing
    asked: Mapping[str, JsonValue] = field(default_factory=dict)
    again: Mapping[str, JsonValue] = field(default_factory=dict)
    new_id: bool = False
    rules: Rules = Rules()


def of_file(code: str) -> Cause:
    """The provider fails on the file at this very URL."""

    def cause(world: World) -> None:
        world.provider.file_errors[URL] = ProviderError(code, "it says no")

    return cause


def file_is_well(world: World) -> None:
    world.provider.file_errors.clear()


def fetches(*bodies: ProviderError | bytes) -> Cause:
    return lambda world: world.provider.next_fetches.extend(bodies)


def of_submit(fault: Refused | Lost) -> Cause:
    return lambda world: world.provider.next_submits.append(fault)


def no_place(world: World) -> None:
    world.vocabularies.most = 0


def places(world: World) -> None:
    world.vocabularies.most = 10


def small_topic(world: World) -> None:
    world.broker.limits[world.broker.topics.results] = 100


def large_topic(world: World) -> None:
    world.broker.limits.clear()


def task_unknown(world: World) -> None:
    world.provider.next_queries.extend([TaskStatus.UNKNOWN] * 200)


def task_known(world: World) -> None:
    world.provider.next_queries.clear()


FORBIDDEN = ProviderError("http_error", "the result's host answered 403", 403)
REJECTED = Refused(ProviderError("InvalidParameter", "no", 400))
LATE = {"deadline": "2020-01-01T00:00:00Z"}
LATER = {"deadline": "2100-01-01T00:00:00Z"}

JOBS: list[tuple[FailureCode, Case]] = [
    (FailureCode.DEADLINE_EXCEEDED, Case("under the next unused `replay` number", asked=LATE, again=LATER)),
    (
        FailureCode.DEADLINE_EXCEEDED,
        Case("again with a later one", lambda w: w.clock.suspend(HOURS), nothing, {"ttl_seconds": 60}),
    ),
    (
        FailureCode.SUBMIT_UNCERTAIN,
        Case("replay if two bills are fine", of_submit(Lost(TIMEOUT)), rules=Rules(uncertain="fail")),
    ),
    (FailureCode.SUBMIT_REJECTED, Case("`provider_code` says why", of_submit(REJECTED))),
    (
        FailureCode.VOCABULARY_QUOTA,
        Case("delete some (`scribe hotwords`), then replay", no_place, places, {"options": HOTWORDS}),
    ),
    (
        FailureCode.VOCABULARY_UNUSABLE,
        Case("the message says which", asked={"options": {"vocabulary_id": "vocab-gone"}}),
    ),
    (
        FailureCode.AUDIO_UNREACHABLE,
        Case("make its URL public and fast, then replay", of_file("FILE_DOWNLOAD_FAILED"), file_is_well),
    ),
    (
        FailureCode.AUDIO_FORBIDDEN,
        Case(
            "sign a fresh URL, and replay with it",
            of_file("FILE_403_FORBIDDEN"),
            again={"file_urls": FRESH},
        ),
    ),
    (
        FailureCode.AUDIO_NOT_FOUND,
        Case("put it there, then replay the request", of_file("FILE_404_NOT_FOUND"), file_is_well),
    ),
    (
        FailureCode.AUDIO_INVALID_URL,
        Case(
            "percent-encode it and publish it with a new id",
            of_file("InvalidURL"),
            again={"file_urls": ["https://h.example/a%20b.wav"]},
            new_id=True,
        ),
    ),
    (
        FailureCode.AUDIO_TOO_LARGE,
        Case("with a new id", of_file("FILE_TOO_LARGE"), again={"file_urls": SMALLER}, new_id=True),
    ),
    (
        FailureCode.AUDIO_TOO_LONG,
        Case("with a new id", of_file("InvalidFile.Duration"), again={"file_urls": SMALLER}, new_id=True),
    ),
    (FailureCode.AUDIO_UNUSABLE, Case("", of_file("DECODE_ERROR"), file_is_well)),
    (FailureCode.CONTENT_REJECTED, Case("", of_file("DataInspectionFailed"), file_is_well)),
    (
        FailureCode.PROVIDER_ERROR,
        Case("replay the request later", of_file("InternalError.Algo"), file_is_well),
    ),
    (FailureCode.TASK_LOST, Case("replay the request", task_unknown, task_known)),
    (FailureCode.RESULT_EXPIRED, Case("replay the request", fetches(FORBIDDEN, FORBIDDEN))),
    (
        FailureCode.RESULT_REFUSED,
        Case("see `SCRIBE_FETCH__HOSTS`", fetches(ProviderError("fetch_refused", "no"))),
    ),
    (FailureCode.RESULT_UNREADABLE, Case("", fetches(b"{", b"{", b"{"))),
    (FailureCode.RESULT_TOO_LARGE, Case("then replay", small_topic, large_topic)),
]
"""Failures of files; those whose text gives no advice can be replayed as well."""

RECORDS: list[tuple[FailureCode, str, bytes, tuple[tuple[str, bytes], ...]]] = [
    (FailureCode.INVALID_ENCODING, "Encode the request as UTF-8 JSON and publish it again", b"\xff{", ()),
    (FailureCode.INVALID_JSON, "not one JSON document", b'{"request_id": "r",}', ()),
    (FailureCode.INVALID_REQUEST, "the message names it", b'{"request_id": "r"}', ()),
    (
        FailureCode.INVALID_OPTION,
        "the message names both",
        json.dumps({"request_id": "r", "file_urls": [URL], "model": "fun-asr", "options": {"x": 1}}).encode(),
        (),
    ),
    (
        FailureCode.UNKNOWN_MODEL,
        "the message lists those that exist",
        json.dumps({"request_id": "r", "file_urls": [URL], "model": "whisper-1"}).encode(),
        (),
    ),
    (
        FailureCode.UNSUPPORTED_VERSION,
        "publish v1",
        json.dumps({"request_id": "r", "file_urls": [URL], "model": "fun-asr"}).encode(),
        (("ce_type", b"scribe.transcription.request.v2"),),
    ),
    (
        FailureCode.REQUEST_TOO_LARGE,
        "send fewer files or less metadata",
        json.dumps({"request_id": "r", "metadata": {"n": "x" * 600_000}}).encode(),
        (),
    ),
]
"""Records that become no work, and so use up no replay number."""

ELSEWHERE = {
    FailureCode.NOT_ALLOWED,
    FailureCode.REQUEST_ID_CONFLICT,
    FailureCode.CANCEL_UNKNOWN_REQUEST,
    FailureCode.ALREADY_FINISHED,
    FailureCode.CANCELLED,
}
"""They have a test of their own below."""


def text_of(code: FailureCode) -> str:
    [row] = [row for row in failure_codes() if row.startswith(f"| `{code}` |")]
    return row


def outcomes(world: World) -> dict[str, dict[str, Any]]:
    """The body of each outcome by its id, as a consumer reads it."""
    return {
        dict(kept.headers)["ce_id"].decode(): json.loads(kept.value or b"")
        for kept in world.broker.outcomes()
    }


async def outcome(world: World, identity: str) -> dict[str, Any]:
    """This outcome, once it comes."""
    for _ in range(200):
        if identity in outcomes(world):
            break
        await world.clock.sleep(60)
    return outcomes(world)[identity]


async def published(world: World, shard: ShardRunner, record: Record) -> str:
    """Publish a record; the id of its outcome, if it gets one of its own."""
    world.deliver(shard, record)
    await settle()
    return record.origin_id


async def told_number(
    world: World, shard: ShardRunner, code: FailureCode, fields: Mapping[str, JsonValue]
) -> int:
    """The replay number that is named to whoever publishes the request again as it is."""
    again = await published(world, shard, world.record(0, "r", **fields))
    body = await outcome(world, again)
    assert (body["code"], body["retryable"], body["file_index"]) == (code, False, None)
    [number] = re.findall(r'publish it with "replay": (\d+)', body["message"])
    return int(number)


async def has_results(world: World, request_id: str, replay: int, files: int = 1) -> None:
    for index in range(files):
        body = await outcome(world, f"{request_id}/{replay}/{index}")
        assert "transcript" in body, body


@pytest.fixture
def world() -> World:
    """Each test makes its own."""
    return World(Limits())


def test_every_code_is_tried() -> None:
    tried = {code for code, _ in JOBS} | {code for code, *_ in RECORDS} | ELSEWHERE
    assert {code.value for code in FailureCode} - OUR_OWN_FAULTS == {code.value for code in tried}


@pytest.mark.parametrize(("code", "case"), JOBS, ids=lambda value: str(getattr(value, "advice", value)))
async def test_the_advice_on_a_failed_file_leads_to_a_result(code: FailureCode, case: Case) -> None:
    assert case.advice in text_of(code)
    world = World(Limits(), rules=case.rules)
    world.run()
    shard = world.shard()
    case.cause(world)
    await published(world, shard, world.record(0, "r", **case.asked))
    failed = await outcome(world, "r/0/0")
    assert failed["code"] == code
    case.mend(world)
    fields = {**case.asked, **case.again}
    if code is FailureCode.VOCABULARY_UNUSABLE:
        fields = {"options": {"vocabulary_id": world.vocabularies.add("fun-asr", "mine")}}
    if code is FailureCode.DEADLINE_EXCEEDED and "ttl_seconds" in fields:
        fields["ttl_seconds"] = round(3 * HOURS)
    files = fields.get("file_urls")
    count = len(files) if isinstance(files, list) else 1
    if case.new_id:
        await published(world, shard, world.record(0, "new", **fields))
        await has_results(world, "new", 0, count)
        await world.end()
        return
    is_same = code is not FailureCode.VOCABULARY_UNUSABLE
    answered = FailureCode.ALREADY_FINISHED if is_same else FailureCode.REQUEST_ID_CONFLICT
    number = await told_number(world, shard, answered, fields)
    assert number == 1
    await published(world, shard, world.record(0, "r", **fields, replay=number))
    await has_results(world, "r", number, count)
    await world.end()


@pytest.mark.parametrize(("code", "advice", "value", "headers"), RECORDS, ids=lambda value: str(value)[:20])
async def test_the_advice_on_a_refused_record_leads_to_a_result_under_the_same_id(
    world: World, code: FailureCode, advice: str, value: bytes, headers: tuple[tuple[str, bytes], ...]
) -> None:
    assert advice in text_of(code)
    world.run()
    shard = world.shard()
    bad = replace(world.record(0, "r"), value=value, headers=headers)
    failed = await published(world, shard, bad)
    assert (await outcome(world, failed))["code"] == code
    await published(world, shard, world.record(0, "r"))
    await has_results(world, "r", 0)
    await world.end()


async def test_what_settings_did_not_allow_is_published_again_once_they_do(world: World) -> None:
    assert "settings" in text_of(FailureCode.NOT_ALLOWED)
    world.run()
    shard, allows = world.shard(), world.accept
    world.accept = replace(allows, limits=RequestLimits(allowed_models=frozenset({"fun-asr-mtl"})))
    failed = await published(world, shard, world.record(0, "r"))
    assert (await outcome(world, failed))["code"] == "not_allowed"
    world.accept = allows
    await published(world, shard, world.record(0, "r"))
    await has_results(world, "r", 0)
    await world.end()


@pytest.mark.parametrize("ended", [False, True])
async def test_other_work_under_a_taken_id_is_done_under_a_new_id_or_the_number_that_is_named(
    world: World, ended: bool
) -> None:
    assert "use a new id, or the number that the message names" in text_of(FailureCode.REQUEST_ID_CONFLICT)
    world.run()
    shard = world.shard()
    await published(world, shard, world.record(0, "r"))
    if ended:
        await has_results(world, "r", 0)
    number = await told_number(world, shard, FailureCode.REQUEST_ID_CONFLICT, {"file_urls": SMALLER})
    await published(world, shard, world.record(0, "r", file_urls=SMALLER, replay=number))
    await published(world, shard, world.record(0, "new", file_urls=SMALLER))
    await has_results(world, "r", 0)
    await has_results(world, "r", number, 2)
    await has_results(world, "new", 0, 2)
    await world.end()


async def test_a_request_that_succeeded_is_done_again_under_the_number_that_is_named(world: World) -> None:
    assert "use the `replay` number that it names" in text_of(FailureCode.ALREADY_FINISHED)
    world.run()
    shard = world.shard()
    for replay in range(3):
        await published(world, shard, world.record(0, "r", replay=replay))
        await has_results(world, "r", replay)
    number = await told_number(world, shard, FailureCode.ALREADY_FINISHED, {})
    assert number == 3
    await published(world, shard, world.record(0, "r", replay=number))
    await has_results(world, "r", number)
    assert world.provider.count("submit") == 4
    await world.end()


async def test_a_request_that_was_cancelled_is_done_again_under_the_number_that_is_named(
    world: World,
) -> None:
    world.run("poll", "collect", "expire")
    world.serve(0.0)
    shard = world.shard()
    await published(world, shard, world.record(0, "r"))
    await published(world, shard, world.record(0, "r", action="cancel"))
    assert (await outcome(world, "r/0/0"))["code"] == "cancelled"
    told = await published(world, shard, world.record(0, "r", action="cancel"))
    assert (await outcome(world, told))["code"] == "already_finished"
    number = await told_number(world, shard, FailureCode.ALREADY_FINISHED, {})
    world.serve(1.0)
    world.run("submit")
    await published(world, shard, world.record(0, "r", replay=number))
    await has_results(world, "r", number)
    await world.end()


async def test_a_cancel_in_the_partition_of_its_request_is_heard(world: World) -> None:
    assert "was the record's key the request_id?" in text_of(FailureCode.CANCEL_UNKNOWN_REQUEST)
    world.serve(0.0)
    shard, other = world.shard(), world.shard(1)
    await published(world, shard, world.record(0, "r"))
    astray = replace(world.record(1, "r", action="cancel"), key=b"another")
    strayed = replace(astray, position=replace(astray.position, partition=1))
    assert (await outcome(world, await published(world, other, strayed)))["code"] == "cancel_unknown_request"
    await published(world, shard, world.record(0, "r", action="cancel"))
    assert (await outcome(world, "r/0/0"))["code"] == "cancelled"
    await world.end()
