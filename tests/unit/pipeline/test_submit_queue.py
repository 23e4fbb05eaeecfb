"""What may share a POST is told with the next submission, and forgotten with whatever leaves the queue."""

from dataclasses import dataclass
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from service.core.job.identity import Origin, SubmissionKey
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.submit_queue import MOST_COMPANIONS, Queued, SubmitQueue


@dataclass(eq=False)
class Runner:
    """As much of a shard's runner as the queue asks for."""

    is_open: bool = True


RUNNERS = [cast(ShardRunner, Runner()) for _ in range(2)]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "add", "several", "pop", "apart")),
        st.integers(0, 1),
        st.integers(0, 5),
        st.integers(0, 30),
        st.sampled_from((None, "x", "y")),
    ),
    max_size=80,
)


def queued(number: int, runner: ShardRunner = RUNNERS[0]) -> Queued:
    """A submission."""
    return runner, SubmissionKey(1, number)


def add(queue: SubmitQueue, request: int, number: int, content: str | None = "x") -> None:
    """Add a submission of a request."""
    queue.add(queued(number), (RUNNERS[0], Origin(0, request)), content, is_of_several=False)


def is_empty(queue: SubmitQueue) -> bool:
    """Whether nothing is remembered."""
    return not (queue or len(queue) or queue._places or queue._alike)


def test_companions_are_one_of_each_equal_request_in_turn() -> None:
    queue = SubmitQueue()
    for request, number, content in [(0, 1, "x"), (1, 2, "y"), (2, 3, "x"), (2, 4, "x"), (3, 5, "x")]:
        add(queue, request, number, content)
    assert queue.pop() == (queued(1), (queued(3), queued(5)))
    queue.remove(queued(5))
    assert queue.pop() == (queued(2), ())
    assert queue.pop() == (queued(3), ())
    assert queue.pop() == (queued(4), ())
    assert is_empty(queue)


def test_a_submission_that_shares_no_post_has_no_companions() -> None:
    queue = SubmitQueue()
    for number, content in enumerate(("x", None, "x")):
        add(queue, number, number, content)
    assert queue.pop() == (queued(0), (queued(2),))
    assert queue.pop() == (queued(1), ())


def test_those_that_are_kept_apart_keep_their_turns() -> None:
    queue = SubmitQueue()
    for number in range(3):
        add(queue, number, number)
    _, companions = queue.pop()
    queue.keep_apart(companions)
    assert [queue.pop(), queue.pop()] == [(queued(1), ()), (queued(2), ())]
    assert is_empty(queue)


def test_the_number_of_companions_is_bounded() -> None:
    queue = SubmitQueue()
    for number in range(2 * MOST_COMPANIONS):
        add(queue, number, number)
    assert len(queue.pop()[1]) == MOST_COMPANIONS


def test_a_submission_of_several_requests_is_held_whatever_its_first_job_is_now() -> None:
    queue = SubmitQueue()
    queue.add(queued(1), (RUNNERS[0], Origin(0, 1)), None, is_of_several=True)
    later = (RUNNERS[0], Origin(0, 2))
    assert queue.holds(queued(1), later)
    queue.add(queued(1), later, None, is_of_several=True)
    assert queue.pop() == (queued(1), ())
    assert not queue.holds(queued(1), later)
    assert is_empty(queue)


@given(ACTS)
def test_what_leaves_is_forgotten_whatever_comes_before(
    acts: list[tuple[str, int, int, int, str | None]],
) -> None:
    queue, waiting = SubmitQueue(), set[Queued]()
    for act, at, request, number, content in acts:
        runner = RUNNERS[at]
        if act in ("add", "several"):
            each = queued(10 * request + number % 10, runner)
            is_of_several = act == "several"
            turn = (runner, Origin(0, request))
            queue.add(each, turn, None if is_of_several else content, is_of_several=is_of_several)
            waiting.add(each)
        elif queue:
            gone, companions = queue.pop()
            waiting.remove(gone)
            assert waiting >= set(companions)
            assert len({key.number // 10 for _, key in companions}) == len(companions)
            if act == "apart":
                queue.keep_apart(companions)
            else:
                for companion in companions[:2]:
                    queue.remove(companion)
                    waiting.remove(companion)
    assert len(queue) == len(waiting)
    while queue:
        waiting.remove(queue.pop()[0])
    assert not waiting
    assert is_empty(queue)


def test_a_closed_shard_is_forgotten_and_the_others_stay() -> None:
    closed = cast(ShardRunner, Runner(is_open=False))
    queue = SubmitQueue()
    for number, runner in enumerate((closed, RUNNERS[0], closed, RUNNERS[0])):
        queue.add(queued(number, runner), (runner, Origin(0, number)), "x", is_of_several=False)
    queue.forget_closed()
    assert queue.pop() == (queued(1), (queued(3),))
    assert queue.pop() == (queued(3), ())
    assert is_empty(queue)
