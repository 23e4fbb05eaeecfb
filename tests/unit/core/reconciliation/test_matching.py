"""Which task an uncertain submission has made: matched by its files, or not there, or not certain yet."""

import random
from collections import Counter
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.job.events import Adopted, NotFound, OutOfReach
from service.core.job.file_matching import files_digest, urls_known
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.submission import Intent, Submission, SubmissionState
from service.core.job.transition_context import Rules
from service.core.reconciliation import incomplete_tasks
from service.core.reconciliation.matching import Evidence, Found, Proven, decide
from service.core.reconciliation.task_listing import EVER, TimeSpan, meets
from service.core.reconciliation.unanswered import (
    Candidate,
    Files,
    Gap,
    Unanswered,
    files_of,
    unanswered_of,
    window_of,
    witness_of,
)

NOW_MS = 1_760_000_000_000
RULES = Rules()
WINDOW = (0.0, 100.0)
SETTLED = 50
LOOKED_FOR = Evidence(90, 60)
DAY_MS, HOUR_MS = 24 * 3_600_000, 3_600_000
A, B = "https://h.example/a.wav", "https://h.example/b.wav"


def lost(number: int, *urls: str, **fields: object) -> Unanswered:
    """An uncertain submission of these files, posted a moment ago."""
    plain = Unanswered(0, SubmissionKey(1, number), files_of(urls), WINDOW)
    return replace(plain, **fields)  # type: ignore[arg-type]


def task(name: str, *urls: str, at: float = 10) -> Candidate:
    """A task that is over and names these files."""
    return Candidate(name, (at, at), files_of(urls))


def unknown(name: str, at: float = 10) -> Candidate:
    """A task that names no file yet."""
    return Candidate(name, (at, at))


def decided(
    submissions: list[Unanswered],
    candidates: list[Candidate],
    evidence: Evidence = LOOKED_FOR,
    gaps: tuple[Gap, ...] = (),
    now_ms: int | None = 1_000,
    confirmed_ms: int = 10**14,
) -> dict[int, Found]:
    """The answers by the submission's number; all of them are ours."""
    settled = {(each.partition, each.key): SETTLED for each in submissions}
    answers = decide(submissions, candidates, gaps, Proven(evidence, settled, now_ms, confirmed_ms, RULES))
    return {each.key.number: found for each, found in answers.items()}


def test_a_task_with_the_submissions_files_is_adopted_whatever_else_is_open() -> None:
    found = decided([lost(1, A, B)], [task("t", B, A), unknown("u")], Evidence())
    assert found == {1: Adopted("t")}


def test_without_any_task_the_submission_is_not_found() -> None:
    assert decided([lost(1, A)], []) == {1: NotFound()}


@pytest.mark.parametrize("urls", [(B,), (A, B), (A, A), ()], ids=["other", "more", "twice", "none"])
def test_a_task_of_not_exactly_its_files_is_anothers(urls: tuple[str, ...]) -> None:
    assert decided([lost(1, A)], [task("t", *urls)]) == {1: NotFound()}


def test_a_task_of_a_part_of_its_files_is_anothers_though_it_is_a_sibling_that_has_it() -> None:
    """One request that names a file twice has a POST for each: neither takes the other's task."""
    both = [lost(1, A, B), lost(2, A)]
    assert decided(both, [task("t", A)]) == {1: NotFound(), 2: Adopted("t")}
    assert decided(both, [task("t", A, B)]) == {1: Adopted("t"), 2: NotFound()}


def test_a_task_that_names_no_file_yet_may_be_the_submissions() -> None:
    assert decided([lost(1, A)], [unknown("u")]) == {}


@pytest.mark.parametrize("at", [-1, 101])
def test_a_task_of_another_time_is_not_the_submissions(at: int) -> None:
    assert decided([lost(1, A)], [unknown("u", at), task("t", A, at=at)]) == {1: NotFound()}


@pytest.mark.parametrize("at", [0, 100])
def test_the_edges_of_the_window_belong_to_it(at: int) -> None:
    assert decided([lost(1, A)], [task("t", A, at=at)]) == {1: Adopted("t")}
    assert decided([lost(1, A)], [unknown("u", at)]) == {}


@pytest.mark.parametrize("evidence", [Evidence(), Evidence(90), Evidence(90, 49)])
def test_a_submission_is_not_lost_before_two_complete_listings(evidence: Evidence) -> None:
    assert decided([lost(1, A)], [], evidence) == {}


