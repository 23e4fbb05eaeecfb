"""The wire of Omni: the body, and streams that end well, badly, or not at all."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.core.provider.answers import Answered, Bill, Lost, Refused, SubmitAnswer
from service.provider.wire import omni
from service.provider.wire.omni import PROMPT, Stream, call_body

MODEL = "qwen3.5-omni-flash"
URL = "https://media.example.org/clip.wav"
USAGE: JsonValue = {
    "prompt_tokens": 52,
    "completion_tokens": 4,
    "prompt_tokens_details": {"audio_tokens": 30, "text_tokens": 22},
}


def event(document: JsonValue) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def said(content: str, finish_reason: str | None = None) -> bytes:
    choice: JsonValue = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return event({"choices": [choice], "usage": None})


WHOLE = said("") + said("Good ") + said("morning") + said("", "stop") + event({"choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"


def heard(chunks: Iterable[bytes], model: str = MODEL) -> SubmitAnswer:
    stream = Stream(model)
    for chunk in chunks:
        if not stream.feed(chunk):
            break
    return stream.result()


def test_the_model_is_asked_for_text_in_a_stream_with_its_usage() -> None:
    assert json.loads(call_body(MODEL, URL, {})) == {
        "model": MODEL,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": URL, "format": "wav"}},
                    {"type": "text", "text": PROMPT},
                ],
            }
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "modalities": ["text"],
    }


def test_the_users_prompt_and_format_count_and_extras_override_nothing_of_ours() -> None:
    options: dict[str, JsonValue] = {"prompt": "Who speaks?", "format": "mp3"}
    body = json.loads(call_body(MODEL, URL, {**options, "extra_parameters": {"seed": 1, "stream": False}}))
    assert body["messages"][0]["content"][1]["text"] == "Who speaks?"
    assert body["messages"][0]["content"][0]["input_audio"]["format"] == "mp3"
    assert (body["seed"], body["stream"]) == (1, True)
    nameless = json.loads(call_body(MODEL, "https://h/a", {}))
    assert nameless["messages"][0]["content"][0]["input_audio"] == {"data": "https://h/a"}


DOCUMENT: dict[str, JsonValue] = {"text": "Good morning", "finish_reason": "stop"}
ANSWER = Answered(
    DOCUMENT,
    Bill(seconds=5, is_estimated=True, input_tokens=52, output_tokens=4),
)


@pytest.mark.parametrize(
    "end", [DONE, b"", b"data:[DONE]\n\n", b"data:\n\n", b": comment\n\nevent: x\nid: 7\n\n" + DONE]
)
def test_a_stream_that_ends_is_an_answer_with_what_it_bills(end: bytes) -> None:
    assert heard([WHOLE, end]) == ANSWER


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_it_does_not_matter_where_the_stream_is_cut(cuts: list[int]) -> None:
    edges = sorted({0, len(WHOLE), *cuts})
    assert heard(WHOLE[a:b] for a, b in itertools.pairwise(edges)) == ANSWER


def test_without_a_usage_the_bill_is_unknown() -> None:
    answer = heard([said("a", "stop"), DONE])
    assert answer == Answered({"text": "a", "finish_reason": "stop"}, Bill())


def test_a_sign_that_two_chunks_share_is_kept_for_the_reader() -> None:
    answer = heard([said("\ud83d"), said("\ude00", "stop")])
    assert isinstance(answer, Answered)
    assert isinstance(answer.document, dict)
    assert answer.document["text"] == "\ud83d\ude00"


ERROR: JsonValue = {"error": {"message": "too fast", "type": "x", "param": None, "code": "limit_requests"}}


def test_an_error_before_the_first_word_is_a_refusal() -> None:
    answer = heard([said(""), event(ERROR)])
    assert isinstance(answer, Refused)
    assert answer.provider_error.code == "limit_requests"


def test_an_error_amid_the_text_may_be_billed() -> None:
    answer = heard([said("Good "), event(ERROR), said("morning", "stop")])
    assert isinstance(answer, Lost)
    assert answer.provider_error.code == "limit_requests"


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [said("Good ")],
        [said("Good "), DONE],
        [b"data: {\n\n", WHOLE],
        [b"data: []\n\n", WHOLE],
        [b"x" * (omni.MAX_LINE_BYTES + 1), WHOLE],
        [said("x" * (omni.MAX_TEXT_CHARS + 1)), WHOLE],
    ],
)
def test_a_stream_without_an_end_or_of_another_kind_is_lost(chunks: list[bytes]) -> None:
    assert isinstance(heard(chunks), Lost)


@pytest.mark.parametrize("none", ["null", "NULL", " null ", "none", "None", "nil", "undefined", "", " "])
def test_a_finish_that_is_none_as_text_does_not_make_a_broken_stream_whole(none: str) -> None:
    assert isinstance(heard([said("Good "), said("morn", none)]), Lost)
    stream = Stream(MODEL)
    stream.feed(said("Good ", none))
    assert not stream.is_whole
    assert heard([said("Good ", none), WHOLE]) == replace(
        ANSWER, document={**DOCUMENT, "text": "Good Good morning"}
    )
    assert heard([WHOLE, said("", none)]) == ANSWER


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter", "tool_calls", "eos", "nullify"])
def test_any_other_finish_ends_the_stream(finish: str) -> None:
    assert heard([said("Good", finish)]) == Answered({"text": "Good", "finish_reason": finish}, Bill())


def parts_of(content: JsonValue) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": content}}]})


@pytest.mark.parametrize(
    "content",
    [
        "Good ",
        ["Good "],
        ["Go", "od "],
        [{"text": "Good "}],
        [{"type": "text", "text": "Good "}],
        [{"type": "output_text", "text": "Go"}, {"text": "od "}],
        [{"type": "text", "text": "Go"}, "od ", None],
        {"text": "Good "},
        {"type": "text", "content": "Good "},
        [{"type": "text", "text": {"value": "Good "}}],
        [{"type": "text", "text": None, "value": "Good "}],
        [["Good "]],
        [{"content": [{"text": "Good "}]}],
        {"content": ["Good "]},
        ["", "Good "],
        [{"text": ""}, {"text": "Good "}],
        [[], "Good "],
        [{"text": ["Go", "od "]}],
        {"value": "Good "},
        [None, {"text": "Good ", "annotations": []}],
    ],
)
def test_text_in_a_content_of_any_form_is_not_dropped(content: JsonValue) -> None:
    answer = heard([parts_of(content), said("morning", "stop")])
    assert answer == Answered({"text": "Good morning", "finish_reason": "stop"}, Bill())


@pytest.mark.parametrize("content", [7, {"image": "x"}, [{"audio": 1}], [["a", 7]], True, [[[[[["deep"]]]]]]])
def test_content_that_is_no_text_is_kept_and_bounded(content: JsonValue) -> None:
    answer = heard([parts_of(content), said("a", "stop")])
    rest: list[JsonValue] = content if isinstance(content, list) else [content]
    assert answer == Answered({"text": "a", "finish_reason": "stop", "content": rest}, Bill())


def test_content_that_is_no_text_is_bounded() -> None:
    odd = parts_of([{"audio": "x" * 600_000}])
    assert isinstance(heard([odd, odd, said("", "stop")]), Lost)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["text", "content", "value", "type"]), inner, max_size=3)
        ),
    )
)
def test_any_content_is_text_or_kept(content: JsonValue) -> None:
    answer = heard([parts_of(content), said("", "stop")])
    assert isinstance(answer, Answered)
    assert isinstance(answer.document, dict)
    kept = json.dumps(answer.document, ensure_ascii=False)
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        leaf = part.get("text") if isinstance(part, dict) else part
        if isinstance(leaf, str):
            assert json.dumps(leaf, ensure_ascii=False)[1:-1] in kept
        elif part is not None and not isinstance(part, dict | list):
            assert json.dumps(part) in kept


def chosen(**choice: JsonValue) -> bytes:
    return event({"choices": [{"index": 0, **choice}]})


NATIVE: list[list[bytes]] = [
    [chosen(message={"content": "Good "}), chosen(message={"content": "morning"})],
    [chosen(message={"content": "Good "}), chosen(message={"content": "Good morning"})],
    [chosen(message={"content": "Good morning"})],
    [chosen(message={"role": "assistant", "content": [{"text": "Good "}, {"text": "morning"}]})],
    [chosen(message={"content": {"text": "Good morning"}})],
    [chosen(message={"content": ["Good ", "morning"]}, text=None)],
    [chosen(text="Good "), chosen(text="morning")],
    [chosen(text="Good morning")],
    [chosen(text=["Good ", "morning"])],
    [chosen(text={"value": "Good morning"})],
    [chosen(text="Good "), chosen(text="Good morning"), chosen(text="Good morning")],
    [chosen(delta={}, message={"content": "Good morning"})],
    [chosen(delta={"content": None}, message={"content": "Good morning"})],
    [chosen(delta={"content": ""}, message={"content": "Good morning"})],
    [chosen(delta={"content": []}, message={"content": "Good morning"})],
    [chosen(delta=None, message=None, text="Good morning")],
    [chosen(delta={"content": ""}, message={"content": ""}, text="Good morning")],
    [chosen(delta={"content": "Good morning"}, message={"content": "Good morning"})],
    [said("Good "), said("morning"), chosen(message={"content": "Good morning"})],
    [said("Good "), chosen(message={"content": "morning"})],
    [said("Good "), said("morning"), chosen(text="Good morning")],
    [chosen(message={"content": "Good "}, text="Good "), said("morning")],
]


@pytest.mark.parametrize("chunks", NATIVE)
def test_text_in_a_native_form_is_neither_dropped_nor_doubled(chunks: list[bytes]) -> None:
    answer = heard([*chunks, chosen(finish_reason="stop")])
    assert answer == Answered({"text": "Good morning", "finish_reason": "stop"}, Bill())


def test_what_is_no_text_beside_a_native_text_is_kept() -> None:
    answer = heard([chosen(delta={"content": 7}, message={"content": "a"}, finish_reason="stop")])
    assert answer == Answered({"text": "a", "finish_reason": "stop", "content": [7]}, Bill())


DONES = [
    *(b"data: [DONE]\n\n", b"data: [DONE]\n", b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n", b"data: [DONE]"),
    *(b"data:[DONE]", b"data:  [DONE] \n", b" data: [DONE]\n", b"data: [DONE]\n\n" + said("more")),
    *(b": x\n\ndata: [DONE]\n\n", b"event: end\ndata: [DONE]\n\n", b"data: [DONE]\n\n: kept alive\n\n"),
    *(b"\n\ndata: [DONE]\n\n", b"data:\n\ndata: [DONE]\n\n", b"data: [DONE]\n\n" + event(ERROR)),
    *(b"data: [DONE]\n\ndata: {\n\n", DONE + DONE, b"data: [DONE]\r", b"id: 7\ndata: [DONE]\n\n"),
    b"retry: 3\ndata: [DONE]\n",
]


@pytest.mark.parametrize("done", DONES)
def test_a_stream_that_is_done_is_not_waited_for_however_long_it_stays_open(done: bytes) -> None:
    """Else the call is given up as lost, and its text billed again and again."""
    stream = Stream(MODEL)
    assert stream.feed(WHOLE)
    assert not stream.feed(done)
    assert stream.result() == ANSWER


@given(st.lists(st.integers(0, len(WHOLE + DONE)), max_size=8))
def test_a_stream_is_done_wherever_it_is_cut(cuts: list[int]) -> None:
    whole = WHOLE + DONE
    edges = sorted({0, len(whole), *cuts})
    stream = Stream(MODEL)
    wanted = [stream.feed(whole[a:b]) for a, b in itertools.pairwise(edges)]
    assert not wanted[-1]
    assert stream.result() == ANSWER


def test_no_more_is_read_than_is_of_use() -> None:
    assert Stream(MODEL).feed(said("a"))
    assert not Stream(MODEL).feed(event(ERROR))
    assert not Stream(MODEL).feed(b"x" * (omni.MAX_LINE_BYTES + 1))
