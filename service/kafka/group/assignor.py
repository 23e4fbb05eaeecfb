"""The group's assignor: aiokafka's round robin, which also tells every member how many partitions it saw.

The time slots of all members must be cut for the same number (N7). Each member's own metadata learns of added
partitions when it pleases; what the leader counted is one number for all members of a generation.
"""

from collections.abc import Callable, Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


def counting_assignor(
    topic: str, stamp: bytes, on_count: Callable[[int | None], None]
) -> type[RoundRobinPartitionAssignor]:
    """An assignor whose memberships hold `stamp`; `on_count` is told before the listener of an assignment.

    It hears None where the group's leader did not say what it counted.
    """

    class Counting(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka ships no types for it
        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            """What a membership says."""
            return ConsumerProtocolMemberMetadata(cls.version, list(topics), stamp)

        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            """Share the partitions out; asked of the leader alone."""
            count = str(len(cluster.partitions_for_topic(topic) or ())).encode()
            return {
                member: ConsumerProtocolMemberAssignment(each.version, each.assignment, count)
                for member, each in super().assign(cluster, members).items()
            }

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            """Hear what the leader counted."""
            said = assignment.user_data or b""
            on_count(int(said) if said.isdigit() and len(said) < 10 else None)

    return Counting
