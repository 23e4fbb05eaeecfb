"""The wire of hotword lists: bodies, and what answers come to."""

import json

import pytest
from pydantic import JsonValue

from service.core.provider.answers import ProviderError
from service.core.provider.hotword_lists import HotwordList, HotwordListEntry, ListedHotwordList
from service.provider.wire import hotword_actions
from service.provider.wire.answer_fields import HttpAnswer

HOST = "dashscope-intl.aliyuncs.com"


def served(document: JsonValue, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {}, json.dumps(document).encode())


def test_an_action_is_a_call_of_the_biasing_model() -> None:
    words = hotword_actions.words_on_wire([HotwordListEntry("etcd", 4, "en"), HotwordListEntry("Kafka", 5)])
    body = hotword_actions.body(
        "create_vocabulary", target_model="fun-asr", prefix="sc0123abcd", vocabulary=words
    )
    assert json.loads(body) == {
        "model": "speech-biasing",
        "input": {
            "action": "create_vocabulary",
            "target_model": "fun-asr",
            "prefix": "sc0123abcd",
            "vocabulary": [{"text": "etcd", "weight": 4, "lang": "en"}, {"text": "Kafka", "weight": 5}],
        },
    }


def test_answers_are_read() -> None:
    assert hotword_actions.read_created(served({"output": {"vocabulary_id": "v"}}), HOST) == "v"
    rows: list[JsonValue] = [
        {"vocabulary_id": "v", "gmt_create": "a", "gmt_modified": "b", "status": "OK"},
        {"vocabulary_id": "w"},
        {"status": "OK"},
        7,
    ]
    page = hotword_actions.read_page(served({"output": {"vocabulary_list": rows}}), HOST)
    assert page == ((ListedHotwordList("v", "a", "b"), ListedHotwordList("w")), True)
    # A row that names no list counts all the same: more pages follow a full one.
    full = hotword_actions.read_page(served({"output": {"vocabulary_list": [*rows, *[7] * 6]}}), HOST)
    assert full == ((ListedHotwordList("v", "a", "b"), ListedHotwordList("w")), False)
    words: JsonValue = [{"text": "etcd", "weight": 4, "lang": "en"}, {"text": ""}, "x"]
    output: JsonValue = {"target_model": "fun-asr", "status": "OK", "vocabulary": words}
    assert hotword_actions.read_hotword_list(served({"output": output}), "v", HOST) == HotwordList(
        "v", "fun-asr", is_ready=True, words=(HotwordListEntry("etcd", 4, "en"),)
    )
    assert hotword_actions.read_hotword_list(
        served({"output": {"status": "UNDEPLOYED"}}), "v", HOST
    ) == HotwordList("v", None, is_ready=False)
    assert hotword_actions.read_done(served({"output": {}}), HOST) is None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (served({"code": "NotFound", "message": "no"}, 404), "NotFound"),
        (served({"code": "Throttling.AllocationQuota", "message": "no"}), "Throttling.AllocationQuota"),
        (HttpAnswer(200, {}, b"<html>"), "not_json"),
        (HttpAnswer(502, {}, b"<html>"), "http_error"),
    ],
)
def test_an_answer_that_is_none_is_an_error_for_every_action(answer: HttpAnswer, code: str) -> None:
    found = (
        hotword_actions.read_created(answer, HOST),
        hotword_actions.read_page(answer, HOST),
        hotword_actions.read_hotword_list(answer, "v", HOST),
        hotword_actions.read_done(answer, HOST),
    )
    for provider_error in found:
        assert isinstance(provider_error, ProviderError)
        assert provider_error.code == code


def test_an_answer_that_names_nothing_is_an_error() -> None:
    empty = served({"output": {}})
    for provider_error in (hotword_actions.read_created(empty, HOST), hotword_actions.read_page(empty, HOST)):
        assert isinstance(provider_error, ProviderError)
        assert provider_error.code == "unexpected_answer"
