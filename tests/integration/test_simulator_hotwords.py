"""Hotword lists over HTTP: the five actions, their limits, and what a submit makes of a list."""

import re
from typing import Any

import httpx
import pytest

from sandbox.simulator.models import BEIJING
from tests.integration.vendor_client import VendorClient, vendor

PATH = "/services/audio/asr/customization"
KUBERNETES: dict[str, Any] = {"text": "Kubernetes", "weight": 4, "lang": "en"}
SPOKEN = "https://media.example.org/a.wav?run=2&text=Run+Kubernetes.&misheard=kubernetes:cube"
QWEN_AUDIO = "qwen-audio-3.1-asr-flash-filetrans"


async def _act(client: VendorClient, action: object, **fields: object) -> httpx.Response:
    body = {"model": "speech-biasing", "input": {"action": action, **fields}}
    return await client.call("POST", PATH, json=body)


async def _create(client: VendorClient, target_model: str = "fun-asr", **fields: object) -> httpx.Response:
    given = {"prefix": "demo", "vocabulary": [KUBERNETES], **fields}
    return await _act(client, "create_vocabulary", target_model=target_model, **given)


async def _made(client: VendorClient, target_model: str = "fun-asr", **fields: object) -> str:
    answer = await _create(client, target_model, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["output"]["vocabulary_id"])


async def _heard(client: VendorClient, model: str = "fun-asr", **parameters: object) -> str:
    task_id = await client.task(SPOKEN, model=model, parameters=parameters)
    client.simulator.state.clock.advance(2)
    result = await client.http.get(await client.result_url(task_id))
    return str(result.json()["transcripts"][0]["text"])


def _refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_list_is_made_shown_changed_and_deleted() -> None:
    async with vendor() as client:
        answer = await _create(client)
        vocabulary_id = answer.json()["output"]["vocabulary_id"]
        assert re.fullmatch(r"vocab-demo-[0-9a-f]{20}", vocabulary_id)
        assert answer.json() == {
            "request_id": answer.headers["x-request-id"],
            "output": {"vocabulary_id": vocabulary_id},
            "usage": {"count": 1},
        }
        client.simulator.state.clock.advance(60)
        words = [{"text": "Helm", "weight": 5}]
        changed = await _act(client, "update_vocabulary", vocabulary_id=vocabulary_id, vocabulary=words)
        assert changed.json()["output"] == {}

        dates = {
            "gmt_create": "2026-03-02 10:15:01",
            "gmt_modified": "2026-03-02 10:16:01",
            "status": "OK",
        }
        shown = await _act(client, "query_vocabulary", vocabulary_id=vocabulary_id)
        assert shown.json()["output"] == {**dates, "target_model": "fun-asr", "vocabulary": words}
        listed = await _act(client, "list_vocabulary")
        assert listed.json()["output"] == {"vocabulary_list": [{"vocabulary_id": vocabulary_id, **dates}]}

        deleted = await _act(client, "delete_vocabulary", vocabulary_id=vocabulary_id)
        assert deleted.json()["output"] == {}
        for action in ("query_vocabulary", "update_vocabulary", "delete_vocabulary"):
            gone = await _act(client, action, vocabulary_id=vocabulary_id, vocabulary=words)
            assert _refusal(gone) == (404, "NotFound")


async def test_lists_are_paged_from_zero_and_found_by_their_prefix() -> None:
    async with vendor() as client:
        ids = [await _made(client, prefix=prefix) for prefix in ("a", "ab", "a")]

        async def found(**fields: object) -> list[str]:
            answer = await _act(client, "list_vocabulary", **fields)
            return [row["vocabulary_id"] for row in answer.json()["output"]["vocabulary_list"]]

        assert await found() == ids
        assert await found(prefix="a") == [ids[0], ids[2]]
        assert [await found(page_index=index, page_size=2) for index in range(3)] == [ids[:2], ids[2:], []]


async def test_an_account_has_its_own_lists_and_so_many_of_them_across_all_models() -> None:
    keys = {"sk-simulator": "ours", "sk-second": "ours", "sk-theirs": "theirs"}
    async with vendor(api_keys=keys, hotword_lists=2) as client:
        first = await _made(client)
        await _made(client.as_key("sk-second"), QWEN_AUDIO)
        assert _refusal(await _create(client)) == (400, "Throttling.AllocationQuota")
        await _made(client.as_key("sk-theirs"))
        for action in ("query_vocabulary", "delete_vocabulary"):
            foreign = await _act(client.as_key("sk-theirs"), action, vocabulary_id=first)
            assert _refusal(foreign) == (404, "NotFound")
        shared = await _act(client.as_key("sk-second"), "list_vocabulary")
        assert len(shared.json()["output"]["vocabulary_list"]) == 2
        await _act(client.as_key("sk-second"), "delete_vocabulary", vocabulary_id=first)
        assert (await _create(client)).status_code == 200


