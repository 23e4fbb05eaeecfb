"""What `scribe status` reads from /status, what it takes for a fault, and what it shows."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from service.cli import pages, status
from service.cli.exit_codes import ExitCode
from service.cli.pages import NoAnswer, addresses_of, base_of, get
from service.cli.replica_status import Replica, replica_at
from service.core.provider.answers import Cause, ProviderError
from service.errors import ConfigError
from service.observability.status import (
    HoldStatus,
    ResultHoldStatus,
    ShardStatus,
    Status,
    SubmitStatus,
    Waiting,
)
from tests.unit.provider.raw_server import RawServer, Reply, answer, raw_server, silence

WELL = Status(
    version="1.2.3",
    member="scribe-0",
    shards=tuple(ShardStatus(number, "ready", 1) for number in (0, 1, 2, 5)),
    jobs={"waiting": 3, "submitted": 1},
    oldest_job_age_seconds=125.0,
    submissions={"running": 1},
)
REFUSED = ProviderError("connect_failed", "host h refuses connections", cause=Cause.REFUSED, host="h")
FAULTS = {
    "group": (replace(WELL, group_lost="no broker answers"), "the group is lost: no broker answers"),
    "Kafka away": (
        replace(WELL, unused_slots=("silence", "membership")),
        "Kafka has accepted no commit for 10 s: this replica calls the provider no more",
    ),
    "refused shard": (
        replace(WELL, shards=(ShardStatus(3, "refused", detail="its format is 1"),)),
        "partition 3 is refused: its format is 1",
    ),
    "stage": (replace(WELL, stopped_stages=("poll",)), "stopped for faults of Scribe itself: poll"),
    "account hold": (
        replace(WELL, holds=(HoldStatus("Arrearage", 0, "You owe.", None, "Pay.", 7),)),
        "hold of the account since 1970-01-01T00:00:00.000Z, 7 jobs wait: Arrearage: You owe. Pay.",
    ),
    "second hold": (
        replace(WELL, holds=(HoldStatus("a", 0), HoldStatus("b", 0, model="fun-asr"))),
        "hold of the model fun-asr since 1970-01-01T00:00:00.000Z, 0 jobs wait: b:",
    ),
    "results": (
        replace(WELL, result_holds=(ResultHoldStatus("fun-asr", "r.example", "SCRIBE_FETCH__HOSTS", 2),)),
        "2 results of fun-asr wait: r.example is not below SCRIBE_FETCH__HOSTS",
    ),
    "outage": (
        replace(WELL, submits=(SubmitStatus("fun-asr", 1.0, 0, REFUSED),)),
        "outage of fun-asr since 1970-01-01T00:00:00.000Z (refused): host h refuses connections",
    ),
    "clock": (replace(WELL, clock_offset_seconds=-2.5), "the clock is -2.5 s from trusted time"),
}


def sent(data: bytes) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return reply


def serving(picture: Status, live: int = 200, ready: int = 200) -> tuple[Reply, ...]:
    """The answers of a replica to the three questions, in their order."""

    return (
        sent(answer(200, picture.to_json())),
        sent(answer(live, b"the event loop has not turned for 40 s\n")),
        sent(answer(ready, b"no assignment yet\n")),
    )


@asynccontextmanager
async def replica(*replies: Reply) -> AsyncIterator[str]:
    async with raw_server(*replies) as server:
        yield url_of(server)


def url_of(server: RawServer) -> str:
    return f"http://127.0.0.1:{server.port}"


async def test_a_replica_without_a_fault_is_healthy() -> None:
    async with replica(*serving(WELL)) as url:
        found = await replica_at(url)
    assert found.is_healthy
    assert found.document == json.loads(WELL.to_json())
    assert status.exit_code([found]) is ExitCode.DONE
    assert list(status.lines([found])) == [
        f"scribe-0  1.2.3  {url}  healthy",
        "  shards       ready 0-2,5",
        "  jobs         waiting 3, submitted 1; the oldest for 2 min 5 s",
        "  submissions  running 1",
    ]


async def test_what_waits_is_shown_by_model_and_reason() -> None:
    waits = replace(WELL, waiting=(Waiting("fun-asr", "quota", 3), Waiting("fun-asr", "hold", 0)))
    async with replica(*serving(waits)) as url:
        shown = list(status.lines([await replica_at(url)]))
    assert "  waiting      fun-asr quota 3" in shown


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_makes_a_replica_unhealthy_and_is_a_line_with_its_cause(name: str) -> None:
    picture, words = FAULTS[name]
    async with replica(*serving(picture)) as url:
        found = await replica_at(url)
    assert words in found.problems
    assert status.exit_code([found]) is ExitCode.UNHEALTHY
    assert f"  ! {words}" in list(status.lines([found]))


async def test_a_replica_without_a_partition_commits_nothing_and_is_well() -> None:
    spare = replace(WELL, shards=(), unused_slots=("membership",))
    async with replica(*serving(spare)) as url:
        assert (await replica_at(url)).is_healthy


@pytest.mark.parametrize(
    ("live", "ready", "words"),
    [
        (503, 200, "stuck: the event loop has not turned for 40 s"),
        (200, 503, "not ready: no assignment yet"),
    ],
)
async def test_a_replica_that_is_stuck_or_not_ready_is_unhealthy_whatever_its_last_picture_says(
    live: int, ready: int, words: str
) -> None:
    async with replica(*serving(WELL, live, ready)) as url:
        found = await replica_at(url)
    assert found.problems == (words,)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (sent(answer(404, b"no such page")), "/status answers 404"),
        (sent(answer(200, b"<html>hello</html>")), "what answers is not Scribe"),
        (sent(answer(200, b'{"shards": 5}')), "what answers is not Scribe"),
        (sent(b"SSH-2.0-OpenSSH_9.6\r\n"), "what answers is no HTTP server"),
        (sent(b"HTTP/1.0\r\n\r\n"), "what answers is no HTTP server"),
        (sent(b""), "what answers is no HTTP server"),
        (sent(answer(200, b"x" * (pages.MAX_BYTES + 1))), "the answer is too large for a page of Scribe"),
    ],
)
async def test_what_is_no_replica_counts_as_one_that_does_not_answer(reply: Reply, words: str) -> None:
    async with replica(reply) as url:
        found = await replica_at(url)
    assert (found.status, found.error) == (None, words)
    assert status.exit_code([found]) is ExitCode.UNREACHABLE
    assert list(status.lines([found])) == [f"{url}  NO ANSWER: {words}"]


async def test_a_silent_host_is_given_up() -> None:
    async with replica(silence) as url:
        with pytest.raises(NoAnswer, match=r"no answer within 0\.2 s"):
            await get(f"{url}/status", 0.2)


async def test_no_answer_outweighs_a_fault_and_a_fault_outweighs_health() -> None:
    gone = Replica("http://h", error="refused")
    async with replica(*serving(WELL)) as url:
        well = await replica_at(url)
    ill = replace(well, problems=("a hold",))
    assert status.exit_code([well, ill]) is ExitCode.UNHEALTHY
    assert status.exit_code([ill, gone, well]) is ExitCode.UNREACHABLE
    document = status.document_of([well, gone])
    assert document["healthy"] is False
    assert [each["reachable"] for each in document["replicas"]] == [True, False]  # type: ignore[index, union-attr, call-overload]


async def test_several_replicas_are_added_up_and_a_partition_of_two_or_of_none_is_named() -> None:
    second = replace(WELL, member="scribe-1", shards=(ShardStatus(2, "restoring"), ShardStatus(3, "ready")))
    found = []
    for picture in (WELL, second):
        async with replica(*serving(picture)) as url:
            found.append(await replica_at(url))
    assert list(status.lines(found))[-3:] == [
        "2 replicas, 5 partitions, 8 open jobs",
        "  ? partition 2 is listed by scribe-0 and scribe-1",
        "  ? none of these lists partition 4",
    ]


async def test_a_page_of_another_version_is_read_as_far_as_it_is_known() -> None:
    async with replica(*serving(WELL)) as url:
        found = await replica_at(url)
    assert found.status is not None
    body = json.dumps(
        {"member": "scribe-9", "new": {"a": 1}, "shards": [{"partition": 1, "state": "odd", "x": 2}]}
    )
    async with replica(sent(answer(200, body.encode())), *serving(WELL)[1:]) as url:
        newer = await replica_at(url)
    assert newer.is_healthy
    assert "odd 1" in "\n".join(status.lines([newer]))


def test_foreign_text_does_not_drive_the_terminal() -> None:
    shown = list(status.lines([Replica("http://h", error="\x1b[2J\n gone")]))
    assert shown == ["http://h  NO ANSWER:  [2J  gone"]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("10.0.0.7:8080", "http://10.0.0.7:8080"),
        ("http://h:8080/", "http://h:8080"),
        ("https://h/scribe/status", "https://h/scribe"),
        ("http://user:secret@h:1/status", "http://h:1"),
        ("http://[::1]:8080/status", "http://[::1]:8080"),
    ],
)
def test_a_url_may_name_the_port_or_the_page(url: str, base: str) -> None:
    assert base_of(url) == base


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:99999", "http://[::1", ":8080"])
def test_what_is_no_url_of_a_replica_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="a replica's URL is"):
        base_of(url)


async def test_a_name_of_several_addresses_stands_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = ((2, "10.0.0.2"), (2, "10.0.0.1"), (10, "fd00::1"))
    found = [(kind, 1, 6, "", (host, 8080)) for kind, host in hosts]

    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        return [*found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await addresses_of("http://scribe:8080") == ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]
    assert await addresses_of("https://scribe:8080") == ["https://scribe:8080"]


async def test_a_name_without_an_address_stays_and_does_not_answer() -> None:
    assert await addresses_of("http://nothing.invalid:1") == ["http://nothing.invalid:1"]
    found = await replica_at("http://nothing.invalid:1")
    assert found.status is None
    assert found.error
