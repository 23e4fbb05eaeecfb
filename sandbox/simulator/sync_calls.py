"""A synchronous call from arrival to answer: its fault, its work on an engine for as long as that takes,
its bill, and a stream in time with it. It knows no wire shape: those are the doors'.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sandbox.simulator.calls import Call, read_body
from sandbox.simulator.clock import http_date
from sandbox.simulator.damage import NoAnswer, broken_reply, deliver, gone, whole
from sandbox.simulator.faults import ANSWER_KINDS, STREAM_KINDS, Fault
from sandbox.simulator.ledger import CallEntry, SubmitEntry
from sandbox.simulator.questions import Question
from sandbox.simulator.recording import Heard, Outcome, Unusable
from sandbox.simulator.script import ScriptError
from sandbox.simulator.scripted import SILENT
from sandbox.simulator.spoken import Spoken, spoken_of
from sandbox.simulator.state import Engine, SimulatorState
from sandbox.simulator.streams import Pace, broken, paced, trickling
from sandbox.simulator.tasks import Submission, Task, TaskFile
from sandbox.simulator.wire import ApiError, Reply, invalid

KIND: Final = "transcribe"
BODY_LIMIT_BYTES: Final = 16 * 1024 * 1024
_POLL_SECONDS: Final = 0.05


class Door(Protocol):
    """An endpoint's wire shapes."""

    def read(self, call: Call) -> Question: ...

    def answer(self, question: Question, spoken: Spoken) -> Reply: ...

    def error(self, error: ApiError) -> Reply: ...

    def stream_error(self, error: ApiError) -> bytes: ...


