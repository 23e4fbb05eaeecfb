"""The table of models against the vendor's rate-limit page, and what hearing does with each option."""

import pytest

from sandbox.simulator.config import vendor_submit_rpm
from sandbox.simulator.hearing import DIGITS, FILLERS, hear
from sandbox.simulator.models import BEIJING, FILE_MODELS, SINGAPORE, is_served
from sandbox.simulator.parameters import check_context, is_weight, read_parameters
from sandbox.simulator.script import ScriptError, read_script
from sandbox.simulator.tasks import Submission
from sandbox.simulator.wire import ApiError

URL = "https://media.example.org/a.wav"


def test_the_limits_are_those_of_each_region() -> None:
    singapore, beijing = vendor_submit_rpm(), vendor_submit_rpm(BEIJING)
    assert (singapore["fun-asr-mtl"], beijing["fun-asr-mtl"]) == (100, 600)
    assert (singapore["qwen3-asr-flash-filetrans"], singapore["fun-asr"]) == (100, 600)
    assert (beijing["paraformer-v2"], beijing["paraformer-8k-v1"], beijing["paraformer-v1"]) == (
        1200,
        600,
        600,
    )


def test_paraformer_is_in_beijing_alone_and_the_others_in_both() -> None:
    assert all(is_served(model, BEIJING) for model in FILE_MODELS)
    assert {model for model in FILE_MODELS if not is_served(model, SINGAPORE)} == {
        "paraformer-v2",
        "paraformer-8k-v2",
        "paraformer-v1",
        "paraformer-8k-v1",
        "paraformer-mtl-v1",
    }
    assert not is_served("whisper", BEIJING)


def _heard(text: str, *, model: str = "fun-asr", hotwords: tuple[str, ...] = (), **parameters: object) -> str:
    url = f"{URL}?misheard=Kubernetes:cube,Helm:elm"
    submission = Submission(model, (url,), parameters, hotwords=frozenset(hotwords))
    return " ".join(hear(text.split(), read_script(url), submission))


def test_a_misheard_word_is_right_with_its_hotword_alone() -> None:
    assert _heard("KUBERNETES, and Helm.") == "cube, and elm."
    assert _heard("KUBERNETES, and Helm.", hotwords=("kubernetes",)) == "KUBERNETES, and elm."


def test_fillers_and_numbers_change_with_the_option_of_a_model_that_has_it() -> None:
    said = "Um, Two uh twenty."
    assert _heard(said, model="paraformer-v1", disfluency_removal_enabled=True) == "Two twenty."
    assert _heard(said, model="paraformer-v1") == said
    assert _heard(said, model="qwen3-asr-flash-filetrans", enable_itn=True) == "Um, 2 uh 20."
    assert _heard(said, enable_itn=True, disfluency_removal_enabled=True) == said
    assert not FILLERS & DIGITS.keys()


@pytest.mark.parametrize("key", ["misheard=a", "misheard=a:b%20c", "misheard=:b", "emotion=bored"])
def test_a_misheard_or_an_emotion_that_makes_no_sense_is_refused(key: str) -> None:
    with pytest.raises(ScriptError, match=key.partition("=")[0]):
        read_script(f"{URL}?{key}")


@pytest.mark.parametrize(("weight", "is_good"), [(0, False), (1, True), (5, True), (6, False), (50, True)])
def test_a_hotword_weighs_one_to_five_or_fifty(weight: int, is_good: bool) -> None:
    assert is_weight(weight) == is_good
    assert not is_weight(str(weight))


def test_parameters_that_are_no_object_or_too_deep_are_refused_not_a_crash() -> None:
    bodies: tuple[object, ...] = ([], "{}", {"special_word_filter": "[" * 100_000})
    for parameters in bodies:
        with pytest.raises(ApiError):
            read_parameters(parameters, frozenset({"special_word_filter"}))


@pytest.mark.parametrize("context", [None, {}, [7], [{"role": "user"}], [{"role": ["user"], "content": []}]])
def test_a_context_is_a_list_of_messages(context: object) -> None:
    with pytest.raises(ApiError):
        check_context(context)
