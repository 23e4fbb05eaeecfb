"""How a submit of each model is read and its task shown: which wire shape serves which row of `models`.
Another family is another row there, or another wire shape beside `file_tasks`.
"""

from collections.abc import Callable
from typing import Protocol

from sandbox.simulator import file_tasks, one_file_tasks
from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.models import FILE_MODELS, Shape, is_served
from sandbox.simulator.recording import Recording
from sandbox.simulator.sync_models import sync_model
from sandbox.simulator.tasks import Submission, Task, TaskFile
from sandbox.simulator.wire import ApiError, JsonObject, invalid


class View(Protocol):
    """How a wire shape shows a task."""

    def status(self, task: Task, now: float) -> str: ...

    def ending(self, task: Task) -> tuple[JsonObject, JsonObject]: ...

    def document(self, task: Task, file: TaskFile, recording: Recording) -> JsonObject: ...


class Views:
    """The view of each task."""

    def __init__(self, config: SimulatorConfig, url_of: Callable[[Task, TaskFile], str]) -> None:
        self._of_shape: dict[Shape, View] = {
            "file_urls": file_tasks.ResultsView(
                all_failed_shape=config.all_failed_shape, seed=config.seed, url_of=url_of
            ),
            "file_url": one_file_tasks.ResultView(url_of=url_of),
        }

    def of(self, task: Task) -> View:
        return self._of_shape[FILE_MODELS[task.submission.model].shape]


def read_model(payload: JsonObject, config: SimulatorConfig) -> str:
    """The name of a model that the region serves, or ApiError."""
    model = model_name(payload)
    if not is_served(model, config.region):
        if sync_model(model) is not None:
            raise ApiError(403, "AccessDenied", "current user api does not support asynchronous calls.")
        raise no_such_model(model, config)
    return model


def model_name(payload: JsonObject) -> str:
    """What the body calls its model, or ApiError."""
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.')
    return model


def no_such_model(model: str, config: SimulatorConfig) -> ApiError:
    """One of the two refusals that the vendor's pages have for a name."""
    if config.bad_model_status == 404:
        return ApiError(404, "ModelNotFound", f"The model `{model[:100]}` does not exist.")
    return invalid("Model not exist.")


def read_submission(
    model: str, payload: JsonObject, config: SimulatorConfig, *, resolves_oss: bool
) -> Submission:
    """Read the rest of a submit in the model's wire shape, or ApiError."""
    given = payload.get("input")
    if not isinstance(given, dict):
        raise ApiError(400, "BadRequest.EmptyInput", 'Required parameter "input" missing from request.')
    parameters = payload.get("parameters")
    if FILE_MODELS[model].shape == "file_url":
        return one_file_tasks.read_submit(model, given, parameters, resolves_oss=resolves_oss)
    return file_tasks.read_submit(
        model, given, parameters, files_per_task=config.files_per_task, resolves_oss=resolves_oss
    )
