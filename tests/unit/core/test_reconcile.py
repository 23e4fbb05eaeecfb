"""Which task an uncertain submit has made: matched by its files, or not there, or not certain yet."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.events import Adopted, NotFound, OutOfReach
from service.core.identity import JobKey
from service.core.job import State
from service.core.moment import Moment, Rules
from service.core.reconcile import (
    EVER,
    Candidate,
    Evidence,
    Found,
    Submit,
    decide,
    submits_of,
    window_of,
    witness_of,
)
from tests.unit.core.samples import NOW_MS, job, spec

RULES = Rules()
WINDOW = (0.0, 100.0)
SETTLED = 50
LOOKED_FOR = Evidence(90, 60)
A, B = "https://h.example/a.wav", "https://h.example/b.wav"


def submit(name: str, *urls: str, **fields: object) -> Submit:
    """An uncertain submit of these files, sealed a moment ago."""
    plain = {
        "keys": tuple(JobKey(name, 0, index) for index in range(len(urls))),
        "urls": frozenset(urls),
        "files": len(urls),
        "sealed_ms": NOW_MS,
        "window": WINDOW,
    }
    return Submit(**{**plain, **fields})  # type: ignore[arg-type]


def task(name: str, *urls: str, at: int = 10) -> Candidate:
    """A task that is over and names these files."""
    return Candidate(name, at, frozenset(urls))


def unknown(name: str, at: int = 10) -> Candidate:
    """A task that names no file yet."""
    return Candidate(name, at)


def decided(
    submits: list[Submit], candidates: list[Candidate], evidence: Evidence = LOOKED_FOR, now_ms: int = NOW_MS
) -> dict[str, Found]:
    """The answers by the request's id."""
    settled = {key: SETTLED for each in submits for key in each.keys}
    answers = decide(submits, candidates, evidence, settled, Moment(now_ms, 0.5, RULES))
    return {each.keys[0].request_id: found for each, found in answers.items()}


def test_a_task_with_the_submits_files_is_adopted_whatever_else_is_open() -> None:
    found = decided([submit("r", A, B)], [task("t", A, B), unknown("u")], Evidence())
    assert found == {"r": Adopted("t", 2)}


def test_without_any_task_the_submit_is_made_again() -> None:
    assert decided([submit("r", A)], []) == {"r": NotFound()}


def test_a_task_of_other_files_is_anothers() -> None:
    assert decided([submit("r", A)], [task("t", B)]) == {"r": NotFound()}


def test_a_task_that_names_no_file_yet_may_be_the_submits() -> None:
    assert decided([submit("r", A)], [unknown("u")]) == {}


@pytest.mark.parametrize("at", [-1, 101])
def test_a_task_of_another_time_is_not_the_submits(at: int) -> None:
    assert decided([submit("r", A)], [unknown("u", at), task("t", A, at=at)]) == {"r": NotFound()}


@pytest.mark.parametrize("evidence", [Evidence(), Evidence(90), Evidence(90, 49)])
def test_what_was_not_looked_for_twice_since_it_settled_is_not_lost(evidence: Evidence) -> None:
    assert decided([submit("r", A)], [], evidence) == {}


def test_a_submit_whose_vendor_clock_nobody_knows_is_adopted_but_never_lost() -> None:
    assert decided([submit("r", A, window=EVER)], []) == {}
    assert decided([submit("r", A, window=EVER)], [task("t", A, at=10**12)]) == {"r": Adopted("t", 1)}


def test_a_submit_that_the_list_may_not_show_any_more_is_out_of_reach() -> None:
    old = [submit("r", A)]
    almost_ms, over_ms = NOW_MS + 23 * 3_600_000, NOW_MS + 24 * 3_600_000
    assert decided(old, [], now_ms=almost_ms) == {}
    assert decided(old, [], now_ms=over_ms) == {"r": OutOfReach()}
    assert decided(old, [], Evidence(), now_ms=over_ms) == {"r": OutOfReach()}
    # A task of which nobody can ever tell whose it is must not keep the job in doubt for ever.
    assert decided(old, [unknown("u")], now_ms=over_ms) == {"r": OutOfReach()}
    assert decided(old, [unknown("u")], now_ms=almost_ms) == {}


def test_of_two_equal_submits_and_one_task_one_is_adopted_and_one_made_again() -> None:
    assert decided([submit("r1", A), submit("r2", A)], [task("t", A)]) == {
        "r1": Adopted("t", 1),
        "r2": NotFound(),
    }


def test_while_one_task_is_undecided_none_of_the_equal_submits_is_lost() -> None:
    found = decided([submit("r1", A), submit("r2", A)], [task("t", A), unknown("u")])
    assert found == {"r1": Adopted("t", 1)}


