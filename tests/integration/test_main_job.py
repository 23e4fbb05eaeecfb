"""The main job through real Kafka and the embedded broker: a request in, its outcomes out, the bill right."""

import json
from datetime import datetime

import pysubs2
import pytest

from sandbox.simulator import Fault, SimulatorConfig
from tests.integration.stack import Outcome, Stack

HELLO = "http://media.test/hello.wav?text=Hello+world.+This+is+Scribe.&run=0.2&duration=4"
OTHER = "http://media.test/other.wav?text=Another+file.&run=0.2&duration=3"
MISSING = "http://media.test/missing.wav?fail=FILE_404_NOT_FOUND&run=0.2"
SILENT = "http://media.test/silent.wav?silence=1&run=0.2"

takes_several = pytest.mark.parametrize("sim_config", [SimulatorConfig(speed=10, files_per_task=100)])


def request(request_id: str, *urls: str, **fields: object) -> dict[str, object]:
    """A request as docs/contract.md has it."""
    return {"request_id": request_id, "file_urls": list(urls), "model": "fun-asr", **fields}


async def test_a_request_becomes_a_result_that_holds_all_the_contract_says(stack: Stack) -> None:
    await stack.start()
    metadata = {"tenant": "a", "nested": {"n": [1, 2]}}
    value = json.dumps(request("r-1", HELLO, metadata=metadata, options={"language_hints": ["en", "de"]}))
    await stack.publish(value.encode(), "r-1", [("traceparent", b"00-aa-bb-01"), ("private", b"stays")])
    [outcome] = await stack.outcomes(1)
    [submit] = stack.sim.ledger().submits

    assert (outcome.kind, outcome.key, outcome.id) == ("result", "r-1", "r-1/0/0")
    expected = {
        "task_id": submit.task.task_id,
        "file_url": "http://media.test/hello.wav",
        "file_index": 0,
        "file_count": 1,
        "replay": 0,
        "metadata": metadata,
        "duplicates_detected": True,
        "omitted": [],
    }
    assert {name: outcome.body[name] for name in expected} == expected
    assert outcome.body["attempts"]["submit"] == 1
    assert [each["code"] for each in outcome.body["warnings"]] == ["only_first_language_hint"]
    billed = submit.task.billed_seconds()
    assert outcome.body["usage"]["billed_seconds"] == billed
    assert outcome.body["usage"]["estimated"] is False
    assert outcome.body["request_summary"] == {"succeeded": 1, "failed": 0, "billed_seconds": billed}
    _has_cloud_event_headers(outcome)
    _has_a_transcript(outcome)
    _has_times_in_order(outcome)


def _has_cloud_event_headers(outcome: Outcome) -> None:
    expected = {
        "ce_type": "scribe.transcription.result.v1",
        "ce_specversion": "1.0",
        "ce_source": "/scribe",
        "ce_subject": "r-1",
        "content-type": "application/json",
        "traceparent": "00-aa-bb-01",
    }
    assert {name: outcome.headers[name] for name in expected} == expected
    assert "private" not in outcome.headers


def _has_a_transcript(outcome: Outcome) -> None:
    [channel] = outcome.body["transcript"]["channels"]
    assert "Hello world" in channel["text"]
    assert [sentence["sentence_id"] for sentence in channel["sentences"]] == [1, 2]
    assert all(isinstance(word["begin_ms"], int) for word in channel["sentences"][0]["words"])


