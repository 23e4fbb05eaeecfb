"""Files of a POST, of a task and of a job: the same URL, percent escapes aside, is the same file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.job.accepted_request import RequestFile
from service.core.job.file_matching import file_of, files_digest
from service.core.job.job import Job
from service.core.provider.answers import FileView, TaskView
from tests.unit.core.samples import request, running_job, task

URLS = st.lists(st.text(max_size=12), max_size=6)


def viewed(*urls: str) -> TaskView:
    """A finished task of these files."""
    return task(files=tuple(FileView(url, "https://r.example/1") for url in urls))


def waiting(file_url: str, task_files: int) -> Job:
    """A job for the file, whose task holds so many."""
    return running_job(request=request(files=(RequestFile(0, file_url),)), task_files=task_files)


def part(view: TaskView, file_url: str, task_files: int = 2) -> str | None:
    """The URL of the job's part of the task."""
    found = file_of(view, waiting(file_url, task_files))
    return found.file_url if found else None


@pytest.mark.parametrize(
    ("listed", "file_url", "found"),
    [
        (["https://h/b", "https://h/a"], "https://h/a", "https://h/a"),
        (["https://h/%62", "https://h/a"], "https://h/b", "https://h/%62"),
        (["https://h/a b", "https://h/c"], "https://h/a%20b", "https://h/a b"),
        (["https://h/%61", "https://h/a"], "https://h/a", "https://h/a"),
        (["https://h/%61", "https://h/a"], "https://h/%%36%31", None),
        (["https://h/x", "https://h/y"], "https://h/a", None),
        (["https://h/x"], "https://h/a", None),
        ([], "https://h/a", None),
    ],
)
def test_a_part_is_found_by_its_url_never_by_its_place(
    listed: list[str], file_url: str, found: str | None
) -> None:
    assert part(viewed(*listed), file_url) == found


def test_two_equal_incomplete_tasks_are_matched_with_neither() -> None:
    assert part(viewed("https://h/%61?x", "https://h/a%3Fx"), "https://h/a?x") is None


def test_the_only_part_of_a_task_of_one_file_needs_no_match() -> None:
    assert part(viewed("https://cdn/other"), "https://h/a", task_files=1) == "https://cdn/other"


def test_the_only_part_of_a_task_of_one_file_needs_no_name() -> None:
    assert part(viewed(""), "https://h/a", task_files=1) == ""
    assert part(viewed(""), "https://h/a", task_files=2) is None
    assert part(viewed("", "https://h/a"), "https://h/a", task_files=1) == "https://h/a"


def test_two_parts_of_a_task_of_one_file_are_matched_all_the_same() -> None:
    assert part(viewed("https://h/x", "https://h/y"), "https://h/a", task_files=1) is None


def test_files_are_recognised_whatever_their_order_and_percent_escapes() -> None:
    told = files_digest(["https://h/a b", "https://h/b"])
    assert told == files_digest(["https://h/b", "https://h/a%20b"])
    assert len(told) == 16
    assert len({told, files_digest(["https://h/a b"]), files_digest(["https://h/a b", "https://h/c"])}) == 3


@given(URLS, URLS)
def test_other_files_have_another_digest(some: list[str], others: list[str]) -> None:
    plain = [[url.replace("%", "") for url in urls] for urls in (some, others)]
    assert (files_digest(plain[0]) == files_digest(plain[1])) == (sorted(plain[0]) == sorted(plain[1]))
