"""Real speech through Kafka, a model of each family: what was read aloud comes out as the family gives it."""

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

import sandbox
from sandbox.simulator import SimulatorConfig
from sandbox.simulator.server import serve_app
from service.contract.model_table import MODELS, Family, Feature
from service.contract.models import models_of
from tests.integration.stack import Stack

SPEECH = Path(sandbox.__file__).with_name("speech")
NAME = "austen-0880.wav"
TEXTS = dict(line.split("\t") for line in (SPEECH / "texts.tsv").read_text().splitlines())
MODELS_HEARD = [models_of(family)[0] for family in Family]


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """A recogniser that listens, where every family is served."""
    return SimulatorConfig(engine="whisper", region="cn-beijing", load_model_at_start=True)


async def _recording(_: Request) -> Response:
    return FileResponse(SPEECH / NAME)


def _is_heard(text: str) -> bool:
    """Whether most of what is said in the recording is there."""
    said = set(TEXTS[NAME].split())
    return len(said & set(re.findall(r"[a-z]+", text.lower()))) >= 0.7 * len(said)


@pytest.mark.parametrize("broker_name", ["embedded"])
@pytest.mark.computes
async def test_each_family_hears_a_recording(stack: Stack) -> None:
    async with serve_app(Starlette(routes=[Route(f"/{NAME}", _recording)])) as origin:
        await stack.start()
        for model in MODELS_HEARD:
            words = {"enable_words": True} if MODELS[model].family is Family.QWEN_ASR_FILES else {}
            asked = {"request_id": model, "file_urls": [f"{origin}/{NAME}"], "model": model, "options": words}
            await stack.publish(asked)
        outcomes = await stack.outcomes(len(MODELS_HEARD), seconds=60)
    assert {each.body["request_id"]: each.kind for each in outcomes} == dict.fromkeys(MODELS_HEARD, "result")
    for each in outcomes:
        [channel] = each.body["transcript"]["channels"]
        assert _is_heard(channel["text"]), each.body["model"]
        gives = MODELS[each.body["model"]].gives
        sentences = channel["sentences"]
        assert (sentences is not None) == (Feature.TIMES in gives)
        for sentence in sentences or ():
            assert 0 <= sentence["begin_ms"] < sentence["end_ms"] <= 4_000
            assert bool(sentence["words"]) == (Feature.WORDS in gives)
        told = [channel, *(sentences or ())]
        assert any(part["emotion"] == "neutral" for part in told) == (Feature.EMOTION in gives)
        assert each.body["usage"]["billed_seconds"] in (3, 4)
