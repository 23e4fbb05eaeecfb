"""The vendor's SDK, in both of its generations, against the asynchronous families of the simulator: file
tasks, their list and their end, uploaded files and hotword lists.
"""

from pathlib import Path

import pytest

from sandbox.simulator import SimulatorConfig, serve
from sandbox.simulator.models import BEIJING
from tests.conformance.running import KEY, run_sample

MEDIA = "https://media.example.org"
SPOKEN = f"{MEDIA}/a.wav?run=0&text=Um,+hello+there.+Good+bye.&speakers=2"
WAITING = f"{MEDIA}/b.wav?pending=9999"
NOT_PENDING = "Failed to cancel the task, please confirm if the task is in PENDING status."


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("paraformer-v2", "hello there. Good bye."),
        ("fun-asr", "Um, hello there. Good bye."),
    ],
)
async def test_the_sdk_transcribes_lists_and_cancels_file_tasks(model: str, text: str) -> None:
    async with serve(SimulatorConfig(region=BEIJING, api_keys={KEY: "a"})) as simulator:
        code, answers, errors = await run_sample("file_tasks_sample.py", simulator, model, SPOKEN, WAITING)
        assert (code, errors) == (0, "")
        done, listed, pending, cancelled, again = answers

        [transcript] = done["transcription"]["transcripts"]
        assert (done["status"], transcript["text"]) == ("SUCCEEDED", text)
        assert done["usage"] == {"duration": -(-transcript["content_duration_in_milliseconds"] // 1000)}
        assert [sentence["speaker_id"] for sentence in transcript["sentences"]] == [0, 1]

        page = listed["page"]
        assert (page["total"], page["page_size"]) == (2, 5)
        assert [(row["status"], row["model_name"]) for row in page["data"]] == [
            ("PENDING", model),
            ("SUCCEEDED", model),
        ]
        assert [row["task_id"] for row in pending["pending"]["data"]] == [listed["waiting"]]
        assert cancelled == {"cancelled": 200, "status": "CANCELED"}
        assert again == {"cancelled": 400, "code": "UnsupportedOperation", "message": NOT_PENDING}

        ledger = simulator.ledger()
        assert set(ledger.submitted_urls().values()) == {1}
        assert [len(ledger.calls_of(kind)) for kind in ("submit", "list", "cancel")] == [2, 2, 2]
        assert ledger.leaked_keys() == 0


@pytest.mark.computes
async def test_the_sdks_class_for_qwen3_reads_its_result_and_its_failure() -> None:
    spoken = f"{MEDIA}/a.wav?run=0&text=Two+cats.&emotion=happy"
    lost = f"{MEDIA}/b.wav?run=0&fail=FILE_403_FORBIDDEN"
    async with serve(SimulatorConfig(api_keys={KEY: "a"})) as simulator:
        code, answers, errors = await run_sample("qwen3_sample.py", simulator, spoken, lost)
        assert (code, errors) == (0, "")
        done, document, failed = answers
        assert (done["output"]["task_status"], done["usage"]) == ("SUCCEEDED", {"seconds": 2})
        [sentence] = document["transcripts"][0]["sentences"]
        assert (sentence["sentence_id"], sentence["emotion"], sentence["text"]) == (0, "happy", "2 cats.")
        assert [word["text"] for word in sentence["words"]] == ["2", " cats"]
        assert (failed["output"]["task_status"], failed["output"]["code"]) == ("FAILED", "FILE_403_FORBIDDEN")
        assert failed["usage"] is None

        first, second = simulator.ledger().submits
        assert (first.task.submission.file_urls, second.task.submission.file_urls) == ((spoken,), (lost,))
        assert first.task.submission.parameters == {
            "language": "en",
            "enable_itn": True,
            "enable_words": True,
        }


@pytest.mark.computes
async def test_the_sdks_class_for_hotwords_makes_shows_changes_and_deletes_a_list() -> None:
    async with serve(SimulatorConfig(api_keys={KEY: "a"})) as simulator:
        code, answers, errors = await run_sample("hotwords_sample.py", simulator)
        assert (code, errors) == (0, "")
        made, listed, shown, changed, deleted, error = answers
        [row] = listed["listed"]
        assert (row["vocabulary_id"], row["status"], listed["others"]) == (made["made"], "OK", [])
        assert shown["shown"]["vocabulary"] == [{"text": "Kubernetes", "weight": 4}]
        assert changed["shown"]["vocabulary"] == [{"text": "Helm", "weight": 5, "lang": "en"}]
        assert changed["shown"]["target_model"] == "fun-asr"
        assert deleted["listed"] == []
        assert "Status Code: 404, Code: NotFound" in error["error"]
        assert [call.action for call in simulator.ledger().calls_of("hotwords")] == [
            "create_vocabulary",
            "list_vocabulary",
            "list_vocabulary",
            "query_vocabulary",
            "update_vocabulary",
            "query_vocabulary",
            "delete_vocabulary",
            "list_vocabulary",
            "query_vocabulary",
        ]


@pytest.mark.parametrize("list_key", ["tasks", "data"])
async def test_the_new_client_transcribes_with_hotwords_lists_and_cancels(list_key: str) -> None:
    spoken = f"{MEDIA}/a.wav?run=0&text=Kubernetes.&misheard=kubernetes:cube"
    failing = f"{MEDIA}/c.wav?run=0&task_fail=DECODE_ERROR"
    config = SimulatorConfig(list_key=list_key, api_keys={KEY: "a"})  # type: ignore[arg-type]
    async with serve(config) as simulator:
        code, answers, errors = await run_sample("v2_sample.py", simulator, spoken, WAITING, failing)
        assert code == 0, errors
        made, done, listed, cancelled, again, failed = answers
        [row] = made["listed"]
        assert (row["vocabulary_id"], row["status"]) == (made["vocabulary_id"], "OK")
        [transcript] = done["transcription"]["transcripts"]
        assert (done["status"], transcript["text"]) == ("SUCCEEDED", "Kubernetes.")
        assert done["finished_at"] is not None

        first = simulator.ledger().submits[0].task
        rows = [[listed["waiting"], "PENDING"], [first.task_id, "SUCCEEDED"]]
        # The page that the vendor documents is empty to its own client, which looks for another key.
        assert listed["tasks"] == (rows if list_key == "tasks" else [])
        assert listed["total"] == 2
        assert cancelled["status"] == "CANCELED"
        assert again["error"]["code"] == "UnsupportedOperation"
        assert (failed["error"]["code"], failed["error"]["message"]) == ("DECODE_ERROR", "DECODE_ERROR")
        assert set(simulator.ledger().submitted_urls().values()) == {1}


@pytest.mark.computes
async def test_the_sdk_uploads_a_local_file_that_a_task_then_reads(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(bytes(range(256)) * 100 + b"\r\n--\r\n")
    async with serve(SimulatorConfig(speed=10, api_keys={KEY: "a"})) as simulator:
        code, answers, errors = await run_sample("upload_sample.py", simulator, str(recording))
        assert (code, errors) == (0, "")
        [answer] = answers
        [result] = answer["results"]
        assert (result["file_url"], result["subtask_status"]) == (answer["file_url"], "SUCCEEDED")
        assert answer["file_url"].startswith("oss://")
        [entry] = simulator.ledger().submits
        assert entry.task.files[0].content == recording.read_bytes()
