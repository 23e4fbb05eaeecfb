"""Render a transcript for readers: SubRip (SRT), WebVTT and plain text.

Text that has a meaning in a format is neutralised: WebVTT escapes it; SubRip has no escapes, so characters
that players take for tags become similar ones. White space within the text becomes single spaces, so that no
blank line ends a caption early, and control characters are removed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from service.contract.output_formats import OutputFormat
from service.contract.transcript import Transcript
from service.core.transcript.captions import Caption, captions, has_times, track, turns
from service.core.transcript.line_breaking import plain
from service.core.transcript.whole_text import needs_space

PARAGRAPH_PAUSE_MS = 2_000
"""Silence that begins a new paragraph of plain text."""

_SRT_SIGNS = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "/"})
"""Players interpret `<i>`, `{\\an8}` and `\\N` in SubRip, and take a line with an arrow for times."""
_VTT_SIGNS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def render(transcript: Transcript, formats: Collection[OutputFormat]) -> dict[str, str]:
    """The requested renderings by name.

    Those that need times are left out if the transcript has none.
    """
    timed = [name for name in formats if name in _TIMED and has_times(transcript)]
    shown = captions(transcript) if timed else []
    made = {name.value: _TIMED[name](shown) for name in timed}
    return made | ({OutputFormat.TEXT.value: _text(transcript)} if OutputFormat.TEXT in formats else {})


def _srt(shown: Sequence[Caption]) -> str:
    return "\n".join(_cues(shown, ",", _SRT_SIGNS))


def _vtt(shown: Sequence[Caption]) -> str:
    return "\n".join(["WEBVTT\n", *_cues(shown, ".", _VTT_SIGNS)])


_TIMED: Mapping[OutputFormat, Callable[[Sequence[Caption]], str]] = MappingProxyType(
    {OutputFormat.SRT: _srt, OutputFormat.VTT: _vtt}
)


def _cues(shown: Sequence[Caption], point: str, signs: Mapping[int, str]) -> Iterator[str]:
    for number, caption in enumerate(shown, 1):
        times = f"{_time(caption.begin_ms, point)} --> {_time(caption.end_ms, point)}"
        text = "\n".join(caption.lines).translate(signs)
        yield f"{number}\n{times}\n{text}\n"


def _time(time_ms: int, point: str) -> str:
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{ms:03}"


def _text(transcript: Transcript) -> str:
    return "".join(f"{paragraph}\n" for paragraph in _paragraphs(transcript))


def _paragraphs(transcript: Transcript) -> Iterator[str]:
    """One paragraph per speaker turn, divided at pauses; then the channels without sentences."""
    sentences: list[str] = []
    label, end_ms = "", 0
    for turn in turns(transcript):
        pauses = turn.sentence.begin_ms - end_ms >= PARAGRAPH_PAUSE_MS
        if sentences and (pauses or turn.label != label):
            yield from _paragraph(label, sentences)
            sentences = []
        sentences.append(turn.sentence.text)
        label, end_ms = turn.label, max(end_ms, turn.sentence.end_ms)
    yield from _paragraph(label, sentences)
    for channel in transcript.channels:
        if not channel.sentences:
            yield from _paragraph(track(transcript, channel), [channel.text])


def _paragraph(label: str, sentences: Iterable[str]) -> Iterator[str]:
    text = ""
    for sentence in map(plain, sentences):
        text += f" {sentence}" if text and sentence and needs_space(text[-1], sentence[0]) else sentence
    if text:
        yield f"{label}: {text}" if label else text
