"""What to say when a model is not there: the vendor's words do not tell a wrong name from a wrong region."""

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
    """The answer; a refusal for want of the model also says where the model is offered."""
    info = model_info(model)
    if not isinstance(answer, Refused) or info is None or not _is_about_model(answer.provider_error):
        return answer
    where = " and ".join(info.regions)
    message = f"{answer.provider_error.message} ({model} is offered in {where}; the host asked is {host})"
    return Refused(replace(answer.provider_error, message=message))


def _is_about_model(provider_error: ProviderError) -> bool:
    return provider_error.code in _NO_MODEL or provider_error.message.startswith("Model not exist")
