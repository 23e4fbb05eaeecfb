"""Scripts: runs of the simulation as data, and how they are replayed without any random generator.

The first line of a script holds its settings. Each line behind it is one act: `at` (milliseconds since the
start), `do` (an act of the stage, or one of an owner by its name), and `met`, what the environment answered
meanwhile, as (question, subject, answer). Nothing in it depends on how the engine is built: an act for which
there is nothing to do is left out and counted, and the journal's records are the engine's own.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from tests.unit.core.simulation.chance import Recorded, Scripted
from tests.unit.core.simulation.engine import Taking
from tests.unit.core.simulation.journal import Violation
from tests.unit.core.simulation.owner import Owner
from tests.unit.core.simulation.plan import Meaning, Plan
from tests.unit.core.simulation.stage import START_MS, Settings, Stage
from tests.unit.core.simulation.weather import Weather

CATCH_UP = 200
"""Acts of writing that may come before one of the script's."""
Line = Mapping[str, object]
QUIET_STEPS = 20_000
"""After the last line everything must come to its end within this many steps."""


def script_of(stage: Stage) -> list[Line]:
    """What happened, until it came to rest, on a stage whose chance was recorded."""
    assert isinstance(stage.chance, Recorded)
    recorded = stage.chance.lines[: stage.rest_step]
    lines = ({**line, "at": cast(int, line["at"]) - START_MS} for line in recorded)
    return [asdict(stage.settings), *lines]


def save(path: Path, script: Iterable[Line]) -> None:
    """Write a script."""
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in script))


def load(path: Path) -> list[Line]:
    """Read a script."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Replay(Stage):
    """One script, then rest."""

    def __init__(self, script: Sequence[Line]) -> None:
        self.answers = Scripted()
        super().__init__(Settings(**cast(dict[str, int], script[0])), self.answers, Plan(), Weather())
        self.lines = script[1:]
        self.done = 0
        self.rest_ms = START_MS
        self.skipped = 0
        self.acts: dict[str, Callable[[], None]] = {
            "crash": self.crash,
            "freeze": self.freeze,
            "kill stranger": self.kill_stranger,
            "compact": self.compact,
            "restore": self.read,
        }

    def run(self) -> None:
        """Line by line; then no fault any more, and the judgement."""
        for line in self.lines:
            self.now_ms = START_MS + cast(int, line["at"])
            self.answers.turn_to(cast(list[list[object]], line.get("met", [])))
            self._do(line)
            self.done += 1
        self.answers.turn_to([])
        self.rest_ms = self.now_ms
        self.judge_end(self._come_to_rest())

    def _do(self, line: Line) -> None:
        name = cast(str, line["do"])
        if name == "publish":
            headers = cast(list[tuple[str, str | None]], line.get("headers", []))
            read = tuple((key, bytes_of(value)) for key, value in headers)
            value, key = (bytes_of(cast(str | None, line[of])) for of in ("value", "key"))
            self.publish(value, key, Meaning(line["meaning"]), read)
        elif name in self.acts:
            self.acts[name]()
        elif name == "claim":
            found = [each for each in (self.taking, *self.strangers) if isinstance(each, Taking)]
            takings = [each for each in found if each.number == line["taking"]]
            self._note([self.claim(taking) for taking in takings])
        else:
            owners = [each for each in (self.owner, *self.strangers) if isinstance(each, Owner)]
            able = [each for each in owners if each.epoch == line["epoch"] and self._can(each, name)]
            self._note(able)
            for owner in able:
                self.act(owner, name)

    def _can(self, owner: Owner, name: str) -> bool:
        """Whether it can do this, if need be after it has written what it has decided.

        How many records that takes is the engine's own affair.
        """
        for _ in range(CATCH_UP):
            if owner.can(name) or name == "write" or not owner.is_open:
                break
            before = next((each for each in ("write", "seal") if owner.can(each)), None)
            if before is None:
                break
            self.act(owner, before)
        return owner.can(name) and owner.is_open

    def _note(self, found: Sequence[object]) -> None:
        self.skipped += not found

    def _come_to_rest(self) -> Owner:
        last = self.begin_to_rest()
        for step in range(QUIET_STEPS):
            if self.is_at_rest(last):
                return last
            names = list(dict.fromkeys(last.actions()))
            if names:
                self.now_ms += 5
                self.act(last, names[step % len(names)])
            else:
                last.check_awake()
                self.now_ms = max(self.now_ms + 1, last.next_due_ms() or self.now_ms + 1_000)
                self.act(last, "expire")
        raise Violation(f"N1: still open after {QUIET_STEPS} quiet steps: {last.told_states()}")


def bytes_of(told: str | None) -> bytes | None:
    """What a script says of a record's bytes."""
    if told is None:
        return None
    _, is_coded, coded = told.partition("base64:")
    return b64decode(coded) if is_coded else told.encode()
