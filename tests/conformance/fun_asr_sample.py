"""Transcribe the URLs given as arguments with the vendor's own SDK and print each file's result JSON, one
a line, in the order of the arguments. It knows nothing of this project.

Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL. Exit code 1 when the task or a file failed; a failed
file prints its code in place of a result.
"""

import json
import os
import sys
from http import HTTPStatus
from urllib.request import urlopen

import dashscope
from dashscope.audio.asr import Transcription


def main(file_urls: list[str]) -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]

    submitted = Transcription.async_call(model="fun-asr", file_urls=file_urls, language_hints=["en"])
    if submitted.status_code != HTTPStatus.OK:
        print(f"{submitted.status_code} {submitted.code}: {submitted.message}", file=sys.stderr)
        return 1
    ended = Transcription.wait(task=submitted.output.task_id)
    if ended.status_code != HTTPStatus.OK or ended.output.task_status != "SUCCEEDED":
        print(f"{ended.status_code} {ended.output}", file=sys.stderr)
        return 1

    by_url = {result["file_url"]: result for result in ended.output["results"]}
    for file_url in file_urls:
        print(json.dumps(_fetch(by_url[file_url]), ensure_ascii=False))
    return int(any(result["subtask_status"] != "SUCCEEDED" for result in by_url.values()))


def _fetch(result: dict[str, str]) -> object:
    if result["subtask_status"] != "SUCCEEDED":
        return {"file_url": result["file_url"], "code": result["code"]}
    with urlopen(result["transcription_url"], timeout=30) as answer:  # noqa: S310  as in the vendor's sample
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