def test_a_submission_with_an_unknown_vendor_clock_is_adopted_but_never_ended() -> None:
    """Neither is it out of reach: this machine's wall clock may have been set meanwhile."""
    somewhen = [lost(1, A, window=EVER)]
    assert decided(somewhen, [], now_ms=None) == {}
    assert decided(somewhen, [], now_ms=10**14) == {}
    assert decided(somewhen, [task("t", A, at=10**12)], now_ms=None) == {1: Adopted("t")}


def test_a_submission_that_the_list_may_not_show_any_more_is_out_of_reach() -> None:
    old = [lost(1, A)]
    almost_ms, over_ms = 23 * HOUR_MS, 100 + DAY_MS
    assert decided(old, [], now_ms=almost_ms) == {}
    assert decided(old, [], now_ms=over_ms) == {1: OutOfReach()}
    assert decided(old, [], Evidence(), now_ms=over_ms) == {1: OutOfReach()}
    # A task of which nobody can ever tell whose it is must not keep the submission uncertain for ever.
    assert decided(old, [unknown("u")], now_ms=over_ms) == {1: OutOfReach()}
    assert decided(old, [unknown("u")], now_ms=almost_ms) == {}
    # Nor may what nobody can read of a journal.
    assert decided(old, [], gaps=(Gap(0),), now_ms=over_ms) == {1: OutOfReach()}


def test_a_submission_is_not_given_up_by_an_unconfirmed_time() -> None:
    over_ms = 100 + DAY_MS
    assert decided([lost(1, A)], [], now_ms=3 * DAY_MS, confirmed_ms=0) == {}
    assert decided([lost(1, A)], [], now_ms=3 * DAY_MS, confirmed_ms=over_ms - 1) == {}
    assert decided([lost(1, A)], [], now_ms=3 * DAY_MS, confirmed_ms=over_ms) == {1: OutOfReach()}


def test_of_two_equal_submissions_and_one_task_one_is_adopted_and_one_not_found() -> None:
    assert decided([lost(1, A), lost(2, A)], [task("t", A)]) == {1: Adopted("t"), 2: NotFound()}


def test_while_one_task_is_undecided_none_of_the_equal_submissions_is_lost() -> None:
    assert decided([lost(1, A), lost(2, A)], [task("t", A), unknown("u")]) == {1: Adopted("t")}


def test_a_submission_without_open_jobs_is_matched_last() -> None:
    """Its job was cancelled; not to find the other's task would cost another one."""
    ended, open_one = lost(1, A, is_wanted=False), lost(2, A)
    assert decided([ended, open_one], [task("t", A)]) == {1: NotFound(), 2: Adopted("t")}
    assert decided([ended, open_one], [task("t", A), task("u", A, at=11)]) == {
        1: Adopted("u"),
        2: Adopted("t"),
    }


def test_an_equal_submission_whose_answer_is_awaited_may_have_made_the_task() -> None:
    assert decided([lost(1, A), lost(2, A, is_awaited=True)], [task("t", A)]) == {}
    assert decided([lost(1, A), lost(2, B, is_awaited=True)], [task("t", A)]) == {1: Adopted("t")}
    later = lost(2, A, is_awaited=True, window=(50.0, 150.0))
    assert decided([lost(1, A), later], [task("t", A)]) == {1: Adopted("t")}


def test_a_submission_of_another_process_takes_its_task_and_is_never_lost_by_our_evidence() -> None:
    ours, theirs, other = lost(2, A), lost(1, A), lost(3, B)
    proven = Proven(LOOKED_FOR, {(0, ours.key): SETTLED}, 1_000, 10**14, RULES)
    answers = decide([ours, theirs, other], [task("t", A)], (), proven)
    assert answers == {theirs: Adopted("t"), ours: NotFound()}


def test_two_windows_that_overlap_in_part_get_a_task_each() -> None:
    early, late = lost(1, A, window=(0.0, 50.0)), lost(2, A, window=(20.0, 70.0))
    found = decided([late, early], [task("t1", A, at=30), task("t2", A, at=60)])
    assert found == {1: Adopted("t1"), 2: Adopted("t2")}


# What cannot be read.


def test_a_listed_task_without_a_time_is_not_adopted_and_may_belong_to_any_submission() -> None:
    somewhen = Candidate("t", (90.0, 200.0), files_of([A]))
    assert decided([lost(1, A)], [somewhen]) == {}
    assert decided([lost(1, B)], [somewhen]) == {1: NotFound()}
    assert decided([lost(1, A, window=(0.0, 80.0))], [somewhen]) == {1: NotFound()}
    assert decided([lost(1, A)], [replace(somewhen, files=None)]) == {}


