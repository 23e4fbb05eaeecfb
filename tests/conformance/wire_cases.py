"""The same task, asked for with the vendor's SDK and with Scribe's adapter, each in its own words."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.core.provider.hotword_lists import HotwordListEntry
from service.provider.dashscope import DashScope
from service.provider.wire.omni import PROMPT

A = "https://media.example.org/Aufnahme%20%C3%BC.wav?run=1&sig=a%2Fb"
B = "https://media.example.org/b.wav?run=1"
STORED = "oss://dashscope-instant/0a1b/2c3d/a.wav"
TASK = "5d0a6c1e-1111-4a3b-9c7d-2f1e0d9c8b7a"
LIST = "vocab-demo-0a1b2c3d4e5f60718293"
WORKSPACE = "ws-conformance"

FUN, PARAFORMER, CONTEXT = "fun-asr", "paraformer-v2", "qwen-audio-3.1-asr-flash-filetrans"
QWEN_FILES, QWEN, SHORT, OMNI = (
    "qwen3-asr-flash-filetrans",
    "qwen3-asr-flash",
    "fun-asr-flash-2026-06-15",
    "qwen3.5-omni-flash",
)
WORD_FILTER = {
    "filter_with_signed": {"word_list": ["Grüße"]},
    "filter_with_empty": {"word_list": ["äh"]},
    "system_reserved_filter": True,
}
SPEAKERS = {"channel_id": [0, 1], "diarization_enabled": True, "speaker_count": 2}
FUN_OPTIONS = {**SPEAKERS, "language_hints": ["de"], "vocabulary_id": LIST}
PARAFORMER_OPTIONS = {
    **SPEAKERS,
    "language_hints": ["de", "en"],
    "disfluency_removal_enabled": True,
    "timestamp_alignment_enabled": True,
}
CONTEXT_OPTIONS = {
    "vocabulary": {"Kubernetes": 50, "etcd": 4},
    "language_hints": ["de"],
    "keep_dialect": True,
}
TOPIC = [
    {"role": "user", "content": [{"type": "input_text", "text": "Wartung der Anlage"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Verstanden."}]},
]
QWEN_OPTIONS = {"channel_id": [0], "language": "de", "enable_itn": False, "enable_words": True}
ASR_OPTIONS = {"language": "de", "enable_itn": True}
FILE_TASK = {"task_group": "audio", "task": "asr", "function": "transcription"}
WORDS = [{"text": "Kubernetes", "weight": 4}, {"text": "Grüße", "weight": 5, "lang": "de"}]
OUR_WORDS = (HotwordListEntry("Kubernetes", 4), HotwordListEntry("Grüße", 5, "de"))
FILTERED = {**FUN_OPTIONS, "special_word_filter": WORD_FILTER}


@dataclass(frozen=True)
class Case:
    """One task: the SDK's call with what it is given, and ours."""

    name: str
    call: str
    given: Mapping[str, Any]
    ours: Callable[[DashScope], Awaitable[object]]
    workspace: str | None = None


def _submit(
    model: str, urls: Sequence[str], options: Mapping[str, Any] | None = None
) -> Callable[[DashScope], Awaitable[object]]:
    return lambda provider: provider.submit(model, urls, options or {})


def _chat(audio: str, context: str | None = None) -> list[Any]:
    user = {"role": "user", "content": [{"audio": audio}]}
    return [{"role": "system", "content": [{"text": context}]}, user] if context else [user]


