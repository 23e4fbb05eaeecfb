"""`scribe doctor` on a stack that works and on broken ones: each says what to do, and costs nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.testing

from sandbox.child import free_ports
from sandbox.simulator import Fault, Simulator, SimulatorConfig, serve
from service.cli.commands import app
from service.cli.findings import Result
from service.clock import SystemClock
from service.kafka.admin import inspection
from service.kafka.admin.topics import Creation, Topics, prepare
from service.kafka.client.cluster import ClusterConfig
from tests.brokers import TopicNames, admin, create_topics
from tests.contract.cluster import breakable_embedded
from tests.integration.stack import ROLES, Stack, settings_for
from tests.integration.test_causes import PLACES
from tests.permissions import needed
from tests.plugins.environment import NO_TRUST
from tests.secured import Grant, Secured

needs_java = pytest.mark.needs_java
only_embedded = pytest.mark.parametrize("broker_name", ["embedded"])
KEY = "sk-canary-of-nobody"


@dataclass(frozen=True)
class Diagnosis:
    """What `scribe doctor` said."""

    exit_code: int
    output: str
    checks: Mapping[str, tuple[Result, str]]

    def failed(self) -> dict[str, str]:
        """What to do, by the check that failed."""
        return {check: detail for check, (result, detail) in self.checks.items() if result is Result.FAILED}

    def skipped(self) -> set[str]:
        return {check for check, (result, _) in self.checks.items() if result is Result.SKIPPED}


@dataclass(frozen=True)
class Patient:
    """The settings of a service on a broker and a simulator."""

    settings: Mapping[str, str]
    topics: Mapping[str, str]
    sim: Simulator
    bootstrap: str

    async def diagnosis(self, **settings: str) -> Diagnosis:
        """The command in this process, from its first word to its exit code."""
        environ = {**NO_TRUST, **self.settings, **settings}
        run = typer.testing.CliRunner().invoke
        done = await asyncio.to_thread(run, app, ["doctor", "--output", "json"], env=environ)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        document = json.loads(done.stdout)
        checks = {each["check"]: (Result(each["result"]), each["detail"]) for each in document["checks"]}
        assert len(checks) == len(document["checks"]), "a check is there once"
        found = Diagnosis(done.exit_code, done.output, checks)
        assert document["ok"] is not bool(found.failed())
        assert found.exit_code == (3 if found.failed() else 0)
        assert "canary" not in done.output
        return found

    async def make_topics(self, **journal: str) -> None:
        own = {name.replace("_", "."): value for name, value in journal.items()}
        config = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", **own}
        await create_topics(self.bootstrap, {self.topics["journal"]: 2}, config)
        others = {name: 2 for role, name in self.topics.items() if role != "journal"}
        await create_topics(self.bootstrap, others)


@pytest.fixture
def sim_config() -> SimulatorConfig:
    return SimulatorConfig()


@pytest.fixture
async def sim(sim_config: SimulatorConfig) -> AsyncIterator[Simulator]:
    async with serve(sim_config) as ready:
        yield ready


@pytest.fixture
def patient(bootstrap: str, broker_name: str, topic_names: TopicNames, sim: Simulator) -> Patient:
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    settings = settings_for(bootstrap, topics, sim, 6_000, transactions=broker_name == "kafka")
    return Patient(settings, topics, sim, bootstrap)


async def groups_of(bootstrap: str) -> set[str]:
    async with admin(bootstrap) as client:
        return {name for name, _ in await client.list_consumer_groups()}


async def test_a_stack_that_works_is_in_order_and_nothing_is_joined_written_or_billed(
    patient: Patient,
) -> None:
    await patient.make_topics()
    found = await patient.diagnosis()
    assert found.failed() == {}
    assert {check for check, (result, _) in found.checks.items() if result is Result.OK} >= {
        *("settings", "kafka", "permissions", "topics", "partitions", "transactions", "group", "instance"),
        *("dns", "connection", "answer", "key", "quota", "clock"),
    }
    assert patient.sim.ledger().submits == []
    assert patient.topics["requests"] not in await groups_of(patient.bootstrap)
    async with admin(patient.bootstrap) as client:
        assert f"{patient.topics['journal']}.pages" not in await client.list_topics()


async def test_a_missing_topic_is_named_and_none_is_created(patient: Patient) -> None:
    """A question that names a topic would make a broker create it, with the broker's own defaults."""
    found = await patient.diagnosis(SCRIBE_KAFKA__DELIVERY="exactly_once", SCRIBE_KAFKA__IDEMPOTENT="true")
    assert set(found.failed()) == {"topics"}
    assert all(name in found.failed()["topics"] for name in patient.topics.values())
    assert "scribe topics" in found.failed()["topics"]
    assert {"partitions", "journal", "transactions"} <= found.skipped()
    async with admin(patient.bootstrap) as client:
        assert set(await client.list_topics()) & set(patient.topics.values()) == set()


