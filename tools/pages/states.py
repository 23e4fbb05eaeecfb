"""Write docs/states.md from the two transition tables and the docstrings of their answers."""

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from service.core.job import job, job_table, submission, submission_table
from service.core.job.events import JOB_EVENTS, SUBMISSION_EVENTS
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState

INTRODUCTION = """\
# The states of submissions and jobs

`python -m tools.generate_docs states` generates this page from `service/core/job/submission_table.py` and
`service/core/job/job_table.py`; a test compares them. A submission is one POST and its outcome; a job is
the work for one file, and is in one submission at a time. An event at the provider reaches a submission,
which passes it on to its jobs.

Each arrow is labelled with the events that may cause that transition; most of these events may also leave the
state unchanged. A submission is over when no event can change it: its record waits for its tombstone. Jobs
continue in new submissions when a file is tried again, when a submit's task cannot be found, and when a
submit is divided.
"""


Ways = Mapping[tuple[str, str], tuple[object, Sequence[StrEnum | None]]]
"""By state and event: the function that answers, and the other states that it may lead to."""


class Table(NamedTuple):
    """One of the two tables, and the definitions of its states and events."""

    title: str
    module: ModuleType
    states: type[StrEnum]
    events: Sequence[type]
    ways: Ways
    impossible: object


TABLES = (
    Table(
        "Submissions",
        submission,
        SubmissionState,
        SUBMISSION_EVENTS,
        {(state, event.__name__): way for (state, event), way in submission_table.TRANSITIONS.items()},
        submission_table.impossible,
    ),
    Table(
        "Jobs",
        job,
        JobState,
        JOB_EVENTS,
        {(state, event.__name__): way for (state, event), way in job_table.TRANSITIONS.items()},
        job_table.impossible,
    ),
)


def states_page() -> str:
    """The whole page."""
    return "".join([INTRODUCTION, *(text for table in TABLES for text in _section(table))])


def _section(table: Table) -> Iterator[str]:
    yield f"\n## {table.title}\n\n"
    yield from _diagram(table)
    yield "\n| state | means |\n| --- | --- |\n"
    for name, text in _member_docs(Path(inspect.getfile(table.module)), table.states.__name__):
        yield f"| `{table.states[name].value}` | {text} |\n"
    yield "\n| event | means |\n| --- | --- |\n"
    for event in table.events:
        yield f"| {event.__name__} | {_first_line(event)} |\n"
    yield from _answers(table)


def _diagram(table: Table) -> Iterator[str]:
    first, *_, last = table.states
    yield f"```mermaid\nstateDiagram-v2\n    [*] --> {first}\n"
    for (begin, end), events in _arrows(table).items():
        yield f"    {begin} --> {end}: {', '.join(events)}\n"
    if all(begin != last for begin, _ in _arrows(table)):
        yield f"    {last} --> [*]\n"
    yield "```\n"


def _arrows(table: Table) -> dict[tuple[str, str], list[str]]:
    """The events on the arrow between two states, in the order of the states."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for begin in table.states:
        for end in (*table.states, None):
            names = [each.__name__ for each in table.events]
            events = [name for name in names if end in table.ways[begin, name][1]]
            if events:
                arrows[begin, end or "[*]"] = events
    return arrows


def _answers(table: Table) -> Iterator[str]:
    yield "\nA pair that is not listed cannot occur: it is a bug and raises an error.\n"
    for state in table.states:
        yield f"\n### {table.title}: {state.value}\n\n| event | answer | then |\n| --- | --- | --- |\n"
        for event in table.events:
            answer, to = table.ways[state, event.__name__]
            if answer is not table.impossible:
                ends = ", ".join(f"`{end}`" if end else "over" for end in to)
                yield f"| {event.__name__} | {_first_line(answer)} | {ends} |\n"


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


def _member_docs(path: Path, class_name: str) -> Iterator[tuple[str, str]]:
    """The members of an enumeration, each with its docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    for member, under in zip(found.body, found.body[1:], strict=False):
        if not (isinstance(under, ast.Expr) and isinstance(under.value, ast.Constant)):
            continue
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name):
            yield member.targets[0].id, " ".join(str(ast.literal_eval(under.value)).split())
