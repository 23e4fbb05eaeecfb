"""The group's assignor: round robin with the leader's number of partitions.

All members must divide the time slots by the same number (N7). Each member's own metadata learns of added
partitions at its own time; the leader's count is one number for all members of a generation.
"""

from collections.abc import Callable, Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


def counting_assignor(
    topic: str, stamp: bytes, on_count: Callable[[int | None], None]
) -> type[RoundRobinPartitionAssignor]:
    """An assignor whose memberships hold `stamp`; it calls `on_count` before an assignment's listener.

    The count is None if the group's leader did not send one.
    """

    class Counting(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka ships no types for it
        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            """The member's metadata, with our stamp."""
            return ConsumerProtocolMemberMetadata(cls.version, list(topics), stamp)

        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            """Assign the partitions; called on the leader only."""
            count = str(len(cluster.partitions_for_topic(topic) or ())).encode()
            return {
                member: ConsumerProtocolMemberAssignment(each.version, each.assignment, count)
                for member, each in super().assign(cluster, members).items()
            }

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            """Pass on the leader's count."""
            user_data = assignment.user_data or b""
            on_count(int(user_data) if user_data.isdigit() and len(user_data) < 10 else None)

    return Counting
