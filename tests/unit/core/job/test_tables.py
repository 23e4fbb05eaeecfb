"""The table of submissions: what is counted and found is what a walk over all would find."""

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import replace
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from service.core.job.earliest import SLOT_MS
from service.core.job.identity import JobRef, SubmissionKey
from service.core.job.submission import UNANSWERED, Submission, SubmissionState
from service.core.job.tables import Submissions
from service.core.job.urgency import RETENTION_MS, retention_end_ms
from tests.unit.core.samples import ORIGIN, REF, submission

K = TypeVar("K")
V = TypeVar("V")
SOME = st.integers(0, 3)
KEYS = st.builds(SubmissionKey, SOME, SOME)
REF_LISTS = st.sampled_from([(REF,), (REF, JobRef(ORIGIN, 1))])
MODELS = st.sampled_from(["fun-asr", "fun-asr-mtl"])
TIMES = st.none() | st.integers(0, 5).map(lambda slot: slot * SLOT_MS)
SUBMISSIONS = st.builds(
    lambda state, jobs, model, submitted_ms, unfinished_ms, is_followed: replace(
        submission(state),
        jobs=jobs,
        model=model,
        submitted_ms=submitted_ms,
        unfinished_ms=unfinished_ms,
        is_followed=is_followed,
    ),
    st.sampled_from(SubmissionState),
    REF_LISTS,
    MODELS,
    TIMES,
    TIMES,
    st.booleans(),
)


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


@given(st.lists(st.tuples(KEYS, st.none() | SUBMISSIONS), max_size=30))
def test_the_first_retention_end_and_the_uncertain_jobs_are_known_as_if_all_were_visited(
    changes: list[tuple[SubmissionKey, Submission | None]],
) -> None:
    table, plain = Submissions(), dict[SubmissionKey, Submission]()
    for key, value in changes:
        store(table, plain, key, value and replace(value, key=key))
        uncertain = Counter[str]()
        for each in plain.values():
            if each.state is SubmissionState.UNCERTAIN and not each.is_followed:
                uncertain[each.model] += len(each.jobs)
        assert table.uncertain_jobs == uncertain
        awaited = [each for each in plain.values() if each.state is SubmissionState.RUNNING]
        ends = [retention_end_ms(each) for each in awaited if not each.is_followed]
        assert table.retention_end_ms() == min(ends, default=None)


def test_a_poll_that_finds_the_task_unfinished_moves_its_retention_end() -> None:
    table = Submissions()
    made = replace(submission(SubmissionState.RUNNING), submitted_ms=0)
    table[made.key] = made
    assert table.retention_end_ms() == RETENTION_MS
    table[made.key] = replace(made, unfinished_ms=7 * SLOT_MS)
    assert table.retention_end_ms() == RETENTION_MS + 7 * SLOT_MS
    del table[made.key]
    assert table.retention_end_ms() is None


def test_uncertain_jobs_are_counted_when_one_leaves_its_submission() -> None:
    table = Submissions()
    made = replace(submission(SubmissionState.UNCERTAIN), jobs=(REF, JobRef(ORIGIN, 1)))
    table[made.key] = made
    assert table.uncertain_jobs == {"fun-asr": 2}
    table[made.key] = replace(made, jobs=(REF,))
    assert table.uncertain_jobs == {"fun-asr": 1}
    del table[made.key]
    assert table.uncertain_jobs == {}


def test_jobs_that_have_ended_do_not_wait_for_their_submission_that_is_followed() -> None:
    table = Submissions()
    made = submission(SubmissionState.UNCERTAIN)
    table[made.key] = made
    table[made.key] = replace(made, is_followed=True)
    assert table.uncertain_jobs == {}
    del table[made.key]
    assert table.uncertain_jobs == {}


def test_a_table_has_no_other_way_to_change() -> None:
    """The methods that a mapping inherits go through those that count."""
    table = Submissions()
    keys = [SubmissionKey(1, number) for number in range(4)]
    table.update({key: submission(key=key) for key in keys})
    assert table.setdefault(keys[0], submission(SubmissionState.RUNNING)).state is SubmissionState.WAITING
    assert table.by_state == {SubmissionState.WAITING: 4}
    table.pop(keys[1])
    table.popitem()
    assert table.by_state == {SubmissionState.WAITING: 2}
    table.clear()
    assert not +table.by_state
