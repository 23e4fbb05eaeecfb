"""Where Amazon's signer is for tests; `python -m tests.msk` prints it for tools/install.sh."""

import hashlib
import os
from pathlib import Path

LIST = Path(__file__).parents[1] / "requirements" / "msk.txt"


def folder() -> Path:
    """The folder of what requirements/msk.txt names; complete if it exists."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "scribe" / f"msk-{hashlib.sha256(LIST.read_bytes()).hexdigest()[:8]}"


if __name__ == "__main__":
    print(folder())
