"""The group's consumer when its client fails; without a broker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from service.clock import SystemClock
from service.errors import ClusterError, ConfigError
from service.kafka.client.clients import RebalanceListener
from service.kafka.client.cluster import ClusterConfig
from service.kafka.group import consumer
from service.kafka.group.consumer import GroupConfig, RequestConsumer
from tests.fakes.clock import BEGIN_BOOT_SECONDS, FakeClock
from tests.fakes.owner import FakeOwner

NOWHERE = ClusterConfig("127.0.0.1:1")
ZERO = TopicPartition("requests", 0)
GROUP = GroupConfig("requests", "group", None, 6_000, 500)


@pytest.fixture
async def requests() -> AsyncIterator[RequestConsumer]:
    """A consumer that was never started, of an owner with a bug in it."""
    made = RequestConsumer(
        NOWHERE, GROUP, FakeOwner(bug=ZeroDivisionError("a bug")), SystemClock(), FakeOwner()
    )
    yield made
    await made.stop()


async def test_a_bug_in_the_owner_ends_the_loop(requests: RequestConsumer) -> None:
    """aiokafka only logs what a listener raises: the member would own partitions and do nothing."""
    with pytest.raises(ZeroDivisionError):
        requests._on_assigned([])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await requests.run(lambda: None)


async def test_a_revocation_that_is_cancelled_is_no_bug(requests: RequestConsumer) -> None:
    owner = requests._owner
    assert isinstance(owner, FakeOwner)
    owner.may_leave.clear()
    revoking = asyncio.gather(requests._on_revoked([TopicPartition("requests", 0)]))
    await asyncio.sleep(0)
    revoking.cancel()
    await asyncio.wait({revoking})
    assert requests._failure is None


@dataclass
class StubClient:
    """aiokafka's consumer, as far as a member of a group needs it; `errors` are those of its starts."""

    errors: list[Exception] = field(default_factory=list)
    is_dead: bool = False
    is_closed: bool = False
    listener: RebalanceListener | None = None
    seek_error: Exception | None = None

    async def start(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def subscribe(self, _topics: list[str], listener: RebalanceListener) -> None:
        self.listener = listener

    async def getmany(self, **_asked: object) -> dict[TopicPartition, list[object]]:
        await asyncio.sleep(0)
        return {}

    def assignment(self) -> set[TopicPartition]:
        return {ZERO}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0}

    def pause(self, *_: TopicPartition) -> None:
        pass

    def resume(self, *_: TopicPartition) -> None:
        pass

    def seek(self, _partition: TopicPartition, _offset: int) -> None:
        if self.seek_error is not None:
            raise self.seek_error


@dataclass
class Clients:
    """The clients of one member, in their order."""

    made: list[StubClient] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def make(self, _cluster: ClusterConfig, **_settings: object) -> StubClient:
        self.made.append(StubClient(self.errors))
        return self.made[-1]


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    made = Clients()

    async def close(client: StubClient) -> None:
        client.is_closed = True

    monkeypatch.setattr(consumer, "group_consumer", made.make)
    monkeypatch.setattr(consumer, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(consumer, "close_consumer", close)
    monkeypatch.setattr(consumer, "has_died", lambda client: client.is_dead)
    return made


@asynccontextmanager
async def serving(clients: Clients, owner: FakeOwner) -> AsyncIterator[RequestConsumer]:
    """A member of the group that has one partition, and a loop that runs."""
    made = RequestConsumer(NOWHERE, GROUP, owner, FakeClock(), owner)
    await made.start()
    running = asyncio.create_task(made.run(lambda: None))
    await give(clients.made[0])
    yield made
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})


async def give(client: StubClient) -> None:
    assert client.listener is not None
    await client.listener.on_partitions_assigned([ZERO])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


async def test_a_client_whose_task_has_ended_is_replaced_and_its_partitions_come_back(
    clients: Clients,
) -> None:
    """It would return nothing, for ever; and nothing that a broker does may end the process."""
    owner = FakeOwner()
    async with serving(clients, owner):
        clients.made[0].is_dead = True
        await until(lambda: len(clients.made) == 2 and clients.made[1].listener is not None)
        assert clients.made[0].is_closed
        assert owner.events == ["assigned", "revoking", "revoked"]
        await give(clients.made[1])
        assert owner.partitions == {0}


