"""`output` and `usage` of the two families that the vendor's own endpoint serves. One shape is a whole
answer; of a stream each event is one, and the last is what an answer in one piece would be.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

from sandbox.simulator.file_tasks import shown_word
from sandbox.simulator.questions import Question
from sandbox.simulator.recording import Sentence
from sandbox.simulator.spoken import Spoken, words_of
from sandbox.simulator.wire import JsonObject

Shape = JsonObject


def annotations(spoken: Spoken) -> list[JsonObject]:
    """Language and emotion, which Qwen3-ASR tells of an audio as a whole."""
    return [{"type": "audio_info", "language": spoken.language, "emotion": spoken.emotion}]


def unknown(spoken: Spoken) -> JsonObject:
    """A field that nobody knows, where the script asks for one."""
    return {"x_unknown": {"kept": True}} if spoken.unknown_fields else {}


def qwen_shapes(question: Question, spoken: Spoken) -> Iterator[Shape]:
    """`choices` as of a chat; where nobody spoke, `content` is an empty array."""
    pieces = spoken.pieces()
    texts = pieces if question.incremental else list(accumulate(pieces))
    if not question.streams:
        texts, pieces = texts[:0], pieces[:0]
    told = 0
    for text, piece in zip(texts, pieces, strict=True):
        told += words_of(piece)
        yield _qwen_shape(question, spoken, [{"text": text}], told)
    last = "" if question.streams and question.incremental else spoken.text
    content = [{"text": last}] if spoken.sentences else []
    yield _qwen_shape(question, spoken, content, words_of(spoken.text), spoken.finish_reason)


def _qwen_shape(
    question: Question, spoken: Spoken, content: Sequence[JsonObject], told: int, finish_reason: str = "null"
) -> Shape:
    message = {"role": "assistant", "content": content, "annotations": annotations(spoken)}
    return {
        "output": {
            "choices": [{"finish_reason": finish_reason, "message": message, **unknown(spoken)}],
            **unknown(spoken),
        },
        "usage": {
            "input_tokens_details": {"text_tokens": words_of(question.context)},
            "output_tokens_details": {"text_tokens": told},
            "seconds": spoken.seconds,
        },
    }


def short_shapes(question: Question, spoken: Spoken, *, nesting: int) -> Iterator[Shape]:
    """A stream brings sentence by sentence, and all the text so far; one piece is a single sentence."""
    if not question.streams or len(spoken.sentences) < 2:
        yield _short_shape(question, spoken, _sentence(1, spoken.sentences), spoken.text, nesting)
        return
    text = ""
    for number, sentence in enumerate(spoken.sentences, 1):
        text += sentence.text
        yield _short_shape(question, spoken, _sentence(number, (sentence,)), text, nesting)


def _short_shape(question: Question, spoken: Spoken, sentence: JsonObject, text: str, nesting: int) -> Shape:
    """Where speakers are told apart, `sentences` holds every sentence with its own."""
    every: JsonObject = {}
    if question.asks("speaker_diarization_enabled"):
        every = {
            "sentences": [_spoken_by(n % 2, _sentence(n + 1, (s,))) for n, s in enumerate(spoken.sentences)]
        }
    output: JsonObject = {
        "sentence": {**sentence, **unknown(spoken)},
        "text": text,
        **every,
        **unknown(spoken),
    }
    for _ in range(nesting - 1):
        output = {"output": output}
    return {"output": output, "usage": {"duration": spoken.seconds, **_tokens(question, spoken, text)}}


def _tokens(question: Question, spoken: Spoken, text: str) -> JsonObject:
    if not question.row.bills_tokens:
        return {}
    told = math.ceil(spoken.seconds * question.row.audio_tokens_per_second) + words_of(question.context)
    return {"input_tokens": told, "output_tokens": words_of(text), "total_tokens": told + words_of(text)}


def _spoken_by(speaker: int, sentence: JsonObject) -> JsonObject:
    """Two people who take turns."""
    words = sentence["words"]
    assert isinstance(words, list)
    return {**sentence, "speaker_id": speaker, "words": [{**word, "speaker_id": speaker} for word in words]}


def _sentence(number: int, parts: tuple[Sentence, ...]) -> JsonObject:
    words = [word for part in parts for word in part.words]
    return {
        "sentence_id": number,
        "sentence_end": True,
        "begin_time": parts[0].begin_ms if parts else 0,
        "end_time": parts[-1].end_ms if parts else 0,
        "channel_id": 0,
        "text": "".join(part.text for part in parts),
        "words": [{**shown_word(word), "fixed": True} for word in words],
    }