async def test_a_journal_with_fewer_partitions_than_requests_is_a_fault(patient: Patient) -> None:
    counts = {name: 1 if role == "journal" else 2 for role, name in patient.topics.items()}
    await create_topics(patient.bootstrap, counts)
    found = await patient.diagnosis()
    assert "they must be equal; grow the journal first" in found.failed()["partitions"]


@needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
@pytest.mark.parametrize(
    ("journal", "words"),
    [
        ({"cleanup_policy": "delete"}, "cleanup.policy=delete: it would lose open jobs; set it to `compact`"),
        ({"cleanup_policy": "compact,delete"}, "cleanup.policy=compact,delete"),
        ({"max_message_bytes": "1000"}, "max.message.bytes=1000"),
    ],
)
async def test_a_journal_that_would_lose_jobs_is_a_fault(
    patient: Patient, journal: dict[str, str], words: str
) -> None:
    await patient.make_topics(**journal)
    found = await patient.diagnosis()
    assert set(found.failed()) == {"journal"}
    assert words in found.failed()["journal"]


@only_embedded
async def test_a_broker_without_transactions_is_a_fault_that_names_the_settings(patient: Patient) -> None:
    await patient.make_topics()
    found = await patient.diagnosis(SCRIBE_KAFKA__DELIVERY="exactly_once", SCRIBE_KAFKA__IDEMPOTENT="true")
    assert "SCRIBE_KAFKA__DELIVERY=at_least_once" in found.failed()["transactions"]
    found = await patient.diagnosis(SCRIBE_KAFKA__IDEMPOTENT="true")
    assert "SCRIBE_KAFKA__IDEMPOTENT=false" in found.failed()["transactions"]