def test_what_cannot_be_read_of_a_journal_holds_up_its_own_submissions() -> None:
    assert decided([lost(1, A), lost(2, B, partition=1)], [], gaps=(Gap(0),)) == {2: NotFound()}
    assert decided([lost(1, A)], [task("t", A)], gaps=(Gap(0),)) == {}
    assert decided([lost(1, A), lost(2, B)], [], gaps=(Gap(0, files=files_of([B])),)) == {1: NotFound()}
    assert decided([lost(1, A)], [], gaps=(Gap(0, window=(101.0, 200.0)),)) == {1: NotFound()}


def test_a_task_that_an_unreadable_record_may_name_is_not_adopted() -> None:
    gap = Gap(7, (0.0, 20.0))
    assert decided([lost(1, A)], [task("t", A)], gaps=(gap,)) == {}
    assert decided([lost(1, A)], [task("t", A, at=21)], gaps=(gap,)) == {1: Adopted("t")}
    assert decided([lost(1, A)], [task("t", B)], gaps=(gap,)) == {1: NotFound()}
    assert decided([lost(1, A)], [task("t", A)], gaps=(replace(gap, files=files_of([B])),)) == {
        1: Adopted("t")
    }


# Whatever comes together.

NAMES = st.sampled_from("abc")
SUBMISSIONS = st.builds(
    lambda number, urls, begin, is_awaited, is_wanted: lost(
        number, *sorted(urls), window=(float(begin), begin + 30.0), is_awaited=is_awaited, is_wanted=is_wanted
    ),
    st.integers(0, 10**6),
    st.sets(NAMES, min_size=1, max_size=2),
    st.integers(0, 60),
    st.booleans(),
    st.booleans(),
)
CANDIDATES = st.builds(
    lambda number, at, length, urls: Candidate(
        str(number), (at, at + length), None if urls is None else files_of(sorted(urls))
    ),
    st.integers(0, 10**6),
    st.integers(0, 90),
    st.sampled_from([0, 0, 0, 15]),
    st.none() | st.frozensets(NAMES, min_size=1, max_size=2),
)
MANY_SUBMISSIONS = st.lists(SUBMISSIONS, max_size=6, unique_by=lambda each: each.key)
MANY_CANDIDATES = st.lists(CANDIDATES, max_size=8, unique_by=lambda each: each.task_id)
GAPS = st.lists(
    st.builds(
        lambda partition, begin, urls: Gap(
            partition, (begin, begin + 20.0), None if urls is None else files_of(sorted(urls))
        ),
        st.integers(0, 1),
        st.integers(0, 90),
        st.none() | st.frozensets(NAMES, min_size=1, max_size=2),
    ),
    max_size=2,
).map(tuple)


def answered(
    submissions: list[Unanswered], candidates: list[Candidate], gaps: tuple[Gap, ...]
) -> dict[Unanswered, Found]:
    settled = {(each.partition, each.key): SETTLED for each in submissions}
    return decide(submissions, candidates, gaps, Proven(LOOKED_FOR, settled, 1_000, 10**14, RULES))


@given(MANY_SUBMISSIONS, MANY_CANDIDATES, GAPS)
def test_no_task_is_adopted_twice_nor_by_a_submission_that_cannot_have_made_it(
    submissions: list[Unanswered], candidates: list[Candidate], gaps: tuple[Gap, ...]
) -> None:
    answers = answered(submissions, candidates, gaps)
    by_id = {each.task_id: each for each in candidates}
    adopted = {each: found for each, found in answers.items() if isinstance(found, Adopted)}
    assert max(Counter(found.task_id for found in adopted.values()).values(), default=0) <= 1
    assert not any(each.is_awaited for each in answers)
    for each, found in adopted.items():
        made = by_id[found.task_id]
        assert each.window[0] <= made.created[0] == made.created[1] <= each.window[1]
        assert made.files == each.files


@given(MANY_SUBMISSIONS, MANY_CANDIDATES, GAPS)
def test_nothing_is_lost_while_a_task_in_its_window_is_undecided(
    submissions: list[Unanswered], candidates: list[Candidate], gaps: tuple[Gap, ...]
) -> None:
    answers = answered(submissions, candidates, gaps)
    adopted = {found.task_id for found in answers.values() if isinstance(found, Adopted)}
    for each in [each for each, found in answers.items() if isinstance(found, NotFound)]:
        within = [other for other in candidates if meets(other.created, each.window)]
        assert all(other.files is not None for other in within)
        assert not [other for other in within if other.task_id not in adopted and other.files == each.files]
        assert not [gap for gap in gaps if gap.partition == each.partition and _is_about(gap, each)]


def _is_about(gap: Gap, submission: Unanswered) -> bool:
    return meets(gap.window, submission.window) and gap.files in (None, submission.files)


