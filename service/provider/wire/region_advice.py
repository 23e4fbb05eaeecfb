"""Adds the model's regions to an unknown-model error, which may also mean a wrong region."""

from dataclasses import replace

from service.contract.models import model_info
from service.contract.regions import API_PATH
from service.core.provider.answers import ProviderError, Refused, SubmitAnswer

_NO_MODEL = frozenset({"ModelNotFound", "model_not_found", "model_not_supported"})
_COMPATIBLE = "/compatible-mode/v1"


def compatible_url(base_url: str) -> str:
    """The base of the OpenAI-compatible API on the host of the native one."""
    return base_url.removesuffix(API_PATH) + _COMPATIBLE


def with_regions(answer: SubmitAnswer, model: str, host: str) -> SubmitAnswer:
    """The answer; if the model was refused as unknown, its message also names the model's regions."""
    info = model_info(model)
    if not isinstance(answer, Refused) or info is None or not _is_about_model(answer.provider_error):
        return answer
    where = " and ".join(info.regions)
    message = f"{answer.provider_error.message} ({model} is offered in {where}; the host asked is {host})"
    return Refused(replace(answer.provider_error, message=message))


def _is_about_model(provider_error: ProviderError) -> bool:
    return provider_error.code in _NO_MODEL or provider_error.message.startswith("Model not exist")
