"""Outcomes as text.

Transcripts are lines with times or a rendering; failures have their reason.

It reads only the fields that it shows, as a consumer should, so that it can show outcomes of later versions.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from service.cli.tables import plain
from service.contract.output_formats import OutputFormat
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript, Word
from service.core.transcript.rendering import render


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class WordView(_View):
    """The time of a word."""

    begin_ms: int
    end_ms: int
    text: str
    punctuation: str | None = None


class SentenceView(_View):
    """A sentence of a transcript."""

    begin_ms: int
    end_ms: int
    text: str
    speaker_id: int | None = None
    words: tuple[WordView, ...] | None = None


class ChannelView(_View):
    """A channel of a transcript."""

    channel_id: int
    text: str
    sentences: tuple[SentenceView, ...] | None = None


class TranscriptView(_View):
    """The channels of a transcript."""

    channels: tuple[ChannelView, ...]


class NoticeView(_View):
    """A warning of a result."""

    message: str


class OriginView(_View):
    """The position of the request's record."""

    partition: int
    offset: int

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return (self.partition, self.offset)


class SummaryView(_View):
    """How the files of a request that has ended did."""

    succeeded: int = 0
    failed: int = 0


class OutcomeView(_View):
    """A result or a failure; `code` and `message` are those of a failure."""

    request_id: str | None = None
    replay: int | None = None
    file_index: int | None = None
    file_url: str | None = None
    model: str | None = None
    transcript: TranscriptView | None = None
    warnings: tuple[NoticeView, ...] = ()
    code: str | None = None
    provider_code: str | None = None
    message: str | None = None
    retryable: bool = False
    renderings: dict[str, JsonValue] | None = None
    original_request: dict[str, JsonValue] | None = None
    origin: OriginView | None = None
    request_summary: SummaryView | None = None

    @property
    def is_failure(self) -> bool:
        """Whether there is no transcript."""
        return self.transcript is None

    @property
    def ends_request(self) -> bool:
        """Whether it is the failure of a whole record, which is its only outcome."""
        return self.is_failure and self.file_index is None


def read_outcome(value: bytes | None) -> OutcomeView | None:
    """The outcome in a record's value; None if there is none."""
    try:
        return OutcomeView.model_validate_json(value or b"")
    except ValidationError:
        return None


def lines(outcome: OutcomeView) -> Iterator[str]:
    """The outcome, line by line, safe for a terminal."""
    yield name(outcome)
    if outcome.transcript is None:
        yield plain(f"  {_reason(outcome)}")
        return
    yield from (plain(line) for line in _transcript_lines(outcome.transcript))
    for notice in outcome.warnings:
        yield plain(f"  note: {notice.message}")


def name(outcome: OutcomeView) -> str:
    """Name the file and its request."""
    request = outcome.request_id or "a record without a readable request_id"
    is_file = outcome.file_index is not None
    return plain(f"{request}, file {outcome.file_index}: {outcome.file_url}" if is_file else request)


def rendering(outcome: OutcomeView, form: OutputFormat) -> str | None:
    """The transcript in this form.

    None if there is none, or it lacks the times that the form needs.
    """
    if outcome.transcript is None:
        return None
    channels = tuple(_channel(channel) for channel in outcome.transcript.channels)
    return render(Transcript(AudioProperties(), channels), (form,)).get(form)


def _channel(seen: ChannelView) -> Channel:
    numbered = enumerate(seen.sentences or (), 1)
    sentences = tuple(_spoken(number, sentence) for number, sentence in numbered)
    return Channel(seen.channel_id, seen.text, sentences=sentences)


def _spoken(number: int, seen: SentenceView) -> Sentence:
    words = tuple(Word(word.begin_ms, word.end_ms, word.text, word.punctuation) for word in seen.words or ())
    return Sentence(number, seen.begin_ms, seen.end_ms, seen.text, seen.speaker_id, words=words)


def clock_time(time_ms: int) -> str:
    """Milliseconds as `00:01:02.345`."""
    seconds, ms = divmod(max(0, time_ms), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def _reason(outcome: OutcomeView) -> str:
    code = outcome.code or "no transcript"
    if outcome.provider_code:
        code += f" ({outcome.provider_code})"
    hint = "; the same work may succeed under the next unused replay number" if outcome.retryable else ""
    return f"failed: {code}: {outcome.message or ''}{hint}"


def _transcript_lines(transcript: TranscriptView) -> Iterator[str]:
    if not any(channel.text or channel.sentences for channel in transcript.channels):
        yield "  (no speech)"
    for channel in transcript.channels:
        if len(transcript.channels) > 1:
            yield f"  channel {channel.channel_id}"
        if channel.sentences is None:
            yield f"  {channel.text}"
        for sentence in channel.sentences or ():
            yield f"  {_sentence(sentence)}"


def _sentence(sentence: SentenceView) -> str:
    speaker = "" if sentence.speaker_id is None else f"speaker {sentence.speaker_id}: "
    return f"{clock_time(sentence.begin_ms)} - {clock_time(sentence.end_ms)}  {speaker}{sentence.text}"