async def test_a_client_is_made_anew_until_the_cluster_takes_one(clients: Clients) -> None:
    owner = FakeOwner()
    async with serving(clients, owner):
        clients.errors += [AssertionError("Did we not perform bootstrap?"), OSError("refused")]
        clients.made[0].is_dead = True
        await until(lambda: len(clients.made) == 4 and clients.made[3].listener is not None)
        assert [each.is_closed for each in clients.made] == [True, True, True, False]
        first, *others = owner.losses
        assert (first, len(others)) == ("the group's consumer has stopped working", 2)
        assert all("127.0.0.1:1" in each for each in others)


async def test_certificates_that_are_gone_for_a_moment_end_no_member_and_are_said(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, gone = FakeOwner(), [ConfigError("no certificates can be read from ca.pem")] * 3
    async with serving(clients, owner):
        make = clients.make

        def refuse(cluster: ClusterConfig, **settings: object) -> StubClient:
            if gone:
                raise gone.pop()
            return make(cluster, **settings)

        monkeypatch.setattr(consumer, "group_consumer", refuse)
        clients.made[0].is_dead = True
        await until(lambda: len(clients.made) == 2 and clients.made[1].listener is not None)
        assert owner.losses[1:] == ["no certificates can be read from ca.pem"] * 3


@pytest.mark.parametrize("error", [IllegalStateError("not assigned"), AssertionError()], ids=repr)
async def test_a_partition_that_cannot_be_released_or_begun_costs_a_client_and_no_more(
    clients: Clients, error: Exception
) -> None:
    async with serving(clients, FakeOwner()) as member:
        clients.made[0].seek_error = error
        member.deliver_from(0, 5)
        await until(lambda: len(clients.made) == 2 and clients.made[1].listener is not None)
        clients.made[1].seek_error = error
        with pytest.raises(ClusterError):
            await give(clients.made[1])
        await until(lambda: len(clients.made) == 3 and clients.made[2].listener is not None)


class CountingClient(StubClient):
    """Takes commits, and writes them down."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[dict[TopicPartition, int]] = []
        self.commit_error: Exception | None = None

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.commits.append(offsets)
        await asyncio.sleep(0.5)
        if self.commit_error is not None:
            raise self.commit_error


@pytest.fixture
def committing(monkeypatch: pytest.MonkeyPatch) -> CountingClient:
    client = CountingClient()
    monkeypatch.setattr(consumer, "group_consumer", lambda _cluster, **_settings: client)
    return client


async def test_a_membership_is_proven_every_three_seconds_though_no_offset_moves(
    committing: CountingClient,
) -> None:
    owner, clock = FakeOwner(durable={0: 7}), FakeClock()
    made = RequestConsumer(NOWHERE, GROUP, owner, clock, owner)
    for _ in range(10):
        await made.commit()
        clock.suspend(1)
    assert committing.commits == [{ZERO: 7}] * 4
    proofs = [proof - BEGIN_BOOT_SECONDS for proof in owner.proofs]
    assert [round(proof, 3) for proof in proofs] == sorted({round(proof, 3) for proof in proofs})
    assert len(proofs) == 4


async def test_a_proof_counts_from_the_sending_of_its_commit(committing: CountingClient) -> None:
    owner, clock = FakeOwner(durable={0: 7}), FakeClock()
    made = RequestConsumer(NOWHERE, GROUP, owner, clock, owner)
    sent_at = clock.boot_seconds()
    sending = asyncio.create_task(made.commit())
    await asyncio.sleep(0)
    clock.suspend(8)
    assert await sending
    assert owner.proofs == [sent_at]


async def test_a_commit_that_the_group_refuses_proves_nothing(committing: CountingClient) -> None:
    owner = FakeOwner(durable={0: 7})
    made = RequestConsumer(NOWHERE, GROUP, owner, FakeClock(), owner)
    committing.commit_error = CommitFailedError("of another generation")
    assert not await made.commit()
    assert owner.proofs == []


async def test_without_an_offset_of_ours_there_is_nothing_to_prove(committing: CountingClient) -> None:
    owner = FakeOwner()
    assert await RequestConsumer(NOWHERE, GROUP, owner, FakeClock(), owner).commit()
    assert (owner.proofs, committing.commits) == ([], [])


async def test_an_assignment_counts_the_partitions_that_the_leader_sent(committing: CountingClient) -> None:
    owner = FakeOwner()
    made = RequestConsumer(NOWHERE, GROUP, owner, FakeClock(), owner)
    made._on_assigned([ZERO])
    made._count(48)
    made._on_assigned([ZERO])
    assert owner.counts == [1, 48]
