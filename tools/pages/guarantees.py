"""Write the table of mutants at the end of docs/guarantees.md; the part above its mark is hand-written."""

from pathlib import Path

from tools.mutants import LIST, read

PAGE = Path("docs/guarantees.md")
MARK = "<!-- From here on written by"
TABLE = """
## Each protection, and the test that fails without it

`make mutants` removes each protection in a copy of the tree and runs the tests named here.
`tests/unit/core/simulation/test_mutants.py` has more mutants inside the simulation: of the order of a
batch's stages, of restores, endings and reconciling.

| without this | these fail |
| --- | --- |
"""


def guarantees_page() -> str:
    """The whole page: its hand-written part, and a new table."""
    by_hand, mark, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    rows = (
        f"| {mutant.name} | {'<br>'.join(f'`{test}`' for test in mutant.tests)} |\n" for mutant in read(LIST)
    )
    return "".join((by_hand, mark, rest.partition("\n")[0], "\n", TABLE, *rows))
