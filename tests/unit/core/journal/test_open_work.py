"""Open work is kept short, and is read, counted and found as if it were not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.stage import Stage
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.earliest import SLOT_MS
from service.core.job.ending import AccountedUsage, FailureEnding
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.job import FetchProgress, Job, JobState, TaskEnd
from service.core.job.request_progress import RequestProgress
from service.core.job.submission import SubmissionState
from service.core.job.tables import Submissions
from service.core.journal import open_work
from service.core.journal.entries import encode_request
from service.core.journal.open_work import OpenJobs, OpenProgress, OpenRequests
from service.errors import FailureCode
from tests.unit.core.job.test_tables import store
from tests.unit.core.samples import (
    NOW_MS,
    ORIGIN,
    REF,
    SUBMISSION,
    job,
    request,
    request_of,
    running_job,
    submission_of,
)

MINUTE_MS = 60_000
MODELS = ("fun-asr", "fun-asr-mtl")
SOME = st.integers(0, 3)
REFS = st.builds(JobRef, st.builds(Origin, SOME, SOME), SOME)
TIMES = st.integers(0, 4 * MINUTE_MS)
JOBS = st.builds(
    lambda state, model, deadline_ms, accepted_ms: job(
        state, request=request(model=model, deadline_ms=deadline_ms, accepted_ms=accepted_ms)
    ),
    st.sampled_from(JobState),
    st.sampled_from(MODELS),
    TIMES,
    st.integers(0, 5).map(lambda slot: slot * SLOT_MS),
)
OTHER = {
    "submission": SubmissionKey(5, 9),
    "state": JobState.COLLECTING,
    "cancelled": True,
    "must_be_result": True,
    "task_ids": ("t0", "t1"),
    "submit_attempts": 7,
    "submitted_ms": NOW_MS,
    "task_files": 2,
    "poll_attempts": 1,
    "is_last_poll_asked": True,
    "fetch": FetchProgress(attempts=1),
    "task_end": TaskEnd(billed_seconds=3),
    "ending": FailureEnding(Stage.POLL, FailureCode.CANCELLED, "no"),
    "accounted": AccountedUsage(1, carries_summary=False),
}
"""For each field that does not name the job, a value that a submission does not tell."""


class Work:
    """The tables of a shard, with one request whose jobs are in one submission."""

    def __init__(self, asked: AcceptedRequest, state: SubmissionState = SubmissionState.RUNNING) -> None:
        self.requests, self.submissions = OpenRequests(), Submissions()
        self.jobs = OpenJobs(self.requests, self.submissions)
        self.progress = OpenProgress(self.requests)
        self.requests[asked.origin] = asked
        self.submissions[SUBMISSION] = submission_of(asked, state)

    @property
    def is_short(self) -> bool:
        """Whether the first job and its request are kept short; they are together, or neither is."""
        is_short = self.jobs._kept[REF] == SUBMISSION
        assert isinstance(self.requests._kept[ORIGIN], bytes) == is_short
        return is_short


def test_a_job_whose_task_runs_and_its_request_are_kept_short_and_read_unchanged() -> None:
    asked = request(metadata={"a": ["\u00e9\u4e2d", 1.5, None]}, options={"speaker_count": 2})
    work, stored = Work(asked), running_job(request=asked)
    for _ in range(2):
        work.jobs[REF] = stored
    assert work.is_short
    assert (work.jobs[REF], work.jobs.get(REF), work.requests[ORIGIN]) == (stored, stored, asked)


def test_a_record_that_a_restore_has_read_is_kept_as_it_is() -> None:
    asked = request()
    work, record = Work(asked), encode_request(asked)
    work.requests.records = {ORIGIN: record}
    work.jobs[REF] = running_job(request=asked)
    assert work.requests._kept[ORIGIN] is record
    assert (work.requests[ORIGIN], work.requests.records) == (asked, {})


@pytest.mark.parametrize("error", [MemoryError(), ValueError("x"), TypeError("x")])
def test_a_job_is_kept_whole_if_its_request_cannot_be_encoded(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft that stores it is half adopted by then, and must be adopted whole."""

    def fails(_request: AcceptedRequest) -> bytes:
        raise error

    asked = request()
    work, stored = Work(asked), running_job(request=asked)
    monkeypatch.setattr(open_work, "encode_request", fails)
    work.jobs[REF] = stored
    assert (work.is_short, work.jobs[REF], work.requests[ORIGIN]) == (False, stored, asked)
    assert work.jobs.by_state[stored.state] == 1


def test_a_value_is_named_for_each_field_of_a_job() -> None:
    assert OTHER.keys() == {each.name for each in fields(Job)} - {"ref", "request"}


@pytest.mark.parametrize("name", OTHER)
def test_a_job_of_which_a_submission_does_not_tell_all_is_kept_as_it_is(name: str) -> None:
    work, asked = Work(request()), request()
    work.jobs[REF] = running_job(request=asked)
    stored = replace(running_job(request=asked), **{name: OTHER[name]})  # type: ignore[arg-type]
    work.jobs[REF] = stored
    assert not work.is_short
    assert work.jobs[REF] is stored
    assert work.requests[ORIGIN] is asked


