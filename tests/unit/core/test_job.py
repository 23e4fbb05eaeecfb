"""Jobs: their keys, and which files of a request may share a provider task."""

from collections import Counter
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from service.core.grouping import new_jobs, plan_groups
from service.core.identity import JobKey
from tests.unit.core.samples import job, spec

URLS = st.lists(st.sampled_from([f"https://h/{n}" for n in range(6)] + ["https://h/%30"]), max_size=20)


@given(URLS, st.integers(1, 5))
def test_no_task_holds_a_url_twice_or_more_files_than_it_may(urls: list[str], files_per_task: int) -> None:
    groups = plan_groups(urls, files_per_task)
    assert len(groups) == len(urls)
    pairs = Counter(zip(groups, map(unquote, urls), strict=True))
    assert all(count == 1 for count in pairs.values())
    assert all(count <= files_per_task for count in Counter(groups).values())


@given(URLS, st.integers(1, 5))
def test_groups_are_numbered_in_the_order_of_their_first_file(urls: list[str], files_per_task: int) -> None:
    groups = plan_groups(urls, files_per_task)
    firsts = list(dict.fromkeys(groups))
    assert firsts == list(range(len(firsts)))


@given(st.integers(0, 100), st.integers(1, 100))
def test_different_files_fill_one_task_after_the_other(count: int, files_per_task: int) -> None:
    groups = plan_groups([f"https://h/{n}" for n in range(count)], files_per_task)
    assert groups == [n // files_per_task for n in range(count)]


def test_urls_that_differ_in_percent_escapes_alone_never_share_a_task() -> None:
    assert plan_groups(["https://h/a%2Db", "https://h/a-b", "https://h/c"], 10) == [0, 1, 0]


def test_new_jobs_keep_the_indexes_of_the_request() -> None:
    jobs = new_jobs(spec(file_count=9), [(2, "https://h/2"), (5, "https://h/5")], 1)
    assert [(each.file_index, each.file_url, each.group) for each in jobs] == [
        (2, "https://h/2", 0),
        (5, "https://h/5", 1),
    ]


def test_a_key_names_request_replay_and_file() -> None:
    key = job(file_index=3).key
    assert str(key) == "r/0/3"
    assert key.request == ("r", 0)
    assert key == JobKey("r", 0, 3)


def test_a_job_may_share_the_spec_of_its_siblings() -> None:
    shared = spec()
    assert job().with_spec(shared).spec is shared
