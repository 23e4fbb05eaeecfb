"""The account that is asked: Scribe's adapter, whose last answer can be seen, and tasks run to their end."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
from pydantic import JsonValue

from service.core.provider.answers import Accepted, Answered, ProviderError, SubmitAnswer, TaskView
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.departure import Departure
from service.provider.result_files import FetchGuard
from service.provider.wire.answer_fields import HttpAnswer, object_of

MODEL = "fun-asr"


_ABOUT_US = (401, 403, 429)


class NoAnswer(Exception):
    """What came tells of the key, the load or the network, not of what was asked."""


class Observed(DashScope):
    """The adapter; `last` is the answer that it read last, which says more than it hands on."""

    last: HttpAnswer = HttpAnswer(0, {}, b"")
    header_names: frozenset[str] = frozenset()
    """Of all answers so far, in lower case."""

    async def _answer(
        self, transport: httpx.AsyncBaseTransport, request: httpx.Request, left: Departure
    ) -> HttpAnswer:
        self.last = await super()._answer(transport, request, left)
        self.header_names |= {name.lower() for name in self.last.headers}
        return self.last

    def document(self) -> Mapping[str, JsonValue]:
        """The last answer's JSON."""
        return object_of(self.last.body) or {}


@dataclass(frozen=True)
class Samples:
    """What is transcribed: two short recordings on the web, and one that is not there."""

    female: str
    male: str
    missing: str


@dataclass(frozen=True)
class Pace:
    """How often a task is looked at, and how long: its audio lasts four seconds."""

    look_seconds: float = 2.0
    task_seconds: float = 120.0


USUAL = Pace()


@dataclass(frozen=True)
class Account:
    """Who is asked, with what, at what pace."""

    provider: Observed
    samples: Samples
    pace: Pace = USUAL

    async def ended(
        self, urls: Sequence[str], options: Mapping[str, JsonValue] | None = None, model: str = MODEL
    ) -> TaskView | ProviderError:
        """A task's end, or why it was refused; raises `NoAnswer`."""
        answer = await self.provider.submit(model, urls, options or {})
        if not isinstance(answer, Accepted):
            return refusal(answer)
        try:
            async with asyncio.timeout(self.pace.task_seconds):
                return await self._until_over(answer.task_id)
        except TimeoutError:
            raise NoAnswer(f"a task was not over after {self.pace.task_seconds:g} s") from None

    async def _until_over(self, task_id: str) -> TaskView:
        while True:
            view = await self.provider.query(task_id)
            if isinstance(view, ProviderError):
                raise NoAnswer(f"a task was not found again: {view.code}")
            if view.is_terminal:
                return view
            await asyncio.sleep(self.pace.look_seconds)


def observed(config: DashScopeConfig) -> Observed:
    """The adapter as the service makes it; a host of plain HTTP, a simulator, may also have the results."""
    url = httpx.URL(config.base_url)
    guard = FetchGuard(plain_http_hosts=(url.host,) if url.scheme == "http" else ())
    return Observed(config, guard)


def called(provider_error: ProviderError) -> str:
    """The status and the code of an error, not its text; raises `NoAnswer` where it tells of us alone."""
    name = (
        f"{provider_error.http_status} {provider_error.code}"
        if provider_error.http_status
        else provider_error.code
    )
    if provider_error.http_status in (None, *_ABOUT_US) or (provider_error.http_status or 0) >= 500:
        raise NoAnswer(name)
    return name


def refusal(answer: SubmitAnswer) -> ProviderError:
    """Why a submit, or a call, came to nothing; raises `NoAnswer` where that says nothing of the question."""
    if isinstance(answer, Accepted | Answered):
        raise NoAnswer("answered in another way than the model's")
    called(answer.provider_error)
    return answer.provider_error