@given(MANY_SUBMISSIONS, MANY_CANDIDATES, GAPS, st.randoms())
def test_everybody_comes_to_the_same_in_whatever_order_things_are_met(
    submissions: list[Unanswered], candidates: list[Candidate], gaps: tuple[Gap, ...], chance: random.Random
) -> None:
    expected = answered(submissions, candidates, gaps)
    chance.shuffle(submissions)
    chance.shuffle(candidates)
    assert answered(submissions, candidates, gaps[::-1]) == expected


@given(MANY_SUBMISSIONS, MANY_CANDIDATES, st.integers(-(10**9), 10**9))
def test_a_vendors_clock_that_is_off_by_the_same_for_all_changes_nothing(
    submissions: list[Unanswered], candidates: list[Candidate], ahead_ms: int
) -> None:
    settled = {(each.partition, each.key): SETTLED for each in submissions}
    moved = [replace(each, window=_moved(each.window, ahead_ms)) for each in submissions]
    seen = [replace(each, created=_moved(each.created, ahead_ms)) for each in candidates]
    answers = decide(moved, seen, (), Proven(LOOKED_FOR, settled, 1_000 + ahead_ms, 10**14, RULES))
    found = {each.key: answer for each, answer in answers.items()}
    assert found == {each.key: answer for each, answer in answered(submissions, candidates, ()).items()}


def _moved(span: TimeSpan, by_ms: int) -> TimeSpan:
    return (span[0] + by_ms, span[1] + by_ms)


@given(st.integers(0, 6), st.integers(0, 6), st.randoms())
def test_of_equal_submissions_and_equal_tasks_as_many_are_adopted_as_there_are_pairs(
    k: int, m: int, chance: random.Random
) -> None:
    submissions, tasks = [lost(n, A) for n in range(k)], [task(f"t{n}", A, at=n) for n in range(m)]
    chance.shuffle(submissions)
    chance.shuffle(tasks)
    found = Counter(type(each) for each in decided(submissions, tasks).values())
    assert found == +Counter({Adopted: min(k, m), NotFound: k - min(k, m)})


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5), st.lists(st.integers(0, 60)))
def test_as_many_pairs_are_found_as_any_order_of_giving_out_finds(
    windows: list[tuple[int, int]], moments: list[int]
) -> None:
    spans = [(float(begin), float(begin + length)) for begin, length in windows]
    submissions = [lost(number, A, window=span) for number, span in enumerate(spans)]
    moments = moments[:6]
    tasks = [task(f"t{number}", A, at=at) for number, at in enumerate(moments)]
    found = [each for each in decided(submissions, tasks).values() if isinstance(each, Adopted)]
    assert len(found) == _most_pairs(spans, moments)


def _most_pairs(spans: list[TimeSpan], moments: list[int]) -> int:
    if not spans:
        return 0
    best = _most_pairs(spans[1:], moments)
    for at, moment in enumerate(moments):
        if spans[0][0] <= moment <= spans[0][1]:
            best = max(best, 1 + _most_pairs(spans[1:], moments[:at] + moments[at + 1 :]))
    return best


@given(st.lists(st.text("ab /%ä", max_size=5), min_size=1, max_size=4), st.randoms())
def test_files_are_the_same_in_any_order_and_whatever_is_escaped(
    names: list[str], chance: random.Random
) -> None:
    escaped = [quote(name, safe="") for name in names]
    chance.shuffle(escaped)
    assert files_of([quote(name) for name in names]) == files_of(escaped)


# What submissions and evidence are made of.


