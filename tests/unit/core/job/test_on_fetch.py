"""Jobs whose task is finished: fetches, what is held, and URLs that are turned down."""

from dataclasses import replace

import pytest

from service.contract.stage import Stage
from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.events import (
    CancelAsked,
    DeadlinePassed,
    Fetch,
    Fetched,
    FetchFailed,
    JobEvent,
    Poll,
    ReadyToCollect,
)
from service.core.job.job import FetchProgress, Job, JobState
from service.core.job.job_table import advance_job
from service.core.job.on_fetch import HELD_RETRY_MS
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import LAST_POLL_GRACE_MS, JobTransition
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import UNREADABLE_ATTEMPTS
from service.core.provider.own_codes import OwnCode
from service.errors import FailureCode
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    REF,
    SUBMISSION,
    context,
    job,
    request,
    running_job,
    submission,
    task,
    transcript,
)

DAY_MS = 24 * 3600 * 1000
RUNNING = submission(SubmissionState.RUNNING)
RESULT = "https://r.example/1"
BUSY = ProviderError("http_error", "busy", 503)
GARBAGE = ProviderError("not_a_transcript", "the result file is no transcript")
REFUSED = ProviderError("fetch_refused", "a private address")


def collecting(
    attempts: int = 0, error: str = "", held: ProviderError | None = None, **fields: object
) -> Job:
    """A job whose result is being fetched."""
    plain = job(JobState.COLLECTING, **fields)
    return replace(plain, fetch=replace(plain.fetch, attempts=attempts, error=error, held=held))


def meet(
    event: JobEvent, before: Job, now_ms: int = NOW_MS, draw: float = 0.5, where: Submission = RUNNING
) -> JobTransition:
    """What the job answers."""
    return advance_job(before, event, where, context(now_ms, draw))


def failed(after: JobTransition) -> FailureEnding:
    """The failure that the job ends in, durably."""
    assert after.job.state is JobState.FINISHING
    assert (after.durable, after.leaves) == (True, True)
    assert isinstance(after.job.ending, FailureEnding)
    return after.job.ending


def test_a_result_is_fetched_at_once_and_its_job_notes_what_the_task_says() -> None:
    after = meet(ReadyToCollect(task(end_time="then"), RESULT), running_job(fetch=FetchProgress(held=BUSY)))
    assert (after.job.state, after.job.fetch.url, after.job.fetch.held) == (
        JobState.COLLECTING,
        RESULT,
        None,
    )
    assert (after.job.task_end.completed_ms, after.job.task_end.billed_seconds) == (NOW_MS, 9)
    assert after.job.task_end.provider_times == (None, None, "then")
    assert (after.durable, after.leaves) == (False, False)
    assert after.steps == (Fetch(REF, RESULT, NOW_MS),)


@pytest.mark.parametrize(
    ("files", "told", "kept"),
    [
        (1, (225, 41), (225, 41)),
        (1, (225, None), (225, None)),
        (1, (None, None), (None, None)),
        (0, (225, 41), (225, 41)),
        (4, (225, 41), (57, 11)),
        (2, (0, 1), (0, 1)),
    ],
)
def test_the_tokens_of_a_task_are_not_dropped_and_those_of_several_files_are_shared(
    files: int, told: tuple[int | None, int | None], kept: tuple[int | None, int | None]
) -> None:
    view = task(input_tokens=told[0], output_tokens=told[1])
    seen = meet(ReadyToCollect(view, RESULT), running_job(task_files=files)).job
    assert (seen.task_end.bill.input_tokens, seen.task_end.bill.output_tokens) == kept
    assert (seen.task_end.bill.seconds, seen.task_end.bill.is_estimated) == (None, False)


def test_a_fetched_transcript_ends_the_job() -> None:
    after = meet(Fetched(transcript(), {"srt": "1"}), collecting(attempts=1))
    assert (after.job.state, after.job.fetch.attempts) == (JobState.FINISHING, 2)
    assert after.job.ending == ResultEnding(transcript(), renderings={"srt": "1"})
    assert (after.durable, after.leaves, after.is_unwanted) == (True, True, False)


def test_a_busy_result_host_is_tried_again() -> None:
    after = meet(FetchFailed(BUSY), collecting(attempts=50), draw=0.0)
    assert after.job == collecting(attempts=51, error="busy")
    assert after.job.fetch.error == "busy"
    assert not after.durable
    assert after.steps == (Fetch(REF, RESULT, NOW_MS),)


@pytest.mark.parametrize(
    ("provider_error", "attempts", "code"),
    [
        (REFUSED, 0, FailureCode.RESULT_REFUSED),
        (GARBAGE, UNREADABLE_ATTEMPTS - 1, FailureCode.RESULT_UNREADABLE),
    ],
)
def test_a_result_that_cannot_be_read_is_a_failure(
    provider_error: ProviderError, attempts: int, code: FailureCode
) -> None:
    ending = failed(meet(FetchFailed(provider_error), collecting(attempts=attempts)))
    assert (ending.code, ending.stage) == (code, Stage.COLLECT)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_url_that_is_turned_down_is_asked_for_anew_once(status: int) -> None:
    stale = FetchFailed(ProviderError("http_error", "turned down", status))
    asked = meet(stale, collecting(attempts=50), draw=0.0)
    assert (asked.job.state, asked.job.fetch.url_polls) == (JobState.SUBMITTED, 1)
    assert (asked.durable, asked.leaves) == (False, False)
    assert asked.steps == (Poll(SUBMISSION, "t1", NOW_MS),)
    again = meet(ReadyToCollect(task(), RESULT + "?new"), asked.job)
    assert (again.job.state, again.job.fetch.url) == (JobState.COLLECTING, RESULT + "?new")
    ending = failed(meet(stale, again.job))
    assert (ending.code, ending.stage) == (FailureCode.RESULT_EXPIRED, Stage.COLLECT)


