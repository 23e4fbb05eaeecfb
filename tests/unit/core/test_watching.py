"""Jobs with a provider task: looks, fetches, and what a restore makes of an ending that was decided."""

import pytest

from service.contract.speech import empty_transcript
from service.core.ending import FailureEnding, ResultEnding
from service.core.events import (
    CancelAsked,
    CancelTask,
    DeadlinePassed,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    Looked,
    LookFailed,
    QueueSubmit,
    Restored,
    Watch,
)
from service.core.job import Job, State
from service.core.moment import Transition
from service.core.task import HOST_REFUSED, FileView, TaskStatus, TaskView, Trouble
from service.core.transitions import advance
from service.core.verdicts import FILE_ATTEMPTS, UNREADABLE_ATTEMPTS
from service.core.watching import HELD_MS
from service.errors import FailureCode
from service.messages import Stage
from tests.unit.core.samples import DEADLINE_MS, KEY, NOW_MS, URL, job, moment, spec, task, transcript

DAY_MS = 24 * 3600 * 1000
READY = FileView(URL, transcription_url="https://r.example/1?sig=2")
SILENT = FileView(URL, trouble=Trouble("ASR_RESPONSE_HAVE_NO_WORDS", "no words"))
UNREACHABLE = FileView(URL, trouble=Trouble("FILE_DOWNLOAD_FAILED", "no answer"))
FORBIDDEN = FileView(URL, trouble=Trouble("FILE_403_FORBIDDEN", "403"))
BUSY = Trouble("http_error", "busy", 503)
GARBAGE = Trouble("not_a_transcript", "the result file is no transcript")
REFUSED = Trouble("fetch_refused", "a private address")


def look(
    view: TaskView, file: FileView | None = None, before: Job | None = None, now_ms: int = NOW_MS
) -> Transition:
    """The answer to one look."""
    return advance(before or job(State.RUNNING), Looked(view, file), moment(now_ms))


def failed(answer: Transition) -> FailureEnding:
    """The failure that the job ends in, durably."""
    assert answer.job.state is State.FINISHING
    assert answer.durable
    assert isinstance(answer.job.ending, FailureEnding)
    return answer.job.ending


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.RUNNING])
def test_an_unfinished_task_is_looked_at_later(status: TaskStatus) -> None:
    answer = look(task(status))
    assert answer.job == job(State.RUNNING, poll_attempts=1, unfinished_ms=NOW_MS)
    assert not answer.durable
    assert answer.steps == (Watch(KEY, "t1", NOW_MS + 2_500),)


def test_a_task_of_unknown_age_is_looked_at_as_if_it_were_new() -> None:
    answer = look(task(TaskStatus.RUNNING), before=job(State.RUNNING, submitted_ms=None))
    assert answer.steps == (Watch(KEY, "t1", NOW_MS + 2_000),)


@pytest.mark.parametrize("status", [TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED])
def test_a_usable_file_is_fetched_whatever_the_task_says(status: TaskStatus) -> None:
    answer = look(task(status, end_time="then"), READY)
    assert answer.job.state is State.COLLECTING
    assert (answer.job.completed_ms, answer.job.task_billed_seconds) == (NOW_MS, 9)
    assert answer.job.provider_times == (None, None, "then")
    assert not answer.durable
    assert answer.steps == (Fetch(KEY, "https://r.example/1?sig=2", NOW_MS),)


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
    before = job(State.RUNNING, task_files=files)
    seen = look(task(input_tokens=told[0], output_tokens=told[1]), READY, before=before).job
    assert (seen.bill.input_tokens, seen.bill.output_tokens) == kept
    assert (seen.bill.seconds, seen.bill.is_estimated) == (None, False)


def test_silence_is_a_result() -> None:
    answer = look(task(), SILENT)
    assert answer.job.ending == ResultEnding(empty_transcript(), silent=True)
    assert answer.durable


def test_a_failed_file_of_a_successful_task_fails() -> None:
    ending = failed(look(task(), FORBIDDEN))
    assert (ending.code, ending.stage) == (FailureCode.AUDIO_FORBIDDEN, Stage.POLL)
    assert ending.provider_code == "FILE_403_FORBIDDEN"


