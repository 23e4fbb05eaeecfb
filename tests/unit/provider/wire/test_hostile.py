"""Answers that no provider should give: every reader comes to one of its facts, and none raises."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.core.job.events import SubmitRefused, Transcribed
from service.core.provider.answers import (
    Accepted,
    Answered,
    ListedTask,
    Lost,
    ProviderError,
    Refused,
    TaskPage,
    TaskView,
)
from service.core.provider.hotword_lists import HotwordList, ListedHotwordList
from service.pipeline.collecting.transcripts import answered, file_url_in, read_transcript
from service.provider.wire import file_tasks, hotword_actions, omni, short_audio, task_list
from service.provider.wire.answer_fields import (
    HttpAnswer,
    http_date,
    not_served,
    retry_after_seconds,
    unexpected_body,
)

HOST = "dashscope-intl.aliyuncs.com"
FUN, FLASH, OMNI = "fun-asr", "qwen3-asr-flash", "qwen3.5-omni-flash"


def streamed(answer: HttpAnswer) -> object:
    """The body as a stream's chunk, and the end of the stream."""
    stream = omni.Stream(OMNI)
    stream.feed(b"data: " + answer.body.replace(b"\n", b" ") + b"\n\n")
    stream.feed(b'data: {"choices":[{"finish_reason":"stop","delta":{}}]}\n\n')
    return stream.result()


def called(answer: HttpAnswer) -> object:
    """A synchronous answer, down to its transcript."""
    read = short_audio.read_call(answer, HOST)
    return answered(read, FLASH) if isinstance(read, Answered) else read


READERS: dict[str, tuple[Callable[[HttpAnswer], object], tuple[type, ...]]] = {
    "submit": (lambda answer: file_tasks.read_submit(answer, HOST), (Accepted, Refused, Lost)),
    "task": (lambda answer: file_tasks.read_task(answer, "t", HOST), (TaskView, ProviderError)),
    "list": (lambda answer: task_list.read_page(answer, HOST), (TaskPage, ProviderError)),
    "call": (called, (Refused, Lost, SubmitRefused, Transcribed)),
    "stream": (streamed, (Answered, Refused, Lost)),
    "done": (lambda answer: hotword_actions.read_done(answer, HOST), (ProviderError, type(None))),
    "created": (lambda answer: hotword_actions.read_created(answer, HOST), (str, ProviderError)),
    "lists": (lambda answer: hotword_actions.read_page(answer, HOST), (tuple, ProviderError)),
    "words": (
        lambda answer: hotword_actions.read_hotword_list(answer, "v", HOST),
        (HotwordList, ProviderError),
    ),
    "not served": (lambda answer: not_served(answer, HOST), (Refused, Lost)),
    "not as said": (lambda answer: unexpected_body(answer, HOST), (Refused, Lost)),
}
NAMES = [
    *("output", "task_id", "task_status", "results", "result", "file_url", "transcription_url", "usage"),
    *("duration", "seconds", "code", "message", "error", "type", "data", "tasks", "total", "gmt_create"),
    *("vocabulary", "vocabulary_id", "vocabulary_list", "weight", "text", "lang", "status", "choices"),
    *("delta", "content", "finish_reason", "prompt_tokens", "prompt_tokens_details", "audio_tokens"),
    *("sentence", "words", "begin_time", "end_time", "annotations", "audio_info", "subtask_status"),
    *("transcripts", "sentences", "channel_id", "speaker_id", "properties", "channels", "punctuation"),
]
WORDS = [
    "SUCCEEDED",
    "FAILED",
    "UNKNOWN",
    "stop",
    "null",
    "-5",
    "9" * 40,
    "\ud800",
    "\x00",
    "https://h/a?s=1",
    "",
]
NUMBERS = st.sampled_from([0, -1, -5000, 1e300, 10**40, 10**400, 2**63, 1.5, True, 1_772_417_701_113])
VALUES = st.none() | st.booleans() | NUMBERS | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
DOCUMENTS = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=40,
)


@pytest.mark.parametrize("reader", READERS)
@given(document=DOCUMENTS, status=st.sampled_from([200, 299, 301, 400, 401, 408, 429, 500, 504, 999]))
def test_no_document_makes_a_reader_raise(reader: str, document: JsonValue, status: int) -> None:
    read, facts = READERS[reader]
    assert isinstance(read(HttpAnswer(status, {}, json.dumps(document).encode())), facts)


@pytest.mark.parametrize("reader", READERS)
@given(body=st.binary(max_size=300))
def test_no_bytes_make_a_reader_raise(reader: str, body: bytes) -> None:
    read, facts = READERS[reader]
    assert isinstance(read(HttpAnswer(200, {}, body)), facts)


DEEP_FIELD_DEPTHS = [1, 63, 64, 65, 100, 260]


def with_deep_field(document: str, depth: int) -> bytes:
    """The object and one more field, whose arrays are so deep."""
    return (document.removesuffix("}") + ',"x":' + "[" * depth + "]" * depth + "}").encode()