def test_files_of_jobs_that_ended_meanwhile_may_be_in_the_task() -> None:
    assert decided([submit("r", B, files=2)], [task("t", A, B)]) == {"r": Adopted("t", 2)}
    assert decided([submit("r", B, files=1)], [task("t", A, B)]) == {"r": NotFound()}


def test_a_task_that_names_a_part_of_its_files_is_adopted_as_one_of_all() -> None:
    """A job takes the only file of a task for its own where the task has one file alone."""
    assert decided([submit("r", A, B)], [task("t", A)]) == {"r": Adopted("t", 2)}


def test_a_task_of_the_request_may_be_a_siblings_and_of_nobody_else() -> None:
    """Of one answer a crash has left one job with the task, and the other uncertain."""
    theirs = replace(task("t", A, B), request=("r", 0))
    assert decided([submit("r", B, files=2)], [theirs]) == {"r": Adopted("t", 2)}
    assert decided([submit("x", B, files=2)], [theirs]) == {"x": NotFound()}
    undecided = replace(unknown("t"), request=("r", 0))
    assert decided([submit("r", B), submit("x", B)], [undecided]) == {"x": NotFound()}


def test_a_task_that_a_job_has_given_up_is_not_adopted_again() -> None:
    assert decided([submit("r", A, had=frozenset({"t"}))], [task("t", A)]) == {"r": NotFound()}


def test_the_task_that_fits_best_is_taken_first() -> None:
    submits = [submit("r1", A, files=2), submit("r2", A, B)]
    found = decided(submits, [task("t1", A, B), task("t2", A)])
    assert found == {"r1": Adopted("t2", 1), "r2": Adopted("t1", 2)}


def test_a_task_of_as_many_files_as_were_meant_is_taken_before_a_smaller_one() -> None:
    submits = [submit("r1", A, files=2), submit("r2", A)]
    assert decided(submits, [task("t", A)]) == {"r1": NotFound(), "r2": Adopted("t", 1)}
    assert decided(submits, [task("t", A), task("u", A, B)]) == {
        "r1": Adopted("u", 2),
        "r2": Adopted("t", 1),
    }


def test_an_equal_submit_whose_answer_is_awaited_may_have_made_the_task() -> None:
    awaited = submit("x", A, is_out=True)
    assert decided([submit("r", A), awaited], [task("t", A)]) == {}
    assert decided([submit("r", A), submit("x", B, is_out=True)], [task("t", A)]) == {"r": Adopted("t", 1)}


def test_a_submit_of_another_process_takes_its_task() -> None:
    ours, theirs = submit("r2", A), submit("r1", A)
    answers = decide(
        [ours, theirs], [task("t", A)], LOOKED_FOR, dict.fromkeys(ours.keys, SETTLED), Moment(NOW_MS, 0.5)
    )
    assert answers == {theirs: Adopted("t", 1), ours: NotFound()}


def test_a_submit_of_another_process_is_never_lost_by_our_evidence() -> None:
    assert decide([submit("r", A)], [], LOOKED_FOR, {}, Moment(NOW_MS, 0.5)) == {}


NAMES = st.sampled_from("abc")
SUBMITS = st.builds(
    lambda number, urls, begin, is_out: submit(
        f"r{number}", *sorted(urls), window=(float(begin), float(begin + 30)), is_out=is_out
    ),
    st.integers(0, 10**6),
    st.sets(NAMES, min_size=1, max_size=2),
    st.integers(0, 60),
    st.booleans(),
)
CANDIDATES = st.builds(
    Candidate,
    st.integers(0, 10**6).map(str),
    st.integers(0, 90),
    st.none() | st.frozensets(NAMES, min_size=1, max_size=2),
)
MANY_SUBMITS = st.lists(SUBMITS, max_size=6, unique_by=lambda each: each.keys)
MANY_CANDIDATES = st.lists(CANDIDATES, max_size=8, unique_by=lambda each: each.task_id)


@given(MANY_SUBMITS, MANY_CANDIDATES)
def test_no_task_is_adopted_twice_nor_by_a_submit_that_cannot_have_made_it(
    submits: list[Submit], candidates: list[Candidate]
) -> None:
    settled = {key: SETTLED for each in submits for key in each.keys}
    answers = decide(submits, candidates, LOOKED_FOR, settled, Moment(NOW_MS, 0.5))
    by_id = {each.task_id: each for each in candidates}
    adopted = {each: found for each, found in answers.items() if isinstance(found, Adopted)}
    assert max(Counter(found.task_id for found in adopted.values()).values(), default=0) <= 1
    assert not any(each.is_out for each in adopted)
    for each, found in adopted.items():
        made = by_id[found.task_id]
        assert each.window[0] <= made.created_ms <= each.window[1]
        assert (made.urls or set()) & each.urls


