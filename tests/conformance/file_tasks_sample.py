"""Transcribe a URL (second argument) with a model (first) and the vendor's 1.x SDK, then submit one that
waits (third), find it in the list and cancel it, twice. Prints what each call answered, a line of JSON each.

It knows nothing of this project. Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL.
"""

import json
import os
import sys
from urllib.request import urlopen

import dashscope
from dashscope.audio.asr import Transcription


def main(model: str, file_url: str, waiting_url: str) -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]

    done = Transcription.call(
        model=model,
        file_urls=[file_url],
        channel_id=[0],
        disfluency_removal_enabled=True,
        timestamp_alignment_enabled=True,
        diarization_enabled=True,
        speaker_count=2,
    )
    [result] = done.output["results"]
    with urlopen(result["transcription_url"], timeout=30) as answer:  # noqa: S310  as in the vendor's sample
        transcription = json.load(answer)
    _say(status=done.output.task_status, usage=done.usage, transcription=transcription)

    waiting = Transcription.async_call(model=model, file_urls=[waiting_url]).output.task_id
    listed = Transcription.list(model_name=model, page_size=5)
    _say(waiting=waiting, page=listed.output)
    pending = Transcription.list(model_name=model, status="PENDING")
    _say(pending=pending.output)

    cancelled = Transcription.cancel(waiting)
    after = Transcription.fetch(waiting)
    _say(cancelled=cancelled.status_code, status=after.output.task_status)
    again = Transcription.cancel(waiting)
    _say(cancelled=again.status_code, code=again.code, message=again.message)
    return 0


def _say(**answer: object) -> None:
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
