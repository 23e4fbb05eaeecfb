"""The Provider port on DashScope's HTTP API: makes calls and returns their results as facts.

Never retries, never waits for quota, never decides what an error means for a job.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx
from pydantic import JsonValue, SecretStr

from service.clock import Clock, SystemClock
from service.contract.model_table import ApiKind
from service.contract.models import model_info
from service.core.provider.answers import (
    Accepted,
    Answered,
    Cause,
    Lost,
    NotSent,
    ProviderError,
    SubmitAnswer,
    TaskPage,
    TaskStatus,
    TaskView,
)
from service.core.provider.own_codes import OwnCode
from service.core.time.vendor_clock import VendorClock
from service.errors import ConfigError
from service.frozen import dataclass
from service.provider.api import NO_SLOT, Permit, at_once
from service.provider.departure import Departure
from service.provider.hotword_calls import DashScopeHotwordLists
from service.provider.http.bodies import BodyBroken, BodyTooLarge, read_body
from service.provider.http.connection_errors import Peer, no_answer, no_connection
from service.provider.http.proxy import Proxy
from service.provider.http.submit_transport import SubmitTransport
from service.provider.http.transport import (
    CALL_KEEPALIVE_SECONDS,
    AiohttpTransport,
    Withheld,
)
from service.provider.http.trust import tls_context
from service.provider.result_files import FetchGuard, ResultFetcher
from service.provider.uploads import Uploads
from service.provider.wire import answer_fields, file_tasks, hotword_actions, omni, short_audio
from service.provider.wire.answer_fields import (
    HttpAnswer,
    error_in,
    error_of_answer,
    not_served,
    object_of,
    unexpected_body,
)
from service.provider.wire.region_advice import compatible_url, with_regions
from service.provider.wire.task_list import PAGE_SIZES, list_path, read_page

MAX_ANSWER_BYTES = 1024**2
"""The answer for a task of 100 files with long URLs takes a fifth of this."""

SHORTEST_KEY = 8
"""A shorter key would match inside ordinary words."""
_FAILURES = (TimeoutError, httpx.HTTPError, BodyBroken, UnicodeError)
"""Exceptions of a call; an invalid host name raises UnicodeError."""


@dataclass(frozen=True, slots=True)
class DashScopeConfig:
    """One account on one host.

    `base_url` ends in `/api/v1`; the key belongs to that host's region.

    `submit_timeout_seconds` is the total time of a submit, including the connection: after it, no byte
    of it can reach the provider. `answer_timeout_seconds` is the same for synchronous models, whose
    answer takes as long as their work (the vendor gives short audio 300 s). `call_timeout_seconds` is the
    total time of any other call. The `proxy` is for all of them, and for result files.
    """

    base_url: str
    api_key: SecretStr
    workspace: str | None = None
    submit_timeout_seconds: float = 30.0
    call_timeout_seconds: float = 10.0
    answer_timeout_seconds: float = 600.0
    data_inspection: str | None = None
    max_connections: int = 64
    proxy: Proxy | None = None

    def __post_init__(self) -> None:
        _require_key(self.api_key)
        if httpx.URL(self.base_url).scheme not in ("http", "https") or not httpx.URL(self.base_url).host:
            raise ConfigError("the provider's base URL must begin with https:// (or http://) and a host")

    @property
    def connect_seconds(self) -> float:
        """How long a submit may take to begin: a third of its time.

        The kernel gets the rest.
        """
        return self.submit_timeout_seconds / 3


class DashScope:
    """The provider over HTTP; an async context manager that holds its connections."""

    def __init__(
        self,
        config: DashScopeConfig,
        guard: FetchGuard | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        vendor_clock: VendorClock | None = None,
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._now_seconds = self._clock.boot_seconds
        self._vendor_clock = vendor_clock or VendorClock()
        self._base_url = config.base_url.rstrip("/")
        self._url = httpx.URL(self._base_url)
        self.key = self._former_key = config.api_key
        """The key in use, and the one before, which answers to earlier calls may quote."""
        self._headers = self._common_headers()
        self._peer = Peer.of(httpx.URL(config.base_url), config.proxy)
        self._host = self._peer.host
        tls, connections, proxy = ssl_context or tls_context(), config.max_connections, config.proxy
        lifetime_seconds = config.submit_timeout_seconds - config.connect_seconds
        self._submits = SubmitTransport(connections, lifetime_seconds, tls, proxy)
        self._calls = AiohttpTransport(
            connections, tls, keepalive_seconds=CALL_KEEPALIVE_SECONDS, proxy=proxy
        )
        self._results = ResultFetcher(guard or FetchGuard(), connections, tls, proxy=proxy)
        self._open = AsyncExitStack()
        self._page_size = PAGE_SIZES[0]
        """Of the task list: the size that the vendor has not refused last."""
        self.hotword_lists = DashScopeHotwordLists(
            partial(self._call, "POST", hotword_actions.PATH), self._host
        )
        """The account's hotword lists."""
        self.uploads = Uploads(partial(self._call, "GET"), self._host, self._results)
        """The account's temporary store."""

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._submits)
        await self._open.enter_async_context(self._calls)
        await self._open.enter_async_context(self._results)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    def use_key(self, key: SecretStr) -> None:
        """Use this key for all calls from now on; raises `ConfigError` for what cannot be one."""
        _require_key(key)
        self._former_key, self.key = self.key, key
        self._headers = self._common_headers()

    async def submit(
        self,
        model: str,
        file_urls: Sequence[str],
        options: Mapping[str, JsonValue],
        permit: Permit = at_once,
    ) -> SubmitAnswer:
        """Submit in one POST; see `Provider.submit`."""
        info = model_info(model)
        api = ApiKind.FILE_TASK if info is None else info.api
        config = self._config
        total = config.submit_timeout_seconds if api is ApiKind.FILE_TASK else config.answer_timeout_seconds
        latest = self._now_seconds() + config.connect_seconds
        departure = Departure(self._now_seconds, permit, latest)
        request = self._submission(api, model, file_urls, options)
        connect = self._config.connect_seconds
        request.extensions |= {"permit": departure, "connect_seconds": connect}
        try:
            async with asyncio.timeout(total):
                answer = await self._submitted(api, model, request, departure)
                answer = with_regions(answer, model, self._host)
                return self._located(answer)
        except (*_FAILURES, BodyTooLarge) as error:
            if request.extensions.get("has_left", departure.has_begun):
                return Lost(no_answer(error, self._peer, total))
            if departure.is_too_late:
                return NotSent(
                    ProviderError(
                        OwnCode.INTENT_TOO_OLD, "the submit could not be sent while its permit was valid"
                    )
                )
            if request.extensions.get("is_permit_asked", False):
                words = f"no connection: {self._peer} ended it before the submit was sent"
                return NotSent(
                    ProviderError(OwnCode.CONNECT_FAILED, words, cause=Cause.CONNECTION_LOST, host=self._host)
                )
            in_handshake = self._url.scheme == "https" and request.extensions.get("is_connected", False)
            return NotSent(no_connection(error, self._peer, connect, in_handshake=in_handshake))

    def _located(self, answer: SubmitAnswer) -> SubmitAnswer:
        """The answer; its error names our host if the reader of the answer did not set one."""
        if isinstance(answer, Accepted | Answered) or answer.provider_error.host is not None:
            return answer
        return replace(answer, provider_error=replace(answer.provider_error, host=self._host))

    def _submission(
        self, api: ApiKind, model: str, file_urls: Sequence[str], options: Mapping[str, JsonValue]
    ) -> httpx.Request:
        match api:
            case ApiKind.FILE_TASK:
                path, body = file_tasks.SUBMIT_PATH, file_tasks.submit_body(model, file_urls, options)
                return self._request("POST", path, file_tasks.submit_headers(file_urls), body)
            case ApiKind.SHORT_AUDIO:
                path, body = short_audio.CALL_PATH, short_audio.call_body(model, file_urls[0], options)
                return self._request("POST", path, file_tasks.resolve_headers(file_urls), body)
            case ApiKind.OMNI:
                url = compatible_url(self._base_url) + omni.CALL_PATH
                headers = {**file_tasks.resolve_headers(file_urls), "Accept": "text/event-stream"}
                return self._request("POST", url, headers, omni.call_body(model, file_urls[0], options))

    async def _submitted(
        self, api: ApiKind, model: str, request: httpx.Request, departure: Departure
    ) -> SubmitAnswer:
        if api is ApiKind.OMNI:
            return await self._streamed(model, request)
        answer = await self._answer(self._submits, request, departure)
        read = file_tasks.read_submit if api is ApiKind.FILE_TASK else short_audio.read_call
        return read(answer, self._host)

    async def _streamed(self, model: str, request: httpx.Request) -> SubmitAnswer:
        """Join a stream as it arrives; any other answer is an error."""
        response = await self._submits.handle_async_request(request)
        try:
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            if not (is_stream and response.is_success):
                body = await read_body(response, MAX_ANSWER_BYTES, MAX_ANSWER_BYTES)
                answer = HttpAnswer(response.status_code, response.headers, body)
                read = unexpected_body if answer.is_success else not_served
                return read(answer, self._host)
            return await _put_together(omni.Stream(model), response)
        finally:
            await response.aclose()

    async def query(self, task_id: str, permit: Permit = at_once) -> TaskView | ProviderError:
        """Poll a task once."""
        answer = await self._call("GET", f"/tasks/{quote(task_id, safe='')}", permit=permit)
        return (
            answer if isinstance(answer, ProviderError) else file_tasks.read_task(answer, task_id, self._host)
        )

    async def list_tasks(
        self, page_no: int, permit: Permit = at_once, status: TaskStatus | None = None
    ) -> TaskPage | ProviderError:
        """One page of the account's tasks."""
        page_size = self._page_size
        answer = await self._call("GET", list_path(page_no, status, page_size), permit=permit)
        page = answer if isinstance(answer, ProviderError) else read_page(answer, self._host)
        is_refused = isinstance(page, ProviderError) and page.http_status == HTTPStatus.BAD_REQUEST
        if is_refused and page_no == 1 and page_size == self._page_size:
            # If the size is not the reason, the other one is refused too, and this one is asked for again.
            self._page_size = next(size for size in PAGE_SIZES if size != page_size)
        return page

    def clock_offset_ms(self) -> int | None:
        """How far the vendor's clock is ahead of ours, by the `Date` of its answers.

        None before the first.
        """
        bounds = self._vendor_clock.offset_seconds(now := self._now_seconds())
        return None if bounds is None else round(1000 * (now + sum(bounds) / 2)) - self._clock.now_ms()

    async def cancel(self, task_id: str, permit: Permit = at_once) -> ProviderError | None:
        """Ask the provider to drop a pending task; None when it agreed."""
        answer = await self._call("POST", f"/tasks/{quote(task_id, safe='')}/cancel", permit=permit)
        if isinstance(answer, ProviderError):
            return answer
        return (
            error_in(object_of(answer.body) or {})
            if answer.is_success
            else error_of_answer(answer, self._host)
        )

    async def fetch(self, transcription_url: str, max_bytes: int | None = None) -> bytes | ProviderError:
        """Download a result file; see `ResultFetcher`."""
        return await self._results.fetch(transcription_url, max_bytes)

    async def _call(
        self, method: str, path: str, body: bytes = b"", permit: Permit = at_once
    ) -> HttpAnswer | ProviderError:
        total = self._config.call_timeout_seconds
        request, departure = self._request(method, path, {}, body), Departure(self._now_seconds, permit)
        request.extensions["permit"] = departure
        try:
            async with asyncio.timeout(total):
                return await self._answer(self._calls, request, departure)
        except Withheld:
            return NO_SLOT
        except _FAILURES as error:
            return no_answer(error, self._peer, total)

    async def _answer(
        self, transport: httpx.AsyncBaseTransport, request: httpx.Request, departure: Departure
    ) -> HttpAnswer:
        answer = await _answer(transport, request)
        date_seconds, now = answer_fields.http_date(answer.headers.get("date")), self._now_seconds()
        if date_seconds is None:
            self._vendor_clock.observe_dateless(now)
        else:
            self._vendor_clock.observe(departure.asked_at, now, round(1000 * date_seconds))
        return self._without_key(answer)

    def _without_key(self, answer: HttpAnswer) -> HttpAnswer:
        """Remove the key: a gateway may quote the call, and `redact` does not recognise every key."""
        body = answer.body
        for each in (self.key, self._former_key):
            key = each.get_secret_value().encode()
            if len(key) >= SHORTEST_KEY and key in body:
                body = body.replace(key, b"*")
        return answer if body is answer.body else replace(answer, body=body)

    def _common_headers(self) -> httpx.Headers:
        """The headers of every call; encoded once."""
        common = {
            "Authorization": f"Bearer {self.key.get_secret_value()}",
            "Accept": "application/json; charset=utf-8",
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
            "User-Agent": "scribe",
        }
        if self._config.workspace:
            common["X-DashScope-WorkSpace"] = self._config.workspace
        if self._config.data_inspection:
            common["X-DashScope-DataInspection"] = self._config.data_inspection
        return httpx.Headers(common)

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> httpx.Request:
        """A request for a path below the base URL, which httpx parses only once, or for a whole URL."""
        merged = self._headers
        if body:
            merged = self._headers.copy()
            merged.update({"Content-Type": "application/json", **headers})
        if not path.startswith("/"):
            return httpx.Request(method, path, headers=merged, content=body)
        target = self._url.raw_path.rstrip(b"/") + path.encode("ascii")
        return httpx.Request(method, self._url, headers=merged, content=body, extensions={"target": target})


def _require_key(key: SecretStr) -> None:
    value = key.get_secret_value()
    if not value or not (value.isascii() and value.isprintable()) or " " in value:
        raise ConfigError("the provider's API key is empty or has characters that no key has")


async def _answer(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> HttpAnswer:
    """Send the request and read the whole answer.

    A body over the limit counts as empty.
    """
    response = await transport.handle_async_request(request)
    try:
        body = await read_body(response, MAX_ANSWER_BYTES, MAX_ANSWER_BYTES)
    except BodyTooLarge:
        body = b""
    finally:
        await response.aclose()
    return HttpAnswer(response.status_code, response.headers, body)


async def _put_together(stream: omni.Stream, response: httpx.Response) -> SubmitAnswer:
    """Feed the stream until its end.

    A stream that breaks off after the end of the text is complete.
    """
    try:
        async for chunk in response.aiter_raw():
            if not stream.feed(chunk):
                break
    except httpx.HTTPError:
        if not stream.is_whole:
            raise
    return stream.result()
