"""Canaries go through every fault; then all topics, logs and pages are searched for them (N9)."""

import json
from collections.abc import Mapping

import pytest

from sandbox.simulator import Fault, SimulatorConfig
from tests.integration.stack import Outcome, Stack
from tests.integration.test_main_job import request

KEY = "sk-canary0123456789abcdef"
SIGNATURE = "canarysignature"
SPOKEN = "canaryspoken"
FOREIGN = "sk-foreign0123456789abcdef"
"""A key that is not ours, in a text that the provider sends."""
SIGNED = f"http://media.test/file.wav?run=0.2&Signature={SIGNATURE}"


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """An account whose key is a canary."""
    return SimulatorConfig(speed=10, api_keys={KEY: "account-1"})


def faults() -> list[Fault]:
    """One of each kind that carries foreign text or breaks off, for calls that name the key and URLs."""
    leaky = f"bad call with {KEY} for {SIGNED}"
    return [
        Fault(on="submit", kind="status", status=500, code="InternalError", message=leaky),
        Fault(
            on="submit", kind="status", status=400, code="InvalidParameter", message=leaky, match="refused"
        ),
        Fault(on="submit", kind="garbage", status=502),
        Fault(on="query", kind="status", status=500, code="InternalError", message=leaky),
        Fault(on="query", kind="garbage"),
        Fault(on="query", kind="drop_before"),
        Fault(on="result", kind="status", status=500),
        Fault(on="result", kind="truncate"),
    ]


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_no_key_no_signature_and_no_spoken_word_leaves_its_place(stack: Stack) -> None:
    quick = {"SCRIBE_PROVIDER__SUBMIT_TIMEOUT_SECONDS": "3", "SCRIBE_SUBMIT__SETTLE_SECONDS": "2"}
    scribe = await stack.start(SCRIBE_PROVIDER__API_KEY=KEY, SCRIBE_LOG__LEVEL="debug", **quick)
    for fault in faults():
        stack.sim.state.add_fault(fault)
    await stack.publish(request("spoken", f"{SIGNED}&text={SPOKEN}+words"))
    await stack.publish(request("refused", f"{SIGNED}&name=refused"))
    await stack.publish(request("missing", f"{SIGNED}&fail=FILE_404_NOT_FOUND&message={FOREIGN}"))
    await stack.publish(request("bad", f"{SIGNED}&x=1", speed=1))
    await stack.publish(b"not json " + SIGNED.encode(), "raw")
    outcomes = await stack.outcomes(5, seconds=90)

    pages = "".join([(await scribe.get(page)).text for page in ("metrics", "status", "readyz", "livez")])
    await scribe.end()
    for canary in (KEY, FOREIGN, SIGNATURE, SPOKEN):
        assert canary not in pages
        assert canary not in stack.logs()
    for outcome in outcomes:
        _keeps_secrets(outcome)
    values = [(record.value or b"").decode() for record in await stack.journal()]
    assert not any(KEY in value for value in values)
    finished = [value for value in values if '"ends":' in value]
    assert len({json.loads(value)["id"] for value in finished}) == 3
    assert not any(secret in value for value in finished for secret in (SPOKEN, SIGNATURE))
    assert stack.sim.ledger().leaked_keys() == 0


def _keeps_secrets(outcome: Outcome) -> None:
    """Keys are nowhere; the signature only in a failure's copy of the request; speech in a transcript."""
    body: dict[str, object] = dict(outcome.body)
    assert KEY not in json.dumps(body)
    assert FOREIGN not in json.dumps(_without(body, "original_request"))
    assert SIGNATURE not in json.dumps(_without(body, "original_request", "raw"))
    assert SPOKEN not in json.dumps(_without(body, "transcript", "original_request", "raw"))
    assert SIGNATURE not in json.dumps(dict(outcome.headers))


def _without(body: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in body.items() if name not in names}
