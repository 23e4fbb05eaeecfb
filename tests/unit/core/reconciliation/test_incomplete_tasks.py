"""Tasks that name only a part of their files: they find their submissions, or these wait, and none is paid
for twice."""

from dataclasses import replace

import pytest

from service.core.job.events import Adopted, NotFound
from service.core.job.file_matching import urls_known
from service.core.job.identity import SubmissionKey
from service.core.job.transition_context import Rules
from service.core.reconciliation.matching import Evidence, Found, Proven, decide
from service.core.reconciliation.unanswered import Candidate, Gap, Unanswered, files_of

A, B, C = "https://h.example/a.wav", "https://h.example/b.wav", "https://h.example/c.wav"
WINDOW = (0.0, 100.0)


def lost(number: int, *urls: str, partition: int = 0, **fields: object) -> Unanswered:
    """An uncertain submission of ours, of these files."""
    key = SubmissionKey(1, number)
    plain = Unanswered(partition, key, files_of(urls), WINDOW, urls=urls_known(urls))
    return replace(plain, **fields)  # type: ignore[arg-type]


def task(name: str, *urls: str, at: float = 10, until: float | None = None) -> Candidate:
    """A task that is over and names these files."""
    return Candidate(name, (at, until or at), files_of(urls), urls_known(urls))


def decided(
    submissions: list[Unanswered], candidates: list[Candidate], gaps: tuple[Gap, ...] = ()
) -> dict[tuple[int, int], Found]:
    """The answers by partition and number; all that is looked for has been, twice."""
    settled = {(each.partition, each.key): 50 for each in submissions}
    answers = decide(submissions, candidates, gaps, Proven(Evidence(90, 60), settled, 1_000, 1_000, Rules()))
    return {(each.partition, each.key.number): found for each, found in answers.items()}


@pytest.mark.parametrize("named", [(A,), (A, C), (A.replace("a.wav", "%61.wav"), C)])
def test_a_task_that_leaves_files_out_is_adopted_and_not_paid_for_again(named: tuple[str, ...]) -> None:
    assert decided([lost(1, A, B, C)], [task("t", *named)]) == {(0, 1): Adopted("t")}


@pytest.mark.parametrize("named", [("https://h.example/x.wav",), (A, "https://h.example/x.wav")])
def test_a_task_that_names_another_file_is_anothers(named: tuple[str, ...]) -> None:
    assert decided([lost(1, A, B, C)], [task("t", *named)]) == {(0, 1): NotFound()}


def test_a_task_of_a_part_that_was_made_at_another_time_is_anothers() -> None:
    assert decided([lost(1, A, B)], [task("t", A, at=101)]) == {(0, 1): NotFound()}


def test_whose_files_a_task_names_exactly_has_it_before_all_others() -> None:
    both = [lost(1, A, B), lost(2, A)]
    assert decided(both, [task("t", A)]) == {(0, 1): NotFound(), (0, 2): Adopted("t")}


def test_of_two_tasks_that_one_may_have_made_the_other_is_not_taken() -> None:
    """The older names a part of a larger one, whose window ends before the other is made."""
    large, small = replace(lost(1, A, B), window=(0.0, 15.0)), lost(2, A)
    both = [task("t", A), task("u", A, at=20)]
    assert decided([large, small], both) == {(0, 1): Adopted("t"), (0, 2): Adopted("u")}
    unknown = replace(both[1], files=None, urls=frozenset())
    assert (0, 2) not in decided([large, small], [both[0], unknown])


def test_as_many_find_their_tasks_as_can_also_where_one_task_may_be_anothers() -> None:
    early, late = replace(lost(2, A), window=(0.0, 12.0)), replace(lost(3, A), window=(10.5, 100.0))
    found = decided([lost(1, A, B), early, late], [task("t", A), task("u", A, at=11)])
    assert (found[0, 2], found[0, 3]) == (Adopted("t"), Adopted("u"))


def test_an_incomplete_task_goes_to_the_submission_with_most_of_its_files_once_all_were_polled() -> None:
    """A request is sent once more while a part of it is still looked for."""
    whole, part = lost(1, A, B, C), lost(2, A, "https://h.example/gone.wav", is_wanted=False)
    few, many = task("t", A), task("u", B, C, at=20)
    untold = replace(many, files=None, urls=frozenset())
    assert decided([whole, part], [few, untold]) == {}
    assert decided([whole, part], [few, many]) == {(0, 1): Adopted("u"), (0, 2): Adopted("t")}


def test_two_equal_submissions_never_share_a_task_that_leaves_a_file_out() -> None:
    both = [lost(1, A, B), lost(2, A, B)]
    assert decided(both, [task("t", A), task("u", A, at=20)]) == {(0, 1): Adopted("t"), (0, 2): Adopted("u")}
    assert decided(both, [task("t", A)]) == {(0, 1): Adopted("t"), (0, 2): NotFound()}


def test_one_that_is_wanted_has_the_task_before_one_that_is_not() -> None:
    both = [lost(1, A, B, is_wanted=False), lost(2, A, B)]
    assert decided(both, [task("t", A)]) == {(0, 2): Adopted("t"), (0, 1): NotFound()}


def test_where_another_partition_may_have_made_it_the_one_whose_window_ends_first_decides_first() -> None:
    ours, theirs = lost(1, A, B), lost(1, A, C, partition=1, urls=frozenset())
    assert decided([ours, theirs], [task("t", A)])[0, 1] == Adopted("t")
    earlier = replace(theirs, window=(0.0, 99.0))
    assert (0, 1) not in decided([ours, earlier], [task("t", A)])


def test_a_task_is_matched_with_no_submission_while_an_awaited_answer_may_name_it() -> None:
    awaited = lost(2, A, C, is_awaited=True)
    assert decided([lost(1, A, B), awaited], [task("t", A)]) == {}
    assert decided(
        [lost(1, A, B), replace(awaited, is_awaited=True, window=(200.0, 300.0))], [task("t", A)]
    ) == {(0, 1): Adopted("t")}


@pytest.mark.parametrize(
    ("found", "gaps"),
    [(task("t", A), (Gap(1),)), (task("t", A, until=50), ())],
    ids=["a record that nobody can read may name it", "its time is not certain"],
)
def test_a_task_that_may_be_anothers_is_not_adopted_and_its_submission_waits(
    found: Candidate, gaps: tuple[Gap, ...]
) -> None:
    assert decided([lost(1, A, B)], [found], gaps) == {}


def test_of_a_submission_with_an_unknown_file_a_task_may_name_that_and_a_known_one() -> None:
    """The request of one of its files has ended, and nobody here knows the URL any more."""
    packed = lost(1, A, B, C, urls=urls_known([A, B]))
    assert decided([packed], [task("t", A, C)]) == {(0, 1): Adopted("t")}
    assert decided([packed], [task("t", A, C, "https://h.example/x.wav")]) == {(0, 1): NotFound()}