@only_embedded
async def test_without_a_broker_the_provider_is_still_checked(patient: Patient) -> None:
    found = await patient.diagnosis(SCRIBE_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{free_ports(1)[0]}")
    assert set(found.failed()) == {"kafka"}
    assert "check SCRIBE_KAFKA__BOOTSTRAP_SERVERS" in found.failed()["kafka"]
    assert {"topics", "journal", "transactions", "group"} <= found.skipped()
    assert found.checks["key"][0] is Result.OK


@only_embedded
@pytest.mark.usefixtures("broker_name")
async def test_a_frozen_broker_does_not_hold_it_up(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "BOUND_SECONDS", 1.0)
    with breakable_embedded() as broker:
        broker.freeze()
        try:
            found = await patient.diagnosis(SCRIBE_KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap)
        finally:
            broker.thaw()
    assert "no answer in time" in found.failed()["kafka"]


@only_embedded
async def test_a_setting_that_cannot_be_read_is_one_line_for_each(patient: Patient) -> None:
    found = await patient.diagnosis(SCRIBE_HTTP__PORT="many")
    assert found.failed() == {
        "settings": "SCRIBE_HTTP__PORT must be a valid integer, unable to parse string as an integer"
    }
    assert set(found.checks) == {"settings"}


@only_embedded
async def test_a_missing_key_does_not_hide_what_kafka_lacks(patient: Patient) -> None:
    found = await patient.diagnosis(SCRIBE_PROVIDER__API_KEY="")
    assert set(found.failed()) == {"topics", "key"}
    assert "SCRIBE_PROVIDER__API_KEY_FILE" in found.failed()["key"]


@only_embedded
async def test_a_key_that_the_provider_refuses_is_a_fault_that_names_the_region(patient: Patient) -> None:
    await patient.make_topics()
    found = await patient.diagnosis(SCRIBE_PROVIDER__API_KEY=KEY)
    assert set(found.failed()) == {"key"}
    words = found.failed()["key"]
    assert "InvalidApiKey" in words
    assert "SCRIBE_PROVIDER__API_KEY_FILE" in words
    assert "127.0.0.1" in words


STEPS = {
    "closed port": "connection",
    "unknown host": "dns",
    "self-signed": "tls",
    "no TLS": "tls",
    "hung": "answer",
    "web page": "answer",
    "wrong path": "answer",
}


@only_embedded
@pytest.mark.parametrize("place", PLACES)
async def test_a_provider_out_of_reach_is_a_fault_of_the_step_that_fails(
    patient: Patient, tmp_path: Path, place: str
) -> None:
    serve_at: AbstractAsyncContextManager[str] = PLACES[place][0](tmp_path)
    async with serve_at as origin:
        found = await patient.diagnosis(
            SCRIBE_PROVIDER__BASE_URL=f"{origin}/api/v1",
            SCRIBE_PROVIDER__CALL_TIMEOUT_SECONDS="2",
        )
    assert set(found.failed()) == {"topics", STEPS[place]}
    assert PLACES[place][2] in found.failed()[STEPS[place]]
    assert {"key", "quota"} <= found.skipped()


@only_embedded
async def test_throttling_is_a_warning_and_no_fault_of_the_key(patient: Patient) -> None:
    patient.sim.state.add_fault(
        Fault(on="list", kind="status", status=429, code="Throttling.RateQuota", times=None)
    )
    found = await patient.diagnosis()
    assert set(found.failed()) == {"topics"}
    assert found.checks["quota"][0] is Result.WARNING
    assert "SCRIBE_QUOTA__PART" in found.checks["quota"][1]
    assert found.checks["key"][0] is Result.OK


@only_embedded
@pytest.mark.parametrize(
    ("ahead_seconds", "result"),
    [(0, Result.OK), (60, Result.WARNING), (-60, Result.WARNING), (7200, Result.FAILED)],
)
async def test_a_wrong_clock_is_noticed_by_the_providers_date(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, ahead_seconds: int, result: Result
) -> None:
    truth = SystemClock.now_ms
    monkeypatch.setattr(SystemClock, "now_ms", lambda self: truth(self) - 1000 * ahead_seconds)
    found = await patient.diagnosis()
    assert found.checks["clock"][0] is result
    assert ("NTP" in found.checks["clock"][1]) is (result is not Result.OK)


@needs_java
@pytest.mark.parametrize("broker_name", ["kafka"])
async def test_a_name_that_another_process_holds_is_a_warning_but_not_on_its_own_machine(
    stack: Stack,
) -> None:
    name = {"SCRIBE_KAFKA__GROUP_INSTANCE_ID": "scribe-0"}
    scribe = await stack.start(**name)
    patient = Patient(stack.settings, stack.topics, stack.sim, stack.bootstrap)
    elsewhere = await patient.diagnosis(**name, SCRIBE_HTTP__PORT=str(free_ports(1)[0]))
    result, words = elsewhere.checks["instance"]
    assert result is Result.WARNING
    assert "scribe-0 is taken by a process at 127.0.0.1" in words
    beside = await patient.diagnosis(**name, SCRIBE_HTTP__PORT=str(scribe.port))
    assert beside.checks["instance"][0] is Result.OK
    other = await patient.diagnosis(SCRIBE_KAFKA__GROUP_INSTANCE_ID="scribe-1")
    assert other.checks["instance"] == (Result.OK, "nobody else is scribe-1")
    assert "1 members, stable" in other.checks["group"][1]


# -- permissions ----------------------------------------------------------------------------------------


@pytest.fixture
async def guarded(secured: Secured, topic_names: TopicNames, sim: Simulator) -> Patient:
    """A patient on a Kafka with an authorizer, whose topics exist."""
    topics = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    settings = settings_for(secured.bootstrap, topics, sim, 6_000, transactions=True)
    await prepare(ClusterConfig(secured.bootstrap), Topics(**topics), Creation(1, 1))
    return Patient(settings, topics, sim, secured.bootstrap)


@needs_java
async def test_the_permissions_of_the_service_are_enough(secured: Secured, guarded: Patient) -> None:
    user = secured.user()
    secured.grant(user, needed({"always", "exactly_once", "sharing"}, guarded.topics))
    found = await guarded.diagnosis(**secured.settings(user))
    assert found.failed() == {}
    assert found.checks["kafka"][1].endswith(f"lets {user} in")
    assert found.checks["pages"][0] is Result.OK


@needs_java
async def test_each_missing_permission_is_named(secured: Secured, guarded: Patient) -> None:
    grants = needed({"always", "exactly_once"}, guarded.topics)
    for lacking in grants:
        user = secured.user()
        secured.grant(user, [grant for grant in grants if grant != lacking])
        found = await guarded.diagnosis(**secured.settings(user))
        words = " ".join(found.failed().values())
        assert lacking.name in words, str(lacking)
        assert "no permission for" in words
        assert "docs/security.md" in words
        assert found.checks["pages"][0] is Result.WARNING


@needs_java
async def test_describe_alone_does_not_let_into_the_group(secured: Secured, guarded: Patient) -> None:
    user = secured.user()
    grants = needed({"always", "exactly_once"}, guarded.topics)
    [group] = [grant for grant in grants if grant.resource == "group"]
    others = [grant for grant in grants if grant != group]
    secured.grant(user, [*others, Grant("Describe", "group", group.name)])
    found = await guarded.diagnosis(**secured.settings(user))
    assert "grant Read on it" in found.failed()["group"]


@needs_java
async def test_a_wrong_password_is_a_fault_that_names_the_user_and_no_password(
    secured: Secured, guarded: Patient
) -> None:
    user = secured.user()
    found = await guarded.diagnosis(
        **{**secured.settings(user), "SCRIBE_KAFKA__SASL_PASSWORD": "passwordcanary"}
    )
    assert set(found.failed()) == {"kafka"}
    assert f"refuses the login of user {user}" in found.failed()["kafka"]
