"""The simulator over HTTP: each endpoint as the vendor documents it."""

import asyncio
import json
import signal
import socket
import sys
import uuid

import pytest

from sandbox.simulator import SimulatorConfig, serve
from tests.integration.vendor_client import SUBMIT, vendor

A = "https://media.example.org/a.wav?run=2"
B = "https://media.example.org/b.wav?run=2&fail=FILE_403_FORBIDDEN"
ASYNC = {"X-DashScope-Async": "enable"}


async def test_a_task_goes_from_submit_to_its_result_file() -> None:
    async with vendor(files_per_task=100) as client:
        answer = await client.submit(A, B)
        assert answer.status_code == 200
        task_id = answer.json()["output"]["task_id"]
        assert answer.json() == {
            "output": {"task_status": "PENDING", "task_id": task_id},
            "request_id": answer.headers["x-request-id"],
        }
        assert uuid.UUID(answer.json()["request_id"]).version == 4
        assert answer.headers["date"] == "Mon, 02 Mar 2026 02:15:01 GMT"

        running = await client.query(task_id)
        assert running["output"] == {
            "task_id": task_id,
            "task_status": "RUNNING",
            "submit_time": "2026-03-02 10:15:01.113",
            "scheduled_time": "2026-03-02 10:15:01.113",
            "task_metrics": {"TOTAL": 2, "SUCCEEDED": 0, "FAILED": 0},
        }
        assert "usage" not in running

        client.simulator.state.clock.advance(2)
        ended = await client.query(task_id)
        assert ended["request_id"] != running["request_id"]
        assert ended["output"]["task_status"] == "SUCCEEDED"
        assert ended["output"]["end_time"] == "2026-03-02 10:15:03.113"
        assert ended["output"]["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 1, "FAILED": 1}
        failed, succeeded = ended["output"]["results"]
        assert failed == {
            "file_url": B,
            "code": "FILE_403_FORBIDDEN",
            "message": "FILE_403_FORBIDDEN",
            "subtask_status": "FAILED",
        }
        result = await client.http.get(succeeded["transcription_url"])
        assert result.headers["content-type"] == "application/json"
        [transcript] = result.json()["transcripts"]
        assert (result.json()["file_url"], transcript["text"]) == (A, "Transcript of a.wav.")
        assert ended["usage"] == {"duration": -(-transcript["content_duration_in_milliseconds"] // 1000)}


@pytest.mark.parametrize(
    "header", [None, "Bearer sk-stranger", "Basic sk-simulator", "sk-simulator", "Bearer"]
)
async def test_a_call_without_a_good_key_is_401(header: str | None) -> None:
    async with vendor() as client:
        headers = {"Authorization": header} if header else {}
        for method, path in (
            ("POST", SUBMIT),
            ("GET", "/tasks/x"),
            ("GET", "/tasks/"),
            ("POST", "/tasks/x/cancel"),
        ):
            answer = await client.http.request(method, client.simulator.base_url + path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "InvalidApiKey")


async def test_a_synchronous_submit_is_403() -> None:
    async with vendor() as client:
        answer = await client.call("POST", SUBMIT, json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
        assert answer.json()["message"] == "current user api does not support synchronous calls."


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{", "BadRequest.IllegalInput", None),
        (b"\xff\xfe", "BadRequest.IllegalInput", None),
        (b"[" * 100_000, "BadRequest.IllegalInput", None),
        (b"[]", "BadRequest.IllegalInput", None),
        (b" " * (9 * 1024 * 1024), "BadRequest.TooLarge", None),
        (b"{}", "BadRequest.EmptyModel", None),
        (b'{"model": "fun-asr"}', "BadRequest.EmptyInput", None),
        (b'{"model": "whisper"}', "InvalidParameter", "Model not exist."),
        (
            b'{"model": "fun-asr", "input": {"file_url": "http://x/a"}}',
            "InvalidParameter",
            "input must contain file_urls",
        ),
    ],
)
async def test_a_bad_body_is_400_and_never_billed(body: bytes, code: str, message: str | None) -> None:
    async with vendor() as client:
        answer = await client.call("POST", SUBMIT, content=body, headers=ASYNC)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert message is None or answer.json()["message"] == message
        assert client.simulator.ledger().submits == []


async def test_the_alternatives_where_the_vendors_pages_disagree() -> None:
    async with vendor(
        bad_model_status=404, files_per_task=1, missing_parameters="accept", list_key="tasks"
    ) as client:
        answer = await client.submit(A, model="whisper")
        assert (answer.status_code, answer.json()["code"]) == (404, "ModelNotFound")
        assert (await client.submit(A, B)).json()["code"] == "InvalidParameter"
        task_id = await client.task(A, parameters=None)
        client.simulator.state.clock.advance(2)
        assert await client.status(task_id) == "SUCCEEDED"
        assert [row["task_id"] for row in (await client.list()).json()["tasks"]] == [task_id]


async def test_a_submit_without_parameters_is_billed_and_then_fails() -> None:
    async with vendor() as client:
        task_id = await client.task(A, parameters=None)
        output = (await client.query(task_id))["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "BadRequest.EmptyParameters")
        assert len(client.simulator.ledger().submits) == 1


async def test_a_script_that_makes_no_sense_is_refused_before_it_is_billed() -> None:
    async with vendor() as client:
        answer = await client.submit("https://media.example.org/a.wav?run=soon")
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
        assert "run=soon" in answer.json()["message"]
        assert client.simulator.ledger().submits == []


async def test_oss_urls_pass_with_the_resolve_header_alone() -> None:
    async with vendor() as client:
        body = {"model": "fun-asr", "input": {"file_urls": ["oss://bucket/a.wav"]}, "parameters": {}}
        resolving = {**ASYNC, "X-DashScope-OssResourceResolve": "enable"}
        refused = await client.call("POST", SUBMIT, json=body, headers=ASYNC)
        accepted = await client.call("POST", SUBMIT, json=body, headers=resolving)
        assert (refused.status_code, accepted.status_code) == (400, 200)


async def test_lone_surrogates_and_long_urls_survive_the_round_trip() -> None:
    async with vendor() as client:
        long_url = f"https://media.example.org/{'x' * 65_000}.wav"
        task_id = await client.task(long_url)
        body = json.dumps(
            {"model": "fun-asr", "input": {"file_urls": ["https://x/\ud800.wav"]}, "parameters": {}}
        )
        answer = await client.call("POST", SUBMIT, content=body.encode(), headers=ASYNC)
        client.simulator.state.clock.advance(2)
        assert (await client.query(task_id))["output"]["results"][0]["file_url"] == long_url
        [result] = (await client.query(answer.json()["output"]["task_id"]))["output"]["results"]
        assert result["code"] == "FILE_DOWNLOAD_FAILED"


async def test_a_task_can_be_queried_with_post_as_one_page_has_it() -> None:
    async with vendor() as client:
        task_id = await client.task(A)
        answer = await client.call("POST", f"/tasks/{task_id}")
        assert answer.json()["output"]["task_status"] == "RUNNING"


async def test_a_task_is_unknown_when_missing_foreign_hidden_or_past_its_retention() -> None:
    keys = {"sk-simulator": "ours", "sk-second": "ours", "sk-theirs": "theirs"}
    async with vendor(api_keys=keys) as client:
        missing = str(uuid.uuid4())
        answer = await client.query(missing)
        assert answer["output"] == {"task_id": missing, "task_status": "UNKNOWN"}

        task_id = await client.task("https://media.example.org/a.wav?run=2&hidden=1")
        assert await client.status(task_id) == "UNKNOWN"
        client.simulator.state.clock.advance(1)
        assert await client.status(task_id) == "RUNNING"
        assert await client.as_key("sk-second").status(task_id) == "RUNNING"
        assert await client.as_key("sk-theirs").status(task_id) == "UNKNOWN"
        client.simulator.state.clock.advance(1 + 86_399)
        assert await client.status(task_id) == "SUCCEEDED"
        client.simulator.state.clock.advance(1)
        assert await client.status(task_id) == "UNKNOWN"
        assert (await client.list()).json()["total"] == 0


@pytest.mark.parametrize(
    ("shape", "status", "has_results"),
    [("succeeded", "SUCCEEDED", True), ("failed", "FAILED", False), ("failed_with_results", "FAILED", True)],
)
async def test_a_task_without_a_good_file_ends_in_the_shape_that_was_set(
    shape: str, status: str, has_results: bool
) -> None:
    async with vendor(all_failed_shape=shape) as client:
        task_id = await client.task(B)
        client.simulator.state.clock.advance(2)
        output = (await client.query(task_id))["output"]
        assert (output["task_status"], "results" in output) == (status, has_results)
        assert output["task_metrics"] == {"TOTAL": 1, "SUCCEEDED": 0, "FAILED": 1}
        assert output.get("code") == (None if status == "SUCCEEDED" else "FILE_403_FORBIDDEN")
        [row] = (await client.list()).json()["data"]
        assert row["status"] == status


async def test_a_failed_task_may_hold_usable_results() -> None:
    async with vendor() as client:
        task_id = await client.task("https://media.example.org/a.wav?task_fail=InternalError&keep_results=1")
        client.simulator.state.clock.advance(1)
        output = (await client.query(task_id))["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "InternalError")
        answer = await client.http.get(output["results"][0]["transcription_url"])
        assert answer.json()["transcripts"][0]["text"] == "Transcript of a.wav."


async def test_the_list_is_flat_newest_first_and_filtered() -> None:
    async with vendor(api_keys={"sk-simulator": "ours", "sk-theirs": "theirs"}) as client:
        first = await client.task(A)
        await client.as_key("sk-theirs").task(A)
        client.simulator.state.clock.advance(3)
        second = await client.task(A, model="fun-asr-mtl")

        page = (await client.list()).json()
        assert {name: page[name] for name in page if name not in ("data", "request_id")} == {
            "total": 2,
            "total_page": 1,
            "page_no": 1,
            "page_size": 10,
        }
        newest, oldest = page["data"]
        assert (newest["task_id"], newest["status"], newest["model_name"]) == (
            second,
            "RUNNING",
            "fun-asr-mtl",
        )
        assert "end_time" not in newest
        assert oldest["task_id"] == first
        assert (oldest["gmt_create"], oldest["start_time"]) == (1772417701113, 1772417701113)
        assert oldest["end_time"] == 1772417703113
        assert oldest["user_api_unique_key"] == "apikey:v1:audio:asr:transcription:fun-asr"

        async def ids(**query: object) -> list[str]:
            return [row["task_id"] for row in (await client.list(**query)).json()["data"]]

        assert await ids(status="SUCCEEDED") == [first]
        assert await ids(model_name="fun-asr-mtl") == [second]
        assert await ids(start_time="20260302101504") == [second]
        assert await ids(end_time="20260302101501") == [first]
        assert [await ids(page_size=1, page_no=number) for number in (1, 2, 3)] == [[second], [first], []]
        assert (await client.list(page_size=1)).json()["total_page"] == 2
        without_slash = await client.call("GET", "/tasks")
        assert without_slash.json()["total"] == 2


@pytest.mark.parametrize(
    "query",
    [
        {"page_no": 0},
        {"page_size": "many"},
        {"status": "DONE"},
        {"start_time": "2026-03-02"},
        {"start_time": "20260228000000", "end_time": "20260302000000"},
    ],
)
async def test_a_list_filter_that_makes_no_sense_is_400(query: dict[str, object]) -> None:
    async with vendor() as client:
        answer = await client.list(**query)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


async def test_only_a_pending_task_can_be_cancelled() -> None:
    async with vendor(api_keys={"sk-simulator": "ours", "sk-theirs": "theirs"}) as client:
        waiting = await client.task("https://media.example.org/a.wav?pending=5")
        running = await client.task(A)
        foreign = await client.as_key("sk-theirs").cancel(waiting)
        for answer in (foreign, await client.cancel(running), await client.cancel("no-such-task")):
            assert (answer.status_code, answer.json()["code"]) == (400, "UnsupportedOperation")
            assert "PENDING status" in answer.json()["message"]
        agreed = await client.cancel(waiting)
        assert (agreed.status_code, list(agreed.json())) == (200, ["request_id"])
        client.simulator.state.clock.advance(60)
        assert await client.status(waiting) == "CANCELED"
        assert (await client.cancel(waiting)).status_code == 400
        assert client.simulator.ledger().submits[0].task.billed_seconds() == 0


async def test_a_result_url_works_byte_for_byte_unsigned_by_anyone_else_and_for_a_day() -> None:
    async with vendor() as client:
        task_id = await client.task(A)
        client.simulator.state.clock.advance(2)
        url = await client.result_url(task_id)
        assert f"{client.simulator.origin}/results/prod/fun-asr/20260302/10%3A15/" in url
        assert (await client.http.get(url)).status_code == 200
        client.simulator.state.clock.advance(3600)
        assert url == await client.result_url(task_id)

        decoded = await _raw_get(url.replace("%3A", ":"))
        tampered = await client.http.get(url.replace("Signature=", "Signature=x"))
        unsigned = await client.http.get(url.partition("?")[0])
        assert decoded.startswith(b"HTTP/1.1 404")
        assert (tampered.status_code, unsigned.status_code) == (403, 403)
        assert "SignatureDoesNotMatch" in tampered.text

        client.simulator.state.clock.advance(86_400 - 3600)
        expired = await client.http.get(url)
        assert (expired.status_code, expired.headers["content-type"]) == (403, "application/xml")
        assert "Request has expired." in expired.text


async def _raw_get(url: str) -> bytes:
    """An answer to a path that no HTTP library has touched."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    try:
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_key_shown_to_the_result_host_is_noted() -> None:
    async with vendor() as client:
        task_id = await client.task(A)
        client.simulator.state.clock.advance(2)
        url = await client.result_url(task_id)
        await client.http.get(url)
        assert client.simulator.ledger().leaked_keys() == 0
        await client.http.get(url, headers={"Authorization": "Bearer other"})
        await client.http.get(url, headers={"X-Note": "sk-simulator"})
        await client.http.get(f"{url}&key=sk-simulator")
        assert client.simulator.ledger().leaked_keys() == 3


async def test_channels_and_speakers_show_in_the_result_file() -> None:
    async with vendor() as client:
        url = "https://media.example.org/a.wav?text=One.+Two.&text1=Other+side.&channels=2&speakers=2"
        both = await client.task(url, parameters={"channel_id": [0, 1]})
        spoken = await client.task(url, parameters={"diarization_enabled": True})
        extra = await client.task(f"{url}&extra=1")
        client.simulator.state.clock.advance(2)
        results = [
            (await client.http.get(await client.result_url(task))).json() for task in (both, spoken, extra)
        ]
        assert [(part["channel_id"], part["text"]) for part in results[0]["transcripts"]] == [
            (0, "One. Two."),
            (1, "Other side."),
        ]
        assert results[0]["properties"]["channels"] == [0, 1]
        assert [sentence["speaker_id"] for sentence in results[1]["transcripts"][0]["sentences"]] == [0, 1]
        assert "speaker_id" not in results[2]["transcripts"][0]["sentences"][0]
        assert results[2]["x_unknown"] == results[2]["properties"]["x_unknown"] == {"kept": True}


async def test_calls_over_the_quota_are_429_and_count_for_the_whole_account() -> None:
    keys = {"sk-simulator": "ours", "sk-second": "ours", "sk-theirs": "theirs"}
    async with vendor(
        api_keys=keys, query_qps=2, submit_rpm={"fun-asr": 60}, quota_clock="simulated"
    ) as client:
        assert [(await client.submit(A)).status_code for _ in range(2)] == [200, 429]
        assert (await client.submit(A, model="fun-asr-mtl")).status_code == 200
        answers = [
            await client.as_key(key).call("GET", "/tasks/x") for key in ("sk-simulator", "sk-second") * 2
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert answers[-1].json()["code"] == "Throttling.RateQuota"
        assert (await client.as_key("sk-theirs").call("GET", "/tasks/x")).status_code == 200
        client.simulator.state.clock.advance(1)
        assert (await client.call("GET", "/tasks/x")).status_code == 200
        assert [call.status for call in client.simulator.ledger().calls_of("query")].count(429) == 2
        assert client.simulator.ledger().peak("query", account="ours") >= 2


async def test_the_ledger_over_http_tells_every_submit_and_call() -> None:
    async with vendor(files_per_task=100) as client:
        task_id = await client.task(A, B, parameters={"channel_id": [0]})
        await client.query(task_id)
        await client.http.post(f"{client.simulator.base_url}{SUBMIT}")
        ledger = await client.ledger()
        [submit] = ledger["submits"]
        assert submit["file_urls"] == [A, B]
        assert (submit["task_id"], submit["model"], submit["account"]) == (task_id, "fun-asr", "account-1")
        assert (submit["parameters"], submit["answered"]) == ({"channel_id": [0]}, True)
        assert submit["at"] == pytest.approx(1_772_417_701.113)
        assert [(call["kind"], call["status"], call["task_id"]) for call in ledger["calls"]] == [
            ("submit", 200, task_id),
            ("query", 200, task_id),
            ("submit", 401, None),
        ]
        assert ledger["counts"]["files"] == 2
        assert ledger["counts"]["billed_seconds"] == submit["billed_seconds"] == 2


async def test_the_clock_is_advanced_over_http() -> None:
    async with vendor() as client:
        task_id = await client.task(A)
        answer = await client.http.post(f"{client.simulator.origin}/_sim/clock", json={"advance_seconds": 2})
        assert answer.json()["now"] == pytest.approx(1_772_417_703.113)
        assert await client.status(task_id) == "SUCCEEDED"
        bodies: tuple[object, ...] = ({}, {"advance_seconds": -1}, {"advance_seconds": "x"}, [])
        for bad in bodies:
            answer = await client.http.post(f"{client.simulator.origin}/_sim/clock", json=bad)
            assert answer.status_code == 400


async def test_a_wrong_service_path_is_refused() -> None:
    async with vendor() as client:
        answer = await client.call("POST", "/services/audio/asr/transcribe", json={}, headers=ASYNC)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


async def test_nothing_is_left_after_the_context_and_the_port_can_be_used_again() -> None:
    before = asyncio.all_tasks()
    async with serve(SimulatorConfig()) as simulator:
        port = int(simulator.origin.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
    assert asyncio.all_tasks() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    async with serve(SimulatorConfig(port=port)) as simulator:
        assert simulator.origin.endswith(f":{port}")
        with pytest.raises(OSError, match="in use"):
            async with serve(SimulatorConfig(port=port)):
                pass


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_says_where_it_listens_and_stops_on_a_signal(stop: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "simulate", "--speed", "10", "--api-key", "sk-a=one"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        assert ready["base_url"] == f"{ready['origin']}/api/v1"
        port = int(ready["origin"].rpartition(":")[2])
        taken = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandbox", "simulate", "--port", str(port)),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(taken.communicate(), 60)
        assert (taken.returncode, errors.count(b"\n")) == (1, 1)
        process.send_signal(stop)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert await process.stderr.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
