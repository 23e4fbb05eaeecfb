"""The wire shape of file tasks: what is sent, and what the answers are read as."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.core.provider.answers import (
    Accepted,
    FileView,
    Lost,
    ProviderError,
    Refused,
    TaskStatus,
    TaskView,
)
from service.provider.wire.answer_fields import HttpAnswer
from service.provider.wire.file_tasks import read_submit, read_task, submit_body, submit_headers

HOST = "dashscope-intl.aliyuncs.com"
TASK = "5d0a6c1e-1111-4a3b-9c7d-2f1e0d9c8b7a"


def served(document: object, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {}, json.dumps(document).encode())


def look(output: dict[str, Any], **rest: Any) -> TaskView | ProviderError:
    return read_task(served({"output": {"task_id": TASK, **output}, **rest}), TASK, HOST)


def seen(output: dict[str, Any], **rest: Any) -> TaskView:
    view = look(output, **rest)
    assert isinstance(view, TaskView)
    return view


def test_every_documented_option_goes_out_as_the_vendor_writes_it() -> None:
    options: dict[str, JsonValue] = {
        "channel_id": [0, 1],
        "language_hints": ["en"],
        "vocabulary_id": "vocab-demo",
        "diarization_enabled": True,
        "speaker_count": 2,
        "special_word_filter": {"filter_with_signed": {"word_list": ["foo"]}, "system_reserved_filter": True},
        "extra_parameters": {"brand_new": {"nested": [1]}},
    }
    body = json.loads(submit_body("fun-asr", ["https://a.example/x.wav"], options))
    parameters = body["parameters"]
    word_filter = parameters.pop("special_word_filter")
    assert isinstance(word_filter, str)
    assert json.loads(word_filter) == options["special_word_filter"]
    assert body["model"] == "fun-asr"
    assert body["input"] == {"file_urls": ["https://a.example/x.wav"]}
    assert parameters == {
        "channel_id": [0, 1],
        "language_hints": ["en"],
        "vocabulary_id": "vocab-demo",
        "diarization_enabled": True,
        "speaker_count": 2,
        "brand_new": {"nested": [1]},
    }


def test_parameters_are_sent_even_when_there_are_none() -> None:
    assert json.loads(submit_body("fun-asr", ["https://a.example/x.wav"], {}))["parameters"] == {}


def test_a_file_url_goes_out_byte_for_byte() -> None:
    url = "https://a.example/10%3A15/%E4%BD%A0.wav?Signature=a%2Bb%2F%3D&x=1+2"
    assert url.encode() in submit_body("fun-asr", [url], {})


def test_only_an_oss_url_asks_for_resolving() -> None:
    assert submit_headers(["https://a.example/x.wav"]) == {"X-DashScope-Async": "enable"}
    assert (
        submit_headers(["https://a.example/x.wav", "oss://b/c.wav"])["X-DashScope-OssResourceResolve"]
        == "enable"
    )


def test_a_task_id_means_accepted() -> None:
    assert read_submit(served({"output": {"task_status": "PENDING", "task_id": TASK}}), HOST) == Accepted(
        TASK
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429])
def test_a_client_error_is_refused_whatever_its_body(status: int) -> None:
    assert isinstance(read_submit(HttpAnswer(status, {}, b"<html>"), HOST), Refused)
    assert isinstance(read_submit(served({"code": "InvalidParameter"}, status), HOST), Refused)


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_in_the_vendors_words_is_refused(status: int) -> None:
    assert isinstance(read_submit(served({"code": "InternalError", "message": "x"}, status), HOST), Refused)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_of_somebody_else_is_lost(status: int) -> None:
    assert isinstance(read_submit(HttpAnswer(status, {}, b"<html>Bad gateway</html>"), HOST), Lost)


@pytest.mark.parametrize("code", ["RequestTimeOut", "ResponseTimeout", "InternalError.Timeout"])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_timeout_in_the_vendors_words_is_lost(code: str, status: int) -> None:
    assert isinstance(read_submit(served({"code": code, "message": "x"}, status), HOST), Lost)


@pytest.mark.parametrize("status", [408, 504])
def test_a_timeout_by_status_is_lost_even_in_the_vendors_words(status: int) -> None:
    assert isinstance(read_submit(served({"code": "InternalError", "message": "x"}, status), HOST), Lost)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
@pytest.mark.parametrize("code", ["GatewayTimeout.InputDownload", "GatewayTimeout.InputDownload.New"])
def test_a_source_that_was_too_slow_does_not_make_the_submit_uncertain(code: str, status: int) -> None:
    answer = read_submit(served({"code": code, "message": "x"}, status), HOST)
    assert answer == Refused(ProviderError(code, "x", status))


@pytest.mark.parametrize("code", ["GatewayTimeout", "GatewayTimeout.InputDownloads", "GatewayTimeout.Other"])
def test_any_other_timeout_of_the_gateway_is_still_lost(code: str) -> None:
    assert isinstance(read_submit(served({"code": code, "message": "x"}, 504), HOST), Lost)


def test_a_business_code_in_a_200_is_refused_unless_there_is_a_task() -> None:
    answer = read_submit(served({"code": "Throttling", "message": "x"}), HOST)
    assert isinstance(answer, Refused)
    assert answer.provider_error.code == "Throttling"
    assert read_submit(served({"code": "Odd", "output": {"task_id": TASK}}), HOST) == Accepted(TASK)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"output":{}}',
        b'{"output":{"task_id":""}}',
        b'{"output":{"task_id":7}}',
        b'{"output":{"task_id":"../../x"}}',
        b'{"output":{"task_id":"a b"},"code":"InvalidParameter"}',
        b'{"output":[]}',
    ],
)
def test_a_200_that_names_no_usable_task_is_lost(body: bytes) -> None:
    assert isinstance(read_submit(HttpAnswer(200, {}, body), HOST), Lost)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_refused_and_not_followed(status: int) -> None:
    assert isinstance(
        read_submit(HttpAnswer(status, {"location": "https://elsewhere.example/"}, b""), HOST), Refused
    )


def test_results_keep_the_vendors_order_and_their_own_errors() -> None:
    view = seen(
        {
            "task_status": "SUCCEEDED",
            "submit_time": "2026-03-02 10:15:01.113",
            "scheduled_time": "2026-03-02 10:15:01.140",
            "end_time": "2026-03-02 10:15:08.902",
            "results": [
                {
                    "file_url": "https://a.example/b.wav",
                    "code": "InvalidFile.DownloadFailed",
                    "message": "The audio file cannot be downloaded.",
                    "subtask_status": "FAILED",
                },
                {
                    "file_url": "https://a.example/a.wav",
                    "transcription_url": "https://r.example/1.json?Signature=x",
                    "subtask_status": "SUCCEEDED",
                    "new": {},
                },
            ],
        },
        usage={"duration": 9},
    )
    assert view == TaskView(
        TASK,
        TaskStatus.SUCCEEDED,
        (
            FileView(
                "https://a.example/b.wav",
                provider_error=ProviderError(
                    "InvalidFile.DownloadFailed", "The audio file cannot be downloaded."
                ),
            ),
            FileView("https://a.example/a.wav", transcription_url="https://r.example/1.json?Signature=x"),
        ),
        billed_seconds=9,
        submit_time="2026-03-02 10:15:01.113",
        scheduled_time="2026-03-02 10:15:01.140",
        end_time="2026-03-02 10:15:08.902",
    )


def test_a_failed_task_has_its_code_and_may_have_usable_files() -> None:
    result = {"file_url": "https://a.example/a.wav", "transcription_url": "https://r.example/1.json"}
    view = seen(
        {"task_status": "FAILED", "code": "FILE_DOWNLOAD_FAILED", "message": "no", "results": [result]}
    )
    assert view.provider_error == ProviderError("FILE_DOWNLOAD_FAILED", "no")
    assert view.files == (FileView("https://a.example/a.wav", transcription_url="https://r.example/1.json"),)


def test_a_failed_task_without_a_code_has_an_error_of_ours() -> None:
    view = seen({"task_status": "FAILED"})
    assert view.provider_error is not None
    assert view.provider_error.code == "unexpected_answer"


@pytest.mark.parametrize("word", ["PENDING", "RUNNING", "SUSPENDED", "BRAND_NEW", "succeeded"])
def test_a_task_that_is_not_known_to_be_over_has_no_files(word: str) -> None:
    result = {"file_url": "https://a.example/a.wav", "transcription_url": "https://r.example/1.json"}
    view = seen({"task_status": word, "results": [result]})
    assert (view.is_terminal, view.files) == (False, ())


@pytest.mark.parametrize("word", ["SUSPENDED", "BRAND_NEW"])
def test_an_unknown_status_is_read_as_running(word: str) -> None:
    assert seen({"task_status": word}).status is TaskStatus.RUNNING


def test_a_subtask_that_failed_is_failed_even_with_a_url() -> None:
    result = {"file_url": "u", "transcription_url": "https://r.example/1.json", "subtask_status": "FAILED"}
    (file,) = seen({"task_status": "SUCCEEDED", "results": [result]}).files
    assert file.transcription_url is None
    assert file.provider_error is not None


@pytest.mark.parametrize(
    "name",
    [{}, {"file_url": None}, {"file_url": ""}, {"file_url": 7}, {"file_url": ["https://a.example/a.wav"]}],
)
def test_a_row_that_does_not_name_its_file_is_not_thrown_away(name: dict[str, JsonValue]) -> None:
    row = {"transcription_url": "https://r.example/1.json", "subtask_status": "SUCCEEDED", **name}
    view = seen({"task_status": "SUCCEEDED", "results": [row]})
    assert view.files == (FileView("", transcription_url="https://r.example/1.json"),)
    failed = {"code": "FILE_DOWNLOAD_FAILED", "message": "no", "subtask_status": "FAILED", **name}
    view = seen({"task_status": "FAILED", "results": [failed]})
    assert view.files == (FileView("", provider_error=ProviderError("FILE_DOWNLOAD_FAILED", "no")),)


@pytest.mark.parametrize("row", [{}, {"subtask_status": "FAILED"}, {"file_url": None}, {"new": 1}, None, "x"])
def test_an_empty_row_does_not_hide_the_tasks_own_error(row: JsonValue) -> None:
    view = seen({"task_status": "FAILED", "code": "FILE_PARSE_FAILED", "message": "no", "results": [row]})
    assert (view.files, view.provider_error) == ((), ProviderError("FILE_PARSE_FAILED", "no"))


@pytest.mark.parametrize(
    ("rest", "seconds"),
    [
        ({"usage": {"duration": 9}}, 9),
        ({"usage": {"seconds": 12}}, 12),
        ({"usage": {"duration": 0}}, 0),
        ({"usage": {"duration": 8.2}}, 9),
        ({"usage": {"duration": True}}, None),
        ({"usage": {"duration": "9"}}, None),
        ({"usage": {"duration": -1}}, None),
        ({"usage": {"duration": 1e300}}, None),
        ({"usage": None}, None),
        ({}, None),
    ],
)
def test_billed_seconds_are_read_where_they_make_sense(rest: dict[str, Any], seconds: int | None) -> None:
    assert seen({"task_status": "SUCCEEDED"}, **rest).billed_seconds == seconds


@pytest.mark.parametrize(
    ("rest", "tokens"),
    [
        ({"usage": {"duration": 9, "input_tokens": 225, "output_tokens": 40}}, (225, 40)),
        ({"usage": {"input_tokens": 225}}, (225, None)),
        ({"usage": {"input_tokens": -1, "output_tokens": "7"}}, (None, None)),
        ({"usage": None}, (None, None)),
    ],
)
def test_the_tokens_of_a_task_are_read_where_they_make_sense(
    rest: dict[str, Any], tokens: tuple[int | None, int | None]
) -> None:
    view = seen({"task_status": "SUCCEEDED"}, **rest)
    assert (view.input_tokens, view.output_tokens) == tokens


def test_billed_seconds_are_found_inside_the_output_too() -> None:
    assert seen({"task_status": "SUCCEEDED", "usage": {"duration": 4}}).billed_seconds == 4
    assert seen({"task_status": "SUCCEEDED", "duration": 5}).billed_seconds == 5


def test_a_business_code_in_a_queried_200_is_an_error() -> None:
    assert read_task(served({"code": "Throttling", "message": "x"}), TASK, HOST) == ProviderError(
        "Throttling", "x"
    )


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b"{}"), (500, b"{}"), (302, b"")])
def test_an_answer_that_shows_no_task_is_an_error(status: int, body: bytes) -> None:
    assert isinstance(read_task(HttpAnswer(status, {}, body), TASK, HOST), ProviderError)


def test_half_a_character_in_a_vendor_text_cannot_break_what_is_written_later() -> None:
    body = b'{"output":{"task_status":"FAILED","code":"X","message":"a\\ud800b","end_time":"\\udfff"}}'
    view = read_task(HttpAnswer(200, {}, body), TASK, HOST)
    assert isinstance(view, TaskView)
    assert view.provider_error is not None
    json.dumps([view.provider_error.message, view.end_time], ensure_ascii=False).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
STATUS = st.sampled_from([*TaskStatus, "SUSPENDED", 7, None])
RESULT = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("file_url", "transcription_url", "subtask_status", "code", "message"), JSON),
)
OUTPUT = st.fixed_dictionaries(
    {"task_status": STATUS},
    optional={
        "results": JSON | st.lists(JSON | RESULT, max_size=3),
        "code": JSON,
        "usage": JSON,
        "task_id": JSON,
    },
)
DOCUMENT = JSON | st.fixed_dictionaries({"output": JSON | OUTPUT}, optional={"usage": JSON, "code": JSON})


@given(DOCUMENT, st.sampled_from([200, 201, 302, 400, 401, 429, 500, 504]))
def test_any_json_is_read_as_a_task_or_an_error(document: object, status: int) -> None:
    view = read_task(served(document, status), TASK, HOST)
    assert isinstance(view, TaskView | ProviderError)
    if isinstance(view, TaskView):
        assert all((file.transcription_url is None) != (file.provider_error is None) for file in view.files)
        assert not view.files or view.is_terminal


@given(DOCUMENT, st.sampled_from([200, 201, 302, 400, 401, 408, 429, 500, 504]))
def test_any_json_is_read_as_an_answer_to_a_submit(document: object, status: int) -> None:
    answer = read_submit(served(document, status), HOST)
    assert isinstance(answer, Accepted | Refused | Lost)
    assert not isinstance(answer, Accepted) or status < 300


@given(st.binary(max_size=60), st.sampled_from([200, 400, 500]))
def test_any_bytes_are_read(body: bytes, status: int) -> None:
    read_submit(HttpAnswer(status, {}, body), HOST)
    read_task(HttpAnswer(status, {}, body), TASK, HOST)
