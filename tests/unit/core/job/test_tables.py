"""The tables of jobs and submissions: what is counted and found is what a walk over all would find."""

from collections import Counter
from collections.abc import Iterable, MutableMapping
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.job import tables
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.submission import UNANSWERED, Submission, SubmissionState
from service.core.job.tables import Jobs, Submissions
from tests.unit.core.samples import job, request, submission

K = TypeVar("K")
V = TypeVar("V")
MINUTE_MS = 60_000
MODELS = ("fun-asr", "fun-asr-mtl")
SOME = st.integers(0, 3)
REFS = st.builds(JobRef, st.builds(Origin, SOME, SOME), SOME)
KEYS = st.builds(SubmissionKey, SOME, SOME)
TIMES = st.integers(0, 4 * MINUTE_MS)
JOBS = st.builds(
    lambda state, model, deadline_ms: job(state, request=request(model=model, deadline_ms=deadline_ms)),
    st.sampled_from(JobState),
    st.sampled_from(MODELS),
    TIMES,
)
SUBMISSIONS = st.sampled_from(SubmissionState).map(submission)


def store(table: MutableMapping[K, V], plain: dict[K, V], key: K, value: V | None) -> None:
    """Store a value in both mappings, or remove it from both."""
    if value is not None:
        table[key] = plain[key] = value
    elif key in plain:
        del table[key], plain[key]
    assert table == plain
    assert (list(table), list(table.values()), list(table.items())) == (
        list(plain),
        list(plain.values()),
        list(plain.items()),
    )
    assert (len(table), key in table, table.get(key)) == (len(plain), key in plain, plain.get(key))


def overdue(jobs: Iterable[Job], now_ms: int) -> set[JobRef]:
    """What a walk finds."""
    return {each.ref for each in jobs if each.request.deadline_ms <= now_ms and each.is_open}


@given(st.lists(st.tuples(REFS, st.none() | JOBS, TIMES), max_size=30), st.sampled_from([0, 1, 100]))
def test_jobs_are_counted_and_found_by_deadline_as_if_all_were_visited(
    changes: list[tuple[JobRef, Job | None, int]], most_gone: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "MAX_GONE", most_gone)
        table, plain = Jobs(), dict[JobRef, Job]()
        for ref, value, now_ms in changes:
            store(table, plain, ref, value and replace(value, ref=ref))
            found = table.overdue(now_ms)
            assert found == sorted(overdue(plain.values(), now_ms))
            assert +table.by_state == Counter(each.state for each in plain.values())
            waiting = (each for each in plain.values() if each.state is JobState.WAITING)
            by_model = Counter(each.request.model for each in waiting)
            assert dict(table.waiting) == dict(by_model)


@given(st.lists(st.tuples(KEYS, st.none() | SUBMISSIONS), max_size=30))
def test_submissions_are_counted_and_those_without_an_answer_found_as_if_all_were_visited(
    changes: list[tuple[SubmissionKey, Submission | None]],
) -> None:
    table, plain = Submissions(), dict[SubmissionKey, Submission]()
    for key, value in changes:
        store(table, plain, key, value and replace(value, key=key))
        assert +table.by_state == Counter(each.state for each in plain.values())
        unanswered = [each for each in plain.values() if each.state in UNANSWERED]
        assert table.unanswered() == sorted(unanswered, key=lambda each: each.key)


def test_a_table_has_no_other_way_to_change() -> None:
    """The methods that a mapping inherits go through those that count."""
    table = Jobs()
    refs = [JobRef(Origin(0, offset), 0) for offset in range(4)]
    table.update({ref: job(ref=ref) for ref in refs})
    assert table.setdefault(refs[0], job(JobState.DONE, ref=refs[0])).state is JobState.WAITING
    assert table.by_state == {JobState.WAITING: 4}
    table.pop(refs[1])
    table.popitem()
    assert table.by_state == {JobState.WAITING: 2}
    table.clear()
    assert not +table.by_state


def test_the_deadlines_of_jobs_that_are_gone_do_not_pile_up() -> None:
    table = Jobs()
    stays = JobRef(Origin(0, 0), 0)
    table[stays] = job(ref=stays, request=request(deadline_ms=MINUTE_MS))
    for offset in range(1, 5 * tables.MAX_GONE):
        ref = JobRef(Origin(0, offset), 0)
        table[ref] = job(ref=ref)
        del table[ref]
        assert table._deadlines.size <= tables.MAX_GONE + 3
    assert table.overdue(MINUTE_MS) == [stays]


def test_a_minute_that_is_visited_forgets_the_jobs_that_are_gone() -> None:
    table = Jobs()
    for offset in range(3):
        ref = JobRef(Origin(0, offset), 0)
        table[ref] = job(ref=ref, request=request(deadline_ms=MINUTE_MS))
    del table[JobRef(Origin(0, 1), 0)]
    assert table._deadlines.size == 3
    assert len(table.overdue(MINUTE_MS)) == table._deadlines.size == 2
    table.clear()
    assert (table.overdue(MINUTE_MS), table._deadlines.size) == ([], 0)
    assert (table._deadlines._minutes, table._deadlines._order) == ({}, [])
