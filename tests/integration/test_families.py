"""Each model of the table through Kafka: options reach the wire, and what they do reaches the result."""

from collections.abc import Mapping
from typing import Any

import pytest

from sandbox.simulator import Fault, SimulatorConfig
from service.contract.model_table import MODELS, Unit
from service.contract.models import is_listed
from service.contract.regions import VIRGINIA
from tests.integration.stack import Outcome, Stack

pytestmark = pytest.mark.parametrize("broker_name", ["embedded"])

SAID = "http://media.test/said.wav?text=Um,+take+two+routers.+They+run+etcd.&misheard=etcd:etsy&run=0.2&duration=6"
STEREO = f"{SAID}&channels=2&text1=The+other+side."
MOODS = f"{SAID}&emotion=happy,sad&language=en"
CONTEXT = [{"role": "user", "content": [{"type": "input_text", "text": "A call about etcd."}]}]
SECONDS_UNKNOWN = "qwen3.8-omni-flash"
"""Nobody says how many tokens a second of its audio has."""
ELSEWHERE = [name for name, info in MODELS.items() if info.regions == (VIRGINIA,)]
MAINLAND = [name for name in MODELS if name not in ELSEWHERE]


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """Beijing serves every model but those of the United States."""
    return SimulatorConfig(speed=10, region="cn-beijing")


def request(model: str, url: str = SAID, **options: object) -> dict[str, object]:
    return {"request_id": model, "file_urls": [url], "model": model, "options": options}


async def results(stack: Stack, *requests: Mapping[str, object]) -> dict[str, Any]:
    """The result of each request, by its id; fails where one is a failure."""
    await stack.publish_all([(each, None, ()) for each in requests])
    outcomes = await stack.outcomes(len(requests))
    assert [each.body for each in outcomes if each.kind == "failure"] == []
    return {each.body["request_id"]: each.body for each in outcomes}


def text_of(result: Any, channel: int = 0) -> str:
    return str(result["transcript"]["channels"][channel]["text"])


async def test_every_model_of_the_table_answers_a_plain_request(stack: Stack) -> None:
    await stack.start()
    found = await results(stack, *(request(model) for model in MAINLAND))
    assert set(found) == set(MAINLAND)
    for model, result in found.items():
        assert text_of(result) == "Um, take two routers. They run etsy.", model
        told = [] if is_listed(model) else ["model_unlisted"]
        assert [each["code"] for each in result["warnings"]] == told, model
        assert (result["usage"]["billed_seconds"] or 0) > 0 or model == SECONDS_UNKNOWN, model
        is_by_tokens = MODELS[model].billed_by is Unit.TOKENS
        assert (result["usage"]["input_tokens"] is not None) == is_by_tokens, model
        assert (result["usage"]["output_tokens"] is not None) == is_by_tokens, model
        assert (result["task_id"] is None) == MODELS[model].is_synchronous, model
        assert result["request_summary"] == {
            "succeeded": 1,
            "failed": 0,
            "billed_seconds": result["usage"]["billed_seconds"] or 0,
        }
    assert set(stack.sim.ledger().submitted_urls().values()) == {len(MAINLAND)}


@pytest.mark.computes
async def test_paraformer_drops_filler_words_and_takes_several_hints(stack: Stack) -> None:
    await stack.start()
    options: dict[str, object] = {
        "disfluency_removal_enabled": True,
        "timestamp_alignment_enabled": True,
        "channel_id": [0, 1],
    }
    hints: dict[str, object] = {"language_hints": ["zh", "en", "ja"]}
    found = await results(
        stack,
        request("paraformer-v2", STEREO, **options, **hints),
        request("paraformer-8k-v1", SAID, **options),
    )
    result = found["paraformer-v2"]
    assert [text_of(result, channel) for channel in (0, 1)] == [
        "take two routers. They run etsy.",
        "The other side.",
    ]
    assert [each["code"] for each in result["warnings"]] == ["channels_billed_separately"]
    assert result["transcript"]["channels"][0]["sentences"][0]["words"]
    submitted = [each.task.submission for each in stack.sim.ledger().submits]
    [sent] = [each.parameters for each in submitted if each.model == "paraformer-v2"]
    assert sent == {**options, **hints}