@pytest.mark.parametrize("depth", DEEP_FIELD_DEPTHS)
@pytest.mark.parametrize(
    ("reader", "document"),
    [
        ("submit", '{"output":{"task_id":"t"}}'),
        ("task", '{"output":{"task_status":"RUNNING"}}'),
        ("list", '{"data":[]}'),
        ("call", '{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'),
        ("stream", '{"choices":[{"delta":{"content":"a"}}]}'),
        ("done", "{}"),
        ("created", '{"output":{"vocabulary_id":"v"}}'),
        ("lists", '{"output":{"vocabulary_list":[]}}'),
        ("words", '{"output":{"vocabulary":[],"status":"OK","gmt_modified":"x"}}'),
        ("not served", '{"code":"InvalidParameter"}'),
        ("not as said", '{"code":"InvalidParameter"}'),
    ],
)
def test_one_field_nested_deep_does_not_cost_the_rest_of_an_answer(
    reader: str, document: str, depth: int
) -> None:
    read, _ = READERS[reader]
    plain = document.removesuffix("}") + ("" if document == "{}" else ",") + '"x":[]}'
    deep = with_deep_field(plain, depth)
    assert read(HttpAnswer(200, {}, deep)) == read(HttpAnswer(200, {}, with_deep_field(plain, 1)))
    assert not isinstance(read(HttpAnswer(200, {}, deep)), ProviderError)


@pytest.mark.parametrize("depth", [10_000, 100_000])
@pytest.mark.parametrize("reader", ["task", "list", "lists", "words", "created"])
def test_an_answer_nested_deeper_than_can_be_read_is_none(reader: str, depth: int) -> None:
    read, _ = READERS[reader]
    document = '{"data":[],"output":{"task_status":"RUNNING","vocabulary_list":[]}}'
    found = read(HttpAnswer(200, {}, with_deep_field(document, depth)))
    assert isinstance(found, ProviderError)
    assert found.code in ("not_json", "unexpected_answer")


@pytest.mark.parametrize("depth", [10_000, 100_000])
@pytest.mark.parametrize("reader", ["submit", "call", "stream"])
def test_an_answer_to_a_submit_that_cannot_be_read_is_lost_and_never_refused(reader: str, depth: int) -> None:
    """There may be a task, or a bill: an error's code in it is not believed either."""
    read, _ = READERS[reader]
    body = with_deep_field('{"output":{"task_id":"t"},"code":"InvalidParameter"}', depth)
    assert isinstance(read(HttpAnswer(200, {}, body)), Lost)


@given(DOCUMENTS)
async def test_no_result_file_makes_its_readers_raise(document: JsonValue) -> None:
    for wrapped in (
        document,
        {"transcripts": document},
        {"transcripts": [{"text": "a", "sentences": document}]},
    ):
        body = json.dumps(wrapped).encode()
        for model in (FUN, "qwen3-asr-flash-filetrans"):
            read_transcript(body, model)
        assert await file_url_in(body) is None or isinstance(wrapped, dict)


@pytest.mark.parametrize(("depth", "url"), [(64, "https://h/a"), (260, "https://h/a"), (100_000, None)])
async def test_a_result_file_names_its_file_unless_it_cannot_be_read(depth: int, url: str | None) -> None:
    assert await file_url_in(with_deep_field('{"file_url":"https://h/a"}', depth)) == url


DATES = [
    *("Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"),
    *("Tue, 24 Nov 99999 03:00:00 GMT", "Tue, 24 Nov 2026 03:00:00", "Tue, 24 Nov 2026 03:00:00 +9999", ""),
    *(
        "Tue, 24 Nov 2026 99:00:00 GMT",
        "24 Nov",
        "-1",
        "NaN",
        "\x00",
        "Tue, 24 Nov " + "9" * 5_000 + " 1:1:1 GMT",
    ),
    *("Tue, 99 Nov 2026 03:00:00 GMT", "Tue, 24 Nov 2026 03:00:00 " + "+" * 500, ",", " ", "0 0 0 0 0", "::"),
]


@pytest.mark.parametrize("date", DATES)
def test_a_date_that_no_server_could_mean_is_unknown(date: str) -> None:
    assert http_date(date) is None
    assert retry_after_seconds({"retry-after": date, "date": "Tue, 24 Nov 2026 03:00:00 GMT"}) is None
    assert retry_after_seconds({"retry-after": "Tue, 24 Nov 2026 03:00:00 GMT", "date": date}) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_makes_its_reader_raise(first: str, second: str) -> None:
    http_date(first)
    wish = retry_after_seconds({"retry-after": first, "date": second, "retry-after-ms": second})
    assert wish is None or 0 <= wish <= 300


@pytest.mark.parametrize(
    "wish", ["301", "86400", "9" * 15, "9" * 400, "-1", "1e2", "NaN", "Infinity", "٣", "0x10"]
)
def test_a_wish_for_delay_out_of_bounds_is_none_and_never_cut(wish: str) -> None:
    assert retry_after_seconds({"retry-after": wish}) is None


def test_the_facts_of_lists_are_whole() -> None:
    """What stands in a page and in a list was read, not only passed on."""
    row: JsonValue = {"task_id": "t", "gmt_create": 1_772_417_701_113, "vocabulary_id": "v"}
    answer = HttpAnswer(200, {}, json.dumps({"data": [row], "output": {"vocabulary_list": [row]}}).encode())
    page, found = READERS["list"][0](answer), READERS["lists"][0](answer)
    assert isinstance(page, TaskPage)
    assert isinstance(page.tasks[0], ListedTask)
    assert found == ((ListedHotwordList("v", "", ""),), True)
