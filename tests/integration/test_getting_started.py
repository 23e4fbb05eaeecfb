"""The page for newcomers, run as it stands: its commands, in their order, in one shell."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.child import free_ports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/getting-started.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PORTS = ("19092", "18700", "18080", "19090")
CONFIG = "docs/getting-started/prometheus.yaml"
SECONDS = 150

pytestmark = [pytest.mark.needs_debian("prometheus"), pytest.mark.computes]


def test_a_newcomer_gets_a_transcript_and_the_answer_of_a_panel(tmp_path: Path) -> None:
    assert len(BLOCKS) == 5
    script = "set -e\n" + "".join(BLOCKS) + "wait\n"
    config = (ROOT / CONFIG).read_text("utf-8").replace("../../helm", str(ROOT / "helm"))
    for port, free in zip(PORTS, map(str, free_ports(len(PORTS))), strict=True):
        assert port in script + config
        script, config = script.replace(port, free), config.replace(port, free)
    (tmp_path / "prometheus.yaml").write_text(config)
    (tmp_path / "script.sh").write_text(script.replace(CONFIG, str(tmp_path / "prometheus.yaml")))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen(
            ["bash", str(tmp_path / "script.sh")],
            cwd=ROOT,
            env={"PATH": path, "TMPDIR": str(tmp_path)},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            running.wait(SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        said.seek(0)
        text = said.read().decode()
    assert "Hello world" in text, text
    assert '{fault="none"} => 1' in text, text
    assert running.poll() is not None, "the page does not stop what it has started"
