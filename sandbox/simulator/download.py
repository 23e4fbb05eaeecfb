"""Fetches an audio file as the provider would, within bounds, and names what went wrong by the vendor's
subtask codes. It judges no content.
"""

import asyncio
from pathlib import Path
from typing import BinaryIO, Final

import httpx

_REFUSALS: Final = {
    401: "FILE_403_FORBIDDEN",
    403: "FILE_403_FORBIDDEN",
    404: "FILE_404_NOT_FOUND",
    410: "FILE_404_NOT_FOUND",
}


class DownloadError(Exception):
    """The file did not come; `code` is the vendor's subtask code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def download(
    client: httpx.AsyncClient, url: str, target: Path, *, limit_bytes: int, limit_seconds: float
) -> int:
    """Write the file to `target` and give its size; DownloadError when it does not come whole."""
    code = "FILE_DOWNLOAD_FAILED"
    try:
        async with asyncio.timeout(limit_seconds), client.stream("GET", url) as answer:
            _check(answer, limit_bytes)
            # From here on, a broken connection means fewer bytes than the origin promised.
            code = "CONTENT_LENGTH_CHECK_FAILED"
            with target.open("wb") as file:
                return await _copy(answer, file, limit_bytes)
    except httpx.RemoteProtocolError as error:
        raise DownloadError(code) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise DownloadError("REQUEST_INVALID_FILE_URL_VALUE") from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise DownloadError("FILE_DOWNLOAD_FAILED") from error


def _check(answer: httpx.Response, limit_bytes: int) -> None:
    if answer.status_code >= 500:
        raise DownloadError("FILE_SERVER_ERROR")
    if answer.status_code != 200:
        raise DownloadError(_REFUSALS.get(answer.status_code, "FILE_DOWNLOAD_FAILED"))
    promised = answer.headers.get("content-length", "0")
    if promised.isdigit() and int(promised) > limit_bytes:
        raise DownloadError("FILE_TOO_LARGE")


async def _copy(answer: httpx.Response, file: BinaryIO, limit_bytes: int) -> int:
    size_bytes = 0
    async for chunk in answer.aiter_bytes():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise DownloadError("FILE_TOO_LARGE")
        file.write(chunk)
    return size_bytes
