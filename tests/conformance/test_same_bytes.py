"""For the same task, Scribe sends what the vendor's SDK sends, but for the differences in a table here.

What was not foreseen fails, and so does an accepted difference that is no more. The other way to ask
qwen3-asr-flash, by OpenAI's API, is not compared: Scribe has no use for it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from pydantic import SecretStr

from sandbox.simulator import SimulatorConfig, serve
from sandbox.simulator.models import BEIJING
from service.provider.dashscope import DashScope, DashScopeConfig
from tests.conformance.capture import Capture, Taken, capturing
from tests.conformance.running import KEY, run_program, run_sample
from tests.conformance.wire_cases import CASES, STREAMED, Case

ABSENT = "absent"
FRAMING = ("header host", "header content-length")
"""They follow from where a request goes and from how its JSON is spaced; not compared."""
OLD, NEW, BOTH, OPENAI = "[A-Z]*", "v2.*", "[A-Zv]*", "openai.*"
"""Patterns of calls: the SDK's first generation, its second, both, the `openai` package."""


@dataclass(frozen=True)
class Accepted:
    """One part of a request that differs, in every call that fits, and why that does no harm."""

    where: str
    theirs: Any
    ours: Any
    why: str
    calls: str = "*"


ACCEPTED = (
    Accepted("header user-agent", ANY, "scribe", "who asks"),
    Accepted("header x-dashscope-sdk-client", ANY, ABSENT, "which part of the SDK asks", BOTH),
    Accepted("header x-dashscope-sdk-session-id", ANY, ABSENT, "which process of the SDK asks", BOTH),
    Accepted(
        "header accept-encoding", "gzip, deflate", "identity", "our limits count the bytes of an answer"
    ),
    Accepted("header accept", "*/*", "application/json; charset=utf-8", "the older SDK's way", NEW),
    Accepted("header accept", "application/json", "text/event-stream", "which is what a stream is", OPENAI),
    *(
        Accepted(
            f"header x-stainless-{name}", ANY, ABSENT, "the package's identity and its own patience", OPENAI
        )
        for name in (
            *("arch", "async", "lang", "os", "package-version", "read-timeout"),
            *("retry-count", "runtime", "runtime-version"),
        )
    ),
    *(
        Accepted(
            "header content-type",
            "application/json; charset=utf-8",
            "application/json",
            "JSON is UTF-8; the newer SDK says no charset",
            calls,
        )
        for calls in ("*.async_call", "MultiModalConversation.*", "VocabularyService.*")
    ),
    Accepted(
        "body.parameters", "object", ABSENT, "empty; the newer SDK leaves it out", "VocabularyService.*"
    ),
    Accepted("header x-dashscope-sse", "enable", ABSENT, "we take the answer in one piece", STREAMED.call),
)


async def test_scribe_sends_what_the_vendors_sdk_sends() -> None:
    async with serve(_config()) as simulator, capturing(simulator) as door:
        calls = json.dumps([[case.call, case.given] for case in CASES])
        code, told, errors = await run_sample("calls_sample.py", door, calls)
        assert (code, len(told)) == (0, len(CASES)), errors
        theirs, ours = _emptied(door), await _sent_by_scribe(door, CASES)
    compared = zip(CASES, theirs, ours, strict=True)
    assert {case.name: _differences(sdk, scribe) for case, sdk, scribe in compared} == {
        case.name: _accepted(case) for case in CASES
    }


async def test_scribe_sends_what_the_vendors_sample_for_short_audio_sends(tmp_path: Path) -> None:
    async with serve(_config()) as simulator, capturing(simulator) as door:
        audio = ("--url", STREAMED.given["url"], "--model", STREAMED.given["model"])
        target = str(tmp_path / "transcript.txt")
        code, _, errors = await run_program(
            door, "-m", STREAMED.given["sample"], *audio, "--transcript", target
        )
        assert code == 0, errors
        [theirs], [ours] = _emptied(door), await _sent_by_scribe(door, [STREAMED])
    assert _differences(theirs, ours) == _accepted(STREAMED)


def test_each_part_of_a_request_is_compared() -> None:
    headers = {"host": "a", "content-type": "application/json", "x-dashscope-async": "enable"}
    body = {"model": "m", "input": {"file_urls": ["u"]}, "parameters": {}}
    sent = Taken("POST", "/tasks", "page_no=1", headers, body, 200)
    assert _differences(sent, replace(sent, headers={**headers, "host": "b"})) == {}
    changed = {
        "method": replace(sent, method="GET"),
        "path": replace(sent, path="/tasks/"),
        "status": replace(sent, status=400),
        "query page_no": replace(sent, query="page_no=2"),
        "query page_size": replace(sent, query="page_no=1&page_size=10"),
        "header x-dashscope-async": replace(sent, headers={"content-type": "application/json"}),
        "body.model": replace(sent, body={**body, "model": "n"}),
        "body.input.file_urls": replace(sent, body={**body, "input": {"file_urls": ["u", "v"]}}),
        "body.parameters": replace(sent, body={"model": "m", "input": body["input"]}),
        "body.parameters.channel_id": replace(sent, body={**body, "parameters": {"channel_id": [0]}}),
    }
    assert {part: list(_differences(sent, other)) for part, other in changed.items()} == {
        part: [part] for part in changed
    }


def _config() -> SimulatorConfig:
    return SimulatorConfig(region=BEIJING, api_keys={KEY: "a"}, speed=10, submit_rpm=None)


def _emptied(door: Capture) -> list[Taken]:
    taken, door.taken = door.taken, []
    return taken


async def _sent_by_scribe(door: Capture, cases: Sequence[Case]) -> list[Taken]:
    for case in cases:
        config = DashScopeConfig(base_url=door.base_url, api_key=SecretStr(KEY), workspace=case.workspace)
        async with DashScope(config) as provider:
            await case.ours(provider)
    return _emptied(door)


def _differences(theirs: Taken, ours: Taken) -> dict[str, tuple[Any, Any]]:
    """The parts that are not the same, each with what the SDK and what Scribe sent."""
    sdk, scribe = theirs.flat(), ours.flat()
    parts = sorted((sdk.keys() | scribe.keys()) - set(FRAMING))
    pairs = {part: (sdk.get(part, ABSENT), scribe.get(part, ABSENT)) for part in parts}
    return {part: pair for part, pair in pairs.items() if pair[0] != pair[1]}


def _accepted(case: Case) -> dict[str, tuple[Any, Any]]:
    return {row.where: (row.theirs, row.ours) for row in ACCEPTED if fnmatchcase(case.call, row.calls)}