async def test_ten_lists_are_the_vendors_limit() -> None:
    async with vendor() as client:
        assert [(await _create(client)).status_code for _ in range(11)] == [200] * 10 + [400]


def _entries(count: int, weight: int = 4) -> list[dict[str, Any]]:
    return [{"text": f"word{number}", "weight": weight} for number in range(count)]


@pytest.mark.parametrize(
    ("fields", "is_good"),
    [
        ({"prefix": "abc0123456"}, True),
        ({"prefix": "abc01234567"}, False),
        ({"prefix": "Demo"}, False),
        ({"prefix": ""}, False),
        ({"prefix": None}, False),
        ({"vocabulary": []}, False),
        ({"vocabulary": {"Kubernetes": 4}}, False),
        ({"vocabulary": ["Kubernetes"]}, False),
        ({"vocabulary": [{"text": "Kubernetes"}]}, False),
        ({"vocabulary": [{"text": "Kubernetes", "weight": "4"}]}, False),
        ({"vocabulary": [{"text": "Kubernetes", "weight": 6}]}, False),
        ({"vocabulary": [{"text": "Kubernetes", "weight": 50}]}, False),
        ({"vocabulary": [{"text": "Kubernetes", "weight": 4, "lang": 7}]}, False),
        ({"vocabulary": [{"text": " ", "weight": 4}]}, False),
        ({"vocabulary": [{"text": "a b c d e f g", "weight": 4}]}, True),
        ({"vocabulary": [{"text": "a b c d e f g h", "weight": 4}]}, False),
        ({"vocabulary": [{"text": "é" * 15, "weight": 4}]}, True),
        ({"vocabulary": [{"text": "é" * 16, "weight": 4}]}, False),
        ({"vocabulary": [{"text": "x" * 99, "weight": 4}]}, True),
        ({"vocabulary": _entries(2000)}, True),
        ({"vocabulary": _entries(2001)}, False),
        ({"vocabulary": _entries(501), "target_model": "fun-asr-mtl"}, False),
        ({"vocabulary": _entries(501), "target_model": "paraformer-v2"}, False),
        ({"vocabulary": _entries(50, weight=50), "target_model": QWEN_AUDIO}, True),
        ({"vocabulary": _entries(51, weight=50), "target_model": QWEN_AUDIO}, False),
        ({"target_model": "fun-asr-flash"}, True),
        ({"target_model": "paraformer-v2"}, True),
        ({"target_model": "paraformer-v1"}, False),
        ({"target_model": "qwen3-asr-flash-filetrans"}, False),
        ({"target_model": "whisper"}, False),
        ({"target_model": None}, False),
    ],
)
async def test_a_list_is_held_to_the_vendors_rules(fields: dict[str, Any], is_good: bool) -> None:
    async with vendor(region=BEIJING) as client:
        answer = await _create(client, **{"target_model": "fun-asr", **fields})
        assert answer.status_code == (200 if is_good else 400)
        assert is_good or answer.json()["code"] == "InvalidParameter"


async def test_an_update_is_held_to_the_rules_of_its_model_and_the_limit_of_words_can_be_set() -> None:
    async with vendor(words_per_list=2) as client:
        vocabulary_id = await _made(client)
        for count, status in ((2, 200), (3, 400), (0, 400)):
            words = _entries(count)
            changed = await _act(client, "update_vocabulary", vocabulary_id=vocabulary_id, vocabulary=words)
            assert changed.status_code == status
        shown = await _act(client, "query_vocabulary", vocabulary_id=vocabulary_id)
        assert shown.json()["output"]["vocabulary"] == _entries(2)


async def test_a_call_that_makes_no_sense_is_refused() -> None:
    async with vendor() as client:
        bodies = [
            {"input": {"action": "list_vocabulary"}},
            {"model": "fun-asr", "input": {"action": "list_vocabulary"}},
            {"model": "speech-biasing", "input": {}},
            {"model": "speech-biasing", "input": {"action": ["list_vocabulary"]}},
            {"model": "speech-biasing", "input": {"action": "query_vocabulary"}},
            {"model": "speech-biasing", "input": {"action": "list_vocabulary", "page_index": -1}},
            {"model": "speech-biasing", "input": {"action": "list_vocabulary", "page_size": "10"}},
        ]
        for body in bodies:
            assert _refusal(await client.call("POST", PATH, json=body)) == (400, "InvalidParameter")
        assert _refusal(await client.call("POST", PATH, json={"model": "speech-biasing"})) == (
            400,
            "BadRequest.EmptyInput",
        )
        assert _refusal(await client.call("POST", PATH, content=b"{")) == (400, "BadRequest.IllegalInput")
        assert _refusal(await client.as_key("sk-stranger").call("POST", PATH, json={})) == (
            401,
            "InvalidApiKey",
        )
        header = {"X-DashScope-Async": "enable"}
        answer = await client.call("POST", PATH, json=bodies[0], headers=header)
        assert _refusal(answer) == (403, "AccessDenied")
        assert answer.json()["message"] == "current user api does not support asynchronous calls."


