"""Render: make the forms of a transcript that its request wants to be read in; of a long one in a thread."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from service.contract.output_formats import OutputFormat
from service.contract.transcript import Transcript
from service.core.job.events import Fetched, FetchFailed
from service.core.transcript.rendering import render

INLINE_CHARS = 4_000
"""Of text: some minutes of speech. Twelve hours of it would hold up the event loop for a second."""


async def rendered(event: Fetched | FetchFailed, formats: Collection[OutputFormat]) -> Fetched | FetchFailed:
    """The event, with renderings where it brings a transcript and some are wanted."""
    if not isinstance(event, Fetched) or not formats:
        return event
    if _chars(event.transcript) <= INLINE_CHARS:
        return replace(event, renderings=render(event.transcript, formats))
    return replace(event, renderings=await asyncio.to_thread(render, event.transcript, formats))


def _chars(transcript: Transcript) -> int:
    return sum(len(channel.text) for channel in transcript.channels)