class SyncCalls:
    """Serves the calls of both doors over one simulator's state and engine."""

    def __init__(self, state: SimulatorState, engine: Engine) -> None:
        self._state = state
        self._engine = engine

    def through(self, door: Door) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint behind a door."""

        async def serve(request: Request) -> Response:
            try:
                body = await read_body(request, BODY_LIMIT_BYTES)
            except ClientDisconnect:
                return NoAnswer()
            entry = CallEntry(KIND, self._state.clock.now(), self._state.clock.wall())
            self._state.ledger.calls.append(entry)
            return await self._serve(door, Call(request, body, entry))

        return serve

    async def _serve(self, door: Door, call: Call) -> Response:
        fault = call.fault = self._state.faults.take(KIND, _subject(call))
        call.entry.fault = fault.kind if fault else None
        if fault is not None and not fault.works_first:
            reply: Reply | None = _broken_reply(door, fault)
        else:
            reply = await self._work(door, call)
            if reply is not None and fault is not None and fault.kind in ANSWER_KINDS:
                reply = _broken_reply(door, fault)
        response = NoAnswer() if reply is None else await self._respond(door, call, reply)
        call.entry.status = 0 if isinstance(response, NoAnswer) else response.status_code
        response.headers["date"] = http_date(self._state.clock.now())
        return response

    async def _work(self, door: Door, call: Call) -> Reply | None:
        """The answer, however late; None when the client has gone meanwhile."""
        try:
            if len(call.body) > BODY_LIMIT_BYTES:
                raise ApiError(400, "BadRequest.TooLarge", "Payload Too Large")
            question = door.read(call)
            task = self._begin(call, question)
            if not await self._wait(call, task, streams=question.streams):
                return None
            return door.answer(question, self._heard(call, task, question))
        except ApiError as error:
            return door.error(error)

    def _begin(self, call: Call, question: Question) -> Task:
        call.entry.prompt, call.entry.context = question.prompt, question.context
        account = question.api_key.account
        listed = self._state.hotwords.in_force(
            account, question.model, question.parameters.get("vocabulary_id")
        )
        submission = Submission(
            question.model, (question.audio.url,), question.parameters, hotwords=question.hotwords() | listed
        )
        try:
            self._engine.check(submission)
        except ScriptError as error:
            raise invalid(str(error)) from error
        file = TaskFile(
            1, question.audio.url, content=question.audio.content, limit_bytes=question.row.limit_bytes
        )
        now = self._state.clock.now()
        self._state.uploads.attach(file, account, question.model)
        task = Task(account, question.api_key.number, submission, now, [file])
        call.entry.task_id = task.task_id
        self._engine.begin(task)
        if self._is_sure(task):
            with contextlib.suppress(ApiError):
                self._charge(call, task, question)
        return task

    async def _wait(self, call: Call, task: Task, *, streams: bool) -> bool:
        """Until the work is done or, for a stream, sure to be; False when the client has gone before.

        A call that its client left is billed like an answered one: the vendor would hardly stop for it.
        """
        left = asyncio.create_task(gone(call.request))
        stopped = asyncio.create_task(self._state.closing.wait())
        try:
            while (seconds := self._seconds_left(call, task, streams=streams)) > 0:
                pause = min(seconds, _POLL_SECONDS)
                done, _ = await asyncio.wait((left, stopped), timeout=pause, return_when="FIRST_COMPLETED")
                if done:
                    self._leave(call, task)
                    return False
            return True
        finally:
            left.cancel()
            stopped.cancel()

    def _seconds_left(self, call: Call, task: Task, *, streams: bool) -> float:
        is_patient = self._state.clock.wall() < call.entry.wall + self._state.config.call_patience_seconds
        if not is_patient or (streams and self._is_sure(task)):
            return 0.0
        end = self._limit(task) if task.ended_at is None or task.stuck_state else task.ended_at
        return self._state.clock.real_seconds_until(min(end, self._limit(task)))

    def _limit(self, task: Task) -> float:
        return task.submitted_at + self._state.config.call_limit_seconds

    def _is_sure(self, task: Task) -> bool:
        """Whether it is known, perhaps long before, that the audio will be transcribed in time."""
        if task.failure is not None or task.stuck_state is not None or task.ended_at is None:
            return False
        return _is_usable(task.files[0].outcome) and task.ended_at <= self._limit(task)

    def _heard(self, call: Call, task: Task, question: Question) -> Spoken:
        """What there is to answer when the waiting is over, or ApiError."""
        due = None if task.stuck_state or task.ended_at is None else task.ended_at
        if due is None or due > self._limit(task) or not (question.streams or self._state.clock.now() >= due):
            task.cancelled_at = self._state.clock.now()
            raise ApiError(500, "RequestTimeOut", "Request timed out, please try again later.")
        return self._charge(call, task, question)

    def _charge(self, call: Call, task: Task, question: Question) -> Spoken:
        """What was heard, which is billed; ApiError, and no bill, for what could not be."""
        spoken = spoken_of(task, question.row.limit_seconds)
        task.charged_seconds = spoken.seconds
        self._enter(call, task)
        return spoken

    def _leave(self, call: Call, task: Task) -> None:
        outcome = task.files[0].outcome
        if task.failure is None and (outcome is None or _is_usable(outcome)):
            self._enter(call, task)
        if task.ended_at is None:
            task.cancelled_at = self._state.clock.now()

    def _enter(self, call: Call, task: Task) -> None:
        if call.submit is None:
            call.submit = SubmitEntry(task, task.submitted_at, call.entry.wall)
            self._state.ledger.submits.append(call.submit)

    async def _respond(self, door: Door, call: Call, reply: Reply) -> Response:
        """The answer as it should be, or as the fault has it."""
        fault, submit = call.fault, call.submit
        if fault is not None and fault.kind in STREAM_KINDS and reply.status == 200:
            return await self._break(door, call, reply, fault)
        is_whole = fault is None or fault.kind in ("slow", *STREAM_KINDS)
        if submit is None or not reply.events or not is_whole:
            response = whole(reply) if fault is None else await self._deliver(fault, reply, call)
            if submit is not None:
                submit.answered = is_whole and reply.status == 200 and not isinstance(response, NoAnswer)
            return response
        if fault is not None:
            submit.answered = True
            return trickling(reply, 1.0 if fault.seconds is None else fault.seconds)
        return paced(reply, Pace(self._state, submit))

    async def _break(self, door: Door, call: Call, reply: Reply, fault: Fault) -> Response:
        """A stream that breaks; an answer in one piece is cut short or is the error itself."""
        if reply.events:
            error = ApiError(fault.status or 500, fault.code, fault.message)
            return broken(fault, reply, door.stream_error(error))
        if fault.kind == "stream_error":
            return whole(door.error(ApiError(fault.http_status(), fault.code, fault.message)))
        return await self._deliver(replace(fault, kind="truncate"), reply, call)

    async def _deliver(self, fault: Fault, reply: Reply, call: Call) -> Response:
        return await deliver(fault, reply, call.request, self._state.closing)


def _is_usable(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Heard) or (isinstance(outcome, Unusable) and outcome.code == SILENT)


def _broken_reply(door: Door, fault: Fault) -> Reply:
    """The content of a call that does no work because of a fault."""
    if fault.kind not in ("status", "business_code"):
        return broken_reply(fault, KIND, None)
    reply = door.error(ApiError(fault.http_status(), fault.code, fault.message))
    return replace(reply, headers={**reply.headers, **fault.headers()})


def _subject(call: Call) -> str:
    return f"{call.request.url} {call.body.decode('utf-8', 'replace')}"
