"""Real speech through the simulator: the recordings come out nearly word for word, bad audio as the
vendor's codes.
"""

import asyncio
import contextlib
import io
import re
import wave
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import sandbox
from sandbox.recogniser import Progress, Recogniser
from sandbox.simulator.recognition import ProgressSteps, RecognitionEngine
from sandbox.simulator.recording import Recording
from sandbox.simulator.server import serve_app
from sandbox.simulator.tasks import Submission, Task, TaskFile
from tests.integration.vendor_client import VendorClient, vendor

SPEECH = Path(sandbox.__file__).with_name("speech")
NAMES = ("austen-0880.wav", "austen-0890.wav", "austen-0920.wav")
TEXTS = dict(line.split("\t") for line in (SPEECH / "texts.tsv").read_text().splitlines())


def _wave(samples: numpy.ndarray, rate: int = 16_000) -> bytes:
    """16-bit samples, one row a channel, as a wav file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[0])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.T.astype("<i2").tobytes())
    return file.getvalue()


def _samples(name: str) -> numpy.ndarray:
    with wave.open(str(SPEECH / name)) as reader:
        return numpy.frombuffer(reader.readframes(reader.getnframes()), "<i2")


def _error_rate(expected: Sequence[str], heard: Sequence[str]) -> float:
    """Word edits over the number of expected words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1] / len(expected)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


@contextlib.asynccontextmanager
async def _origin(files: dict[str, bytes]) -> AsyncIterator[str]:
    """A web server that holds some audio files, and some answers that are none."""

    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        if name.isdigit():
            return Response(status_code=int(name))
        if name == "lying.wav":
            return Response(b"RIFF", headers={"content-length": "5000"})
        return Response(files[name]) if name in files else Response(status_code=404)

    async with serve_app(Starlette(routes=[Route("/{name}", answer)])) as origin:
        yield origin


async def _transcribe(
    client: VendorClient, *file_urls: str, **parameters: object
) -> dict[str, dict[str, Any]]:
    """The results of one task by file URL; fetched where there is something to fetch."""
    task_id = await client.task(*file_urls, parameters=parameters)
    for _ in range(1000):
        if (await client.status(task_id)) not in ("PENDING", "RUNNING"):
            break
        await asyncio.sleep(0.05)
    results = {result["file_url"]: result for result in (await client.query(task_id))["output"]["results"]}
    for result in results.values():
        if "transcription_url" in result:
            result["file"] = (await client.http.get(result["transcription_url"])).json()
    return results


