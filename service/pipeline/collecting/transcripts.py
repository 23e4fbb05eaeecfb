"""Transcripts: parse the provider's results into events; large ones in a thread."""

import asyncio
from functools import partial
from json import JSONDecodeError

from pydantic import JsonValue

from service.contract import untrusted_json
from service.contract.models import model_info
from service.contract.transcript import Transcript
from service.core.job import events
from service.core.job.events import Fetched, FetchFailed, SubmitRefused
from service.core.provider.answers import Answered, ProviderError
from service.core.provider.own_codes import OwnCode
from service.core.transcript.normalise import normalise

INLINE_BYTES = 64 * 1024
"""A larger file is parsed in a thread: ten megabytes would block the event loop for half a second."""


async def fetched(body: bytes, model: str) -> Fetched | FetchFailed:
    """A result file as an event."""
    read = partial(read_transcript, body, model)
    return read() if len(body) <= INLINE_BYTES else await asyncio.to_thread(read)


def read_transcript(body: bytes, model: str) -> Fetched | FetchFailed:
    """The result file as an event.

    A file without a transcript becomes an error that quotes no text of it.
    """
    try:
        return Fetched(_normal(untrusted_json.parse_json(body), model))
    except ValueError as error:
        reason = "not JSON" if isinstance(error, JSONDecodeError | UnicodeDecodeError) else str(error)
        return FetchFailed(_no_transcript("the result file", reason))


async def file_url_in(body: bytes) -> str | None:
    """The audio file's URL in a result file, if it is there."""
    return _file_url(body) if len(body) <= INLINE_BYTES else await asyncio.to_thread(_file_url, body)


def _file_url(body: bytes) -> str | None:
    try:
        document = untrusted_json.parse_json(body)
    except ValueError:
        return None
    found = document.get("file_url") if isinstance(document, dict) else None
    return found if isinstance(found, str) and found else None


def answered(answer: Answered, model: str) -> events.SubmitAnswered | SubmitRefused:
    """The answer of a synchronous model as an event."""
    try:
        return events.SubmitAnswered(_normal(answer.document, model), answer.bill)
    except ValueError as error:
        return SubmitRefused(_no_transcript("the answer", str(error)))


def _normal(document: JsonValue, model: str) -> Transcript:
    info = model_info(model)
    assert info is not None, "a job's model was checked when its request was accepted"
    return normalise(document, info.family)


def _no_transcript(what: str, reason: str) -> ProviderError:
    return ProviderError(OwnCode.NOT_A_TRANSCRIPT, f"{what} is no transcript: {reason}"[:300])
