"""Models that answer a POST with the transcript: no task, and nothing to look for."""

from dataclasses import replace

import pytest

from service.core.job.ending import FailureEnding, ResultEnding
from service.core.job.events import (
    CancelAsked,
    DeadlinePassed,
    Intended,
    QueueSubmit,
    SubmissionEvent,
    SubmissionRestored,
    SubmitAnswered,
    SubmitLost,
    SubmitRefused,
)
from service.core.job.job import Job, JobState
from service.core.job.job_endings import MAY_BE_BILLED
from service.core.job.submission import Counters, Submission, SubmissionState
from service.core.job.submission_table import advance_submission
from service.core.job.transition_context import MAX_LOST_CALLS, Rules
from service.core.job.uncertainty import UncertainOutcome
from service.core.provider.answers import Bill, ProviderError
from service.errors import FailureCode
from tests.unit.core.job.tables import Tables
from tests.unit.core.samples import (
    DEADLINE_MS,
    NOW_MS,
    REF,
    SUBMISSION,
    context,
    job,
    request,
    submission_of,
    transcript,
)

ASKED = request(model="qwen3-asr-flash")
LOST = SubmitLost(ProviderError("timeout", "no answer within 300 s"))
CRASHED = SubmissionRestored()
BILL = Bill(seconds=3, input_tokens=83, output_tokens=6)
HEARD = SubmitAnswered(transcript("Hello."), BILL)
INTENDED = submission_of(ASKED, SubmissionState.INTENDED)


def calling(where: Submission = INTENDED, **fields: object) -> Tables:
    """A job whose call is out."""
    return Tables({REF: job(JobState.SUBMITTED, request=ASKED, **fields)}, {where.key: where})


def after(
    event: SubmissionEvent, tables: Tables | None = None, now_ms: int = NOW_MS, rules: Rules | None = None
) -> Tables:
    """What came of it."""
    tables = tables or calling()
    [key] = tables.submissions
    tables.on_submission(key, event, context(now_ms, rules=rules))
    return tables


def the_job(tables: Tables) -> Job:
    return tables.jobs[REF]


def ending_of(tables: Tables) -> FailureEnding:
    ending = the_job(tables).ending
    assert isinstance(ending, FailureEnding)
    assert not tables.submissions
    return ending


def test_the_answer_is_the_result_with_its_bill() -> None:
    heard = after(HEARD)
    ended = the_job(heard)
    assert (ended.state, ended.ending) == (JobState.FINISHING, ResultEnding(transcript("Hello.")))
    assert (ended.task_id, ended.task_end.billed_seconds, ended.task_end.bill) == (None, 3, BILL)
    assert (ended.submitted_ms, ended.task_end.completed_ms) == (NOW_MS - 50, NOW_MS)
    assert (ended.submit_attempts, ended.poll_attempts, ended.fetch.attempts) == (1, 0, 0)
    assert not heard.submissions


def test_an_answer_that_is_paid_for_is_delivered_after_the_deadline() -> None:
    assert isinstance(the_job(after(HEARD, now_ms=DEADLINE_MS + 1)).ending, ResultEnding)


def test_an_answer_without_a_word_is_silence() -> None:
    silent = the_job(after(SubmitAnswered(transcript(""), BILL)))
    assert silent.ending == ResultEnding(replace(transcript(""), channels=()), silent=True)


def test_a_cancelled_job_ends_cancelled_with_its_bill() -> None:
    tables = calling()
    tables.on_job(REF, CancelAsked(), context())
    assert the_job(tables).state is JobState.SUBMITTED
    heard = after(HEARD, tables)
    assert ending_of(heard).code is FailureCode.CANCELLED
    assert the_job(heard).task_end.billed_seconds == 3


@pytest.mark.parametrize("code", ["SUCCESS_WITH_NO_VALID_FRAGMENT", "ASR_RESPONSE_HAVE_NO_WORDS"])
def test_silence_reported_by_a_code_is_an_empty_result(code: str) -> None:
    ending = the_job(after(SubmitRefused(ProviderError(code, "no speech", 400)))).ending
    assert isinstance(ending, ResultEnding)
    assert ending.silent
    assert ending.transcript.channels == ()


@pytest.mark.parametrize("event", [LOST, CRASHED])
def test_a_lost_call_is_made_again_after_a_moment_and_counted(event: SubmissionEvent) -> None:
    lost = after(event)
    where = lost.submissions[SUBMISSION]
    assert (where.state, where.counters, where.jobs) == (
        SubmissionState.WAITING,
        Counters(1, lost_calls=1),
        (REF,),
    )
    assert the_job(lost).state is JobState.WAITING
    assert lost.steps == [QueueSubmit(SUBMISSION, NOW_MS + 500)]
    assert lost.uncertain_outcomes == [UncertainOutcome.BEGUN, UncertainOutcome.RESUBMITTED]
    answer = advance_submission(INTENDED, event, calling().jobs, context())
    assert answer.durable


def test_calls_are_lost_a_bounded_number_of_times_over_all_crashes() -> None:
    tables = calling()
    for _ in range(MAX_LOST_CALLS - 1):
        after(CRASHED, tables)
        after(Intended(NOW_MS), tables)
    ending = ending_of(after(LOST, tables))
    assert ending.code is FailureCode.SUBMIT_UNCERTAIN
    assert "3 times" in ending.message
    assert ending.message.endswith(MAY_BE_BILLED)


