"""The OpenAI-compatible endpoint, `chat/completions`: how a call of Qwen3-ASR and Omni is read, and how its
answer, its stream and its errors look.
"""

import uuid
from collections.abc import Mapping
from typing import Final

from sandbox.simulator.admission import admit, authorise, read_json
from sandbox.simulator.calls import Call
from sandbox.simulator.chat_shapes import chunks, completion
from sandbox.simulator.families import model_name
from sandbox.simulator.models import FILE_MODELS
from sandbox.simulator.questions import Question, input_audio, read_asr_options, read_audio, read_turns
from sandbox.simulator.spoken import Spoken
from sandbox.simulator.state import SimulatorState
from sandbox.simulator.streams import sse_stream
from sandbox.simulator.sync_models import SyncModel, sync_model
from sandbox.simulator.wire import ApiError, JsonObject, Reply, encode, invalid

DONE: Final = b"data: [DONE]\n\n"
STREAM_ONLY: Final = (
    "This model only support stream mode, please enable the stream parameter to access the model."
)
_CODES: Final[Mapping[str, str]] = {
    "InvalidParameter": "invalid_parameter_error",
    "InvalidApiKey": "invalid_api_key",
    "AccessDenied": "access_denied",
    "ModelNotFound": "model_not_found",
    "DataInspectionFailed": "data_inspection_failed",
    "Throttling.RateQuota": "limit_requests",
    "Throttling.BurstRate": "limit_burst_rate",
    "Throttling.AllocationQuota": "insufficient_quota",
    "InternalError": "internal_error",
}
"""The vendor's own codes as this endpoint says them; others it says as they are."""


class ChatDoor:
    """Reads and answers calls in the shapes of OpenAI."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state
        self._config = state.config

    def read(self, call: Call) -> Question:
        """Check the call in the vendor's order, count it, and read it; or ApiError."""
        api_key = authorise(call, self._config)
        if call.request.headers.get("x-dashscope-async") == "enable":
            raise ApiError(403, "AccessDenied", "current user api does not support asynchronous calls.")
        payload = read_json(call.body)
        model = call.entry.model = model_name(payload)
        row = self._row(model)
        admit(call, self._state, "submit", model)
        streams, include_usage = _read_streaming(payload)
        _check_family(row, payload, streams=streams)
        turns = read_turns(payload.get("messages"), input_audio)
        resolves_oss = call.request.headers.get("x-dashscope-ossresourceresolve") == "enable"
        options = {name: value for name, value in payload.items() if name not in ("model", "messages")}
        return Question(
            api_key=api_key,
            model=model,
            row=row,
            audio=read_audio(turns.audio, resolves_oss=resolves_oss),
            parameters={**options, **read_asr_options(payload.get("asr_options"))},
            prompt=turns.prompt,
            context=turns.context,
            streams=streams,
            include_usage=include_usage,
        )

    def answer(self, question: Question, spoken: Spoken) -> Reply:
        """A completion, or its chunks and `[DONE]`."""
        call_id, created = f"chatcmpl-{uuid.uuid4()}", int(self._state.clock.now())
        if not question.streams:
            body = encode(completion(question, spoken, call_id, created))
            return Reply(200, body, headers={"x-request-id": call_id.removeprefix("chatcmpl-")})
        events = [_data(chunk) for chunk in chunks(question, spoken, call_id, created)]
        return sse_stream([*events, DONE], call_id.removeprefix("chatcmpl-"))

    def error(self, error: ApiError) -> Reply:
        """The error as an object of its own, in the words of this endpoint."""
        request_id = str(uuid.uuid4())
        body = encode({"error": _error_object(error), "request_id": request_id})
        return Reply(error.status, body, headers={"x-request-id": request_id})

    def stream_error(self, error: ApiError) -> bytes:
        """The chunk in place of which an error comes."""
        return _data({"error": _error_object(error)})

    def _row(self, model: str) -> SyncModel:
        row = sync_model(model)
        here = row is not None and self._config.region in row.submits_per_minute
        if row is not None and here and "chat" in row.doors:
            return row
        if here or model in FILE_MODELS:
            message = f"Unsupported model `{model[:100]}` for OpenAI compatibility mode."
            raise ApiError(404, "model_not_supported", message)
        message = f"The model `{model[:100]}` does not exist or you do not have access to it."
        raise ApiError(404, "ModelNotFound", message)


def _read_streaming(payload: JsonObject) -> tuple[bool, bool]:
    """Whether the answer is to be a stream, and whether the usage is to end it; or ApiError."""
    streams, options = payload.get("stream", False), payload.get("stream_options")
    if not isinstance(streams, bool):
        raise invalid("'stream' must be Bool")
    if options is None:
        return streams, False
    if not streams:
        raise invalid("'stream_options' only set this when you set stream: true")
    if not isinstance(options, dict) or not isinstance(options.get("include_usage", False), bool):
        raise invalid("'stream_options.include_usage' must be Bool")
    return True, options.get("include_usage", False)


def _check_family(row: SyncModel, payload: JsonObject, *, streams: bool) -> None:
    """Omni streams alone, and says text; of speech only the wish is checked, none is made."""
    if row.family != "omni":
        return
    if not streams:
        raise invalid(STREAM_ONLY)
    modalities = payload.get("modalities", ["text"])
    if modalities not in (["text"], ["text", "audio"]):
        raise invalid('\'modalities\' must be ["text"] or ["text","audio"]')
    if "audio" in modalities and not isinstance(payload.get("audio"), dict):
        raise invalid("'audio' is required for the modality audio")


def _error_object(error: ApiError) -> JsonObject:
    code = _CODES.get(error.code, error.code)
    kind = "invalid_request_error" if error.status in (400, 401, 403, 404) else code
    return {"message": error.message, "type": kind, "param": None, "code": code}


def _data(content: JsonObject) -> bytes:
    return b"data: " + encode(content) + b"\n\n"
