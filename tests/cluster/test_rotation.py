"""The API key is replaced in its Secret: the pods use the new one, and none of them is restarted."""

import pytest

from sandbox.simulator import SimulatorConfig
from tests.cluster.kube import Kube
from tests.cluster.release import SECRET, Release, identities, values_for
from tests.integration.stack import Stack
from tests.integration.test_failover import all_end_well
from tests.integration.test_main_job import HELLO, request

pytestmark = [pytest.mark.needs_cluster, pytest.mark.needs_java, pytest.mark.timeout(300)]

OLD, NEW = "canary-old-0123456789", "canary-new-0123456789"
KEYS = {OLD: "account-1"}
"""The keys that the account has now."""


@pytest.fixture
def sim_config() -> SimulatorConfig:
    """An account whose key can be replaced."""
    KEYS.clear()
    KEYS[OLD] = "account-1"
    return SimulatorConfig(speed=10, api_keys=KEYS)


async def test_a_key_that_is_replaced_in_its_secret_is_used_without_a_restart(
    kube: Kube, stack: Stack
) -> None:
    release = Release(kube, values_for(stack, replicas=2), key=OLD)
    await release.install()
    names = [f"before-{number}" for number in range(8)]
    await stack.publish_all([(request(name, f"{HELLO}&n={name}"), name, ()) for name in names])
    await stack.outcomes(len(names))
    pods = identities(await release.pods())

    KEYS.clear()
    KEYS[NEW] = "account-1"
    later = [f"after-{number}" for number in range(8)]
    with kube.measured.took("a new API key in the Secret, until requests were served with it"):
        await kube.secret(SECRET, api_key=NEW)
        await stack.publish_all([(request(name, f"{HELLO}&n={name}"), name, ()) for name in later])
        await all_end_well(stack, [*names, *later], "exactly_once")
    assert identities(await release.pods()) == pods
    logs = await kube.logs()
    assert "key_replaced" in logs
    assert OLD not in logs
    assert NEW not in logs
