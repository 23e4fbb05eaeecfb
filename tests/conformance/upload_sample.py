"""Upload a local file (argument) with the vendor's 1.x SDK and transcribe it. Prints one line of JSON.

It knows nothing of this project. Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL.
"""

import json
import os
import sys

import dashscope
from dashscope.audio.asr import Transcription
from dashscope.utils.oss_utils import OssUtils

MODEL = "fun-asr"


def main(path: str) -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]

    file_url, _ = OssUtils.upload(model=MODEL, file_path=path, api_key=dashscope.api_key)
    resolving = {"X-DashScope-OssResourceResolve": "enable"}
    submitted = Transcription.async_call(model=MODEL, file_urls=[file_url], headers=resolving)
    ended = Transcription.wait(task=submitted.output.task_id)
    print(json.dumps({"file_url": file_url, "results": ended.output["results"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
