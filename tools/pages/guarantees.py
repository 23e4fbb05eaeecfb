"""Write the end of docs/guarantees.md (the simulation, the mutants); above its mark it is hand-written."""

from pathlib import Path

from tests.unit.core.simulation.known import HOLES, KNOWN, WORLDS
from tools.mutants import LIST, read

PAGE = Path("docs/guarantees.md")
MARK = "<!-- From here on written by"
SIMULATION = """
## What the simulation still shows

Of {worlds} simulated worlds, {known} break a rule. Each is listed in `tests/unit/core/simulation/known.json`,
and `make test-all` fails if a world breaks another rule, or no longer breaks its own. The known holes, of
which these worlds need not show each:

{holes}
"""
TABLE = """
## Each protection, and the test that fails without it

`make mutants` removes each protection in a copy of the tree and runs the tests named here.
`tests/unit/core/simulation/test_mutants.py` has more mutants inside the simulation: of the order of a
batch's stages, of restores, endings and reconciling.

| without this | these fail |
| --- | --- |
"""


def guarantees_page() -> str:
    """The whole page: its hand-written part, and a new end."""
    by_hand, mark, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    rows = (
        f"| {mutant.name} | {'<br>'.join(f'`{test}`' for test in mutant.tests)} |\n" for mutant in read(LIST)
    )
    holes = "\n".join(f"- {name}: {hole}." for name, hole in HOLES.items())
    simulation = SIMULATION.format(worlds=WORLDS, known=len(KNOWN), holes=holes)
    return "".join((by_hand, mark, rest.partition("\n")[0], "\n", simulation, TABLE, *rows))
