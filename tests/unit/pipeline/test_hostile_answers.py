"""Answers that no provider should give: each ends in the outcome expected, and the next is served."""

import json

import pytest
from pydantic import JsonValue

from service.contract.outcome import Result
from service.core.provider.answers import TaskView
from service.provider.wire.answers import HttpAnswer
from service.provider.wire.file_tasks import read_task
from tests.unit.pipeline.world import Limits, World, urls

MINUTE = 60.0
limited = pytest.mark.parametrize("limits", [Limits(spend_per_day=1_000)])
NUMBERS = [
    *(
        "-5000",
        "-1",
        "-0.5",
        "1e12",
        "1e300",
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "-Infinity",
        "true",
        "null",
    ),
    *(
        "[]",
        "{}",
        '""',
        '"-5"',
        '"1e9"',
        '"9999999999999999999"',
        str(10**13),
        str(10**40),
        "-" + str(10**40),
    ),
    *("9" * 400, "9" * 4_301, "9" * 100_000),
]
FIELDS_OF_A_RESULT = [
    "content_duration_in_milliseconds",
    "original_duration_in_milliseconds",
    "original_sampling_rate",
    "begin_time",
    "end_time",
    "word_begin",
    "channel_id",
    "speaker_id",
    "sentence_id",
    "unknown",
    "channels",
]


def result_file(**literals: str) -> bytes:
    """A result whose fields have these literals as their values."""
    marks: dict[str, JsonValue] = {name: f"<{name}>" for name in literals}
    word = {"begin_time": marks.get("word_begin", 0), "end_time": 900, "text": "Hello.", "punctuation": ""}
    sentence = {
        "begin_time": marks.get("begin_time", 0),
        "end_time": marks.get("end_time", 900),
        "text": "Hello.",
        "sentence_id": marks.get("sentence_id", 1),
        "speaker_id": marks.get("speaker_id", 0),
        "words": [word],
    }
    document = {
        "properties": {
            "original_sampling_rate": marks.get("original_sampling_rate", 16_000),
            "original_duration_in_milliseconds": marks.get("original_duration_in_milliseconds", 1_000),
            "channels": [marks.get("channels", 0)],
        },
        "transcripts": [
            {
                "channel_id": marks.get("channel_id", 0),
                "content_duration_in_milliseconds": marks.get("content_duration_in_milliseconds", 900),
                "text": "Hello.",
                "sentences": [sentence],
            }
        ],
        "unknown": marks.get("unknown"),
    }
    text = json.dumps(document)
    for name, literal in literals.items():
        text = text.replace(f'"<{name}>"', literal)
    return text.encode()


async def serve(world: World, *bodies: bytes) -> list[Result]:
    """Two files of one task, so that each has its share of the bill, then a usual request."""
    world.run()
    shard = world.shard()
    world.provider.next_fetches.extend(bodies)
    await world.take(shard, "odd", file_urls=urls("a", "b"), output={"formats": ["srt", "vtt", "text"]})
    await world.clock.sleep(MINUTE)
    await world.take(shard, "usual")
    await world.clock.sleep(MINUTE)
    assert world.seen.ends()["usual/0/0"] == "result"
    assert world.seen.faults == []
    assert shard.state.jobs == {}
    assert 0 <= shard.state.spend.on(world.clock.now_ms()) < 1_000
    assert world.seen.holds == []
    return [each.body for each in world.seen.outcomes if isinstance(each.body, Result)]


@limited
@pytest.mark.parametrize("literal", NUMBERS, ids=lambda literal: literal[:24])
@pytest.mark.parametrize("field", FIELDS_OF_A_RESULT)
async def test_a_number_of_a_result_file_costs_nobody_a_transcript(
    world: World, field: str, literal: str
) -> None:
    results = await serve(world, result_file(**{field: literal}), result_file(**{field: literal}))
    assert [each.request_id for each in results] == ["odd", "odd", "usual"]
    for each in results:
        assert each.transcript.channels[0].text.startswith(("Hello.", "Transcript"))
        assert 0 <= (each.usage.billed_seconds or 0) < 100
        sentences = each.transcript.channels[0].sentences or ()
        times = [time for each in sentences for time in (each.begin_ms, each.end_ms)]
        words = [word for each in sentences for word in each.words or ()]
        times += [time for word in words for time in (word.begin_ms, word.end_ms)]
        assert all(0 <= time < 2**31 for time in times)


DEPTHS = [1, 40, 60, 61, 62, 63, 64, 100, 200, 249, 255, 260, 10_000, 200_000]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("field", ["unknown", "speaker_id", "word_begin"])
async def test_a_result_file_nested_deep_is_a_result_unless_no_parser_reads_it_and_ends_no_process(
    world: World, field: str, before: str, after: str, depth: int
) -> None:
    body = result_file(
        **{field: before * depth + after * depth if before == "[" else before * depth + "1" + after * depth}
    )
    await serve(world, *([body] * 8))
    assert world.seen.ends()["odd/0/0"] == ("result" if depth < 1_000 else "result_unreadable")


TASK = {"task_id": "task-1", "task_status": "SUCCEEDED"}


@limited
@pytest.mark.parametrize("literal", NUMBERS, ids=lambda literal: literal[:24])
@pytest.mark.parametrize("name", ["duration", "seconds"])
async def test_a_bill_that_cannot_be_is_unknown_and_stops_no_spending(
    world: World, name: str, literal: str
) -> None:
    results: list[JsonValue] = [
        {"file_url": url, "transcription_url": f"https://r.example/{number}"}
        for number, url in enumerate(urls("a", "b"))
    ]
    body = json.dumps({"output": {**TASK, "results": results}, "usage": {name: "<bill>"}})
    body = body.replace('"<bill>"', literal)
    view = read_task(HttpAnswer(200, {}, body.encode()), "task-1", "h.example")
    assert isinstance(view, TaskView)
    assert view.billed_seconds is None
    world.provider.next_queries.append(view)
    told = await serve(world, result_file(), result_file())
    assert [each.usage.task_billed_seconds for each in told] == [None, None, 1]
