"""Completions, chunks and usage in the shapes of OpenAI, with what the vendor adds to them."""

import math
from collections.abc import Iterator

from sandbox.simulator.native_shapes import annotations, unknown
from sandbox.simulator.questions import Question
from sandbox.simulator.spoken import Spoken, words_of
from sandbox.simulator.wire import JsonObject


def completion(question: Question, spoken: Spoken, call_id: str, created: int) -> JsonObject:
    """The whole answer in one piece."""
    message = {"role": "assistant", "content": spoken.text, **_told_beside(question, spoken)}
    return {
        "id": call_id,
        "object": "chat.completion",
        "created": created,
        "model": question.model,
        "choices": [
            {"index": 0, "finish_reason": spoken.finish_reason, "message": message, **unknown(spoken)}
        ],
        "usage": _usage(question, spoken),
        **unknown(spoken),
    }


def chunks(question: Question, spoken: Spoken, call_id: str, created: int) -> Iterator[JsonObject]:
    """The role, the text in pieces, the end, and the usage where it was asked for."""
    frame = {
        "id": call_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": question.model,
        "system_fingerprint": None,
        **unknown(spoken),
    }
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in spoken.pieces()]
    for delta in deltas:
        yield {**frame, "choices": [_choice(delta, None)], "usage": None}
    last = {"content": "", **_told_beside(question, spoken)}
    yield {**frame, "choices": [_choice(last, spoken.finish_reason)], "usage": None}
    if question.include_usage:
        yield {**frame, "choices": [], "usage": _usage(question, spoken)}


def _choice(delta: JsonObject, finish_reason: str | None) -> JsonObject:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _told_beside(question: Question, spoken: Spoken) -> JsonObject:
    """Language and emotion come from Qwen3-ASR alone."""
    return {"annotations": annotations(spoken)} if question.row.family == "qwen_asr" else {}


def _usage(question: Question, spoken: Spoken) -> JsonObject:
    audio = math.ceil(spoken.seconds * question.row.audio_tokens_per_second)
    text = words_of(question.context) + words_of(question.prompt)
    said = words_of(spoken.text)
    seconds: JsonObject = {"seconds": spoken.seconds} if question.row.family == "qwen_asr" else {}
    return {
        "prompt_tokens": audio + text,
        "completion_tokens": said,
        "total_tokens": audio + text + said,
        "prompt_tokens_details": {"audio_tokens": audio, "text_tokens": text},
        "completion_tokens_details": {"text_tokens": said},
        **seconds,
    }