@pytest.mark.parametrize(
    ("target_model", "model", "text"),
    [
        ("fun-asr", "fun-asr", "Run Kubernetes."),
        ("fun-asr", "fun-asr-2025-11-07", "Run cube."),
        (QWEN_AUDIO, "fun-asr", "Run cube."),
        (QWEN_AUDIO, QWEN_AUDIO, "Run Kubernetes."),
        ("paraformer-v2", "paraformer-v2", "Run Kubernetes."),
        ("fun-asr", "paraformer-v1", "Run cube."),
    ],
)
async def test_a_list_is_heard_by_its_own_model_and_silently_by_no_other(
    target_model: str, model: str, text: str
) -> None:
    async with vendor(region=BEIJING) as client:
        vocabulary_id = await _made(client, target_model)
        assert await _heard(client, model) == "Run cube."
        assert await _heard(client, model, vocabulary_id=vocabulary_id) == text


async def test_the_words_are_those_of_the_moment_of_the_submit() -> None:
    async with vendor() as client:
        vocabulary_id = await _made(client)
        task_id = await client.task(SPOKEN, parameters={"vocabulary_id": vocabulary_id})
        await _act(client, "delete_vocabulary", vocabulary_id=vocabulary_id)
        client.simulator.state.clock.advance(2)
        result = await client.http.get(await client.result_url(task_id))
        assert result.json()["transcripts"][0]["text"] == "Run Kubernetes."


async def test_instant_words_are_heard_by_qwen_audio_alone_and_together_with_a_list() -> None:
    async with vendor() as client:
        instant = {"KUBERNETES": 50}
        assert await _heard(client, QWEN_AUDIO, vocabulary=instant) == "Run Kubernetes."
        assert await _heard(client, vocabulary=instant) == "Run cube."
        listed = await _made(client, QWEN_AUDIO)
        both = await _heard(client, QWEN_AUDIO, vocabulary={"Helm": 1}, vocabulary_id=listed)
        assert both == "Run Kubernetes."


async def test_a_list_that_is_not_deployed_yet_has_no_effect() -> None:
    async with vendor(hotword_deploy_seconds=60) as client:
        vocabulary_id = await _made(client)
        listed = await _act(client, "list_vocabulary")
        [row] = listed.json()["output"]["vocabulary_list"]
        assert row["status"] == "UNDEPLOYED"
        assert await _heard(client, vocabulary_id=vocabulary_id) == "Run cube."
        client.simulator.state.clock.advance(60)
        assert await _heard(client, vocabulary_id=vocabulary_id) == "Run Kubernetes."


@pytest.mark.parametrize(("side", "status"), [("ignored", 200), ("not_found", 404)])
async def test_a_submit_that_names_no_ones_list_is_ignored_or_refused_as_set(side: str, status: int) -> None:
    keys = {"sk-simulator": "ours", "sk-theirs": "theirs"}
    async with vendor(unknown_vocabulary=side, api_keys=keys) as client:
        foreign = await _made(client.as_key("sk-theirs"))
        for vocabulary_id in ("vocab-demo-0a1b", foreign):
            answer = await client.submit(SPOKEN, parameters={"vocabulary_id": vocabulary_id})
            assert answer.status_code == status
        assert len(client.simulator.ledger().submits) == (2 if status == 200 else 0)


async def test_calls_on_lists_are_counted_limited_and_hit_by_faults() -> None:
    async with vendor(hotwords_qps=2, quota_clock="simulated") as client:
        await client.fault(on="hotwords", kind="status", match="create_vocabulary")
        assert _refusal(await _create(client)) == (500, "InternalError")
        assert (await _create(client)).status_code == 200
        client.simulator.state.clock.advance(1)
        await client.fault(on="hotwords", kind="drop_after")
        with pytest.raises(httpx.HTTPError):
            await _create(client)
        listed = await _act(client, "list_vocabulary")
        assert len(listed.json()["output"]["vocabulary_list"]) == 2
        assert _refusal(await _act(client, "list_vocabulary")) == (429, "Throttling.RateQuota")
        ledger = await client.ledger()
        assert ledger["counts"]["calls"] == {"hotwords": 5}
        assert [(call["action"], call["status"]) for call in ledger["calls"]] == [
            (None, 500),
            ("create_vocabulary", 200),
            ("create_vocabulary", 0),
            ("list_vocabulary", 200),
            ("list_vocabulary", 429),
        ]
        assert ledger["submits"] == []
