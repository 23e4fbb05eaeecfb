"""The vendor's own synchronous endpoint, `multimodal-generation/generation`: how a call is read, and how its
answer, its stream and its errors look. Two families come through it with bodies that have little in common.
"""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sandbox.simulator.admission import admit, authorise, read_json
from sandbox.simulator.calls import Call
from sandbox.simulator.families import model_name, no_such_model
from sandbox.simulator.file_tasks import URL_ERROR
from sandbox.simulator.models import FILE_MODELS
from sandbox.simulator.native_shapes import Shape, qwen_shapes, short_shapes
from sandbox.simulator.parameters import read_parameters
from sandbox.simulator.questions import (
    Part,
    Question,
    input_audio,
    read_asr_options,
    read_audio,
    read_context,
    read_turns,
)
from sandbox.simulator.spoken import Spoken
from sandbox.simulator.state import SimulatorState
from sandbox.simulator.streams import sse_stream
from sandbox.simulator.sync_models import SyncModel, sync_model
from sandbox.simulator.wire import ApiError, JsonObject, Reply, encode, error_reply, invalid, json_reply

NO_ASYNC: Final = "current user api does not support asynchronous calls."
NO_SYNC: Final = "current user api does not support synchronous calls."


class NativeDoor:
    """Reads and answers calls in the vendor's own shapes."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state
        self._config = state.config

    def read(self, call: Call) -> Question:
        """Check the call in the vendor's order, count it, and read it; or ApiError."""
        api_key = authorise(call, self._config)
        headers = call.request.headers
        if headers.get("x-dashscope-async") == "enable":
            raise ApiError(403, "AccessDenied", NO_ASYNC)
        payload = read_json(call.body)
        model = call.entry.model = model_name(payload)
        row = self._row(model)
        admit(call, self._state, "submit", model)
        given, parameters = _sections(payload)
        is_chat = row.family == "qwen_asr"
        turns = read_turns(given.get("messages"), _audio if is_chat else input_audio)
        if not is_chat:
            turns = replace(turns, prompt="", context=read_context(given.get("messages")))
        resolves_oss = headers.get("x-dashscope-ossresourceresolve") == "enable"
        return Question(
            api_key=api_key,
            model=model,
            row=row,
            audio=read_audio(turns.audio, resolves_oss=resolves_oss),
            parameters=_options(row, parameters),
            prompt=turns.prompt,
            context=turns.context,
            streams=headers.get("x-dashscope-sse") == "enable",
            incremental=parameters.get("incremental_output") is True,
        )

    def answer(self, question: Question, spoken: Spoken) -> Reply:
        """The answer in one piece, or in events that repeat what was said so far (unless incremental)."""
        shapes = list(self._shapes(question, spoken))
        if not question.streams:
            return json_reply(shapes[-1])
        request_id = str(uuid.uuid4())
        return sse_stream(
            [event(number, shape, request_id) for number, shape in enumerate(shapes, 1)], request_id
        )

    def error(self, error: ApiError) -> Reply:
        return error_reply(error)

    def stream_error(self, error: ApiError) -> bytes:
        """The event that ends a stream; `status:` is what the vendor's SDK reads."""
        body = encode({"code": error.code, "message": error.message, "request_id": str(uuid.uuid4())})
        status = f"status:{error.status}\n:HTTP_STATUS/{error.status}\n".encode()
        return b"event:error\n" + status + b"data:" + body + b"\n\n"

    def _row(self, model: str) -> SyncModel:
        row = sync_model(model)
        if row is None and model in FILE_MODELS:
            raise ApiError(403, "AccessDenied", NO_SYNC)
        if row is None or self._config.region not in row.submits_per_minute:
            raise no_such_model(model, self._config)
        if "native" not in row.doors:
            raise invalid(URL_ERROR)
        return row

    def _shapes(self, question: Question, spoken: Spoken) -> Iterable[Shape]:
        if question.row.family == "qwen_asr":
            return qwen_shapes(question, spoken)
        return short_shapes(question, spoken, nesting=self._config.short_audio_nesting)


def event(number: int, shape: Shape, request_id: str) -> bytes:
    """One event of a stream that goes well."""
    body = encode({**shape, "request_id": request_id})
    return f"id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:".encode() + body + b"\n\n"


def _sections(payload: JsonObject) -> tuple[JsonObject, JsonObject]:
    given, parameters = payload.get("input"), payload.get("parameters", {})
    if not isinstance(given, dict):
        raise ApiError(400, "BadRequest.EmptyInput", 'Required parameter "input" missing from request.')
    if not isinstance(parameters, dict):
        raise invalid("parameters must be an object")
    return given, parameters


def _audio(part: Part) -> object:
    return part.get("audio")


def _options(row: SyncModel, parameters: JsonObject) -> JsonObject:
    if row.family == "qwen_asr":
        return {**parameters, **read_asr_options(parameters.get("asr_options"))}
    if not isinstance(parameters.get("format"), str) or not parameters["format"]:
        raise invalid("parameters.format is required")
    read_parameters(parameters, row.parameters)
    return parameters
