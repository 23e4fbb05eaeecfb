"""How many tests a run left failed."""

import json
from pathlib import Path

from tools.last_failed import count


def test_failed_tests_are_counted_and_no_cache_is_none(tmp_path: Path) -> None:
    cache = tmp_path / "lastfailed"
    assert count(cache) == 0
    cache.write_text(json.dumps({"tests/a.py::test_x": True, "tests/b.py::test_y[1]": True}))
    assert count(cache) == 2