@pytest.mark.needs_minutes
async def test_real_recordings_come_out_nearly_word_for_word_on_the_channel_they_are_on() -> None:
    first, second = _samples(NAMES[0]), _samples(NAMES[1])
    stereo = numpy.zeros((2, max(len(first), len(second))), "<i2")
    stereo[0, : len(first)], stereo[1, : len(second)] = first, second
    files = {name: (SPEECH / name).read_bytes() for name in NAMES} | {"stereo.wav": _wave(stereo)}
    settings = {"load_model_at_start": True, "files_per_task": len(NAMES)}
    async with (
        _origin(files) as origin,
        vendor(engine="whisper", virtual=False, query_qps=None, **settings) as client,
    ):
        results = await _transcribe(client, *(f"{origin}/{name}" for name in NAMES), diarization_enabled=True)
        expected, heard = [], []
        for name in NAMES:
            file = results[f"{origin}/{name}"]["file"]
            _check_times(file)
            rate = _error_rate(_words(TEXTS[name]), _words(file["transcripts"][0]["text"]))
            assert rate <= 0.3, file["transcripts"][0]["text"]
            expected += _words(TEXTS[name])
            heard += _words(file["transcripts"][0]["text"])
        assert _error_rate(expected, heard) <= 0.2

        url = f"{origin}/stereo.wav"
        both = (await _transcribe(client, url, channel_id=[1, 0, 5]))[url]["file"]
        assert both["properties"]["channels"] == [0, 1]
        texts = {part["channel_id"]: _words(part["text"]) for part in both["transcripts"]}
        assert _error_rate(_words(TEXTS[NAMES[0]]), texts[0]) <= 0.3
        assert _error_rate(_words(TEXTS[NAMES[1]]), texts[1]) <= 0.3
        assert texts[5] == []

        ledger = client.simulator.ledger()
        assert [(entry.url, entry.bytes) for entry in ledger.audio] == [
            (f"{origin}/{name}", len(files[name])) for name in (*NAMES, "stereo.wav")
        ]
        spoken = sum(
            file["file"]["transcripts"][0]["content_duration_in_milliseconds"] for file in results.values()
        )
        assert ledger.submits[0].task.billed_seconds() == -(-spoken // 1000)


def _check_times(file: dict[str, Any]) -> None:
    duration_ms = file["properties"]["original_duration_in_milliseconds"]
    assert file["properties"]["audio_format"] == "pcm_s16le"
    assert file["properties"]["original_sampling_rate"] == 16_000
    for sentence in file["transcripts"][0]["sentences"]:
        assert sentence["speaker_id"] == 0
        edges = [edge for word in sentence["words"] for edge in (word["begin_time"], word["end_time"])]
        assert edges == sorted(edges)
        assert 0 <= sentence["begin_time"] == edges[0] <= edges[-1] == sentence["end_time"] <= duration_ms


async def test_bad_audio_gets_the_vendors_codes_and_every_download_is_in_the_ledger() -> None:
    noise = numpy.random.default_rng(1).integers(-20, 20, (1, 16_000))
    files = {
        "text.wav": b"this is no audio at all " * 50,
        "empty.wav": b"",
        "silent.wav": _wave(noise),
        "long.wav": _wave(numpy.zeros((1, 100_000)), rate=8_000),
        "large.wav": bytes(2_000_000),
    }
    expected = {
        "text.wav": "UNSUPPORTED_FORMAT",
        "empty.wav": "UNSUPPORTED_FORMAT",
        "silent.wav": "SUCCESS_WITH_NO_VALID_FRAGMENT",
        "long.wav": "AUDIO_DURATION_TOO_LONG",
        "large.wav": "FILE_TOO_LARGE",
        "missing.wav": "FILE_404_NOT_FOUND",
        "403": "FILE_403_FORBIDDEN",
        "503": "FILE_SERVER_ERROR",
        "418": "FILE_DOWNLOAD_FAILED",
        "lying.wav": "CONTENT_LENGTH_CHECK_FAILED",
        "a b.wav": "FILE_DOWNLOAD_FAILED",
    }
    limits = {"audio_limit_seconds": 10, "audio_limit_bytes": 1_000_000}
    async with (
        _origin(files) as origin,
        vendor(engine="whisper", virtual=False, query_qps=None, files_per_task=100, **limits) as client,
    ):
        results = await _transcribe(client, *(f"{origin}/{name}" for name in expected))
        codes = {url.rpartition("/")[2]: result["code"] for url, result in results.items()}
        assert codes == expected
        assert len(client.simulator.ledger().audio) == len(expected)
        assert client.simulator.ledger().submits[0].task.billed_seconds() == 0


def test_progress_through_a_file_covers_all_its_channels() -> None:
    told: list[tuple[float, float]] = []
    path = SPEECH / NAMES[0]
    recording = Recogniser().transcribe(path, (0, 0), on_progress=lambda *way: told.append(way))
    length = recording.duration_ms / 1000
    assert {round(of, 2) for _, of in told} == {round(2 * length, 2)}
    assert [heard for heard, _ in told] == sorted(heard for heard, _ in told)
    assert length < told[-1][0] <= 2 * length + 1


def test_progress_through_a_file_is_shown_in_steps_and_not_for_a_short_one() -> None:
    told: list[tuple[float, float]] = []
    steps = ProgressSteps(lambda *way: told.append(way))
    for second in range(14):
        steps(float(second), 14.0)
    assert told == []
    for second in range(14, 61):
        steps(float(second), 60.0)
    assert [heard for heard, _ in told] == [15, 30, 45, 60]


async def test_stopping_in_the_middle_of_recognition_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    files = {"a.wav": (SPEECH / NAMES[0]).read_bytes()}
    async with _origin(files) as origin, vendor(engine="whisper", virtual=False) as client:
        task_id = await client.task(f"{origin}/a.wav")
        assert await client.status(task_id) in ("PENDING", "RUNNING")
    assert asyncio.all_tasks() == before


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class _Crashing(Recogniser):
    """A recogniser with a bug."""

    def transcribe(
        self,
        audio: Path,
        channel_ids: Sequence[int] = (0,),
        *,
        speakers: int | None = None,
        on_progress: Progress = lambda _heard, _all: None,
    ) -> Recording:
        raise MemoryError(audio.name)


async def test_a_crash_of_the_recogniser_ends_its_task_instead_of_leaving_it_running(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        _origin({"a.wav": b"x"}) as origin,
        vendor() as client,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        engine = RecognitionEngine(client.simulator.state, http, _Crashing(), tmp_path)
        url = f"{origin}/a.wav"
        task = Task("account", "1", Submission("fun-asr", (url,), {}), 0.0, [TaskFile(1, url)])
        cancelled = Task(
            "account", "1", Submission("fun-asr", (url,), {}), 0.0, [TaskFile(1, url)], cancelled_at=0.0
        )
        try:
            engine.begin(task)
            engine.begin(cancelled)
            for _ in range(1000):
                if task.ended_at is not None:
                    break
                await asyncio.sleep(0.005)
        finally:
            await engine.stop()
        assert task.state(client.simulator.state.clock.now()) == "FAILED"
        assert task.failure is not None
        assert task.failure.code == "InternalError.Algo"
        assert "the recogniser crashed" in caplog.text
        assert cancelled.state(1.0) == "CANCELED"
        assert [entry.url for entry in client.simulator.ledger().audio] == [url]
        assert _names(tmp_path) == []