@pytest.mark.computes
async def test_qwen_audio_takes_a_context_and_an_instant_vocabulary_and_one_file(stack: Stack) -> None:
    await stack.start()
    model = "qwen-audio-3.1-asr-flash-filetrans"
    asked = request(model, vocabulary={"etcd": 5}, context=CONTEXT, language_hints=["en", "zh"])
    asked["file_urls"] = [SAID, f"{SAID}&second=1"]
    await stack.publish(asked)
    outcomes = await stack.outcomes(2)
    assert [each.kind for each in outcomes] == ["result", "result"]
    assert {text_of(each.body) for each in outcomes} == {"Um, take two routers. They run etcd."}
    submits = stack.sim.ledger().submits
    assert [len(each.task.submission.file_urls) for each in submits] == [1, 1]
    assert all("context" not in (each.task.submission.parameters or {}) for each in submits)
    assert [each.body["usage"]["estimated"] for each in outcomes] == [False, False]


@pytest.mark.computes
async def test_qwen_asr_files_tell_language_emotion_and_words_and_count_from_one(stack: Stack) -> None:
    await stack.start()
    model = "qwen3-asr-flash-filetrans"
    found = await results(stack, request(model, MOODS, enable_words=True, enable_itn=True, language="en"))
    [channel] = found[model]["transcript"]["channels"]
    assert channel["text"] == "Um, take 2 routers. They run etsy."
    sentences = channel["sentences"]
    assert [(each["sentence_id"], each["language"], each["emotion"]) for each in sentences] == [
        (1, "en", "happy"),
        (2, "en", "sad"),
    ]
    assert all("provider_extra" not in each for each in sentences)
    assert [word["text"].strip() for word in sentences[0]["words"]] == ["Um", "take", "2", "routers"]
    assert sentences[0]["speaker_id"] is None
    assert found[model]["transcript"]["audio"]["sampling_rate_hz"] == 16_000
    assert found[model]["usage"]["billed_seconds"] == stack.sim.ledger().submits[0].task.billed_seconds()


async def test_qwen_asr_answers_at_once_with_a_context(stack: Stack) -> None:
    await stack.start()
    model = "qwen3-asr-flash"
    found = await results(
        stack,
        request(model, MOODS, context="Terms: etcd", asr_options={"language": "en", "enable_itn": True}),
    )
    result = found[model]
    [channel] = result["transcript"]["channels"]
    assert (channel["text"], channel["sentences"]) == ("Um, take 2 routers. They run etcd.", None)
    assert (channel["language"], channel["emotion"]) == ("en", "happy")
    assert result["task_id"] is None
    assert (result["attempts"]["poll"], result["attempts"]["fetch"]) == (0, 0)
    assert result["usage"] == {
        "billed_seconds": 6,
        "estimated": False,
        "task_billed_seconds": 6,
        "input_tokens": None,
        "output_tokens": None,
    }
    [call] = stack.sim.ledger().calls_of("transcribe")
    assert call.context == "Terms: etcd"


@pytest.mark.parametrize("sim_config", [SimulatorConfig(speed=10, short_audio_nesting=n) for n in (1, 2)])
@pytest.mark.computes
async def test_short_audio_gives_times_in_both_nestings(stack: Stack) -> None:
    await stack.start()
    found = await results(
        stack,
        request("fun-asr-flash", sample_rate=16000, language_hints=["en"]),
        request("qwen-audio-3.0-asr-flash", vocabulary={"etcd": 4}),
    )
    assert text_of(found["qwen-audio-3.0-asr-flash"]) == "Um, take two routers. They run etcd."
    [channel] = found["fun-asr-flash"]["transcript"]["channels"]
    assert 0 < channel["sentences"][0]["begin_ms"] < channel["sentences"][0]["end_ms"]
    assert all(isinstance(word["begin_ms"], int) for word in channel["sentences"][0]["words"])
    assert found["fun-asr-flash"]["usage"]["billed_seconds"] > 0


