"""Lets coverage see the Python processes that tests start with an environment of their own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

_CARRIED = "COVERAGE_PROCESS_CONFIG"
_patches = pytest.MonkeyPatch()


def pytest_configure() -> None:
    if _CARRIED not in os.environ:
        return
    original = subprocess.Popen.__init__

    def measured(self: subprocess.Popen[bytes], args: Sequence[str], *rest: Any, **named: Any) -> None:
        env = named.get("env")
        if env is not None and not isinstance(args, str) and args[0] == sys.executable:
            named["env"] = {_CARRIED: os.environ[_CARRIED], **env}
        original(self, args, *rest, **named)

    _patches.setattr(subprocess.Popen, "__init__", measured)


def pytest_unconfigure() -> None:
    _patches.undo()
