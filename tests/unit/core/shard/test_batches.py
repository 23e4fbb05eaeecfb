"""Groups and batches: what belongs together stays together, and no batch grows without bound."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from service.core.job.ending import ResultEnding
from service.core.job.events import QueueSubmit
from service.core.job.identity import SubmissionKey
from service.core.job.job import JobState
from service.core.job.request_record import Cursor
from service.core.job.uncertainty import UncertainOutcome
from service.core.outcome.build import OutcomeRules, job_outcome
from service.core.shard.batches import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MIN_BATCH_BYTES,
    Batch,
    Change,
    Group,
    JournalRecord,
    Pending,
    halves,
    shrink_batch,
    together,
)
from tests.unit.core.samples import NOW_MS, job, transcript

STEP = QueueSubmit(SubmissionKey(1, 1), 0)


def group(number: int, size_bytes: int = 0, records: int = 1) -> Group:
    """A group of some records."""
    value = b"x" * size_bytes
    return Group(tuple(JournalRecord(f"r/0.{number}", value) for _ in range(records)))


@given(st.lists(st.tuples(st.integers(0, 2 * MAX_BATCH_BYTES), st.integers(0, 3)), max_size=12))
def test_a_batch_is_bounded_in_bytes_unless_one_group_is_more(sizes: list[tuple[int, int]]) -> None:
    groups = [group(number, size, records) for number, (size, records) in enumerate(sizes)]
    pending = Pending()
    pending.add(groups)
    taken: list[Group] = []
    while len(pending):
        batch = pending.take(1)
        assert len(batch.groups) == 1 or batch.size_bytes <= MAX_BATCH_BYTES
        taken += batch.groups
        assert pending.size_bytes == sum(each.size_bytes for each in groups[len(taken) :])
    assert taken == groups
    assert pending.take(2) == Batch(2, ())


def test_a_batch_is_bounded_in_records() -> None:
    pending = Pending()
    pending.add(group(number, records=300) for number in range(5))
    assert [len(pending.take(1).groups) for _ in range(2)] == [MAX_BATCH_RECORDS // 300, 2]


def test_the_cursor_of_a_batch_is_that_of_its_last_group_and_never_ahead_of_a_split() -> None:
    """Taken from the state at commit time it would pass records whose groups come later (N5)."""
    spend = [JournalRecord("~spend/1", b"1"), JournalRecord("~spend/1", b"2")]
    groups = (
        replace(group(1, MIN_BATCH_BYTES), cursor=Cursor(2), spend=spend[0]),
        group(2, MIN_BATCH_BYTES),
        replace(group(3, MIN_BATCH_BYTES), cursor=Cursor(4), spend=spend[1]),
        group(4, MIN_BATCH_BYTES),
    )
    batch = Batch(7, groups)
    assert (batch.cursor, batch.spend) == (Cursor(4), spend[1])
    cut = halves(batch)
    assert cut is not None
    assert [(each.number, each.cursor, each.spend) for each in cut] == [
        (7, Cursor(2), spend[0]),
        (7, Cursor(4), spend[1]),
    ]
    assert cut[0].groups + cut[1].groups == groups


def test_one_group_and_a_small_batch_are_not_divided() -> None:
    assert halves(Batch(1, (group(1, 2 * MAX_BATCH_BYTES),))) is None
    assert halves(Batch(1, (group(1), group(2))), MIN_BATCH_BYTES) is None
    assert halves(Batch(1, (group(1), group(2)))) is not None
    assert Batch(1, (group(1),)).cursor is None
    assert Batch(1, (group(1),)).spend is None


def test_the_groups_of_a_batch_are_reported_in_order() -> None:
    outcome = job_outcome(
        job(JobState.FINISHING, ending=ResultEnding(transcript())), None, NOW_MS, OutcomeRules()
    )
    announcing = (JournalRecord("r/0.7", b"open"), JournalRecord("j/0.7/0", b"ends"))
    ended = Group((JournalRecord("r/0.7", b"over"),), announcing=announcing, outcomes=(outcome,))
    batch = Batch(1, (group(1), ended))
    assert [record.key for record in batch.records] == ["r/0.1", "r/0.7"]
    assert batch.announcing == announcing
    assert batch.outcomes == (outcome,)
    # The record of a request that was announced again stays: only a job's goes.
    assert batch.retracting == (JournalRecord("j/0.7/0", None),)
    assert ended.record_count == 4
    assert ended.size_bytes > len(outcome.value)


def test_changes_are_joined_in_their_order() -> None:
    first = Change((group(1),), (STEP,), (UncertainOutcome.BEGUN,))
    second = Change((group(2),), (), (UncertainOutcome.ADOPTED,))
    assert together([first, second]) == Change(
        (group(1), group(2)), (STEP,), (UncertainOutcome.BEGUN, UncertainOutcome.ADOPTED)
    )


def test_a_batch_that_is_refused_for_its_size_has_a_smaller_form_while_its_outcome_has() -> None:
    outcome = job_outcome(
        job(JobState.FINISHING, ending=ResultEnding(transcript())), None, NOW_MS, OutcomeRules()
    )
    batch = Batch(1, (Group(outcomes=(outcome,), cursor=Cursor(3)),))
    sizes = [batch.size_bytes]
    while (form := shrink_batch(batch)) is not None:
        batch = form
        assert (batch.cursor, batch.outcomes[0].id) == (Cursor(3), outcome.id)
        sizes.append(batch.size_bytes)
    assert len(sizes) > 2
    assert not batch.outcomes[0].is_result
    assert shrink_batch(Batch(1, (group(1),))) is None