def posted(state: SubmissionState = SubmissionState.UNCERTAIN, **fields: object) -> Submission:
    """A submission whose POST went out."""
    plain = Submission(
        SubmissionKey(1, 2),
        "fun-asr",
        (JobRef(Origin(0, 7), 0),),
        NOW_MS - 100,
        state=state,
        intent=Intent(NOW_MS - 50, 7_000, 1, files_digest([A])),
        task_id="t" if state is SubmissionState.RUNNING else None,
        submitted_ms=NOW_MS if state is SubmissionState.RUNNING else None,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_a_submission_without_an_answer_takes_part_and_says_by_its_intent_what_is_looked_for() -> None:
    found = unanswered_of(3, posted(is_followed=True), 99, RULES)
    window = window_of(posted().intent or Intent(0, 0, 0, ""), 99, RULES)
    files = Files(1, files_digest([A]))
    assert found == Unanswered(3, SubmissionKey(1, 2), files, window, is_awaited=False, is_wanted=False)
    awaited = unanswered_of(3, posted(SubmissionState.INTENDED), 99, RULES)
    assert awaited is not None
    assert (awaited.is_awaited, awaited.is_wanted) == (True, True)


@pytest.mark.parametrize(
    "submission",
    [
        posted(SubmissionState.WAITING),
        posted(SubmissionState.RUNNING),
        posted(model="qwen3-asr-flash"),
        posted(intent=None),
    ],
    ids=["waits", "has its task", "is a call that makes no task", "was never posted"],
)
def test_what_can_have_made_no_unknown_task_takes_no_part(submission: Submission) -> None:
    assert unanswered_of(0, submission, 0, RULES) is None


def test_the_window_counts_by_the_clock_that_the_intent_was_made_under() -> None:
    intended_ms = NOW_MS - 50
    made_ms = 1000 * (10 + 2 + 30 + 60)
    intent = Intent(intended_ms, 7_000, 1, "")
    assert list(window_of(intent, 99, RULES)) == [intended_ms + 2_000, intended_ms + made_ms + 12_000]
    unsaid = window_of(intent._replace(vendor_offset_ms=None), 7_000, RULES)
    assert list(unsaid) == [intended_ms + 7_000 - 900_000, intended_ms + made_ms + 907_000]
    assert window_of(intent._replace(vendor_offset_ms=None), None, RULES) == EVER


def test_two_complete_readings_apart_are_evidence() -> None:
    first = Evidence().after(10, is_complete=True, apart_ms=5)
    assert first == Evidence(10)
    assert first.after(12, is_complete=True, apart_ms=5) == Evidence(10)
    assert first.after(20, is_complete=False, apart_ms=5) == Evidence(10)
    second = first.after(15, is_complete=True, apart_ms=5)
    assert second == Evidence(15, 10)
    assert second.after(16, is_complete=False, apart_ms=5) == Evidence(15)
    assert second.after(30, is_complete=True, apart_ms=5) == Evidence(30, 15)


@pytest.mark.parametrize("age_seconds", [60, 23 * 3600])
def test_a_witness_was_made_about_when_we_submitted_it(age_seconds: int) -> None:
    running = posted(SubmissionState.RUNNING)
    window = window_of(running.intent or Intent(0, 0, 0, ""), None, RULES)
    found = witness_of(running, NOW_MS + 1000 * age_seconds, None, RULES)
    assert found is not None
    assert list(found) == [window[0] - 900_000, window[1] + 900_000]


def test_a_task_made_before_the_first_vendor_date_is_a_witness_too() -> None:
    """The first submission of a process: there may be no other."""
    intent = Intent(NOW_MS, None, 1, "")
    window = window_of(intent, 7_000, RULES)
    found = witness_of(posted(SubmissionState.RUNNING, intent=intent), NOW_MS + 60_000, 7_000, RULES)
    assert found == (window[0] - 900_000, window[1] + 900_000)


@pytest.mark.parametrize(
    ("submission", "age_seconds"),
    [
        (posted(), 60),
        (posted(SubmissionState.RUNNING), 59),
        (posted(SubmissionState.RUNNING), 23 * 3600 + 1),
        (posted(SubmissionState.RUNNING, submitted_ms=None), 60),
        (posted(SubmissionState.RUNNING, intent=None), 60),
        (posted(SubmissionState.RUNNING, intent=Intent(NOW_MS, None, 1, "")), 60),
    ],
    ids=["uncertain", "too young", "too old", "any age", "without an intent", "without the vendor's clock"],
)
def test_what_the_list_need_not_show_is_no_witness(submission: Submission, age_seconds: int) -> None:
    assert witness_of(submission, NOW_MS + 1000 * age_seconds, None, RULES) is None


@pytest.mark.parametrize("files", [1, 2])
def test_a_task_is_compared_only_with_submissions_that_share_a_file(
    files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of submissions may be uncertain after an outage, and the event loop waits meanwhile."""
    count, compared = 200, list[str]()
    may_be_a_part = incomplete_tasks.may_be_a_part

    def noted(submission: Unanswered, candidate: Candidate) -> bool:
        compared.append(candidate.task_id)
        return may_be_a_part(submission, candidate)

    monkeypatch.setattr(incomplete_tasks, "may_be_a_part", noted)
    urls = [[f"https://h.example/{number}/{each}" for each in range(files)] for number in range(count)]
    asking = [lost(number, *each, urls=urls_known(each)) for number, each in enumerate(urls)]
    tasks = [replace(task(f"t{at}", *each), urls=urls_known(each)) for at, each in enumerate(urls)]
    assert len(decided(asking, tasks)) == count
    assert len(compared) <= files * count