async def test_omni_writes_what_the_prompt_asks_for_and_bills_tokens(stack: Stack) -> None:
    await stack.start()
    models = ("qwen3.5-omni-plus", "qwen3.5-omni-flash", "qwen3-omni-flash", "qwen-omni-turbo")
    asked = [request(model) for model in models[1:]]
    found = await results(stack, request(models[0], prompt="Who speaks?"), *asked)
    for model in models:
        [channel] = found[model]["transcript"]["channels"]
        assert channel["sentences"] is None
        usage = found[model]["usage"]
        assert usage["input_tokens"] > usage["output_tokens"] > 0
        assert (usage["billed_seconds"], usage["estimated"]) == (6, True)
    calls = stack.sim.ledger().calls_of("transcribe")
    prompts = {call.model: call.prompt for call in calls}
    assert prompts[models[0]] == "Who speaks?"
    assert "every word" in (prompts[models[1]] or "")


@pytest.mark.computes
async def test_a_text_that_the_model_did_not_finish_says_so(stack: Stack) -> None:
    await stack.start()
    found = await results(stack, request("qwen3-omni-flash", f"{SAID}&finish=length"))
    assert [each["code"] for each in found["qwen3-omni-flash"]["warnings"]] == ["text_cut"]


@pytest.mark.parametrize("sim_config", [SimulatorConfig(speed=10, region="cn-beijing", submit_rpm=None)])
@pytest.mark.computes
async def test_an_error_amid_an_omni_stream_is_called_for_again(stack: Stack) -> None:
    scribe = await stack.start()
    stack.sim.state.add_fault(Fault(on="transcribe", kind="break_stream"))
    found = await results(stack, request("qwen3.5-omni-flash"))
    assert text_of(found["qwen3.5-omni-flash"]).startswith("Um, take two")
    assert found["qwen3.5-omni-flash"]["attempts"]["submit"] == 2
    assert await scribe.counted("scribe_uncertain_submits_total") == {"begun": 1, "resubmitted": 1}


async def failure_of(stack: Stack, asked: Mapping[str, object]) -> Outcome:
    await stack.publish(asked)
    [outcome] = await stack.outcomes(1)
    assert outcome.kind == "failure"
    return outcome


@pytest.mark.parametrize("sim_config", [SimulatorConfig(speed=10, region="us-east-1")])
@pytest.mark.computes
async def test_the_united_states_serve_their_own_names_and_say_where_the_others_are(stack: Stack) -> None:
    await stack.start()
    found = await results(stack, *(request(model) for model in ELSEWHERE))
    assert set(found) == set(ELSEWHERE)
    await stack.publish(request("paraformer-v2"))
    [failure] = [each for each in await stack.outcomes(len(ELSEWHERE) + 1) if each.kind == "failure"]
    assert failure.body["code"] == "submit_rejected"
    assert "paraformer-v2 is offered in cn-beijing; the host asked is 127.0.0.1" in failure.body["message"]


@pytest.mark.computes
async def test_silence_too_long_and_forbidden_content_end_as_in_file_tasks(stack: Stack) -> None:
    await stack.start()
    cases = {
        "silence=1": "result",
        "duration=301": "audio_too_long",
        "fail=DataInspectionFailed": "content_rejected",
        "fail=InvalidURL": "audio_invalid_url",
    }
    records = [
        {**request("qwen3-asr-flash", f"http://media.test/a.wav?run=0&{script}"), "request_id": code}
        for script, code in cases.items()
    ]
    await stack.publish_all([(each, None, ()) for each in records])
    outcomes = await stack.outcomes(len(records))
    ended = {each.body["request_id"]: each.body.get("code", "result") for each in outcomes}
    assert ended == {code: code for code in cases.values()}
    [silent] = [each.body for each in outcomes if each.kind == "result"]
    assert [each["code"] for each in silent["warnings"]] == ["no_speech"]


@pytest.mark.computes
async def test_what_a_model_cannot_do_is_refused_with_those_that_can(stack: Stack) -> None:
    await stack.start()
    outcome = await failure_of(stack, request("qwen3-asr-flash-filetrans", diarization_enabled=True))
    assert outcome.body["code"] == "invalid_option"
    assert "models that have it: fun-asr, fun-asr-mtl, paraformer-v2" in outcome.body["message"]
    assert stack.sim.ledger().submits == []


@pytest.mark.computes
async def test_a_later_version_of_a_known_model_is_taken_with_a_warning(stack: Stack) -> None:
    await stack.start()
    stack.sim.state.add_fault(Fault(on="submit", kind="status", status=404, code="ModelNotFound"))
    outcome = await failure_of(stack, request("fun-asr-2031-01-31"))
    assert outcome.body["code"] == "submit_rejected"