def test_a_fetch_that_was_out_when_the_url_was_asked_for_anew_changes_nothing() -> None:
    for event in (Fetched(transcript()), FetchFailed(BUSY)):
        assert meet(event, running_job()) == JobTransition(running_job())


# Deadlines.


def test_the_first_fetch_may_outlast_the_deadline() -> None:
    before = collecting()
    assert meet(DeadlinePassed(), before, DEADLINE_MS + LAST_POLL_GRACE_MS - 1) == JobTransition(before)
    assert meet(Fetched(transcript()), before, DEADLINE_MS + 1).job.ending == ResultEnding(transcript())


def test_the_first_fetch_ends_a_quarter_of_an_hour_after_the_deadline() -> None:
    ending = failed(meet(DeadlinePassed(), collecting(), DEADLINE_MS + LAST_POLL_GRACE_MS))
    assert (ending.code, ending.stage) == (FailureCode.DEADLINE_EXCEEDED, Stage.COLLECT)


@pytest.mark.parametrize("event", [DeadlinePassed(), FetchFailed(BUSY)])
def test_a_second_fetch_may_not_outlast_the_deadline(event: JobEvent) -> None:
    before = collecting(attempts=1, error="busy")
    ending = failed(meet(event, before, DEADLINE_MS))
    assert (ending.code, ending.stage) == (FailureCode.DEADLINE_EXCEEDED, Stage.COLLECT)
    assert ending.message == "the deadline passed while the job was collecting: busy"


def test_a_result_that_may_be_out_is_fetched_beyond_its_deadline() -> None:
    after = meet(
        FetchFailed(BUSY), collecting(must_be_result=True), DEADLINE_MS + LAST_POLL_GRACE_MS, draw=0.0
    )
    assert after.job.state is JobState.COLLECTING
    assert after.steps == (Fetch(REF, RESULT, DEADLINE_MS + LAST_POLL_GRACE_MS),)


# A result whose host the settings do not allow.

HOST = ProviderError(
    OwnCode.FETCH_HOST_REFUSED, "the result's host r.example is not below SCRIBE_FETCH__HOSTS"
)


def held(now_ms: int = NOW_MS, where: Submission = RUNNING, **fields: object) -> JobTransition:
    return meet(FetchFailed(HOST), collecting(**fields), now_ms, where=where)  # type: ignore[arg-type]


def test_a_result_on_a_host_that_is_not_allowed_is_kept_and_tried_again_later() -> None:
    after = held()
    assert after.job == collecting(attempts=1, held=HOST)
    assert not after.durable
    assert after.steps == (Fetch(REF, RESULT, NOW_MS + HELD_RETRY_MS),)
    again = meet(FetchFailed(HOST), after.job, NOW_MS + HELD_RETRY_MS)
    assert again.job == after.job
    assert again.steps == (Fetch(REF, RESULT, NOW_MS + 2 * HELD_RETRY_MS),)


def test_a_held_result_ends_at_the_deadline_as_refused_and_may_be_retried() -> None:
    kept = held().job
    for after in (
        meet(DeadlinePassed(), kept, DEADLINE_MS),
        meet(FetchFailed(HOST), kept, DEADLINE_MS),
        held(DEADLINE_MS),
    ):
        ending = failed(after)
        assert (ending.stage, ending.code) == (Stage.COLLECT, FailureCode.RESULT_REFUSED)
        assert ending.retryable
        assert ending.message == HOST.message
        assert ending.provider_code is None


def test_a_held_result_ends_at_the_edge_of_24_hours_as_expired() -> None:
    patient = request(deadline_ms=NOW_MS + 3 * DAY_MS)
    end_ms = NOW_MS - 10_000 + DAY_MS
    near = held(end_ms - 1, request=patient)
    assert near.steps == (Fetch(REF, RESULT, end_ms),)
    ending = failed(meet(FetchFailed(HOST), near.job, end_ms))
    assert (ending.stage, ending.code) == (Stage.COLLECT, FailureCode.RESULT_EXPIRED)
    assert ending.retryable
    assert "r.example" in ending.message


def test_the_edge_of_a_held_result_counts_from_when_its_task_was_last_at_work() -> None:
    patient = request(deadline_ms=NOW_MS + 3 * DAY_MS)
    worked = submission(SubmissionState.RUNNING, unfinished_ms=NOW_MS)
    assert held(NOW_MS + DAY_MS - 1, worked, request=patient).job.state is JobState.COLLECTING
    assert failed(held(NOW_MS + DAY_MS, worked, request=patient)).code is FailureCode.RESULT_EXPIRED


def test_a_held_result_that_may_be_out_already_outlasts_its_deadline_and_ends_at_the_edge() -> None:
    kept = held(DEADLINE_MS, must_be_result=True).job
    assert meet(DeadlinePassed(), kept, DEADLINE_MS).job == kept
    ending = failed(meet(FetchFailed(HOST), kept, NOW_MS + DAY_MS))
    assert ending.code is FailureCode.RESULT_EXPIRED


def test_a_held_result_is_not_taken_for_one_that_is_fetched() -> None:
    kept = held().job
    assert isinstance(meet(Fetched(transcript()), kept).job.ending, ResultEnding)
    assert failed(meet(CancelAsked(), kept)).code is FailureCode.CANCELLED
    busy = meet(FetchFailed(BUSY), kept, draw=0.0).job
    assert (busy.state, busy.fetch.attempts) == (JobState.COLLECTING, 2)
