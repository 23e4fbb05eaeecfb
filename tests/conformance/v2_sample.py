"""Transcribe a URL (first argument) with the vendor's new client and a hotword list made for it, then submit
one that waits (second), find it in the list of tasks and cancel it, twice; at last one that fails (third).
Prints what each call answered, a line of JSON each.

It knows nothing of this project. Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL.
"""

import json
import sys
from collections.abc import Callable
from urllib.request import urlopen

from dashscope.v2 import Client
from dashscope.v2.errors import DashScopeError

MODEL = "qwen-audio-3.1-asr-flash-filetrans"


def main(file_url: str, waiting_url: str, failing_url: str) -> int:
    with Client() as client:
        made = client.audio.vocabularies.create(
            target_model=MODEL, prefix="demo", vocabulary=[{"text": "Kubernetes", "weight": 50}]
        )
        listed = client.audio.vocabularies.list(prefix="demo")
        _say(vocabulary_id=made.vocabulary_id, listed=listed.vocabularies)

        jobs = client.audio.asr.jobs
        parameters = {"vocabulary_id": made.vocabulary_id}
        job = jobs.create(model=MODEL, file_urls=[file_url], parameters=parameters)
        done = jobs.wait(job, poll_interval=0.05)
        [url] = [result.transcription_url for result in done.results if result.transcription_url]
        with urlopen(url, timeout=30) as answer:  # noqa: S310  as in the vendor's sample
            transcription = json.load(answer)
        _say(status=done.status, finished_at=done.finished_at, transcription=transcription)

        waiting = jobs.create(model=MODEL, file_urls=[waiting_url])
        # The client's other services list and cancel tasks of them all; the one for speech has no such calls.
        tasks = client.videos.jobs.list(model_name=MODEL)
        _say(
            waiting=waiting.task_id,
            total=tasks.total,
            tasks=[[row.task_id, row.status] for row in tasks.tasks],
        )
        client.videos.jobs.cancel(waiting.task_id)
        _say(status=jobs.fetch(waiting.task_id).status)
        _say(error=_error_of(lambda: client.videos.jobs.cancel(waiting.task_id)))
        _say(error=_error_of(lambda: _transcribe(client, failing_url)))
    return 0


def _transcribe(client: Client, file_url: str) -> None:
    jobs = client.audio.asr.jobs
    jobs.wait(jobs.create(model=MODEL, file_urls=[file_url]), poll_interval=0.05)


def _error_of(attempt: Callable[[], object]) -> dict[str, object]:
    try:
        attempt()
    except DashScopeError as error:
        return {"type": type(error).__name__, "code": error.code, "message": error.message}
    return {}


def _say(**answer: object) -> None:
    print(json.dumps(answer))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
