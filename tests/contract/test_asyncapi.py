"""schemas/asyncapi.yaml: AsyncAPI's own parser reads it, and it says what the code says."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.contract.outcome import FAILURE_TYPE, RESULT_TYPE
from service.contract.request_decoder import REQUEST_TYPE
from service.settings.groups import RequestSettings, TopicSettings

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "schemas/asyncapi.yaml"
INSTALL = ROOT / "tools/asyncapi/install.sh"
MEANT = "receiveRequest requests request", "sendResult results result", "sendFailure failures failure"


def parsed(path: Path) -> subprocess.CompletedProcess[str]:
    installed = subprocess.run([INSTALL], capture_output=True, text=True, timeout=120, check=True)
    command = ["node", f"{installed.stdout.strip()}/check.mjs", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs_node
def test_the_parser_of_asyncapi_finds_the_operations_and_their_payloads() -> None:
    found = parsed(DOCUMENT)
    assert found.returncode == 0, found.stdout + found.stderr
    lines = [line for line in found.stdout.splitlines() if line.startswith("ok ")]
    words = [each.split() for each in MEANT]
    assert lines == [
        f"ok {operation} transcription.{topic} scribe.transcription.{message}.v1"
        for operation, topic, message in words
    ]


@pytest.mark.needs_node
def test_the_parser_refuses_a_document_with_a_mistake(tmp_path: Path) -> None:
    text = DOCUMENT.read_text("utf-8").replace("./v1/", f"{DOCUMENT.parent}/v1/")
    (tmp_path / "bad.yaml").write_text(text.replace("action: receive", "action: read"), "utf-8")
    assert parsed(tmp_path / "bad.yaml").returncode == 1


def document() -> Any:
    return yaml.safe_load(DOCUMENT.read_text("utf-8"))


def test_its_topics_are_the_defaults_of_the_settings() -> None:
    topics = TopicSettings()
    addresses = {name: channel["address"] for name, channel in document()["channels"].items()}
    assert addresses == {name: getattr(topics, name) for name in ("requests", "results", "failures")}


def test_its_headers_are_those_that_the_service_reads_and_writes() -> None:
    components = document()["components"]
    request = components["messages"]["request"]["headers"]["properties"]
    assert request["ce_type"]["const"] == REQUEST_TYPE
    said = " ".join([*request, request["traceparent"]["description"]])
    assert all(name in said for name in RequestSettings().copied_headers)
    types = {
        name: components["schemas"][f"{name}Headers"]["allOf"][1]["properties"]["ce_type"]["const"]
        for name in ("result", "failure")
    }
    assert types == {"result": RESULT_TYPE, "failure": FAILURE_TYPE}
