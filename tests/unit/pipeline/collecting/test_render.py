"""Render: what a request wants to read is made where its transcript is read, of a long one in a thread."""

import threading
from collections.abc import Collection

import pytest

from service.contract.output_formats import OutputFormat
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript
from service.core.job.events import Fetched, FetchFailed
from service.core.provider.answers import ProviderError
from service.core.transcript.rendering import render
from service.pipeline.collecting import render as stage
from service.pipeline.collecting.render import INLINE_CHARS, rendered
from tests.unit.core.samples import transcript

TEXT = (OutputFormat.TEXT,)


async def test_what_brings_no_transcript_or_wants_no_rendering_stays_as_it_is() -> None:
    failed = FetchFailed(ProviderError("http_error", "no answer"))
    assert await rendered(failed, TEXT) is failed
    fetched = Fetched(transcript())
    assert await rendered(fetched, ()) is fetched


@pytest.mark.parametrize(("chars", "in_a_thread"), [(INLINE_CHARS, False), (INLINE_CHARS + 1, True)])
async def test_a_long_transcript_is_rendered_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, chars: int, in_a_thread: bool
) -> None:
    threads: list[int] = []

    def seen(said: Transcript, formats: Collection[OutputFormat]) -> dict[str, str]:
        threads.append(threading.get_ident())
        return render(said, formats)

    monkeypatch.setattr(stage, "render", seen)
    text = "x" * chars
    said = Transcript(AudioProperties(), (Channel(0, text, sentences=(Sentence(1, 0, 9, text),)),))
    event = await rendered(Fetched(said), TEXT)
    assert isinstance(event, Fetched)
    assert event.renderings == {"text": f"{text}\n"}
    assert (threads != [threading.get_ident()]) is in_a_thread
