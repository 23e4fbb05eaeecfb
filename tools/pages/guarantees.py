"""The end of docs/guarantees.md, the table of mutants; what stands before its mark is written by hand."""

from pathlib import Path

from tools.mutants import LIST, read

PAGE = Path("docs/guarantees.md")
MARK = "<!-- From here on written by"
TABLE = """
## Each protection, and the test that turns red without it

`make mutants` takes each of them away in a copy of the tree and runs the tests named here. The order of a
batch's stages, restores, endings and reconciling have more mutants inside the simulation, in
`tests/unit/core/simulation/test_mutants.py`.

| without this | these fail |
| --- | --- |
"""


def guarantees_page() -> str:
    """The whole page: its own beginning, and the table anew."""
    by_hand, mark, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    rows = (
        f"| {mutant.name} | {'<br>'.join(f'`{test}`' for test in mutant.tests)} |\n" for mutant in read(LIST)
    )
    return "".join((by_hand, mark, rest.partition("\n")[0], "\n", TABLE, *rows))
