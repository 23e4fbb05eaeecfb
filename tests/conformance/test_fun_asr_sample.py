"""The vendor's SDK, unchanged, must work against the simulator as its page says it does."""

import pytest

from sandbox.simulator import SimulatorConfig, serve
from tests.conformance.running import KEY, run_sample

SAMPLE = "fun_asr_sample.py"


async def test_the_two_calls_of_the_vendors_sample_give_each_files_result() -> None:
    files = [
        "https://media.example.org/female.wav?text=Hello+World,+this+is+a+speech+lab.&duration=3.834&run=1",
        "https://media.example.org/male.wav?run=1",
    ]
    async with serve(SimulatorConfig(speed=10, api_keys={KEY: "a"}, files_per_task=100)) as simulator:
        code, results, errors = await run_sample(SAMPLE, simulator, *files)

        assert (code, errors) == (0, "")
        assert [result["file_url"] for result in results] == files
        first, second = results
        assert first["properties"] == {
            "audio_format": "pcm_s16le",
            "channels": [0],
            "original_sampling_rate": 16000,
            "original_duration_in_milliseconds": 3834,
        }
        [transcript] = first["transcripts"]
        assert transcript["text"] == "Hello World, this is a speech lab."
        [sentence] = transcript["sentences"]
        assert sentence["sentence_id"] == 1
        assert sentence["words"][1]["text"] == " World"
        assert sentence["words"][1]["punctuation"] == ", "
        assert second["transcripts"][0]["text"] == "Transcript of male.wav."

        [entry] = simulator.ledger().submits
        assert entry.task.submission.parameters == {"language_hints": ["en"]}
        assert simulator.ledger().leaked_keys() == 0


@pytest.mark.computes
async def test_a_failed_file_and_a_refused_key_reach_the_sdks_user() -> None:
    lost = "https://media.example.org/lost.wav?fail=FILE_404_NOT_FOUND"
    kept = "https://media.example.org/kept.wav"
    async with serve(SimulatorConfig(speed=10, api_keys={KEY: "a"}, files_per_task=100)) as simulator:
        code, results, _ = await run_sample(SAMPLE, simulator, lost, kept)
        assert code == 1
        assert results[0] == {"file_url": lost, "code": "FILE_404_NOT_FOUND"}
        assert results[1]["transcripts"][0]["text"] == "Transcript of kept.wav."

        code, results, errors = await run_sample(SAMPLE, simulator, kept, key="sk-stranger")
        assert (code, results) == (1, [])
        assert "401 InvalidApiKey" in errors
        assert len(simulator.ledger().submits) == 1
