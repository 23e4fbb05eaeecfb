"""Kafka's password is replaced under a running service, whose connections end every three seconds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its __all__ is short
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from sandbox.simulator import SimulatorConfig, serve
from tests.brokers import TopicNames
from tests.integration.stack import ROLES, Stack, settings_for, standing
from tests.integration.test_main_job import HELLO, request
from tests.permissions import needed
from tests.secured import WAIT_SECONDS, Secured

pytestmark = pytest.mark.needs_java
NEW = "canary-of-the-new-password"


@pytest.fixture
async def guarded(secured: Secured, topic_names: TopicNames, tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack on a Kafka with logins."""
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    async with serve(SimulatorConfig(speed=10)) as sim:
        settings = settings_for(secured.bootstrap, topics, sim, 6_000, transactions=True)
        settings |= {"SCRIBE_TOPICS__PARTITIONS": "1"}
        async with standing(Stack(secured.bootstrap, topics, sim, tmp_path, settings)) as stack:
            yield stack


async def test_a_new_password_in_its_file_is_used_without_a_restart(
    secured: Secured, guarded: Stack, tmp_path: Path
) -> None:
    user, file = secured.user(), tmp_path / "password"
    old = secured.passwords[user]
    file.write_text(old)
    secured.grant(user, needed({"always", "creating", "exactly_once", "sharing"}, guarded.topics))
    way = {
        **secured.settings(user),
        "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": secured.cluster.secure_bootstrap("BRIEF"),
        "SCRIBE_KAFKA__SASL_PASSWORD": "",
        "SCRIBE_KAFKA__SASL_PASSWORD_FILE": str(file),
        "SCRIBE_LOG__LEVEL": "debug",
    }
    scribe = await guarded.start(**way)
    await guarded.publish(request("before", f"{HELLO}&n=1"))
    assert {outcome.id for outcome in await guarded.outcomes(1)} == {"before/0/0"}

    replace_password(secured, user)
    file.write_text(NEW)
    async with asyncio.timeout(WAIT_SECONDS):
        while "kafka_login_replaced" not in guarded.logs():
            await asyncio.sleep(0.1)
    await guarded.publish(request("after", f"{HELLO}&n=2"))
    outcomes = await guarded.outcomes(2, seconds=WAIT_SECONDS)
    assert {outcome.id for outcome in outcomes} == {"before/0/0", "after/0/0"}
    assert await scribe.end() == 0
    for password in (old, NEW):
        assert password not in guarded.logs()


def replace_password(secured: Secured, user: str) -> None:
    """Replace the old password: no new connection gets in with it."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(user, info, NEW.encode())
    for answer in secured.admin.alter_user_scram_credentials([change]).values():
        answer.result(WAIT_SECONDS)
