"""Puts local files into the provider's temporary store, for a user at a terminal; the service never does.

The store's URL comes from the provider and is as untrusted as a result's: the same guard checks it. The store
gets a signed form, and never the API key.
"""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from service.core.provider.answers import ProviderError
from service.core.provider.own_codes import OwnCode
from service.provider.result_files import ResultFetcher
from service.provider.wire.answer_fields import HttpAnswer
from service.provider.wire.upload_policy import (
    UploadPolicy,
    form_around,
    object_name,
    policy_path,
    read_policy,
    read_stored,
)

CHUNK_BYTES = 256 * 1024

Ask = Callable[[str], Awaitable[HttpAnswer | ProviderError]]
"""Sends one GET to the API; bounded in time."""


class Uploads:
    """The temporary store of one account."""

    def __init__(self, ask: Ask, host: str, files: ResultFetcher) -> None:
        self._ask = ask
        self._host = host
        self._files = files

    async def put(self, path: Path, model: str) -> str | ProviderError:
        """Store a file for tasks of this model; returns its `oss://` URL. Raises OSError for the file's."""
        answer = await self._ask(policy_path(model))
        policy = answer if isinstance(answer, ProviderError) else read_policy(answer, self._host)
        if isinstance(policy, ProviderError):
            return policy
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if policy.max_bytes is not None and size > policy.max_bytes:
                words = f"it has {size} bytes, and the provider's store takes {policy.max_bytes} at most"
                return ProviderError(OwnCode.FETCH_TOO_LARGE, words, host=self._host)
            return await self._stored(policy, object_name(path), file, size)

    async def _stored(
        self, policy: UploadPolicy, name: str, file: BinaryIO, size: int
    ) -> str | ProviderError:
        boundary = secrets.token_hex(16)
        head, tail = form_around(policy, name, boundary)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + size + len(tail)),
        }
        answer = await self._files.post(policy.host, headers, _pieces(head, file, tail))
        refusal = answer if isinstance(answer, ProviderError) else read_stored(answer, policy.host)
        return policy.file_url(name) if refusal is None else refusal


async def _pieces(head: bytes, file: BinaryIO, tail: bytes) -> AsyncIterator[bytes]:
    """The form. A local disk is read in the event loop: nothing else runs in it that could wait."""
    yield head
    while piece := file.read(CHUNK_BYTES):
        yield piece
    yield tail
