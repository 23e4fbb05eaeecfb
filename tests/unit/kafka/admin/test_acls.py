"""What a broker tells of our permissions, and what is made of it."""

from collections.abc import Sequence

from service.kafka.admin.acls import NOT_TOLD, AuthorizedOperationsRequest, Operation, missing, needs_of
from service.kafka.admin.creation import NOT_AUTHORIZED
from service.kafka.admin.topics import Topics

UNKNOWN_TOPIC = 3
TOPICS = Topics("q", "r", "f", "j")
NEEDS = needs_of(TOPICS)
ALL = sum(1 << operation for operation in Operation)


def told(topics: Sequence[tuple[int, str, int]]) -> list[str]:
    """What is missing by a broker's answer: for each topic its error, name and rights."""
    [request_class] = AuthorizedOperationsRequest._CLASSES
    answer = request_class.RESPONSE_TYPE
    rows = [(error, name, False, [(0, 0, 1, 0, [1], [1], [1])], rights) for error, name, rights in topics]
    wire = answer(0, [(1, "a", 9092, None)], "cluster", 1, rows, NOT_TOLD).encode()
    return list(missing(NEEDS, answer.decode(wire)))


def test_a_user_that_may_do_everything_misses_nothing() -> None:
    assert told([(0, name, ALL) for name in NEEDS]) == []


def test_every_operation_that_is_missing_is_named_with_its_topic() -> None:
    only_read = 1 << Operation.READ
    assert told([(0, "q", only_read), (0, "r", only_read), (0, "f", ALL), (0, "j", only_read)]) == [
        "Write on topic r",
        "Write and DescribeConfigs on topic j",
    ]


def test_a_topic_that_is_hidden_from_us_misses_all() -> None:
    assert told([(NOT_AUTHORIZED, "q", NOT_TOLD)]) == ["Read on topic q"]


def test_no_permission_is_missing_if_the_broker_does_not_list_them_or_the_topic_does_not_exist() -> None:
    assert told([(0, "q", NOT_TOLD), (UNKNOWN_TOPIC, "r", 0)]) == []


def test_the_question_makes_no_topic() -> None:
    [request_class] = AuthorizedOperationsRequest._CLASSES
    asked = AuthorizedOperationsRequest(["q"]).build(request_class).to_object()
    assert asked == {
        "topics": ["q"],
        "allow_auto_topic_creation": False,
        "include_cluster_authorized_operations": False,
        "include_topic_authorized_operations": True,
    }
