"""What is known of the tasks that an uncertain submission may have made."""

import pytest

from service.core.provider.answers import FileView, ListedTask, TaskPage, TaskStatus, TaskView, UnreadableRow
from service.core.reconciliation.candidates import MAX_UNREADABLE_TASKS, Candidates
from service.core.reconciliation.task_listing import TaskListing
from service.core.reconciliation.unanswered import Candidate, files_of

SPANS = ((0.0, 100.0),)
OVER = TaskStatus.SUCCEEDED


def seen(
    *tasks: ListedTask, into: Candidates | None = None, unreadable: tuple[UnreadableRow, ...] = ()
) -> Candidates:
    """Candidates that have taken a reading of these."""
    candidates = into or Candidates()
    listing = TaskListing(SPANS, {})
    listing.add(TaskPage(tasks, None, unreadable), 1_000.0)
    candidates.add_listing(listing, SPANS)
    return candidates


def listed(task_id: str, status: TaskStatus = OVER, at: int = 10) -> ListedTask:
    return ListedTask(task_id, status, at)


def polled(task_id: str, *urls: str, status: TaskStatus = OVER) -> TaskView:
    return TaskView(task_id, status, tuple(FileView(url, transcription_url="x") for url in urls))


def test_a_task_is_a_candidate_until_it_is_known() -> None:
    candidates = seen(listed("t1"), listed("t2"))
    assert candidates.wanted() == {"t1", "t2"}
    candidates.note_known(["t1", "never seen"])
    assert candidates.candidates() == [Candidate("t2", (10, 10))]
    assert candidates.wanted() == {"t2"}


def test_a_task_that_a_later_reading_leaves_out_stays() -> None:
    candidates = seen(listed("t1"))
    assert [each.task_id for each in seen(listed("t2"), into=candidates).candidates()] == ["t1", "t2"]


def test_what_lies_in_no_window_any_more_is_forgotten() -> None:
    candidates = seen(listed("t1"), listed("t2"), unreadable=(UnreadableRow(1, "t3"), UnreadableRow(1)))
    candidates.note_known(["t1"])
    candidates.note_polled(polled("t2"))
    candidates.note_unreadable("t3")
    candidates.add_listing(TaskListing((), {}), ())
    assert candidates == Candidates()


def test_only_tasks_that_are_over_are_polled_and_each_once() -> None:
    candidates = seen(*(listed(status.value, status) for status in TaskStatus))
    assert candidates.to_poll() == ["CANCELED", "FAILED", "SUCCEEDED"]
    candidates.note_polled(polled("SUCCEEDED", "a"))
    candidates.note_known(["CANCELED"])
    assert candidates.to_poll() == ["FAILED"]


def test_the_files_of_a_task_that_is_over_are_known_percent_escapes_aside() -> None:
    candidates = seen(listed("t1"))
    candidates.note_polled(polled("t1", "https://h/a%20b", "https://h/c"))
    assert candidates.candidates() == [
        Candidate("t1", (10, 10), files_of(["https://h/c", "https://h/a b"])),
    ]


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.SUCCEEDED])
def test_a_task_that_is_over_without_a_file_cannot_succeed_any_more(status: TaskStatus) -> None:
    candidates = seen(listed("t1", status))
    candidates.note_polled(polled("t1", status=status))
    assert candidates.candidates() == []


@pytest.mark.parametrize("status", [TaskStatus.UNKNOWN, TaskStatus.RUNNING])
def test_a_task_that_its_poll_shows_as_unfinished_may_belong_to_any_submission(status: TaskStatus) -> None:
    candidates = seen(listed("t1"))
    candidates.note_polled(polled("t1", status=status))
    assert candidates.candidates() == [Candidate("t1", (10, 10))]
    assert candidates.to_poll() == ["t1"]


def test_a_task_that_never_tells_its_files_keeps_no_other_from_being_polled() -> None:
    candidates = seen(*(listed(f"t{number}") for number in range(3)))
    candidates.note_no_answer("t0")
    candidates.note_polled(polled("t1", status=TaskStatus.UNKNOWN))
    candidates.note_no_answer("t1")
    assert candidates.to_poll() == ["t2", "t0", "t1"]


def test_a_task_whose_answer_is_unreadable_too_often_counts_as_unknown_for_good() -> None:
    candidates = seen(listed("t1"))
    for _ in range(100):
        candidates.note_no_answer("t1")
    for _ in range(MAX_UNREADABLE_TASKS):
        assert candidates.to_poll() == ["t1"]
        candidates.note_unreadable("t1")
    assert candidates.to_poll() == []
    assert seen(listed("t1"), into=candidates).candidates() == [Candidate("t1", (10, 10))]


# Rows that cannot be read.


def test_a_row_that_tells_its_id_alone_is_a_candidate_that_can_be_polled() -> None:
    row = UnreadableRow(1, "t2")
    candidates = seen(listed("t1", at=20), listed("t3"), unreadable=(row,))
    candidates.note_known(["t1", "t3"])
    assert candidates.candidates() == [Candidate("t2", (10, 20))]
    assert (candidates.to_poll(), candidates.wanted()) == (["t2"], {"t2"})
    candidates.note_polled(polled("t2", "a"))
    assert candidates.candidates() == [Candidate("t2", (10, 20), files_of(["a"]))]
    # It stays when a later reading leaves it out, and is a task like others when one can read it.
    assert [each.task_id for each in seen(into=candidates).candidates()] == ["t2"]
    assert seen(listed("t2", at=15), into=candidates).candidates() == [
        Candidate("t2", (15, 15), files_of(["a"]))
    ]
    candidates.note_known(["t2"])
    assert seen(listed("t1", at=20), listed("t3"), into=candidates, unreadable=(row,)).candidates() == []


def test_a_row_without_an_id_is_a_candidate_that_cannot_be_polled() -> None:
    candidates = seen(listed("t1"), unreadable=(UnreadableRow(1, None, 9), UnreadableRow(1, None, 8)))
    candidates.note_known(["t1"])
    assert candidates.candidates() == [Candidate("?0", (9, 9)), Candidate("?1", (8, 8))]
    assert (candidates.to_poll(), candidates.wanted()) == ([], set())
    # Nobody can tell it again: the last reading alone counts.
    assert seen(listed("t1"), into=candidates).candidates() == []
