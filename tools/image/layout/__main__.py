"""`python3 -m tools.image.layout VENV TARGET`: three trees, each a layer of the image."""

import sys
from pathlib import Path

from tools.image.layout import base, bytecode, sbom, virtual_environment


def main() -> None:
    """Lay out TARGET/python, TARGET/packages and TARGET/service."""
    venv, target = Path(sys.argv[1]), Path(sys.argv[2])
    python, packages, service = (target / name for name in ("python", "packages", "service"))
    virtual_environment.lay_out(venv, packages, service)
    base.lay_out(python, modules_of=venv)
    for tree in (python, packages, service):
        bytecode.compile_tree(tree)
    sbom.write(service / "usr/share/scribe/sbom.cdx.json", venv, python)


if __name__ == "__main__":
    main()
