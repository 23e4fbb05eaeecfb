"""Transcribe audio with a short model through the vendor's SDK, whose typed call fits no such model: the
generic one takes its messages as they are. Prints the answer as JSON. It knows nothing of this project.

Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL. The arguments are a model and a URL or data: URI.
"""

import json
import os
import sys
from http import HTTPStatus
from typing import Any

import dashscope
from dashscope import MultiModalConversation


def main(model: str, audio: str) -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]
    content = [{"type": "input_audio", "input_audio": {"data": audio}}]
    answer: Any = MultiModalConversation.call(
        model=model, messages=[{"role": "user", "content": content}], format="wav", sample_rate=16000
    )
    if answer.status_code != HTTPStatus.OK:
        print(f"{int(answer.status_code)} {answer.code}: {answer.message}", file=sys.stderr)
        return 1
    print(json.dumps({"output": answer.output, "usage": answer.usage}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
