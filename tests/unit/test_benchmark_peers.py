"""What the peers of the benchmark commit, and how the benchmark judges a run; no process is started."""

from aiokafka import ConsumerRecord, TopicPartition

from benchmarks.peers.__main__ import work_of
from benchmarks.peers.sdk_app import Offsets


def record(partition: int, offset: int) -> ConsumerRecord:
    return ConsumerRecord("t", partition, offset, 0, 0, None, None, None, 0, 0, ())


def test_an_offset_is_committed_up_to_the_first_record_that_is_under_way() -> None:
    offsets, first, other = Offsets(), TopicPartition("t", 0), TopicPartition("t", 1)
    for offset in (4, 5, 6):
        offsets.begin(record(0, offset))
    offsets.begin(record(1, 0))
    offsets.end(record(0, 5))
    assert offsets.of({first, other}) == {first: 4, other: 0}
    offsets.end(record(0, 4))
    assert offsets.of({first}) == {first: 6}
    offsets.end(record(0, 6))
    assert offsets.of({first}) == {first: 7}


def test_every_contender_has_the_same_run_times_within_their_bounds() -> None:
    runs = work_of(50).runs
    assert runs == work_of(50).runs
    assert all(2 <= each <= 45 for each in runs)


def test_a_second_outcome_of_a_request_is_counted_and_not_taken_for_another_request() -> None:
    work = work_of(3)
    for key in (b"a", b"b", b"a"):
        work.note(key, is_result=True)
    assert (len(work.outcomes), work.outcomes[b"a"], len(work.first_at)) == (2, 2, 2)
    assert not work.part_at(1.0)
    work.note(b"c", is_result=False)
    assert work.part_at(1.0)
    assert work.failures == {b"c"}
