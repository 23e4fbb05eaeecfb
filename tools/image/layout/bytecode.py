"""Compiles what the image holds, since a read-only root would make each start compile it again."""

import compileall
import sys
from pathlib import Path
from py_compile import PycInvalidationMode


def compile_tree(tree: Path) -> None:
    """Bytecode beside each module, which Python takes as it is: it never looks at the module's own file.

    The paths in it are those that the files have in the image. One process compiles all, in the order of
    the names: with equal hashes of strings (PYTHONHASHSEED) the bytes are the same each time.
    """
    is_done = compileall.compile_dir(
        tree,
        maxlevels=50,
        quiet=1,
        stripdir=str(tree),
        prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not is_done:
        sys.exit(f"Some modules of {tree} cannot be compiled (their names are above).")
