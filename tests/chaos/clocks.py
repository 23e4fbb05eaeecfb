"""A wall clock of a worker's own that a run can step: libfaketime, where it is installed.

It is loaded into the worker and reads its offset from a file. Clocks that count from the boot stay true.
"""

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path

NO_STEP = "+0"
_LIBRARY = Path("vendor", "libfaketime", "src", "libfaketime.so.1")
_REREAD_SECONDS = 1


@cache
def library() -> Path | None:
    """Where the library is; None where there is none, and clocks cannot be stepped."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / _LIBRARY
    return path if path.is_file() else None


def environment(offset_path: Path) -> Mapping[str, str]:
    """What a worker has to be started with so that its clock can be stepped; nothing where none can."""
    path = library()
    if path is None:
        return {}
    step(offset_path, NO_STEP)
    return {
        "LD_PRELOAD": str(path),
        "FAKETIME_TIMESTAMP_FILE": str(offset_path),
        "FAKETIME_CACHE_DURATION": str(_REREAD_SECONDS),
        "DONT_FAKE_MONOTONIC": "1",
    }


def step(offset_path: Path, offset: str) -> None:
    """From now on the clock differs by the offset, such as `+3d`: within a second."""
    offset_path.write_text(f"{offset}\n")
