"""The group's assignor: all members of a generation count the same partitions."""

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocol, ConsumerProtocolMemberAssignment

from service.kafka.group.assignor import counting_assignor


class Cluster(ClusterMetadata):  # type: ignore[misc] # aiokafka ships no types for it
    """A cluster as the leader sees it."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(5))


def test_every_member_gets_the_leaders_number_of_partitions() -> None:
    heard: list[int | None] = []
    assignor = counting_assignor("requests", b"born", heard.append)
    members = {name: assignor.metadata(["requests"]) for name in ("a", "b")}
    assert members["a"].user_data == b"born"
    shared = assignor.assign(Cluster(), members)
    for assignment in shared.values():
        assignor.on_assignment(ConsumerProtocol.ASSIGNMENT.decode(assignment.encode()))
    assert heard == [5, 5]
    given = [partition for each in shared.values() for _, some in each.assignment for partition in some]
    assert sorted(given) == [0, 1, 2, 3, 4]


def test_a_leader_that_does_not_count_is_heard_as_one() -> None:
    heard: list[int | None] = []
    assignor = counting_assignor("requests", b"", heard.append)
    for said in (b"", None, b"many", b"9" * 30):
        assignor.on_assignment(ConsumerProtocolMemberAssignment(0, [], said))
    assert heard == [None] * 4
