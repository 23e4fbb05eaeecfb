"""Transcribe audio with the vendor's SDK in calls that answer at once, and print, as a line of JSON for each
audio, what Qwen3-ASR told of it in one piece, as a stream that repeats, and as one that does not. It knows
nothing of this project.

Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL. The arguments are URLs or data: URIs.
"""

import json
import os
import sys
from http import HTTPStatus
from typing import Any

import dashscope
from dashscope import MultiModalConversation

MODEL = "qwen3-asr-flash"
TRANSITIONS: list[dict[str, Any]] = [{}, {"stream": True}, {"stream": True, "incremental_output": True}]


def main(audios: list[str]) -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]
    for audio in audios:
        print(json.dumps([_transcribe(audio, way) for way in TRANSITIONS], ensure_ascii=False))
    return 0


def _transcribe(audio: str, way: dict[str, Any]) -> list[dict[str, object]]:
    messages = [
        {"role": "system", "content": [{"text": "Terms: Kubernetes"}]},
        {"role": "user", "content": [{"audio": audio}]},
    ]
    options = {"language": "en", "enable_itn": False}
    answered: Any = MultiModalConversation.call(
        model=MODEL, messages=messages, result_format="message", asr_options=options, **way
    )
    return [_told(answer) for answer in (answered if way else [answered])]


def _told(answer: Any) -> dict[str, object]:
    if answer.status_code != HTTPStatus.OK:
        return {"status": int(answer.status_code), "code": answer.code, "message": answer.message}
    choice = answer.output.choices[0]
    return {
        "text": "".join(part["text"] for part in choice.message.content),
        "finish_reason": choice.finish_reason,
        "annotations": choice.message["annotations"],
        "seconds": answer.usage["seconds"],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
