"""The models that the simulator serves, and how a submit of each is read. Another family is another
row here and another wire shape beside `file_tasks`.
"""

from typing import Final

from sandbox.simulator import file_tasks
from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.tasks import Submission
from sandbox.simulator.wire import ApiError, JsonObject

FUN_ASR: Final = (
    "fun-asr",
    "fun-asr-2025-11-07",
    "fun-asr-2025-08-25",
    "fun-asr-mtl",
    "fun-asr-mtl-2025-08-25",
)


def read_model(payload: JsonObject, config: SimulatorConfig) -> str:
    """The name of a model that is served, or ApiError."""
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.')
    if model not in FUN_ASR:
        if config.bad_model_status == 404:
            raise ApiError(404, "ModelNotFound", f"The model `{model[:100]}` does not exist.")
        raise ApiError(400, "InvalidParameter", "Model not exist.")
    return model


def read_submission(
    model: str, payload: JsonObject, config: SimulatorConfig, *, resolves_oss: bool
) -> Submission:
    """Read the rest of a submit in the model's wire shape, or ApiError."""
    given = payload.get("input")
    if not isinstance(given, dict):
        raise ApiError(400, "BadRequest.EmptyInput", 'Required parameter "input" missing from request.')
    return file_tasks.read_submit(
        model,
        given,
        payload.get("parameters"),
        files_per_task=config.files_per_task,
        resolves_oss=resolves_oss,
    )