def test_a_file_that_the_provider_could_not_fetch_is_submitted_again() -> None:
    answer = look(task(), UNREACHABLE)
    after = answer.job
    assert (after.state, after.task_id, after.task_files, after.submitted_ms) == (
        State.WAITING,
        None,
        0,
        None,
    )
    assert answer.durable
    assert answer.steps == (QueueSubmit(KEY, NOW_MS + 500),)


def test_a_file_is_submitted_as_often_as_the_table_allows() -> None:
    """Counted in tasks that were made: submits that were throttled made none."""
    throttled = job(State.RUNNING, submit_attempts=50, tasks_made=FILE_ATTEMPTS - 1)
    assert look(task(), UNREACHABLE, throttled).job.state is State.WAITING
    ending = failed(look(task(), UNREACHABLE, job(State.RUNNING, tasks_made=FILE_ATTEMPTS)))
    assert ending.code is FailureCode.AUDIO_UNREACHABLE


def test_a_failed_task_without_files_speaks_for_all_of_them() -> None:
    view = task(TaskStatus.FAILED, trouble=Trouble("InvalidFile", "no audio"))
    assert failed(look(view)).code is FailureCode.AUDIO_UNUSABLE


def test_a_finished_task_that_does_not_name_the_file_is_a_failure() -> None:
    ending = failed(look(task()))
    assert (ending.code, ending.provider_code) == (FailureCode.PROVIDER_ERROR, None)


def test_a_task_cancelled_at_the_provider_ends_the_job() -> None:
    ending = failed(look(task(TaskStatus.CANCELED)))
    assert (ending.code, ending.provider_code) == (FailureCode.CANCELLED, "CANCELED")


@pytest.mark.parametrize(
    ("age_ms", "code"),
    [
        (59_999, None),
        (60_000, FailureCode.TASK_LOST),
        (DAY_MS - 1, FailureCode.TASK_LOST),
        (DAY_MS, FailureCode.RESULT_EXPIRED),
    ],
)
def test_an_unknown_task_is_young_lost_or_expired(age_ms: int, code: FailureCode | None) -> None:
    answer = look(task(TaskStatus.UNKNOWN), before=job(State.RUNNING, submitted_ms=NOW_MS - age_ms))
    if code is None:
        assert answer.job.state is State.RUNNING
        assert answer.steps
    else:
        assert failed(answer).code is code


def test_a_look_that_fails_is_repeated_without_end() -> None:
    before = job(State.RUNNING, poll_attempts=500)
    answer = advance(before, LookFailed(Trouble("http_error", "busy", 502, 7.0)), moment(draw=0.0))
    assert answer == Transition(
        job(State.RUNNING, poll_attempts=501), steps=(Watch(KEY, "t1", NOW_MS + 2_000 + 7_000),)
    )


def test_a_restored_task_is_looked_at_within_a_second() -> None:
    answer = advance(job(State.RUNNING), Restored(), moment(draw=0.25))
    assert answer == Transition(job(State.RUNNING), steps=(Watch(KEY, "t1", NOW_MS + 250),))


@pytest.mark.parametrize("state", [State.RUNNING, State.COLLECTING])
def test_a_cancel_ends_the_job_and_drops_its_task(state: State) -> None:
    answer = advance(job(state), CancelAsked(), moment())
    assert (failed(answer).code, failed(answer).stage) == (FailureCode.CANCELLED, Stage.POLL)
    assert answer.steps == (CancelTask("t1"),)


def test_the_deadline_ends_a_running_job() -> None:
    ending = failed(advance(job(State.RUNNING), DeadlinePassed(), moment(DEADLINE_MS)))
    assert (ending.code, ending.stage) == (FailureCode.DEADLINE_EXCEEDED, Stage.POLL)


def test_the_first_fetch_may_outlast_the_deadline() -> None:
    before = job(State.COLLECTING)
    assert advance(before, DeadlinePassed(), moment(DEADLINE_MS)) == Transition(before)
    answer = advance(before, Fetched(transcript()), moment(DEADLINE_MS + 1))
    assert answer.job.ending == ResultEnding(transcript())


@pytest.mark.parametrize("event", [DeadlinePassed(), FetchFailed(BUSY)])
def test_a_second_fetch_may_not(event: Event) -> None:
    ending = failed(advance(job(State.COLLECTING, fetch_attempts=1), event, moment(DEADLINE_MS)))
    assert (ending.code, ending.stage) == (FailureCode.DEADLINE_EXCEEDED, Stage.COLLECT)


