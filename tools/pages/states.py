"""The text of docs/states.md, from the transitions table: its answers' words, the ways it really takes."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from service.contract.speech import empty_transcript
from service.core import events, job, transitions
from service.core.events import EVENTS, Event
from service.core.identity import Position
from service.core.job import Job, Spec, State
from service.core.moment import Moment
from service.core.task import FileView, TaskStatus, TaskView, Trouble
from service.errors import IllegalTransition

INTRODUCTION = """\
# The states of a job

This page is written by `python -m tools.generate_docs states` from `service/core/transitions.py`; a test
keeps it in step. The diagram shows the ways that the table took when it was asked with one event of each
kind that makes a difference; arrows to a state itself are left out.

"""

HOUR_MS = 3_600_000
URL = "https://media.example.org/a.wav"
CODES = (
    "Throttling.RateQuota",
    "Arrearage",
    "InvalidParameter",
    "FILE_DOWNLOAD_FAILED",
    "FILE_404_NOT_FOUND",
)


def states_page() -> str:
    """The page."""
    parts = [
        INTRODUCTION,
        *_diagram(),
        "\n## States\n\n",
        *_states(),
        "\n## Events\n\n",
        *_events(),
        *_answers(),
    ]
    return "".join(parts)


def _diagram() -> Iterator[str]:
    yield "```mermaid\nstateDiagram-v2\n    [*] --> accepted\n"
    for begin, end in sorted({way for state in State for way in _ways(state)}):
        yield f"    {begin} --> {end}\n"
    yield "    done --> [*]\n```\n"


def _ways(state: State) -> Iterator[tuple[State, State]]:
    for event in _sample_events():
        for sample in _sample_jobs(state):
            try:
                after = transitions.advance(sample, event, Moment(HOUR_MS, 0.5)).job.state
            except IllegalTransition:
                continue
            if after is not state:
                yield state, after


def _sample_jobs(state: State) -> Iterator[Job]:
    spec = Spec(
        request_id="r",
        replay=0,
        file_count=1,
        job_count=1,
        model="fun-asr",
        options={},
        metadata=None,
        headers=(),
        deadline_ms=2 * HOUR_MS,
        origin=Position("requests", 0, 0, 0),
        digest="",
        duplicates_detected=True,
        accepted_ms=0,
    )
    base = Job(spec, 0, URL, 0, state)
    if state in (State.SUBMITTING, State.FINISHING):
        yield replace(base, spec=replace(spec, model="qwen3-asr-flash"))
    has_task = state in (State.RUNNING, State.COLLECTING, State.FINISHING)
    yield replace(base, task_id="t", submitted_ms=0, transcription_url=URL) if has_task else base


def _sample_events() -> Iterator[Event]:
    yield from (events.Intended(0), events.Submitted("t", 1), events.CancelAsked(), events.DeadlinePassed())
    yield events.HandlingFailed("")
    yield from (events.Restored(), events.Published(), events.Fetched(empty_transcript()))
    yield events.Transcribed(empty_transcript())
    yield events.VocabularyRefused(Trouble("NotFound", "", 404))
    for code in CODES:
        trouble = Trouble(code, code, 429)
        yield from (events.SubmitRefused(trouble), events.SubmitLost(trouble), events.SubmitNotSent(trouble))
        yield from (events.LookFailed(trouble), events.FetchFailed(trouble))
        yield events.Looked(TaskView("t", TaskStatus.SUCCEEDED), FileView(URL, None, trouble))
    yield events.FetchFailed(Trouble("http_error", "", 403))
    yield events.Looked(TaskView("t", TaskStatus.RUNNING), None)
    yield events.Looked(TaskView("t", TaskStatus.SUCCEEDED), FileView(URL, URL))


def _states() -> Iterator[str]:
    yield "| state | means |\n| --- | --- |\n"
    for name, text in _member_docs(Path(inspect.getfile(job)), "State"):
        yield f"| `{State[name].value}` | {text} |\n"


def _events() -> Iterator[str]:
    yield "| event | means |\n| --- | --- |\n"
    for event in EVENTS:
        yield f"| {event.__name__} | {_first_line(event)} |\n"


def _answers() -> Iterator[str]:
    yield "\n## Answers\n\nA pair that does not stand here cannot be: meeting it is a bug, and an error.\n"
    for state in State:
        yield f"\n### {state.value}\n\n| event | answer |\n| --- | --- |\n"
        for event in EVENTS:
            answer = transitions.TABLE[state, event]
            if answer is not transitions.impossible:
                yield f"| {event.__name__} | {_first_line(answer)} |\n"


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


def _member_docs(path: Path, class_name: str) -> Iterator[tuple[str, str]]:
    """The members of an enumeration with the string that stands under each."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    for member, under in zip(found.body, found.body[1:], strict=False):
        if not (isinstance(under, ast.Expr) and isinstance(under.value, ast.Constant)):
            continue
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name):
            yield member.targets[0].id, " ".join(str(ast.literal_eval(under.value)).split())
