"""Takes from the environment what lets a test depend on who runs it: keys, proxies, settings of ours."""

import os
import re

import pytest

_FOREIGN = re.compile(r"DASHSCOPE_|SCRIBE_|(https?|all|no|ftp)_proxy$", re.IGNORECASE)


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    for name in [name for name in os.environ if _FOREIGN.match(name)]:
        del os.environ[name]
