"""What the engine's journal records say, in the oracle's words: nothing else knows how they are written.

It uses nothing of the engine's own codec, so that the two can be compared.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum

OWNER, CURSOR = "~owner", "~cursor"
TASK_ID = re.compile(rb'"(t\d+)"')


class Word(Enum):
    """What a record says of a job."""

    INTENT = "is about to be submitted"
    UNCERTAIN = "may have been submitted"
    AGAIN = "waits for a submit"
    ANNOUNCED = "has an ending that is not sent yet"
    DONE = "has an outcome"
    OPEN = "anything else"


STATES = {
    b'"state":"submitting"': Word.INTENT,
    b'"state":"uncertain"': Word.UNCERTAIN,
    b'"state":"waiting"': Word.AGAIN,
    b'"state":"finishing"': Word.ANNOUNCED,
    b'"state":"done"': Word.DONE,
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a record says of one job, and of which attempt to submit it."""

    job: str
    word: Word
    attempt: int = 0


def said(key: str, value: bytes | None) -> tuple[Said, ...]:
    """Of each job that a record is about; nothing for the shard's own records and for tombstones."""
    if value is None or key.startswith("~"):
        return ()
    word = next((word for state, word in STATES.items() if state in value), Word.OPEN)
    return (Said(key, word, json.loads(value)["submits"] if word is Word.INTENT else 0),)


def tasks_in(value: bytes) -> set[str]:
    """The provider's tasks that a record names."""
    return {task_id.decode() for task_id in TASK_ID.findall(value)}


def cursor_in(key: str, value: bytes | None) -> int | None:
    """The next offset to be read, if the record says it."""
    return json.loads(value)["next"] if key == CURSOR and value else None
