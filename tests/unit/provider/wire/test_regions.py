"""A model that is not there: a wrong name, or a wrong region."""

import pytest

from service.core.provider.answers import Accepted, ProviderError, Refused, SubmitAnswer
from service.provider.wire.region_advice import compatible_url, with_regions

HOST = "dashscope-intl.aliyuncs.com"


@pytest.mark.parametrize(
    "provider_error",
    [
        ProviderError("InvalidParameter", "Model not exist.", 400),
        ProviderError("ModelNotFound", "no such model", 404),
        ProviderError("model_not_found", "no such model", 404),
    ],
)
def test_a_missing_model_is_reported_with_its_regions_and_the_host(provider_error: ProviderError) -> None:
    told = with_regions(Refused(provider_error), "paraformer-v2", HOST)
    assert isinstance(told, Refused)
    assert told.provider_error.code == provider_error.code
    assert told.provider_error.message.endswith(
        f"(paraformer-v2 is offered in cn-beijing; the host asked is {HOST})"
    )


@pytest.mark.parametrize(
    "answer", [Accepted("t"), Refused(ProviderError("InvalidParameter", "url error", 400))]
)
def test_any_other_answer_stays_as_it_is(answer: SubmitAnswer) -> None:
    assert with_regions(answer, "paraformer-v2", HOST) is answer


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (
            "https://dashscope-intl.aliyuncs.com/api/v1",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        ),
        ("https://gateway.example/vendor/api/v1", "https://gateway.example/vendor/compatible-mode/v1"),
        ("http://127.0.0.1:8000/api/v1", "http://127.0.0.1:8000/compatible-mode/v1"),
    ],
)
def test_the_compatible_api_lies_beside_the_native_one(base: str, expected: str) -> None:
    assert compatible_url(base) == expected
