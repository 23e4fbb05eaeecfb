"""What reading a result file takes stays below what its bytes promise, whatever the file holds."""

import gc
import json
import tracemalloc

import pytest

from service.contract.output_formats import OutputFormat
from service.contract.transcript import Transcript
from service.core.job.ending import ResultEnding
from service.core.job.events import Fetched
from service.core.job.job import JobState
from service.core.outcome.build import OutcomeRules, job_outcome
from service.core.transcript.parse_memory import WORDS_TIMES, parse_bytes
from service.core.transcript.rendering import render
from service.pipeline.collecting.transcripts import read_transcript
from tests.unit.core.samples import job, request

SIZE = 100_000
FIXED_BYTES = 50_000
"""What reading takes however small the file is."""
EMOJI, HAN = "\U0001f600", "\u4e2d"


def file(**parts: object) -> str:
    document = {"file_url": "u", "transcripts": [{"channel_id": 0, "text": "a", "sentences": []}], **parts}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def many(unit: str) -> str:
    """A file with an unknown field that holds the unit as often as there is room."""
    units = ",".join([unit] * (SIZE // (len(unit) + 1)))
    return file(x=0).replace('"x":0', f'"x":[{units}]')


def text(content: str) -> str:
    return file(transcripts=[{"channel_id": 0, "text": content, "sentences": []}])


def words(**extra: object) -> str:
    """Sentences of twelve words with times, as the vendor gives them."""
    given = [
        {
            "begin_time": at * 300,
            "end_time": at * 300 + 250,
            "text": f"hello{at}",
            "punctuation": ", ",
            **extra,
        }
        for at in range(SIZE // 80)
    ]
    sentences = [
        {
            "begin_time": given[at]["begin_time"],
            "end_time": given[at + 11]["end_time"],
            "text": "hello " * 12,
            "sentence_id": at,
            "words": given[at : at + 12],
        }
        for at in range(0, len(given) - 12, 12)
    ]
    return file(transcripts=[{"channel_id": 0, "text": "hello", "sentences": sentences}])


FILES = {
    "words with times": words(),
    "words with an unknown field": words(x=1),
    "one long text": text("word " * (SIZE // 5)),
    "one long text in Han": text(HAN * (SIZE // 3)),
    "one long text with one emoji": text(EMOJI + "a" * SIZE),
    "one long text with one Han character": text(HAN + "a" * SIZE),
    "one long text with one escaped emoji": json.dumps(json.loads(text(EMOJI + "a" * SIZE))),
    "objects of one key": many('{"a":0}'),
    "empty objects": many("{}"),
    "empty lists": many("[]"),
    "nested lists": many("[[[[[]]]]]"),
    "fractions": many("1.5"),
    "numbers": many("99999"),
    "short strings": many('"ab%"'),
    "empty strings": many('""'),
    "nulls": many("null"),
    "channels": file(transcripts=[{"text": ""}] * (SIZE // 12)),
    "sentences without times": file(
        transcripts=[{"channel_id": 0, "text": "x", "sentences": [{"text": "a"}] * (SIZE // 13)}]
    ),
    "words without times": file(
        transcripts=[{"text": "x", "sentences": [{"text": "a", "words": [{"text": "a"}] * (SIZE // 13)}]}]
    ),
    "no JSON": "[" * SIZE,
}

USUAL = ("words with times", "one long text in Han", "objects of one key")


def read(body: bytes) -> Transcript | None:
    event = read_transcript(body, "fun-asr")
    return event.transcript if isinstance(event, Fetched) else None


def recorded(body: bytes, formats: tuple[OutputFormat, ...]) -> int:
    """The most memory that there was between the file's bytes and its record's."""
    read(FILES["no JSON"].encode())  # what is made once, at the first reading
    gc.collect()
    tracemalloc.start()
    try:
        transcript = read(body)
        if transcript is not None:
            made = render(transcript, formats) if formats else None
            ended = job(
                JobState.FINISHING,
                request=request(formats=formats),
                ending=ResultEnding(transcript, renderings=made),
            )
            job_outcome(ended, None, 0, OutcomeRules()).body.to_bytes()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "kind", [kind if kind in USUAL else pytest.param(kind, marks=pytest.mark.computes) for kind in FILES]
)
def test_no_file_takes_more_memory_than_its_bytes_promise(kind: str) -> None:
    body = FILES[kind].encode()
    assert recorded(body, ()) <= parse_bytes(body, is_rendered=False) + FIXED_BYTES


@pytest.mark.parametrize("kind", ["words with times", "one long text", "one long text in Han"])
def test_no_file_takes_more_memory_with_its_renderings(kind: str) -> None:
    body = FILES[kind].encode()
    assert recorded(body, tuple(OutputFormat)) <= parse_bytes(body, is_rendered=True) + FIXED_BYTES


def test_a_file_of_words_is_not_taken_for_thrice_what_it_is() -> None:
    body = FILES["words with times"].encode()
    assert parse_bytes(body, is_rendered=False) <= 3 * recorded(body, ())


@pytest.mark.parametrize("text", ["", "a", "hello", HAN, 2 * HAN, "\u00e9", "\u0434\u0430"])
@pytest.mark.parametrize("ensure_ascii", [False, True])
def test_words_with_times_never_need_more_than_the_settings_leave_for_the_largest_file(
    text: str, ensure_ascii: bool
) -> None:
    """At the times of a large file: the first minutes, whose times are short, are little of it."""
    given = [
        {"begin_time": at * 300, "end_time": at * 300 + 250, "text": text, "punctuation": ""}
        for at in range(10_000, 20_000)
    ]
    sentences = [
        {**given[at], "text": text * 12, "sentence_id": at, "words": given[at : at + 12]}
        for at in range(0, len(given), 12)
    ]
    channel = {"channel_id": 0, "text": text * len(given), "sentences": sentences}
    document = {"file_url": "u", "transcripts": [channel]}
    body = json.dumps(document, ensure_ascii=ensure_ascii, separators=(",", ":")).encode()
    assert parse_bytes(body, is_rendered=True) <= WORDS_TIMES * len(body)


def test_an_empty_body_promises_nothing() -> None:
    assert parse_bytes(b"", is_rendered=True) == 0