# A result whose host the settings do not allow.

HOST = Trouble(HOST_REFUSED, "the result's host r.example is not below SCRIBE_FETCH__HOSTS")


def held(now_ms: int = NOW_MS, **fields: object) -> Transition:
    return advance(job(State.COLLECTING, **fields), FetchFailed(HOST), moment(now_ms))


def test_a_result_on_a_host_that_is_not_allowed_is_kept_and_tried_again_later() -> None:
    answer = held()
    assert answer.job == job(State.COLLECTING, fetch_attempts=1, held=HOST)
    assert not answer.durable
    assert answer.steps == (Fetch(KEY, "https://r.example/1", NOW_MS + HELD_MS),)
    again = advance(answer.job, FetchFailed(HOST), moment(NOW_MS + HELD_MS))
    assert again.job == answer.job
    assert again.steps == (Fetch(KEY, "https://r.example/1", NOW_MS + 2 * HELD_MS),)


def test_a_held_result_ends_at_the_deadline_as_refused_and_may_be_retried() -> None:
    kept = held().job
    for answer in (
        advance(kept, DeadlinePassed(), moment(DEADLINE_MS)),
        advance(kept, FetchFailed(HOST), moment(DEADLINE_MS)),
        held(DEADLINE_MS),
    ):
        ending = failed(answer)
        assert (ending.stage, ending.code) == (Stage.COLLECT, FailureCode.RESULT_REFUSED)
        assert ending.retryable
        assert ending.message == HOST.message
        assert ending.provider_code is None


def test_a_held_result_ends_at_the_edge_of_24_hours_as_expired() -> None:
    patient = spec(deadline_ms=NOW_MS + 3 * DAY_MS)
    edge = NOW_MS - 10_000 + DAY_MS
    near = held(edge - 1, spec=patient)
    assert near.steps == (Fetch(KEY, "https://r.example/1", edge),)
    ending = failed(advance(near.job, FetchFailed(HOST), moment(edge)))
    assert (ending.stage, ending.code) == (Stage.COLLECT, FailureCode.RESULT_EXPIRED)
    assert ending.retryable
    assert "r.example" in ending.message


def test_the_edge_of_a_held_result_counts_from_when_its_task_was_last_at_work() -> None:
    worked = {"spec": spec(deadline_ms=NOW_MS + 3 * DAY_MS), "unfinished_ms": NOW_MS}
    assert held(NOW_MS + DAY_MS - 1, **worked).job.state is State.COLLECTING
    assert failed(held(NOW_MS + DAY_MS, **worked)).code is FailureCode.RESULT_EXPIRED


def test_a_held_result_that_may_be_out_already_outlasts_its_deadline_and_ends_at_the_edge() -> None:
    kept = held(DEADLINE_MS, must_be_result=True).job
    assert advance(kept, DeadlinePassed(), moment(DEADLINE_MS)).job == kept
    ending = failed(advance(kept, FetchFailed(HOST), moment(NOW_MS + DAY_MS)))
    assert ending.code is FailureCode.RESULT_EXPIRED


def test_a_held_result_is_not_taken_for_one_that_is_fetched() -> None:
    kept = held().job
    assert isinstance(advance(kept, Fetched(transcript()), moment()).job.ending, ResultEnding)
    assert failed(advance(kept, CancelAsked(), moment())).code is FailureCode.CANCELLED
    busy = advance(kept, FetchFailed(BUSY), moment(draw=0.0)).job
    assert (busy.state, busy.fetch_attempts) == (State.COLLECTING, 2)


def test_a_fetched_transcript_ends_the_job() -> None:
    answer = advance(job(State.COLLECTING, fetch_attempts=1), Fetched(transcript()), moment())
    assert (answer.job.state, answer.job.fetch_attempts) == (State.FINISHING, 2)
    assert answer.job.ending == ResultEnding(transcript())
    assert answer.durable


def test_a_busy_result_host_is_tried_again() -> None:
    answer = advance(job(State.COLLECTING, fetch_attempts=50), FetchFailed(BUSY), moment(draw=0.0))
    assert answer.job == job(State.COLLECTING, fetch_attempts=51)
    assert not answer.durable
    assert answer.steps == (Fetch(KEY, "https://r.example/1", NOW_MS),)