def _audio(audio: str) -> list[Any]:
    return [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": audio}}]}]


_SUBMIT, _QWEN, _TALK = (
    "Transcription.async_call",
    "QwenTranscription.async_call",
    "MultiModalConversation.call",
)
_RESOLVE = {"X-DashScope-OssResourceResolve": "enable"}

FILE_TASKS = (
    Case("fun-asr", _SUBMIT, {"model": FUN, "file_urls": [A]}, _submit(FUN, [A])),
    Case("fun-asr, two files", _SUBMIT, {"model": FUN, "file_urls": [A, B]}, _submit(FUN, [A, B])),
    Case(
        "fun-asr with options",
        _SUBMIT,
        {
            "model": FUN,
            "file_urls": [A],
            **FUN_OPTIONS,
            "special_word_filter": json.dumps(WORD_FILTER, separators=(",", ":"), ensure_ascii=False),
        },
        _submit(FUN, [A], FILTERED),
    ),
    Case(
        "fun-asr, uploaded file",
        _SUBMIT,
        {"model": FUN, "file_urls": [STORED], "headers": _RESOLVE},
        _submit(FUN, [STORED]),
    ),
    Case(
        "fun-asr in a workspace",
        _SUBMIT,
        {"model": FUN, "file_urls": [A], "workspace": WORKSPACE},
        _submit(FUN, [A]),
        WORKSPACE,
    ),
    Case(
        "paraformer with options",
        _SUBMIT,
        {"model": PARAFORMER, "file_urls": [A], **PARAFORMER_OPTIONS},
        _submit(PARAFORMER, [A], PARAFORMER_OPTIONS),
    ),
    Case(
        "qwen-audio with context",
        "BaseAsyncApi.async_call",
        {"model": CONTEXT, "input": {"file_urls": [A], "context": TOPIC}, **FILE_TASK, **CONTEXT_OPTIONS},
        _submit(CONTEXT, [A], {**CONTEXT_OPTIONS, "context": TOPIC}),
    ),
    Case(
        "v2 qwen-audio",
        "v2.audio.asr.jobs.create",
        {"model": CONTEXT, "file_urls": [A]},
        _submit(CONTEXT, [A]),
    ),
    Case(
        "v2 qwen-audio with vocabulary",
        "v2.audio.asr.jobs.create",
        {"model": CONTEXT, "file_urls": [A], "parameters": CONTEXT_OPTIONS, "workspace": WORKSPACE},
        _submit(CONTEXT, [A], CONTEXT_OPTIONS),
        WORKSPACE,
    ),
    Case("qwen3-asr", _QWEN, {"model": QWEN_FILES, "file_url": A}, _submit(QWEN_FILES, [A])),
    Case(
        "qwen3-asr with options",
        _QWEN,
        {"model": QWEN_FILES, "file_url": A, **QWEN_OPTIONS},
        _submit(QWEN_FILES, [A], QWEN_OPTIONS),
    ),
)
TASKS = (
    Case("query", "Transcription.fetch", {"task": TASK}, lambda provider: provider.query(TASK)),
    Case("v2 query", "v2.audio.asr.jobs.fetch", {"task_id": TASK}, lambda provider: provider.query(TASK)),
    Case("list", "Transcription.list", {"page_size": 100}, lambda provider: provider.list_tasks(1)),
    Case("v2 list", "v2.videos.jobs.list", {"page_size": 100}, lambda provider: provider.list_tasks(1)),
    Case("cancel", "Transcription.cancel", {"task": TASK}, lambda provider: provider.cancel(TASK)),
    Case("v2 cancel", "v2.videos.jobs.cancel", {"task_id": TASK}, lambda provider: provider.cancel(TASK)),
)
HOTWORDS = (
    Case(
        "hotwords create",
        "VocabularyService.create_vocabulary",
        {"target_model": FUN, "prefix": "demo", "vocabulary": WORDS},
        lambda provider: provider.hotword_lists.create(FUN, "demo", OUR_WORDS),
    ),
    Case(
        "v2 hotwords create",
        "v2.audio.vocabularies.create",
        {"target_model": FUN, "prefix": "demo", "vocabulary": WORDS},
        lambda provider: provider.hotword_lists.create(FUN, "demo", OUR_WORDS),
    ),
    Case(
        "hotwords list",
        "VocabularyService.list_vocabularies",
        {},
        lambda provider: provider.hotword_lists.list_page(0),
    ),
    Case(
        "hotwords query",
        "VocabularyService.query_vocabulary",
        {"vocabulary_id": LIST},
        lambda provider: provider.hotword_lists.query(LIST),
    ),
    Case(
        "v2 hotwords query",
        "v2.audio.vocabularies.get",
        {"vocabulary_id": LIST},
        lambda provider: provider.hotword_lists.query(LIST),
    ),
    Case(
        "hotwords update",
        "VocabularyService.update_vocabulary",
        {"vocabulary_id": LIST, "vocabulary": WORDS},
        lambda provider: provider.hotword_lists.update(LIST, OUR_WORDS),
    ),
    Case(
        "hotwords delete",
        "VocabularyService.delete_vocabulary",
        {"vocabulary_id": LIST},
        lambda provider: provider.hotword_lists.delete(LIST),
    ),
)
CALLS_AT_ONCE = (
    Case(
        "qwen3-asr at once",
        _TALK,
        {
            "model": QWEN,
            "messages": _chat(A, "Kubernetes, etcd"),
            "asr_options": ASR_OPTIONS,
        },
        _submit(QWEN, [A], {"asr_options": ASR_OPTIONS, "context": "Kubernetes, etcd"}),
    ),
    Case(
        "qwen3-asr at once, uploaded file",
        _TALK,
        {"model": QWEN, "messages": _chat(STORED)},
        _submit(QWEN, [STORED]),
    ),
    Case(
        "short audio",
        _TALK,
        {"model": SHORT, "messages": _audio(B), "format": "wav", "sample_rate": "16000"},
        _submit(SHORT, [B], {"sample_rate": 16000}),
    ),
    Case(
        "short audio with its topic, speakers and dialect",
        _TALK,
        {
            "model": "qwen-audio-3.1-asr-flash",
            "messages": [*TOPIC, *_audio(B)],
            "format": "wav",
            "keep_dialect": True,
            "speaker_diarization_enabled": True,
        },
        _submit(
            "qwen-audio-3.1-asr-flash",
            [B],
            {"context": TOPIC, "keep_dialect": True, "speaker_diarization_enabled": True},
        ),
    ),
    Case(
        "omni",
        "openai.chat.completions.create",
        {
            "model": OMNI,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_audio", "input_audio": {"data": B, "format": "wav"}},
                        {"type": "text", "text": PROMPT},
                    ],
                }
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "modalities": ["text"],
        },
        _submit(OMNI, [B]),
    ),
)
CASES = (*FILE_TASKS, *TASKS, *HOTWORDS, *CALLS_AT_ONCE)

STREAMED = Case(
    "short audio in a stream",
    "v2.transport.open_stream",
    {
        "sample": "dashscope.examples.01_atomic_capabilities.audio.direct_call.asr_http_stream",
        "model": "qwen-audio-3.1-asr-flash",
        "url": B,
    },
    _submit("qwen-audio-3.1-asr-flash", [B], {"sample_rate": 16000}),
)
"""A sample program in the SDK's package, which writes its request by hand."""
