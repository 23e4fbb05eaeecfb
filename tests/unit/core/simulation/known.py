"""What the engine is known to do wrong, world by world: each is asserted as it is, none is passed over.

`python -m tests.unit.core.simulation.known` runs all worlds, or those that are named, writes `known.json`
anew, and prints how many of them show which hole, and how many meet what. A rule that no hole explains is
printed, and fails a test.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HOLES = {
    "E6": "a process begins while its clock is wrong by an hour or more, until the vendor's date is believed",
    "S1": "a result of a synchronous model is announced, lost, and called for until no call is left",
    "C1": "a stale owner's record hides that of a submission that is over; compacted, its task is nobody's",
    "P1": "a task leaves a file out of its answer, and the rest fits another submission that shares a file",
}
ROWS = {
    "S1": r"N1: \S+ ends in more than one way: \['result', 'result_expired'\]"
    r"|N1: \S+ fails as result_expired, which is not true",
    "C1": r"N1: \S+ fails as provider_error, which is not true",
}
ANY_WRITER = {"P1": ROWS["C1"]}
"""Also with transactions, where C1 cannot be."""
STEPPED = (
    r"N1: \S+ fails as (deadline_exceeded|submit_uncertain|result_expired|task_lost), which is not true"
    r"|N1: still open after .*|N3: .*|N10: .*|N13: .*"
    r"|N5: the cursor passed record .*, and its failure is not durable"
    r"|N1: \S+ is published twice by a writer that publishes once"
    r"|N1: \S+ is answered with \['cancel_unknown_request'\]"
)
"""What a clock that steps explains: jobs end, and the window is emptied, before or after their time."""
WORLDS = 500
"""Of the seeds below this all that goes wrong is in the table."""
FILE = Path(__file__).parent / "known.json"
KNOWN: dict[int, list[str]] = {int(seed): rules for seed, rules in json.loads(FILE.read_text()).items()}


def row_of(rule: str, *, is_stepped: bool, is_staged: bool) -> str | None:
    """The known hole that a broken rule shows, if it is any.

    `is_stepped`: clocks may step in its world; `is_staged`: its writer has no transactions.
    """
    if is_stepped and re.fullmatch(STEPPED, rule):
        return "E6"
    rows = ROWS if is_staged else ANY_WRITER
    return next((row for row, pattern in rows.items() if re.fullmatch(pattern, rule)), None)


def told_by(seed: int) -> tuple[int, dict[str, str | None], Counter[str]]:
    """Run one world: what goes wrong, by which known hole, and what it met."""
    from tests.unit.core.simulation.port import Violation  # noqa: PLC0415 - the table alone is wanted often
    from tests.unit.core.simulation.world import World  # noqa: PLC0415

    world = World(seed)
    rules: list[str] = []
    try:
        world.run()
    except Violation as violation:
        rules = str(violation).split("\n")
    rows = {rule: row_of(rule, is_stepped=world.is_stepped, is_staged=world.is_staged) for rule in rules}
    return seed, rows, world.features()


def main(seeds: Sequence[int]) -> int:
    """Run, write, print; of worlds that are not run the table stays as it is."""
    rows, met, unexplained = Counter[str](), Counter[str](), list[str]()
    known = {seed: rules for seed, rules in KNOWN.items() if seed not in seeds}
    with ProcessPoolExecutor() as pool:
        for seed, found, seen in pool.map(told_by, seeds, chunksize=10):
            met.update(dict.fromkeys((each for each, times in seen.items() if times), 1))
            rows.update({str(row) for row in found.values()})
            unexplained += [f"world {seed}: {rule}" for rule, row in found.items() if row is None]
            if found:
                known[seed] = list(found)
    lines = (f"  {json.dumps(str(seed))}: {json.dumps(rules)}" for seed, rules in sorted(known.items()))
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(*(f"{met[each]:4} worlds meet: {each}" for each in sorted(met)), sep="\n")
    print(f"{len(known):4} worlds break a rule", *unexplained, sep="\n")
    print(*(f"{rows[row]:4} worlds show {row}: {hole}" for row, hole in HOLES.items()), sep="\n")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main([int(seed) for seed in sys.argv[1:]] or range(WORLDS)))