def _has_times_in_order(outcome: Outcome) -> None:
    stages = ["requested_at", "accepted_at", "submitted_at", "completed_at", "fetched_at", "published_at"]
    times = [datetime.fromisoformat(outcome.body["times"][stage]) for stage in stages]
    assert times == sorted(times)
    assert outcome.body["times"]["provider"]["submit_time"]


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_a_request_gets_the_renderings_it_asks_for_and_no_more(stack: Stack) -> None:
    await stack.start()
    wanted = {"formats": ["vtt", "srt"]}
    await stack.publish(request("r-10", HELLO, SILENT, MISSING, output=wanted))
    await stack.publish(request("r-11", OTHER))
    outcomes = {outcome.id: outcome for outcome in await stack.outcomes(4)}

    made = outcomes["r-10/0/0"].body["renderings"]
    assert set(made) == {"srt", "vtt"}
    sentences = outcomes["r-10/0/0"].body["transcript"]["channels"][0]["sentences"]
    for form, text in made.items():
        cues = pysubs2.SSAFile.from_string(text, format_=form).events
        assert [cue.plaintext for cue in cues] == [sentence["text"].strip() for sentence in sentences]
        assert [cue.start for cue in cues] == [sentence["begin_ms"] for sentence in sentences]
    assert outcomes["r-10/0/1"].body["renderings"] == {"srt": "", "vtt": "WEBVTT\n"}
    assert "renderings" not in outcomes["r-10/0/2"].body
    assert outcomes["r-10/0/2"].body["original_request"]["output"] == {"formats": ["srt", "vtt"]}
    assert outcomes["r-11/0/0"].body["renderings"] is None

    await stack.publish(request("r-11", OTHER, output=wanted))
    codes = [outcome.body.get("code") for outcome in await stack.outcomes(5)]
    assert sorted(filter(None, codes)) == ["audio_not_found", "request_id_conflict"]


@takes_several
async def test_files_of_one_request_share_a_task_and_each_ends_by_itself(stack: Stack) -> None:
    await stack.start(SCRIBE_REQUESTS__FILES_PER_TASK="100")
    await stack.publish(request("r-2", HELLO, MISSING, SILENT, OTHER))
    outcomes = await stack.outcomes(4)

    by_index = {outcome.body["file_index"]: outcome for outcome in outcomes}
    assert {index: outcome.kind for index, outcome in by_index.items()} == {
        0: "result",
        1: "failure",
        2: "result",
        3: "result",
    }
    [submit] = stack.sim.ledger().submits
    assert len(submit.task.submission.file_urls) == 4
    assert "Hello world" in by_index[0].body["transcript"]["channels"][0]["text"]
    assert "Another file" in by_index[3].body["transcript"]["channels"][0]["text"]
    failure = by_index[1].body
    assert (failure["code"], failure["provider_code"]) == ("audio_not_found", "FILE_404_NOT_FOUND")
    assert failure["stage"] == "poll"
    assert failure["original_request"]["file_urls"] == [MISSING]
    assert failure["origin"]["topic"] == stack.topics["requests"]
    silent = by_index[2].body
    assert silent["transcript"]["channels"] == []
    assert [each["code"] for each in silent["warnings"]] == ["no_speech"]
    task_billed = submit.task.billed_seconds()
    assert by_index[0].body["usage"]["estimated"] is True
    assert by_index[0].body["usage"]["task_billed_seconds"] == task_billed
    # Each file's part is rounded up, so the parts make at least the whole.
    assert sum(by_index[i].body["usage"]["billed_seconds"] for i in (0, 3)) >= task_billed
    summaries = [outcome.body["request_summary"] for outcome in outcomes]
    [summary] = [each for each in summaries if each]
    assert (summary["succeeded"], summary["failed"]) == (3, 1)


