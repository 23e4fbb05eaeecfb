"""Make calls of the vendor's SDK, in both of its generations, and of the `openai` package: the argument is a
list, in JSON, of pairs of a call's name and its keyword arguments. Prints a line for each call: its name,
and the class of the error that it raised, or null.

It knows nothing of this project. Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL, and the same of OpenAI.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import dashscope
from dashscope import MultiModalConversation
from dashscope.audio.asr import Transcription, VocabularyService
from dashscope.audio.qwen_asr import QwenTranscription
from dashscope.client.base_api import BaseAsyncApi
from dashscope.v2 import Client
from openai import OpenAI


def main(calls: list[tuple[str, dict[str, Any]]]) -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]
    with Client(max_retries=0) as client, OpenAI(max_retries=0) as openai:
        table = _table(client, openai)
        for name, given in calls:
            print(json.dumps([name, _error_of(table[name], given)]), flush=True)
    return 0


def _table(client: Client, openai: OpenAI) -> Mapping[str, Callable[..., object]]:
    words = VocabularyService()
    return {
        "Transcription.async_call": Transcription.async_call,
        "Transcription.fetch": Transcription.fetch,
        "Transcription.list": Transcription.list,
        "Transcription.cancel": Transcription.cancel,
        "QwenTranscription.async_call": QwenTranscription.async_call,
        "MultiModalConversation.call": MultiModalConversation.call,
        # For what has no class of its own.
        "BaseAsyncApi.async_call": BaseAsyncApi.async_call,
        "VocabularyService.create_vocabulary": words.create_vocabulary,
        "VocabularyService.list_vocabularies": words.list_vocabularies,
        "VocabularyService.query_vocabulary": words.query_vocabulary,
        "VocabularyService.update_vocabulary": words.update_vocabulary,
        "VocabularyService.delete_vocabulary": words.delete_vocabulary,
        "v2.audio.asr.jobs.create": client.audio.asr.jobs.create,
        "v2.audio.asr.jobs.fetch": client.audio.asr.jobs.fetch,
        # The client's other services list and cancel tasks of them all; the one for speech has no such calls.
        "v2.videos.jobs.list": client.videos.jobs.list,
        "v2.videos.jobs.cancel": client.videos.jobs.cancel,
        "v2.audio.vocabularies.create": client.audio.vocabularies.create,
        "v2.audio.vocabularies.get": client.audio.vocabularies.get,
        "openai.chat.completions.create": openai.chat.completions.create,
    }


def _error_of(call: Callable[..., object], given: Mapping[str, Any]) -> str | None:
    try:
        call(**given)
    except Exception as error:  # noqa: BLE001  what was sent is looked at, whatever the answer
        return type(error).__name__
    return None


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
