"""Transcribe audio with the `openai` package and print what came of each call as a line of JSON: the text in
pieces, how it ended, the usage, or the error. It knows nothing of this project.

Needs OPENAI_API_KEY and OPENAI_BASE_URL. The arguments are an audio (a URL or a data: URI) and any number of
calls, `plain:MODEL` or `stream:MODEL`.
"""

import json
import sys
from typing import Any

from openai import APIError, APIStatusError, OpenAI


def main(audio: str, calls: list[str]) -> int:
    with OpenAI(max_retries=0) as client:
        for call in calls:
            way, _, model = call.partition(":")
            print(json.dumps(_transcribe(client, audio, model, way), ensure_ascii=False))
    return 0


def _transcribe(client: OpenAI, audio: str, model: str, way: str) -> dict[str, Any]:
    messages: list[Any] = [
        {"role": "system", "content": "You transcribe audio."},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": audio}}]},
    ]
    if "omni" in model:
        messages[1]["content"].append({"type": "text", "text": "Write down what is said."})
    told: dict[str, Any] = {"pieces": [], "finish_reason": None, "usage": None, "error": None, "status": None}
    try:
        (_stream if way == "stream" else _plain)(client, model, messages, told)
    except APIError as error:
        told["error"] = [type(error).__name__, error.code]
        told["status"] = error.status_code if isinstance(error, APIStatusError) else None
    return told


def _plain(client: OpenAI, model: str, messages: list[Any], told: dict[str, Any]) -> None:
    options = {"asr_options": {"language": "en"}}
    answer = client.chat.completions.create(
        model=model, messages=messages, extra_body=None if "omni" in model else options
    )
    told["pieces"].append(answer.choices[0].message.content)
    told["finish_reason"] = answer.choices[0].finish_reason
    told["usage"] = answer.usage.model_dump() if answer.usage else None


def _stream(client: OpenAI, model: str, messages: list[Any], told: dict[str, Any]) -> None:
    chunks = client.chat.completions.create(
        model=model,
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        modalities=["text"],
    )
    for chunk in chunks:
        if chunk.usage is not None:
            told["usage"] = chunk.usage.model_dump()
        for choice in chunk.choices:
            told["pieces"].append(choice.delta.content)
            told["finish_reason"] = choice.finish_reason or told["finish_reason"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
