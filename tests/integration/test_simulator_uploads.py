"""Local files: leave to upload, the store's form, and tasks that read what was uploaded."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import sandbox
from tests.integration.vendor_client import SUBMIT, VendorClient, vendor

RESOLVING = {"X-DashScope-Async": "enable", "X-DashScope-OssResourceResolve": "enable"}
SPEECH = Path(sandbox.__file__).with_name("speech") / "austen-0880.wav"


async def _policy(client: VendorClient, model: str = "fun-asr") -> dict[str, Any]:
    answer = await client.call("GET", "/uploads", params={"action": "getPolicy", "model": model})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["data"])


async def _upload(
    client: VendorClient, leave: dict[str, Any], content: bytes = b"RIFF", **changes: str
) -> httpx.Response:
    fields = {
        "OSSAccessKeyId": leave["oss_access_key_id"],
        "Signature": leave["signature"],
        "policy": leave["policy"],
        "x-oss-object-acl": leave["x_oss_object_acl"],
        "x-oss-forbid-overwrite": leave["x_oss_forbid_overwrite"],
        "key": f"{leave['upload_dir']}/a.wav",
        "success_action_status": "200",
        **changes,
    }
    return await client.http.post(leave["upload_host"], data=fields, files={"file": ("a.wav", content)})


async def _uploaded(client: VendorClient, model: str = "fun-asr", content: bytes = b"RIFF") -> str:
    policy = await _policy(client, model)
    answer = await _upload(client, policy, content)
    assert answer.status_code == 200, answer.text
    return f"oss://{policy['upload_dir']}/a.wav"


async def _result(client: VendorClient, file_url: str, model: str = "fun-asr") -> dict[str, Any]:
    body = {"model": model, "input": {"file_urls": [file_url]}, "parameters": {}}
    answer = await client.call("POST", SUBMIT, json=body, headers=RESOLVING)
    assert answer.status_code == 200, answer.text
    client.simulator.state.clock.advance(2)
    [result] = (await client.query(answer.json()["output"]["task_id"]))["output"]["results"]
    return dict(result)


def _refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/xml"
    return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


async def test_leave_to_upload_names_the_store_the_folder_and_the_policy() -> None:
    async with vendor() as client:
        policy = await _policy(client)
        assert policy["upload_host"] == f"{client.simulator.origin}/uploads"
        assert (policy["expire_in_seconds"], policy["max_file_size_mb"]) == (300, 64)
        terms = json.loads(base64.b64decode(policy["policy"]))
        assert terms["expiration"] == "2026-03-02T02:20:01.000Z"
        assert terms["conditions"][1] == ["starts-with", "$key", policy["upload_dir"]]
        assert (await _policy(client))["upload_dir"] != policy["upload_dir"]
        queries: tuple[dict[str, str], ...] = ({"action": "getPolicy"}, {"action": "put", "model": "fun-asr"})
        for query in queries:
            assert (await client.call("GET", "/uploads", params=query)).status_code == 400
        assert (await client.as_key("sk-stranger").call("GET", "/uploads")).status_code == 401


async def test_an_uploaded_file_is_read_by_a_task_of_its_model_and_says_what_its_script_has() -> None:
    async with vendor() as client:
        file_url = f"{await _uploaded(client)}?text=Good+morning."
        result = await _result(client, file_url)
        assert (result["file_url"], result["subtask_status"]) == (file_url, "SUCCEEDED")
        document = (await client.http.get(result["transcription_url"])).json()
        assert document["transcripts"][0]["text"] == "Good morning."
        ledger = await client.ledger()
        assert ledger["counts"]["calls"]["upload"] == ledger["counts"]["calls"]["policy"] == 1
        assert ledger["counts"]["leaked_keys"] == 0


async def test_a_file_of_another_account_or_model_or_from_two_days_ago_is_not_read() -> None:
    async with vendor(api_keys={"sk-simulator": "ours", "sk-theirs": "theirs"}) as client:
        file_url = await _uploaded(client)
        for reader, model in ((client.as_key("sk-theirs"), "fun-asr"), (client, "fun-asr-mtl")):
            assert (await _result(reader, file_url, model))["code"] == "FILE_403_FORBIDDEN"
        assert (await _result(client, f"{file_url}.mp3"))["code"] == "FILE_404_NOT_FOUND"
        client.simulator.state.clock.advance(48 * 3600)
        assert (await _result(client, file_url))["code"] == "FILE_404_NOT_FOUND"


async def test_the_store_refuses_what_the_policy_does_not_allow() -> None:
    async with vendor(upload_limit_bytes=10) as client:
        policy = await _policy(client)
        folder = policy["upload_dir"]
        refused = [
            await _upload(client, policy, Signature="bad"),
            await _upload(client, policy, policy="bad"),
            await _upload(client, policy, key="elsewhere/a.wav"),
            await _upload(client, policy, key=f"{folder}/"),
            await _upload(client, policy, content=b"x" * 11),
            await client.http.post(policy["upload_host"], data={"policy": policy["policy"]}),
            await client.http.post(policy["upload_host"], content=b"no form"),
        ]
        assert [_refusal(answer) for answer in refused] == [
            (403, "SignatureDoesNotMatch"),
            (403, "SignatureDoesNotMatch"),
            (403, "AccessDenied"),
            (403, "AccessDenied"),
            (400, "EntityTooLarge"),
            (403, "SignatureDoesNotMatch"),
            (403, "SignatureDoesNotMatch"),
        ]
        assert (await _upload(client, policy, content=b"x" * 10)).status_code == 200
        assert _refusal(await _upload(client, policy)) == (409, "FileAlreadyExists")
        other = await _upload(client, policy, key=f"{folder}/b.wav", success_action_status="")
        assert other.status_code == 204
        client.simulator.state.clock.advance(300)
        late = await _upload(client, policy, key=f"{folder}/c.wav")
        assert _refusal(late) == (403, "AccessDenied")
        assert "Policy expired" in late.text


async def test_a_form_without_its_file_at_the_end_stores_nothing() -> None:
    async with vendor() as client:
        policy = await _policy(client)
        parts = {
            "policy": policy["policy"],
            "Signature": policy["signature"],
            "key": f"{policy['upload_dir']}/a",
        }

        def form(*names: str) -> bytes:
            pieces = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n' for name in names]
            bodies = [
                f"{piece}{parts.get(name, 'RIFF')}\r\n" for piece, name in zip(pieces, names, strict=True)
            ]
            return ("".join(bodies) + "--b--\r\n").encode()

        async def sent(*names: str) -> httpx.Response:
            headers = {"content-type": "multipart/form-data; boundary=b"}
            return await client.http.post(policy["upload_host"], content=form(*names), headers=headers)

        assert _refusal(await sent("policy", "Signature", "key")) == (
            400,
            "IncorrectNumberOfFilesInPOSTRequest",
        )
        assert _refusal(await sent("policy", "Signature", "file", "key")) == (403, "AccessDenied")
        assert (await sent("policy", "Signature", "key", "file")).status_code == 204


async def test_leave_to_upload_has_a_quota_of_each_model_and_uploads_can_go_wrong() -> None:
    async with vendor(policy_qps=1, quota_clock="simulated") as client:
        policy = await _policy(client)
        query = {"action": "getPolicy", "model": "fun-asr"}
        assert (await client.call("GET", "/uploads", params=query)).status_code == 429
        await _policy(client, "fun-asr-mtl")
        await client.fault(on="upload", kind="status", status=503)
        assert (await _upload(client, policy)).status_code == 503
        assert (await _upload(client, policy)).status_code == 200


@pytest.mark.computes
async def test_the_recogniser_hears_an_uploaded_recording_in_the_shape_of_qwen3() -> None:
    model = "qwen3-asr-flash-filetrans"
    async with vendor(engine="whisper", virtual=False, query_qps=None) as client:
        file_url = await _uploaded(client, model, SPEECH.read_bytes())
        body = {"model": model, "input": {"file_url": file_url}, "parameters": {"enable_words": True}}
        answer = await client.call("POST", SUBMIT, json=body, headers=RESOLVING)
        task_id = answer.json()["output"]["task_id"]
        for _ in range(1000):
            if (await client.status(task_id)) not in ("PENDING", "RUNNING"):
                break
            await asyncio.sleep(0.05)
        ended = await client.query(task_id)
        document = (await client.http.get(ended["output"]["result"]["transcription_url"])).json()
        sentence = document["transcripts"][0]["sentences"][0]
        assert (sentence["sentence_id"], sentence["language"], sentence["emotion"]) == (0, "en", "neutral")
        assert len(sentence["words"]) > 3
        assert document["audio_info"]["format"] == "wav"
        spoken_ms = sum(
            part["end_time"] - part["begin_time"] for part in document["transcripts"][0]["sentences"]
        )
        assert ended["usage"]["seconds"] == -(-spoken_ms // 1000) > 1
        [audio] = client.simulator.ledger().audio
        assert (audio.url, audio.bytes, audio.code) == (file_url, SPEECH.stat().st_size, None)
