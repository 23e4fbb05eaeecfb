"""Render: make the output formats that a request wants.

Long transcripts are rendered in a thread.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from service.contract.output_formats import OutputFormat
from service.contract.transcript import Transcript
from service.core.job.events import Fetched, FetchFailed
from service.core.transcript.rendering import render

INLINE_CHARS = 4_000
"""Characters in some minutes of speech. Twelve hours would block the event loop for a second."""


async def rendered(event: Fetched | FetchFailed, formats: Collection[OutputFormat]) -> Fetched | FetchFailed:
    """The event, with renderings if it has a transcript and formats are wanted."""
    if not isinstance(event, Fetched) or not formats:
        return event
    if _chars(event.transcript) <= INLINE_CHARS:
        return replace(event, renderings=render(event.transcript, formats))
    return replace(event, renderings=await asyncio.to_thread(render, event.transcript, formats))


def _chars(transcript: Transcript) -> int:
    return sum(len(channel.text) for channel in transcript.channels)
