"""What is known of the tasks that an uncertain submit may have made."""

import pytest

from service.core.listing import Reading
from service.core.reconcile import Candidate
from service.core.sightings import Sightings
from service.core.task import FileView, ListedTask, TaskPage, TaskStatus, TaskView

SPANS = ((0.0, 100.0),)
OVER = TaskStatus.SUCCEEDED


def seen(*tasks: ListedTask, into: Sightings | None = None) -> Sightings:
    """Sightings that have taken a reading of these."""
    sightings = into or Sightings()
    reading = Reading(SPANS, {})
    reading.add(TaskPage(tasks), 1_000.0)
    sightings.take(reading, SPANS)
    return sightings


def listed(task_id: str, status: TaskStatus = OVER, at: int = 10) -> ListedTask:
    return ListedTask(task_id, status, at)


def look(task_id: str, *urls: str, status: TaskStatus = OVER) -> TaskView:
    return TaskView(task_id, status, tuple(FileView(url, transcription_url="x") for url in urls))


def test_a_task_is_a_candidate_until_it_is_known() -> None:
    sightings = seen(listed("t1"), listed("t2"))
    sightings.note_known(["t1", "never seen"])
    assert sightings.candidates() == [Candidate("t2", 10)]


def test_a_task_that_a_later_reading_leaves_out_stays() -> None:
    sightings = seen(listed("t1"))
    assert [each.task_id for each in seen(listed("t2"), into=sightings).candidates()] == ["t1", "t2"]


def test_what_lies_in_no_window_any_more_is_forgotten() -> None:
    sightings = seen(listed("t1"), listed("t2"))
    sightings.note_known(["t1"])
    sightings.note_look(look("t2"))
    sightings.take(Reading((), {}), ())
    assert (sightings, sightings.tasks) == (Sightings(), {})


def test_only_tasks_that_are_over_are_looked_at_and_each_once() -> None:
    sightings = seen(*(listed(status.value, status) for status in TaskStatus))
    assert sightings.to_look_at() == ["CANCELED", "FAILED", "SUCCEEDED"]
    sightings.note_look(look("SUCCEEDED", "a"))
    sightings.note_known(["CANCELED"])
    assert sightings.to_look_at() == ["FAILED"]


def test_the_files_of_a_task_that_is_over_are_known_percent_escapes_aside() -> None:
    sightings = seen(listed("t1"))
    sightings.note_look(look("t1", "https://h/a%20b", "https://h/c"))
    assert sightings.candidates() == [Candidate("t1", 10, frozenset({"https://h/a b", "https://h/c"}))]


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.SUCCEEDED])
def test_a_task_that_is_over_without_a_file_cannot_succeed_any_more(status: TaskStatus) -> None:
    sightings = seen(listed("t1", status))
    sightings.note_look(look("t1", status=status))
    assert sightings.candidates() == []


@pytest.mark.parametrize("status", [TaskStatus.UNKNOWN, TaskStatus.RUNNING])
def test_a_task_that_the_query_does_not_show_as_over_may_be_anybodys(status: TaskStatus) -> None:
    sightings = seen(listed("t1"))
    sightings.note_look(look("t1", status=status))
    assert sightings.candidates() == [Candidate("t1", 10)]
    assert sightings.to_look_at() == ["t1"]


def test_a_task_of_a_request_with_an_uncertain_job_is_a_candidate_though_it_is_known() -> None:
    sightings = seen(listed("t1"), listed("t2"))
    sightings.note_known(["t1", "t2"])
    sightings.note_shared({"t1": ("r", 0), "never seen": ("r", 0)})
    assert sightings.candidates() == [Candidate("t1", 10, request=("r", 0))]
    sightings.note_shared({})
    assert sightings.candidates() == []
