"""Audio files of the simulation: what a URL says of the file, and what the provider hears in it."""

import json


def nature_of(url: str) -> str:
    """What becomes of the file: the first part of its path."""
    return url.split("/")[3]


def text_of(url: str) -> str:
    """What is said in the file."""
    return f"text of {url.partition('?')[0]}"


def result_file(url: str) -> bytes:
    """The result file of one audio file: three seconds of speech."""
    sentence = {"begin_time": 0, "end_time": 3000, "text": text_of(url), "sentence_id": 1}
    channel = {"channel_id": 0, "content_duration_in_milliseconds": 3000, "sentences": [sentence]}
    return json.dumps({"transcripts": [channel]}).encode()


def chat_answer(url: str) -> dict[str, object]:
    """A synchronous model's answer for one audio file."""
    text = "" if nature_of(url) == "silent" else text_of(url)
    message = {"role": "assistant", "content": [{"text": text}]}
    return {"choices": [{"finish_reason": "stop", "message": message}]}