def test_with_the_policy_fail_no_call_is_made_twice() -> None:
    lost = after(LOST, rules=Rules(uncertain="fail"))
    assert ending_of(lost).code is FailureCode.SUBMIT_UNCERTAIN
    assert lost.uncertain_outcomes == [UncertainOutcome.BEGUN, UncertainOutcome.FAILED]


@pytest.mark.parametrize("uncertain", ["reconcile", "resubmit"])
def test_the_other_policies_treat_a_lost_call_alike(uncertain: str) -> None:
    lost = after(LOST, rules=Rules(uncertain=uncertain))  # type: ignore[arg-type]
    assert lost.submissions[SUBMISSION].state is SubmissionState.WAITING


def test_a_lost_call_past_its_deadline_is_not_repeated() -> None:
    ending = ending_of(after(LOST, now_ms=DEADLINE_MS))
    assert ending.code is FailureCode.DEADLINE_EXCEEDED
    assert ending.message.endswith(MAY_BE_BILLED)


def test_a_lost_call_that_was_cancelled_is_not_repeated() -> None:
    lost = after(LOST, calling(cancelled=True))
    assert ending_of(lost).message == f"cancelled on request; {MAY_BE_BILLED}"
    assert lost.uncertain_outcomes == [UncertainOutcome.BEGUN, UncertainOutcome.CANCELLED]


@pytest.mark.parametrize("event", [LOST, CRASHED])
def test_a_lost_synchronous_call_without_open_jobs_is_not_reconciled(event: SubmissionEvent) -> None:
    answer = advance_submission(INTENDED, event, {}, context())
    assert (answer.is_over, answer.steps) == (True, ())


def test_a_stream_that_broke_off_with_an_error_is_not_repeated() -> None:
    refused = after(SubmitLost(ProviderError("data_inspection_failed", "not allowed")))
    assert ending_of(refused).code is FailureCode.CONTENT_REJECTED
    fault = after(SubmitLost(ProviderError("internal_error", "oops")))
    assert the_job(fault).state is JobState.WAITING


@pytest.mark.parametrize(
    "event",
    [
        SubmitLost(ProviderError("data_inspection_failed", "no")),
        SubmitRefused(ProviderError("InvalidURL", "no", 400)),
        HEARD,
    ],
)
def test_a_crash_before_the_ending_is_durable_counts_a_lost_call(event: SubmissionEvent) -> None:
    """What may be paid must not look as if it had never been tried: the intent stays in the journal."""
    answer = advance_submission(INTENDED, event, calling().jobs, context())
    assert (answer.durable, answer.is_over, answer.submission.state) == (
        False,
        True,
        SubmissionState.INTENDED,
    )


def test_an_answer_that_is_no_transcript_fails_the_job() -> None:
    unread = after(SubmitRefused(ProviderError("not_a_transcript", "the answer is no transcript")))
    assert ending_of(unread).code is FailureCode.RESULT_UNREADABLE


# With at_least_once the kind of outcome is journalled before the outcome goes out.


def restored_result(lost_calls: int = 0, rules: Rules | None = None) -> Tables:
    """A job whose result may be out, read back after a crash that took its transcript."""
    where = replace(INTENDED, counters=Counters(1, lost_calls=lost_calls))
    return after(CRASHED, calling(where, must_be_result=True), rules=rules)


def test_a_result_that_may_be_out_is_called_for_again() -> None:
    again = restored_result()
    assert (the_job(again).state, the_job(again).must_be_result) == (JobState.WAITING, True)
    where = again.submissions[SUBMISSION]
    assert (where.counters, where.due_ms, where.jobs) == (Counters(1, lost_calls=1), NOW_MS + 500, (REF,))
    assert again.uncertain_outcomes == [UncertainOutcome.BEGUN, UncertainOutcome.RESUBMITTED]
    after(Intended(NOW_MS), again, DEADLINE_MS + 1)
    assert the_job(again).state is JobState.SUBMITTED
    assert isinstance(the_job(after(HEARD, again, DEADLINE_MS + 1)).ending, ResultEnding)


@pytest.mark.parametrize(("lost_calls", "rules"), [(0, Rules(uncertain="fail")), (MAX_LOST_CALLS - 1, None)])
def test_a_result_that_may_be_out_is_not_called_for_without_end(lost_calls: int, rules: Rules | None) -> None:
    ended = restored_result(lost_calls, rules)
    ending = ending_of(ended)
    assert ending.code is FailureCode.RESULT_EXPIRED
    assert ending.message.endswith(MAY_BE_BILLED)
    assert ended.uncertain_outcomes == [UncertainOutcome.BEGUN, UncertainOutcome.FAILED]


def test_neither_a_cancel_nor_the_deadline_turns_it_into_a_failure() -> None:
    again = restored_result()
    for event in (CancelAsked(), DeadlinePassed()):
        before = the_job(again)
        again.on_job(REF, event, context(DEADLINE_MS))
        assert the_job(again) == before
    after(Intended(NOW_MS), again)
    intended = the_job(again)
    again.on_job(REF, CancelAsked(), context())
    assert the_job(again) == intended
    after(LOST, again, DEADLINE_MS + 1)
    [where] = again.submissions.values()
    assert (where.state, where.counters.lost_calls) == (SubmissionState.WAITING, 2)


def test_what_cannot_be_heard_again_ends_as_an_expired_result() -> None:
    again = restored_result()
    after(Intended(NOW_MS), again)
    after(SubmitRefused(ProviderError("InvalidURL", "gone", 400)), again)
    assert ending_of(again).code is FailureCode.RESULT_EXPIRED