@pytest.mark.parametrize(
    ("trouble", "attempts", "code"),
    [
        (REFUSED, 0, FailureCode.RESULT_REFUSED),
        (GARBAGE, UNREADABLE_ATTEMPTS - 1, FailureCode.RESULT_UNREADABLE),
    ],
)
def test_a_result_that_cannot_be_read_is_a_failure(
    trouble: Trouble, attempts: int, code: FailureCode
) -> None:
    ending = failed(advance(job(State.COLLECTING, fetch_attempts=attempts), FetchFailed(trouble), moment()))
    assert (ending.code, ending.stage) == (code, Stage.COLLECT)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_url_that_is_turned_down_is_asked_for_anew_once(status: int) -> None:
    stale = FetchFailed(Trouble("http_error", "turned down", status))
    asked = advance(job(State.COLLECTING, fetch_attempts=50), stale, moment(draw=0.0))
    assert (asked.job.state, asked.job.url_looks, asked.durable) == (State.RUNNING, 1, False)
    assert asked.steps == (Watch(KEY, "t1", NOW_MS),)
    again = look(task(), READY, asked.job)
    assert (again.job.state, again.job.transcription_url) == (State.COLLECTING, READY.transcription_url)
    ending = failed(advance(again.job, stale, moment()))
    assert (ending.code, ending.stage) == (FailureCode.RESULT_EXPIRED, Stage.COLLECT)


def test_a_task_that_was_at_work_within_the_day_is_lost_not_expired() -> None:
    long_ago = job(State.RUNNING, submitted_ms=NOW_MS - 2 * DAY_MS, unfinished_ms=NOW_MS - DAY_MS + 1)
    assert failed(look(task(TaskStatus.UNKNOWN), before=long_ago)).code is FailureCode.TASK_LOST
    later = look(task(TaskStatus.UNKNOWN), before=long_ago, now_ms=NOW_MS + 1)
    assert failed(later).code is FailureCode.RESULT_EXPIRED


def restored_result() -> Job:
    """A job whose result was decided, and perhaps sent, before a crash."""
    return advance(job(State.FINISHING, task_id="t1", task_files=1), Restored(), moment()).job


def test_a_restored_failure_is_sent_as_it_was() -> None:
    before = job(State.FINISHING, ending=FailureEnding(Stage.POLL, FailureCode.TASK_LOST, "lost"))
    assert advance(before, Restored(), moment()) == Transition(before, durable=True)


def test_a_restored_result_is_fetched_again() -> None:
    answer = advance(job(State.FINISHING, task_id="t1"), Restored(), moment(draw=0.0))
    assert (answer.job.state, answer.job.must_be_result) == (State.RUNNING, True)
    assert not answer.durable
    assert answer.steps == (Watch(KEY, "t1", NOW_MS),)


@pytest.mark.parametrize("event", [CancelAsked(), DeadlinePassed()])
def test_a_result_that_may_be_out_is_stopped_by_nobody(event: Event) -> None:
    before = restored_result()
    assert advance(before, event, moment(DEADLINE_MS)) == Transition(before)
    collecting = look(task(), READY, before).job
    assert advance(collecting, event, moment(DEADLINE_MS)) == Transition(collecting)


def test_a_result_that_may_be_out_is_fetched_beyond_its_deadline() -> None:
    collecting = look(task(), READY, restored_result()).job
    answer = advance(collecting, FetchFailed(BUSY), moment(DEADLINE_MS + 1, draw=0.0))
    assert answer.job.state is State.COLLECTING
    assert answer.steps == (Fetch(KEY, "https://r.example/1?sig=2", DEADLINE_MS + 1),)


@pytest.mark.parametrize(
    ("view", "file"),
    [(task(), UNREACHABLE), (task(), FORBIDDEN), (task(TaskStatus.CANCELED), None), (task(), None)],
)
def test_a_result_that_may_be_out_is_never_submitted_again(view: TaskView, file: FileView | None) -> None:
    assert failed(look(view, file, restored_result())).code is FailureCode.RESULT_EXPIRED


def test_a_result_that_may_be_out_is_expired_once_the_provider_forgets_it() -> None:
    before = restored_result()
    answer = look(task(TaskStatus.UNKNOWN), before=before, now_ms=NOW_MS + DAY_MS)
    assert failed(answer).code is FailureCode.RESULT_EXPIRED