@given(MANY_SUBMITS, MANY_CANDIDATES)
def test_nothing_is_lost_while_a_task_in_its_window_is_undecided(
    submits: list[Submit], candidates: list[Candidate]
) -> None:
    settled = {key: SETTLED for each in submits for key in each.keys}
    answers = decide(submits, candidates, LOOKED_FOR, settled, Moment(NOW_MS, 0.5))
    adopted = {found.task_id for found in answers.values() if isinstance(found, Adopted)}
    for each in [each for each, found in answers.items() if isinstance(found, NotFound)]:
        within = [c for c in candidates if each.window[0] <= c.created_ms <= each.window[1]]
        assert all(c.urls is not None for c in within)
        assert not [c for c in within if c.task_id not in adopted and c.urls == each.urls]


@given(st.integers(0, 6), st.integers(0, 6))
def test_of_equal_submits_and_equal_tasks_as_many_are_adopted_as_there_are_pairs(k: int, m: int) -> None:
    found = decided([submit(f"r{n}", A) for n in range(k)], [task(f"t{n}", A, at=n) for n in range(m)])
    assert Counter(type(each) for each in found.values()) == +Counter(
        {Adopted: min(k, m), NotFound: k - min(k, m)}
    )


def test_two_windows_that_overlap_in_part_get_a_task_each() -> None:
    early, late = submit("r1", A, window=(0.0, 50.0)), submit("r2", A, window=(20.0, 70.0))
    found = decided([late, early], [task("t1", A, at=30), task("t2", A, at=60)])
    assert found == {"r1": Adopted("t1", 1), "r2": Adopted("t2", 1)}


# What submits and evidence are made of.


def test_jobs_of_one_request_group_and_moment_shared_a_submit() -> None:
    many = spec(file_count=9)
    jobs = [
        job(State.UNCERTAIN, spec=many, file_index=0, file_url="https://h/a%20b", task_files=3),
        job(State.UNCERTAIN, spec=many, file_index=1, file_url="https://h/b", task_files=3),
        job(State.UNCERTAIN, spec=many, file_index=2, group=1),
        job(State.SUBMITTING, spec=many, file_index=3, sealed_ms=NOW_MS),
        job(State.UNCERTAIN, spec=spec(request_id="q")),
    ]
    found = submits_of(jobs, 0, RULES)
    assert [[key.file_index for key in each.keys] for each in found] == [[0], [0, 1], [2], [3]]
    assert found[1].urls == {"https://h/a b", "https://h/b"}
    assert (found[1].files, found[1].is_out) == (3, False)
    assert found[3].is_out


def test_the_window_counts_by_the_clock_that_the_intent_was_made_under() -> None:
    sealed_ms = NOW_MS - 50
    made_ms = 1000 * (10 + 2 + 30 + 60)
    known = window_of(job(State.UNCERTAIN, vendor_offset_ms=7_000), 99, RULES)
    assert list(known) == [sealed_ms + 2_000, sealed_ms + made_ms + 12_000]
    unsaid = window_of(job(State.UNCERTAIN), 7_000, RULES)
    assert list(unsaid) == [sealed_ms + 7_000 - 900_000, sealed_ms + made_ms + 907_000]
    assert window_of(job(State.UNCERTAIN), None, RULES) == EVER
    assert window_of(job(State.UNCERTAIN, sealed_ms=None), 0, RULES)[0] == -900_000


def test_two_complete_readings_apart_are_evidence() -> None:
    first = Evidence().after(10, is_complete=True, apart_ms=5)
    assert first == Evidence(10)
    assert first.after(12, is_complete=True, apart_ms=5) == Evidence(10)
    assert first.after(20, is_complete=False, apart_ms=5) == Evidence(10)
    second = first.after(15, is_complete=True, apart_ms=5)
    assert second == Evidence(15, 10)
    assert second.after(16, is_complete=False, apart_ms=5) == Evidence(15)
    assert second.after(30, is_complete=True, apart_ms=5) == Evidence(30, 15)


def test_submits_of_two_shards_are_two_though_their_ids_are_one() -> None:
    other = spec(origin=replace(spec().origin, partition=1))
    found = submits_of([job(State.UNCERTAIN), job(State.UNCERTAIN, spec=other)], 0, RULES)
    assert [each.partition for each in found] == [0, 1]


def test_a_witness_was_made_about_when_we_submitted_it() -> None:
    slack_ms = 1000 * (30 + 60 + 900)
    made_ms = NOW_MS - 10_000 + 7
    assert list(witness_of(job(State.RUNNING), 7, RULES)) == [made_ms - slack_ms, made_ms + slack_ms]
    assert witness_of(job(State.RUNNING, submitted_ms=None), 0, RULES)[1] == slack_ms
