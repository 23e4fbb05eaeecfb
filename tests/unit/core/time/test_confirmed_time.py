"""Each end is judged by the confirmed time: while it lags nothing ends, and nothing goes in circles (N13)."""

from dataclasses import replace

import pytest

from service.contract.request_decoder import RequestLimits, read_request
from service.core.job.events import DeadlinePassed, Fetch, FetchFailed, JobEvent, NoResult, PollFailed
from service.core.job.job import FetchProgress, Job, JobState
from service.core.job.job_table import advance_job
from service.core.job.on_fetch import HELD_RETRY_MS
from service.core.job.submission import SubmissionState
from service.core.job.submission_table import advance_submission
from service.core.job.transition_context import LAST_POLL_GRACE_MS, Context, is_overdue
from service.core.job.urgency import retention_end_ms
from service.core.limits.spend_limit import DAY_MS
from service.core.provider.answers import ProviderError, TaskStatus
from service.core.provider.own_codes import OwnCode
from service.core.shard.admission import AdmissionKind, AdmissionRules, admit
from service.core.shard.shard import Shard
from service.errors import FailureCode
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    REF,
    job,
    request,
    request_record,
    running_job,
    submission,
    task,
)
from tests.unit.core.shard_world import take

RUNNING = submission(SubmissionState.RUNNING)
EDGE_MS = retention_end_ms(RUNNING)
LATE_MS = NOW_MS + 30 * DAY_MS
HELD = ProviderError(OwnCode.FETCH_HOST_REFUSED, "r.example is not allowed")
HELD_FETCH = FetchProgress(url="https://r.example/1", held=HELD)
BUSY = ProviderError("http_error", "busy", 503)
GONE = NoResult(task(TaskStatus.UNKNOWN), ProviderError("UNKNOWN", "not known"))
PATIENT = request(deadline_ms=LATE_MS + DAY_MS)


def context(now_ms: int, confirmed_ms: int | None) -> Context:
    return replace(Context(now_ms, 0.5), confirmed_ms=confirmed_ms)


@pytest.mark.parametrize(("confirmed_ms", "has_come"), [(None, True), (99, False), (100, True), (0, False)])
def test_a_time_has_come_once_it_is_confirmed(confirmed_ms: int | None, has_come: bool) -> None:
    now = context(200, confirmed_ms)
    assert now.has_come(100) is has_come
    assert now.ending_ms == (200 if confirmed_ms is None else confirmed_ms)
    assert is_overdue(job(request=request(deadline_ms=100)), now) is has_come


@pytest.mark.parametrize(
    ("before", "event", "due_ms"),
    [
        (job(), DeadlinePassed(), DEADLINE_MS),
        (running_job(is_last_poll_asked=True), DeadlinePassed(), DEADLINE_MS + LAST_POLL_GRACE_MS),
        (job(JobState.COLLECTING), DeadlinePassed(), DEADLINE_MS + LAST_POLL_GRACE_MS),
        (job(JobState.COLLECTING), FetchFailed(BUSY), DEADLINE_MS),
        (job(JobState.COLLECTING, request=PATIENT, fetch=HELD_FETCH), FetchFailed(HELD), EDGE_MS),
    ],
    ids=["waiting", "polled last", "collecting", "not fetched", "held"],
)
def test_no_job_ends_before_the_time_at_which_it_does_is_confirmed(
    before: Job, event: JobEvent, due_ms: int
) -> None:
    where = submission() if before.state is JobState.WAITING else RUNNING
    early = advance_job(before, event, where, context(LATE_MS, due_ms - 1))
    assert early.job.is_open
    assert early.job.ending is None
    assert advance_job(before, event, where, context(LATE_MS, due_ms)).job.state is JobState.FINISHING


def test_a_held_result_whose_edge_is_not_confirmed_is_tried_again_with_a_pause() -> None:
    kept = job(JobState.COLLECTING, request=PATIENT, fetch=HELD_FETCH)
    after = advance_job(kept, FetchFailed(HELD), RUNNING, context(LATE_MS, 0))
    [step] = after.steps
    assert isinstance(step, Fetch)
    assert (step.ref, step.due_ms) == (REF, LATE_MS + HELD_RETRY_MS)


def test_a_lost_task_counts_as_expired_only_once_that_is_confirmed() -> None:
    codes = [
        getattr(advance_job(running_job(), GONE, RUNNING, context(LATE_MS, ms)).job.ending, "code", None)
        for ms in (EDGE_MS - 1, EDGE_MS)
    ]
    assert codes == [FailureCode.TASK_LOST, FailureCode.RESULT_EXPIRED]


def test_a_followed_task_is_given_up_only_once_its_edge_is_confirmed() -> None:
    followed = replace(RUNNING, is_followed=True)
    ends = [
        advance_submission(followed, PollFailed(BUSY), {}, context(LATE_MS, ms)).is_over
        for ms in (EDGE_MS - 1, EDGE_MS)
    ]
    assert ends == [False, True]


def test_a_request_is_too_late_only_once_that_is_confirmed() -> None:
    for confirmed_ms, is_open in ((0, True), (NOW_MS, False)):
        shard = Shard(0)
        late = request_record(0, deadline="2020-01-01T00:00:00Z")
        read = read_request(late.value, late.headers, RequestLimits())
        admission = admit(shard, late, read, AdmissionRules(), context(NOW_MS, confirmed_ms))
        assert admission.kind is AdmissionKind.ACCEPTED
        assert [job.is_open for job in shard.jobs.values()] == [is_open]


def test_what_ends_counts_for_the_confirmed_day() -> None:
    shard = Shard(0)
    take(shard, request_record(0))
    [key] = shard.submissions
    [ref] = shard.jobs
    shard.submissions[key] = replace(RUNNING, key=key, jobs=(ref,))
    shard.jobs[ref] = replace(running_job(), ref=ref, request=shard.jobs[ref].request, submission=key)
    failed = NoResult(task(TaskStatus.FAILED), ProviderError("InvalidFile", "no audio"))
    shard.on_job(ref, failed, context(NOW_MS + 3 * DAY_MS, NOW_MS))
    assert (shard.spend.day, shard.spend.seconds) == (NOW_MS // DAY_MS, 9)
