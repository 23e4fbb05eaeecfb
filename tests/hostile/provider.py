"""Stands between the service and the simulator's application, and harms answers on their way out."""

import json
import re
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.simulator.routes import CHAT_PATH, GENERATION_PATH, HOTWORDS_PATH, SUBMIT_PATH
from tests.hostile.answers import Answers, HostileAnswer, HttpAnswer

_LIST = re.compile(r"/api/v1/tasks/?")
_TASK = re.compile(r"/api/v1/tasks/([^/]+)")
_CALLS = (GENERATION_PATH, CHAT_PATH)


@dataclass
class HostileProvider:
    """An ASGI application around another; which file a call is about it learns from submits and answers."""

    app: ASGIApp
    answers: Answers
    _by_task: dict[str, HostileAnswer] = field(default_factory=dict)
    _by_result: dict[str, HostileAnswer] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = _Asked(receive)
        held = _Held()
        await self.app(scope, asked.receive, held.send)
        answer = held.answer()
        if answer is None:
            return
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        self._harm(path, asked.body, answer)
        headers = {**answer.headers, b"content-length": str(len(answer.body)).encode()}
        await send({"type": "http.response.start", "status": answer.status, "headers": list(headers.items())})
        await send({"type": "http.response.body", "body": answer.body})

    def _harm(self, path: str, body: bytes, answer: HttpAnswer) -> None:
        shared = "list" if _LIST.fullmatch(path) else "hotwords" if path == HOTWORDS_PATH else None
        if shared:
            self.answers.harm_shared(shared, answer)
            return
        case, source = self._case(path, body, answer)
        if case is not None and source == ("call" if path in _CALLS else case.rule.source):
            self.answers.harm(case, answer)

    def _case(self, path: str, body: bytes, answer: HttpAnswer) -> tuple[HostileAnswer | None, str]:
        """The file that the call is about, and what kind of answer it gets."""
        if path == SUBMIT_PATH:
            return self._submitted(body, answer), "submit"
        if path in _CALLS:
            return self.answers.named_in(body), "call"
        task = _TASK.fullmatch(path)
        if task:
            case = self._by_task.get(task[1])
            if case is not None:
                self._learn_results(case, answer)
            return case, "query"
        return self._by_result.get(path), "result"

    def _submitted(self, body: bytes, answer: HttpAnswer) -> HostileAnswer | None:
        case = self.answers.named_in(body)
        if case is not None and answer.status == 200:
            self._by_task[json.loads(answer.body)["output"]["task_id"]] = case
        return case

    def _learn_results(self, case: HostileAnswer, answer: HttpAnswer) -> None:
        for url in re.findall(rb'"transcription_url":\s*"https?://[^/]+(/[^?"]+)', answer.body):
            self._by_result[url.decode()] = case


@dataclass
class _Asked:
    """Keeps what the client sent."""

    outer: Receive
    body: bytes = b""

    async def receive(self) -> Message:
        message = await self.outer()
        self.body += message.get("body", b"")
        return message


@dataclass
class _Held:
    """Keeps what the application answers until it is whole."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message.get("headers", ()))
        else:
            self.body += message.get("body", b"")

    def answer(self) -> HttpAnswer | None:
        """The whole answer; None where the application closed the connection instead."""
        return HttpAnswer(self.status, self.headers, self.body) if self.status else None
