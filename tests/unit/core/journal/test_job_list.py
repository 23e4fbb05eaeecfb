"""The jobs of a replayed partition, as an operator sees them."""

import pytest

from service.contract.stage import Stage
from service.core.job.accepted_request import FileEnd
from service.core.job.ending import AccountedUsage, FailureEnding
from service.core.job.identity import JobKey, SubmissionKey
from service.core.job.submission import Counters, SubmissionState
from service.core.journal.entries import JobEntry
from service.core.journal.job_list import ListedJob, listed_jobs
from service.core.journal.replay import Restore
from service.errors import FailureCode
from tests.unit.core.samples import ORIGIN, request, request_of, submission, submission_of

FAILED = FailureEnding(Stage.POLL, FailureCode.AUDIO_NOT_FOUND, "no such file")


def restored(*entries: object) -> Restore:
    found = Restore("journal", 0)
    for number, entry in enumerate(entries):
        found.entries[str(number)] = entry  # type: ignore[assignment]
    return found


def test_a_job_that_no_submission_lists_waits_and_was_never_tried() -> None:
    [job] = listed_jobs(restored(request()))
    assert (job.state, job.submits, job.key) == ("waiting", 0, JobKey("r", 0, 0))


@pytest.mark.parametrize("state", SubmissionState)
def test_a_job_has_the_state_of_its_submission(state: SubmissionState) -> None:
    [job] = listed_jobs(restored(request(), submission(state)))
    assert job.state == state.value


def test_the_latest_submission_that_lists_a_job_counts_in_whatever_order_they_come() -> None:
    first = submission(SubmissionState.RUNNING, task_id="old")
    second = submission(
        SubmissionState.RUNNING, key=SubmissionKey(5, 2), task_id="new", counters=Counters(submits=2)
    )
    for entries in ((first, second), (second, first)):
        [job] = listed_jobs(restored(request(), *entries))
        assert job.submission == second
        assert job.submits == 2


def test_each_file_is_a_job_with_its_own_records() -> None:
    asked = request_of(4)
    refs = [asked.ref(index) for index in range(4)]
    entries = (
        JobEntry(refs[0], end=FileEnd(0, succeeded=True)),
        JobEntry(refs[1], ending=FAILED, accounted=AccountedUsage(None, carries_summary=False)),
        JobEntry(refs[2], is_result=True),
        JobEntry(refs[3], cancelled=True),
    )
    found = list(listed_jobs(restored(asked, submission_of(asked, SubmissionState.RUNNING), *entries)))
    assert [job.state for job in found] == ["done", "finishing", "finishing", "running"]
    assert [job.cancelled for job in found] == [False, False, False, True]
    assert [job.file_index for job in found] == [0, 1, 2, 3]


def test_jobs_of_requests_that_are_not_open_are_not_listed() -> None:
    assert list(listed_jobs(restored(JobEntry(request().ref(0), cancelled=True), submission()))) == []
    assert ListedJob(request(), 0).request.origin == ORIGIN
