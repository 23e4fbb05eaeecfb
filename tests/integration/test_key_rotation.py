"""The provider's key is replaced while the service runs: nothing is lost, and nothing shows either key."""

from pathlib import Path

import pytest

from sandbox.simulator import SimulatorConfig
from tests.integration.stack import Stack
from tests.integration.test_limits import status_until
from tests.integration.test_main_job import HELLO, request

OLD, NEW = "canary-old-0123456789", "canary-new-0123456789"
KEYS = {OLD: "account-1"}
"""The keys that the account has now."""


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """An account whose key can be replaced."""
    KEYS.clear()
    KEYS[OLD] = "account-1"
    return SimulatorConfig(speed=10, api_keys=KEYS)


@pytest.mark.parametrize("broker_name", ["embedded"])
async def test_a_hold_for_the_old_key_ends_with_a_new_one_in_the_keys_file(
    stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(OLD)
    scribe = await stack.start(
        SCRIBE_PROVIDER__API_KEY="", SCRIBE_PROVIDER__API_KEY_FILE=str(file), SCRIBE_LOG__LEVEL="debug"
    )
    await stack.publish(request("before", f"{HELLO}&n=1"))
    assert {outcome.body["request_id"] for outcome in await stack.outcomes(1)} == {"before"}

    KEYS.clear()
    KEYS[NEW] = "account-1"
    await stack.publish(request("after", f"{HELLO}&n=2"))
    assert (await status_until(scribe, "hold"))["code"] == "InvalidApiKey"
    file.write_text(NEW)
    outcomes = await stack.outcomes(2, seconds=60)
    assert {outcome.body["request_id"] for outcome in outcomes} == {"before", "after"}
    assert (await scribe.get("status")).json()["hold"] is None
    pages = "".join([(await scribe.get(page)).text for page in ("metrics", "status")])
    await scribe.end()
    assert "key_replaced" in stack.logs()
    for key in (OLD, NEW):
        assert key not in pages + stack.logs()
