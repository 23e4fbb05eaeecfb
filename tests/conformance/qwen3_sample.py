"""Transcribe each URL given as an argument with the vendor's 1.x SDK and its class for Qwen3-ASR. Prints the
task's end and the result file, a line of JSON each.

It knows nothing of this project. Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL.
"""

import json
import os
import sys
from urllib.request import urlopen

import dashscope
from dashscope.audio.qwen_asr import QwenTranscription


def main(file_urls: list[str]) -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]

    for file_url in file_urls:
        submitted = QwenTranscription.async_call(
            model="qwen3-asr-flash-filetrans",
            file_url=file_url,
            language="en",
            enable_itn=True,
            enable_words=True,
        )
        ended = QwenTranscription.wait(task=submitted.output.task_id)
        print(json.dumps({"output": ended.output, "usage": ended.usage}))
        if ended.output.task_status == "SUCCEEDED":
            with urlopen(ended.output["result"]["transcription_url"], timeout=30) as answer:  # noqa: S310
                print(json.dumps(json.load(answer)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
