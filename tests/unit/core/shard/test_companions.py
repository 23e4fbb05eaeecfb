"""Jobs of several requests in one submission: which come along, what is written, and what a crash leaves."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from service.core.job.events import CancelAsked, Intended, Posted, SubmissionEvent
from service.core.job.identity import SubmissionKey
from service.core.job.job import JobState
from service.core.job.submission import SubmissionState
from service.core.shard.batches import Change, Group
from service.core.shard.shard import Shard
from tests.unit.core.samples import NOW_MS, context, request_record
from tests.unit.core.shard_world import Entry, Item, Mode, items_of, restore_of, take

HOST = "https://h.example/"
NAMES = ("a", "b", "c", "d%20e", "d e", "%61")


def keys(shard: Shard) -> tuple[SubmissionKey, ...]:
    """All submissions, the oldest first."""
    return tuple(sorted(shard.submissions))


def shard_with(*requests: list[str], files_per_task: int | None = 100, model: str = "fun-asr") -> Shard:
    """A shard with requests for these files."""
    shard = Shard(0, epoch=1, files_per_task=files_per_task)
    for number, names in enumerate(requests):
        urls: list[JsonValue] = [f"{HOST}{name}.wav".replace(" ", "+") for name in names]
        take(shard, request_record(number, f"r{number}", file_urls=urls, model=model))
    return shard


def intend(shard: Shard, *companions: SubmissionKey, max_files: int | None = None) -> Change:
    """Let the first submission be taken for its POST, and the others come along."""
    event = Intended(NOW_MS, max_files=max_files, companions=companions)
    return shard.on_submission(keys(shard)[0], event, context())


def test_jobs_of_other_requests_join_and_their_submissions_leave_nothing_behind() -> None:
    shard = shard_with(["a"], ["b", "c"], ["d"])
    first, second, third = keys(shard)
    change = intend(shard, second, third)
    assert keys(shard) == (first,)
    submission = shard.submissions[first]
    assert submission.state is SubmissionState.INTENDED
    assert [(ref.origin.offset, ref.file_index) for ref in submission.jobs] == [
        (0, 0),
        (1, 0),
        (1, 1),
        (2, 0),
    ]
    assert submission.intent is not None
    assert submission.intent.files == 4
    assert {job.submission for job in shard.jobs.values()} == {first}
    assert {job.state for job in shard.jobs.values()} == {JobState.SUBMITTED}
    assert [record.key for group in change.groups for record in group.records] == [str(first)]
    assert not shard.unwritten
    assert not len(shard.ended_submissions)


@given(
    st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), min_size=2, max_size=6),
    st.integers(1, 6),
    st.sampled_from((None, 1, 2, 3)),
)
def test_no_pack_holds_a_url_twice_or_more_files_than_a_post_may_and_each_job_is_in_one_submission(
    requests: list[list[str]], files_per_task: int, max_files: int | None
) -> None:
    shard = shard_with(*requests, files_per_task=files_per_task)
    first, *others = keys(shard)
    jobs = set(shard.jobs)
    intend(shard, *others, max_files=max_files)
    posted = shard.submissions[first]
    urls = [unquote(url) for url in shard.file_urls(posted)]
    assert len(set(urls)) == len(urls) <= min(files_per_task, max_files or files_per_task)
    listed = [ref for each in shard.submissions.values() for ref in each.jobs]
    assert sorted(listed) == sorted(jobs)
    for each in shard.submissions.values():
        assert {shard.jobs[ref].submission for ref in each.jobs} == {each.key}


def test_one_that_does_not_fit_leaves_its_place_to_the_next() -> None:
    shard = shard_with(["a"], ["b", "c"], ["%61"], ["d"], files_per_task=2)
    first, full, equal, last = keys(shard)
    intend(shard, full, equal, last)
    assert [ref.origin.offset for ref in shard.submissions[first].jobs] == [0, 3]
    assert keys(shard) == (first, full, equal)


@pytest.mark.parametrize(
    ("files_per_task", "model"), [(1, "fun-asr"), (None, "fun-asr"), (100, "qwen3-asr-flash-filetrans")]
)
def test_where_a_task_takes_one_file_nothing_comes_along(files_per_task: int | None, model: str) -> None:
    shard = shard_with(["a"], ["b"], files_per_task=files_per_task, model=model)
    first, other = keys(shard)
    assert not shard.may_share(shard.submissions[first])
    intend(shard, other)
    assert keys(shard) == (first, other)


def test_a_submission_that_was_tried_takes_nothing_along_and_does_not_come_along() -> None:
    """Its record names its jobs: they would be in two submissions."""
    shard = shard_with(["a"], ["b"])
    first, other = keys(shard)
    for tried in (first, other):
        fresh = shard_with(["a"], ["b"])
        del fresh.unwritten[tried]
        assert not fresh.may_share(fresh.submissions[tried])
        intend(fresh, other)
        assert keys(fresh) == (first, other)


def test_companions_that_are_gone_or_of_another_model_are_passed_over() -> None:
    shard = shard_with(["a"], ["b"], ["c"])
    first, gone, other = keys(shard)
    shard.on_job(shard.submissions[gone].jobs[0], CancelAsked(), context())
    shard.submissions[other] = replace(shard.submissions[other], model="paraformer-v2")
    intend(shard, gone, other, first)
    assert keys(shard) == (first, other)
    assert len(shard.submissions[first].jobs) == 1


def test_an_overdue_job_that_came_along_ends_and_the_others_are_posted() -> None:
    shard = shard_with(["a"], ["b"])
    first, other = keys(shard)
    [late] = shard.open_jobs(other)
    shard.jobs[late.ref] = replace(late, request=replace(late.request, deadline_ms=NOW_MS))
    intend(shard, other)
    assert len(shard.submissions[first].jobs) == 1
    assert shard.jobs[late.ref].state is JobState.FINISHING


def test_what_fails_in_the_intent_leaves_every_request_its_own_submission(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shard = shard_with(["a"], ["b"])
    before = dict(shard.submissions.items())
    with monkeypatch.context() as broken:
        broken.setattr("service.core.job.on_submit.files_digest", lambda urls: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            intend(shard, keys(shard)[1])
    assert dict(shard.submissions.items()) == before
    assert {shard.jobs[ref].submission for ref in before[keys(shard)[0]].jobs} == {keys(shard)[0]}
    assert len(shard.unwritten) == 2


@pytest.mark.parametrize("mode", ["exactly_once", "at_least_once"])
def test_a_crash_after_any_record_of_a_pack_leaves_each_job_in_one_submission(mode: Mode) -> None:
    shard = Shard(0, epoch=1, files_per_task=100)
    groups: list[Group] = []
    for number, name in enumerate("ab"):
        record = request_record(number, f"r{number}", file_urls=[f"{HOST}{name}.wav"])
        groups += take(shard, record).change.groups
    first, other = keys(shard)
    events: list[SubmissionEvent] = [Intended(NOW_MS, companions=(other,)), Posted("t1")]
    for event in events:
        groups += shard.on_submission(first, event, context()).groups
    items = [each for group in groups for each in items_of([group], mode, 1)]
    sizes = [_homes(items[:size]) for size in range(1, len(items) + 1)]
    # One request; both, each by itself; both in the intent; both in the task.
    assert list(dict.fromkeys(sizes)) == [((1, ()),), ((1, ()), (1, ())), ((2, ()),), ((2, ("t1",)),)]


def _homes(items: Sequence[Sequence[Item]]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Of each submission that the next owner finds: how many jobs it has, and their tasks."""
    entries = [each for item in items for each in item if isinstance(each, Entry)]
    shard = Shard(0, epoch=2, files_per_task=100)
    shard.load(restore_of(entries), context())
    found = []
    for each in shard.submissions.values():
        jobs = shard.open_jobs(each.key)
        assert {job.ref for job in jobs} == set(each.jobs)
        found.append((len(jobs), jobs[0].task_ids))
    assert sum(count for count, _ in found) == len(shard.jobs)
    return tuple(found)