@takes_several
async def test_requests_that_wait_for_quota_share_tasks_and_each_ends_by_itself(stack: Stack) -> None:
    """Those with other options, or with the same file, go into other tasks; one file fails."""
    await stack.start(SCRIBE_REQUESTS__FILES_PER_TASK="10", SCRIBE_QUOTA__SUBMITS_PER_MINUTE="120")
    count, alike = 30, [HELLO.replace("hello.wav", f"{n}.wav") for n in range(28)]
    for number, url in enumerate([*alike, MISSING, HELLO.replace("hello.wav", "0.wav")]):
        await stack.publish(request(f"r-{number}", url))
    for number in range(count, count + 5):
        url = HELLO.replace("hello.wav", f"{number}.wav")
        await stack.publish(request(f"r-{number}", url, options={"channel_id": [0]}))
    outcomes = await stack.outcomes(count + 5)

    assert sorted(outcome.id for outcome in outcomes) == sorted(f"r-{n}/0/0" for n in range(count + 5))
    codes = {outcome.id: outcome.body["code"] for outcome in outcomes if outcome.kind == "failure"}
    assert codes == {"r-28/0/0": "audio_not_found"}
    tasks = [submit.task for submit in stack.sim.ledger().submits]
    urls = {task.task_id: task.submission.file_urls for task in tasks}
    assert max(map(len, urls.values())) == 10
    assert len(urls) < count
    assert all(len(set(each)) == len(each) for each in urls.values())
    assert set(stack.sim.ledger().submitted_urls().values()) == {1, 2}
    for outcome in outcomes:
        task = urls[outcome.body["task_id"]]
        assert outcome.body["file_url"] in {url.partition("?")[0] for url in task}
        if outcome.kind == "result":
            assert outcome.body["usage"]["estimated"] is (len(task) > 1)
            assert outcome.body["request_summary"]["succeeded"] == 1
    optional = {outcome.body["task_id"] for outcome in outcomes if int(outcome.id[2:-4]) >= count}
    others = {outcome.body["task_id"] for outcome in outcomes if int(outcome.id[2:-4]) < count}
    assert not optional & others


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_a_task_has_one_file_unless_another_number_is_set(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("r-3", HELLO, OTHER))
    outcomes = await stack.outcomes(2)
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert [len(each.task.submission.file_urls) for each in stack.sim.ledger().submits] == [1, 1]


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.parametrize("sim_config", [SimulatorConfig(speed=10, files_per_task=n) for n in (1, 2)])
@pytest.mark.computes
async def test_a_file_count_that_the_vendor_refuses_fails_no_job(
    stack: Stack, sim_config: SimulatorConfig
) -> None:
    await stack.start(SCRIBE_REQUESTS__FILES_PER_TASK="100")
    urls = [HELLO.replace("hello.wav", f"{n}.wav") for n in range(5)]
    await stack.publish(request("r-3", *urls))
    await stack.outcomes(5)
    await stack.publish(request("r-4", *urls))
    outcomes = await stack.outcomes(10)
    assert {outcome.kind for outcome in outcomes} == {"result"}
    assert {outcome.body["attempts"]["submit"] for outcome in outcomes} == {1}
    ledger = stack.sim.ledger()
    assert max(len(each.task.submission.file_urls) for each in ledger.submits) == sim_config.files_per_task
    assert set(ledger.submitted_urls().values()) == {2}
    refused = [call for call in ledger.calls if (call.kind, call.status) == ("submit", 400)]
    # Five files, then halves; what comes later has learnt it.
    assert 1 <= len(refused) <= 4
    assert stack.logs().count("files_per_task_lowered") in (1, 2)


@pytest.mark.parametrize("broker_name", ["embedded"])
@takes_several
@pytest.mark.computes
async def test_the_same_url_twice_goes_into_two_tasks(stack: Stack) -> None:
    await stack.start(SCRIBE_REQUESTS__FILES_PER_TASK="100")
    await stack.publish(request("r-4", HELLO, HELLO, OTHER))
    outcomes = await stack.outcomes(3)
    assert sorted(outcome.id for outcome in outcomes) == ["r-4/0/0", "r-4/0/1", "r-4/0/2"]
    urls = [each.task.submission.file_urls for each in stack.sim.ledger().submits]
    assert sorted(len(each) for each in urls) == [1, 2]


