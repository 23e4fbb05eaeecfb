"""Takes from the environment what lets a test depend on who runs it: keys, proxies, our settings, trust."""

import os
import re
import signal

import pytest

_FOREIGN = re.compile(r"DASHSCOPE_|SCRIBE_|(https?|all|no|ftp)_proxy$", re.IGNORECASE)

NO_TRUST = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""No certificate of the machine is trusted: a test that needs one makes it. Reading them all, twice when
aiohttp is imported, would be a tenth of a service's start."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    for name in [name for name in os.environ if _FOREIGN.match(name)]:
        del os.environ[name]
    os.environ.update(NO_TRUST)
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as below `nohup`, and a shell's `&`; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
