"""Scripts: runs of the simulation as data, and how they are replayed without any random generator.

The first line of a script holds its settings. Each line behind it is one act: `at` (milliseconds since the
start), `do` (an act of the stage, or one of an owner by its name), and `met`, what the environment answered
meanwhile, as (question, subject, answer). Nothing in it depends on how the engine is built: an act for which
there is nothing to do is left out and counted, and the journal's records are the engine's own.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from tests.unit.core.simulation.chance import Recorded, Scripted
from tests.unit.core.simulation.plan import Meaning, Plan
from tests.unit.core.simulation.port import Owner, Settings, Taking, Violation
from tests.unit.core.simulation.shard import Shard
from tests.unit.core.simulation.stage import START_MS, Stage
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


def load(path: Path) -> list[Line]:
    """Read a script."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Replay(Stage):
    """One script, then rest."""

    def __init__(self, script: Sequence[Line]) -> None:
        self.answers = Scripted()
        settings = Settings(**cast(dict[str, Any], script[0]))
        super().__init__(settings, self.answers, Plan(), Weather())
        self.lines = script[1:]
        self.done = 0
        self.rest_ms = START_MS
        self.skipped = 0
        self.simple: dict[str, Callable[[Shard], None]] = {
            "crash": self.crash,
            "freeze": self.freeze,
            "kill stranger": self.kill_stranger,
            "drain": self.drain,
            "compact": self.compact,
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
        self._come_to_rest()
        self.judge_end()

    def _do(self, line: Line) -> None:
        name, shard = cast(str, line["do"]), self.shards[cast(int, line.get("on", 0))]
        skew_ms = cast(int, line.get("skew", 0))
        if name == "publish":
            self._publish(line, shard.partition)
        elif name in self.simple:
            self.simple[name](shard)
        elif name == "restore":
            self.read(shard, skew_ms)
        elif name == "step clock":
            self.step_clock(shard, skew_ms)
        elif name == "claim":
            taking, _ = shard.takings.get(cast(int, line["taking"]), (None, None))
            is_there = taking is not None and self._waits(shard, taking)
            self.skipped += not is_there
            if taking is not None and is_there:
                self.claim(shard, taking)
        else:
            self._act(line, shard, name)

    def _publish(self, line: Line, partition: int) -> None:
        headers = cast(list[tuple[str, str | None]], line.get("headers", []))
        read = tuple((key, bytes_of(value)) for key, value in headers)
        value, key = (bytes_of(cast(str | None, line[of])) for of in ("value", "key"))
        self.publish(value, key, Meaning(line["meaning"]), read, partition)

    @staticmethod
    def _waits(shard: Shard, taking: Taking) -> bool:
        return taking is shard.taking or any(taking is each.taking for each in shard.strangers)

    def _act(self, line: Line, shard: Shard, name: str) -> None:
        owners = [each for each in (shard.owner, *(each.owner for each in shard.strangers)) if each]
        able = [each for each in owners if each.epoch == line["epoch"] and self._can(shard, each, name)]
        self.skipped += not able
        for owner in able:
            self.act(shard, owner, name)

    def _can(self, shard: Shard, owner: Owner, name: str) -> bool:
        """Whether it can do this, if need be after it has written what it has decided.

        How many records that takes is the engine's own affair.
        """
        for _ in range(CATCH_UP):
            if owner.can(name) or name == "write" or not owner.is_open:
                break
            before = next((each for each in ("write", "seal") if owner.can(each)), None)
            if before is None:
                break
            self.act(shard, owner, before)
        return owner.can(name) and owner.is_open

    def _come_to_rest(self) -> None:
        last = self.begin_to_rest()
        for step in range(QUIET_STEPS):
            left = [(shard, owner) for shard, owner in last if not owner.is_done]
            if not left:
                return
            able = [(shard, owner) for shard, owner in left if owner.actions()]
            if able:
                shard, owner = able[step % len(able)]
                names = list(dict.fromkeys(owner.actions()))
                self.now_ms += 5
                self.act(shard, owner, names[step % len(names)])
            else:
                self._pass_time(left)
        told = {key: state for _, owner in last for key, state in owner.told_states().items()}
        raise Violation(f"N1: still open after {QUIET_STEPS} quiet steps: {told}")

    def _pass_time(self, left: Sequence[tuple[Shard, Owner]]) -> None:
        for _, owner in left:
            owner.check_awake()
        times = [due_ms for _, owner in left if (due_ms := owner.next_due_ms()) is not None]
        self.now_ms = max(self.now_ms + 1, min(times, default=self.now_ms + 1_000))
        for shard, owner in left:
            self.act(shard, owner, "expire")


def bytes_of(told: str | None) -> bytes | None:
    """What a script says of a record's bytes."""
    if told is None:
        return None
    _, is_coded, coded = told.partition("base64:")
    return b64decode(coded) if is_coded else told.encode()