async def test_a_repeated_request_is_done_once_and_its_failure_says_how_to_replay(stack: Stack) -> None:
    """The repeat, a cancel and other work get one record each; the advice of the first leads to a result."""
    scribe = await stack.start()
    await stack.publish(request("r-5", HELLO))
    await stack.outcomes(1)
    # The outcome may be read before the service has heard that it is durable.
    await stack.until(lambda: "job_finished" in stack.logs())
    await stack.publish(request("r-5", HELLO, metadata={"try": 2}))
    await stack.publish(request("r-5", HELLO))
    await stack.publish({"request_id": "r-5", "action": "cancel"})
    await stack.publish(request("r-5", OTHER))
    await stack.publish(request("r-5", HELLO, replay=1))
    outcomes = await stack.outcomes(5)
    failures = [each for each in outcomes if each.kind == "failure"]
    assert [each.body["code"] for each in sorted(failures, key=_offset)] == [
        "already_finished",
        "already_finished",
        "request_id_conflict",
    ]
    repeat, cancel, conflict = (each.body for each in sorted(failures, key=_offset))
    assert (
        '1 succeeded, 0 failed. To do it again, and be billed again, publish it with "replay": 1'
        in (repeat["message"])
    )
    assert cancel["message"].startswith("nothing is left to cancel: the request ended at 20")
    assert (repeat["metadata"], repeat["model"], repeat["replay"]) == ({"try": 2}, "fun-asr", 0)
    assert {each["retryable"] for each in (repeat, cancel, conflict)} == {False}
    assert {each.id for each in outcomes if each.kind == "result"} == {"r-5/0/0", "r-5/1/0"}
    assert len(stack.sim.ledger().submits) == 2
    assert await scribe.counted("scribe_request_records_total") == {
        "accepted": 2,
        "already_finished": 2,
        "duplicate": 1,
        "refused": 1,
    }


def _offset(outcome: Outcome) -> int:
    return int(outcome.body["origin"]["offset"])


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_a_request_is_cancelled_once_and_an_unknown_cancel_is_refused(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("r-6", HELLO + "&status=RUNNING_FOREVER"))
    await stack.until(lambda: len(stack.sim.ledger().submits) == 1)
    await stack.publish({"request_id": "r-6", "action": "cancel"})
    await stack.publish({"request_id": "never-seen", "action": "cancel"})
    outcomes = await stack.outcomes(2)
    assert sorted((each.body["request_id"], each.body["code"]) for each in outcomes) == [
        ("never-seen", "cancel_unknown_request"),
        ("r-6", "cancelled"),
    ]


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_a_lost_answer_is_a_failure_where_the_policy_says_so(stack: Stack) -> None:
    stack.sim.state.add_fault(Fault(on="submit", kind="drop_after"))
    await stack.start(SCRIBE_SUBMIT__ON_UNCERTAIN="fail")
    await stack.publish(request("r-7", HELLO))
    [outcome] = await stack.outcomes(1)
    assert outcome.body["code"] == "submit_uncertain"
    assert outcome.body["retryable"] is True
    assert len(stack.sim.ledger().submits) == 1


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_throttled_calls_are_repeated_until_they_go_through(stack: Stack) -> None:
    for call in ("submit", "query"):
        stack.sim.state.add_fault(
            Fault(on=call, kind="status", status=429, code="Throttling.RateQuota", times=2)
        )
    stack.sim.state.add_fault(Fault(on="result", kind="status", status=503, times=2))
    await stack.start()
    await stack.publish(request("r-8", HELLO))
    [outcome] = await stack.outcomes(1, seconds=60)
    assert outcome.kind == "result"
    assert outcome.body["attempts"] == {"submit": 3, "poll": 3, "fetch": 3}
    assert len(stack.sim.ledger().submits) == 1


@pytest.mark.needs_minutes
async def test_a_transcript_of_twelve_hours_arrives_whole(stack: Stack) -> None:
    await stack.start()
    await stack.publish(request("r-9", "http://media.test/long.wav?words=100000&duration=43200&run=0.2"))
    [outcome] = await stack.outcomes(1, seconds=60)
    assert outcome.kind == "result", outcome.body
    assert outcome.body["omitted"] == []
    [channel] = outcome.body["transcript"]["channels"]
    assert sum(len(sentence["words"]) for sentence in channel["sentences"]) == 100_000
