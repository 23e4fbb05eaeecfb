"""Answers that no provider should give: each ends in the outcome expected, and the next is served."""

import json

import pytest
from pydantic import JsonValue

from service.contract.outcome import Result
from service.core.provider.answers import TaskView
from service.provider.wire.answer_fields import HttpAnswer
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
    """For each body a request (`r0` ...) of two files, which share a task and a bill; then a usual one."""
    world.run()
    shard = world.shard()
    for number, body in enumerate(bodies):
        files = urls(f"{number}a", f"{number}b")
        world.provider.results.update((str(url), body) for url in files)
        await world.take(shard, f"r{number}", file_urls=files, output={"formats": ["srt", "vtt", "text"]})
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
@pytest.mark.parametrize("field", FIELDS_OF_A_RESULT)
async def test_an_odd_number_in_a_result_file_loses_no_transcript(world: World, field: str) -> None:
    results = await serve(world, *(result_file(**{field: literal}) for literal in NUMBERS))
    assert len(results) == 2 * len(NUMBERS) + 1
    for each in results:
        shown = each.request_id if each.request_id == "usual" else NUMBERS[int(each.request_id[1:])][:24]
        assert each.transcript.channels[0].text.startswith(("Hello.", "Transcript")), shown
        assert 0 <= (each.usage.billed_seconds or 0) < 100, shown
        sentences = each.transcript.channels[0].sentences or ()
        times = [time for sentence in sentences for time in (sentence.begin_ms, sentence.end_ms)]
        words = [word for sentence in sentences for word in sentence.words or ()]
        times += [time for word in words for time in (word.begin_ms, word.end_ms)]
        assert all(0 <= time < 2**31 for time in times), shown


DEPTHS = [1, 40, 60, 61, 62, 63, 64, 100, 200, 249, 255, 260, 10_000, 200_000]


@pytest.mark.parametrize(("before", "inner", "after"), [("[", "", "]"), ('{"a":', "1", "}")])
@pytest.mark.parametrize("field", ["unknown", "speaker_id", "word_begin"])
async def test_a_result_file_nested_deep_is_a_result_unless_no_parser_reads_it_and_ends_no_process(
    world: World, field: str, before: str, inner: str, after: str
) -> None:
    nested = (before * depth + inner + after * depth for depth in DEPTHS)
    await serve(world, *(result_file(**{field: literal}) for literal in nested))
    ends = world.seen.ends()
    for number, depth in enumerate(DEPTHS):
        expected = "result" if depth < 1_000 else "result_unreadable"
        assert {ends[f"r{number}/0/{index}"] for index in (0, 1)} == {expected}, depth


TASK = {"task_id": "task-1", "task_status": "SUCCEEDED"}


@pytest.mark.parametrize("literal", NUMBERS, ids=lambda literal: literal[:24])
@pytest.mark.parametrize("name", ["duration", "seconds"])
def test_a_bill_that_cannot_be_is_unknown(name: str, literal: str) -> None:
    view = task_view(f'{{"{name}": {literal}}}')
    assert view.billed_seconds is None


@limited
async def test_an_unknown_bill_stops_no_spending(world: World) -> None:
    world.provider.next_queries.append(task_view('{"duration": -1}'))
    world.provider.next_fetches.extend([result_file()] * 2)
    told = await serve(world, result_file())
    assert [each.usage.task_billed_seconds for each in told] == [None, None, 1]


def task_view(usage: str) -> TaskView:
    """What is read of the first request's task, whose bill is this."""
    results: list[JsonValue] = [
        {"file_url": url, "transcription_url": f"https://r.example/{number}"}
        for number, url in enumerate(urls("0a", "0b"))
    ]
    body = json.dumps({"output": {**TASK, "results": results}, "usage": "<bill>"})
    answer = HttpAnswer(200, {}, body.replace('"<bill>"', usage).encode())
    view = read_task(answer, "task-1", "h.example")
    assert isinstance(view, TaskView)
    return view
