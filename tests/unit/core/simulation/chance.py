"""What chance decides inside one step: drawn from a seed, drawn and written down, or read from a script.

A question has a name and a subject (a task, the jobs of a POST, a record's key), none of which depends on
how the engine is built. A script answers the same questions in any order, and whatever it was not asked when
it was recorded has a harmless answer.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar, cast

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]
T = TypeVar("T")


class Chance(Protocol):
    """Decides what is not for the engine to decide."""

    steps: int
    """Begun so far."""

    def begin(self, at_ms: int, act: str, **how: Json) -> None:
        """A new step begins."""
        ...

    def ask(self, question: str, subject: str, draw: Callable[[random.Random], T], otherwise: T) -> T:
        """Decide; the answer is made of what JSON knows. `otherwise` is the harmless answer."""
        ...


class Drawn:
    """All from one random generator."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.steps = 0

    def begin(self, at_ms: int, act: str, **how: Json) -> None:
        """Count it."""
        self.steps += 1

    def ask(self, question: str, subject: str, draw: Callable[[random.Random], T], otherwise: T) -> T:
        """Draw."""
        return draw(self.rng)


class Recorded(Drawn):
    """Draws, and keeps a script: a line for each step, with the answers that are not the harmless ones."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.lines: list[dict[str, object]] = []

    def begin(self, at_ms: int, act: str, **how: Json) -> None:
        """Begin a line."""
        super().begin(at_ms, act, **how)
        self.lines.append({"at": at_ms, "do": act, **how})

    def ask(self, question: str, subject: str, draw: Callable[[random.Random], T], otherwise: T) -> T:
        """Draw and note it."""
        answer = super().ask(question, subject, draw, otherwise)
        if answer != otherwise:
            met = cast(list[object], self.lines[-1].setdefault("met", []))
            met.append([question, subject, answer])
        return answer


class Scripted:
    """Answers as the line of the script says."""

    def __init__(self) -> None:
        self.steps = 0
        self.met: list[tuple[str, str, object]] = []

    def turn_to(self, met: Sequence[Sequence[object]]) -> None:
        """The answers of one line."""
        self.met = [(str(question), str(subject), answer) for question, subject, answer in met]

    def begin(self, at_ms: int, act: str, **how: Json) -> None:
        """The line was turned to already."""
        self.steps += 1

    def ask(self, question: str, subject: str, draw: Callable[[random.Random], T], otherwise: T) -> T:
        """The first answer that is left for the question and the subject."""
        for number, (asked, of, answer) in enumerate(self.met):
            if (asked, of) == (question, subject):
                del self.met[number]
                return cast(T, answer)
        return otherwise