@pytest.mark.parametrize("state", [each for each in SubmissionState if each is not SubmissionState.RUNNING])
def test_a_job_whose_submission_may_change_is_kept_as_it_is(state: SubmissionState) -> None:
    asked = request()
    work, stored = Work(asked, state), job(JobState.SUBMITTED, request=asked)
    work.jobs[REF] = stored
    assert not work.is_short
    assert work.jobs[REF] is stored


def test_jobs_of_a_request_of_several_files_are_kept_as_they_are() -> None:
    asked = request_of(2)
    work, stored = Work(asked), running_job(request=asked, task_files=2)
    work.jobs[REF] = stored
    assert not work.is_short
    assert work.jobs[REF] is stored


def test_a_job_whose_submission_is_gone_is_read_without_it() -> None:
    work, stored = Work(request()), running_job(request=request())
    work.jobs[REF] = stored
    del work.submissions[SUBMISSION]
    found = work.jobs[REF]
    assert (found.state, found.submission, found.task_ids) == (JobState.SUBMITTED, SUBMISSION, ())


@pytest.mark.parametrize(
    ("stored", "is_apart"),
    [(running_job(), False), (job(), False), (job(JobState.COLLECTING), True), (job(JobState.DONE), True)],
)
def test_jobs_that_have_left_their_submission_or_lost_it_are_found(stored: Job, is_apart: bool) -> None:
    work = Work(request())
    work.jobs[REF] = stored
    assert list(work.jobs.apart()) == [REF] * is_apart
    del work.submissions[SUBMISSION]
    assert list(work.jobs.apart()) == [REF]


def test_nothing_is_kept_of_the_progress_of_a_request_whose_only_file_is_open() -> None:
    work, asked = Work(request()), request()
    begun = RequestProgress.begun(asked)
    work.progress[ORIGIN] = begun
    assert (work.progress[ORIGIN], dict(work.progress), work.progress._kept) == (begun, {ORIGIN: begun}, {})
    further = begun.with_record(0)
    work.progress[ORIGIN] = further
    assert (work.progress[ORIGIN], len(work.progress), ORIGIN in work.progress) == (further, 1, True)
    work.progress[ORIGIN] = begun
    assert work.progress._kept == {}
    work.progress[ORIGIN] = further
    del work.progress[ORIGIN], work.requests[ORIGIN]
    assert (work.progress.get(ORIGIN), ORIGIN in work.progress, len(work.progress)) == (None, False, 0)


def test_open_requests_are_a_mapping() -> None:
    work, asked = Work(request()), request()
    assert (dict(work.requests), len(work.requests), ORIGIN in work.requests) == ({ORIGIN: asked}, 1, True)


def overdue(jobs: Iterable[Job], now_ms: int) -> set[JobRef]:
    """What a walk finds."""
    return {each.ref for each in jobs if each.request.deadline_ms <= now_ms and each.is_open}


@given(st.lists(st.tuples(REFS, st.none() | JOBS, TIMES), max_size=30), st.sampled_from([0, 1, 100]))
def test_jobs_are_counted_and_found_by_deadline_as_if_all_were_visited(
    changes: list[tuple[JobRef, Job | None, int]], most_gone: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_work, "MAX_GONE", most_gone)
        table, plain = OpenJobs(OpenRequests(), {}), dict[JobRef, Job]()
        for ref, value, now_ms in changes:
            store(table, plain, ref, value and replace(value, ref=ref))
            found = table.overdue(now_ms)
            assert found == sorted(overdue(plain.values(), now_ms))
            assert +table.by_state == Counter(each.state for each in plain.values())
            waiting = (each for each in plain.values() if each.state is JobState.WAITING)
            by_model = Counter(each.request.model for each in waiting)
            assert dict(table.waiting) == dict(by_model)
            for state in JobState:
                accepted = [each.request.accepted_ms for each in plain.values() if each.state is state]
                assert table.accepted_ms(state) == min(accepted, default=None)


def test_the_jobs_have_no_other_way_to_change() -> None:
    """The methods that a mapping inherits go through those that count."""
    table = OpenJobs(OpenRequests(), {})
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
    table = OpenJobs(OpenRequests(), {})
    stays = JobRef(Origin(0, 0), 0)
    table[stays] = job(ref=stays, request=request(deadline_ms=MINUTE_MS))
    for offset in range(1, 5 * open_work.MAX_GONE):
        ref = JobRef(Origin(0, offset), 0)
        table[ref] = job(ref=ref)
        del table[ref]
        assert table._deadlines.size <= open_work.MAX_GONE + 3
    assert table.overdue(MINUTE_MS) == [stays]


def test_a_minute_that_is_visited_forgets_the_jobs_that_are_gone() -> None:
    table = OpenJobs(OpenRequests(), {})
    for offset in range(3):
        ref = JobRef(Origin(0, offset), 0)
        table[ref] = job(ref=ref, request=request(deadline_ms=MINUTE_MS))
    del table[JobRef(Origin(0, 1), 0)]
    assert table._deadlines.size == 3
    assert len(table.overdue(MINUTE_MS)) == table._deadlines.size == 2
    table.clear()
    assert (table.overdue(MINUTE_MS), table._deadlines.size) == ([], 0)
    assert (table._deadlines._minutes, table._deadlines._order) == ({}, [])
